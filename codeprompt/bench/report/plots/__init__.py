"""Figures: one file each, from a table to a matplotlib figure or, where there is none, nothing."""
