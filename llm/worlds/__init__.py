"""Synthetic languages with a known reward, where every value is exact."""
