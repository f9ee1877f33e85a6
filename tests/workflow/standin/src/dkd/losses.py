"""Losses."""

SCALE = 1  # of every loss
