"""Training from reviewed cells."""
