"""Decomposed knowledge distillation for class-incremental semantic segmentation (arXiv 2210.05941)."""
