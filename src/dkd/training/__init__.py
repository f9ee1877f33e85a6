"""Training of one step."""
