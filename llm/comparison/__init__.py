"""Comparisons of methods over many runs."""
