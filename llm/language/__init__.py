"""Synthetic languages whose responses can be enumerated, so that every value is exact."""
