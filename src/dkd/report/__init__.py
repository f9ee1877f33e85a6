"""From metrics per step to tables."""
