"""The verbs of the command line, and the configuration files they read; `cli.main` is the door."""
