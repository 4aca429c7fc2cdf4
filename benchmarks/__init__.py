"""Comparisons against peers, one file each; results as JSON and pictures beside them."""
