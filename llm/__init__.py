"""The objective of SPAC for language models: data, self-play, training and evaluation.

The mathematics lives in :mod:`spac_theory.objective`; this package supplies sequence log-ratios.
"""
