"""Training of one step: `loop.train`."""
