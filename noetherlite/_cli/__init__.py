"""The verbs of the command line and their configuration files; `main.main` is the entry point."""
