"""noetherlite."""
