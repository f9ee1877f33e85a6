"""Data sets: what they are called, where their files lie, and how they are read."""
