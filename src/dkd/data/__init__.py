"""Data sets: their files, index, tasks, and the samples that a network is fed."""
