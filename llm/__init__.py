"""The objective of SPAC for language models: data, self-play, training, exact and real evaluation.

The mathematics lives in :mod:`spac_theory.objective`; this package only supplies sequence log-ratios.
"""
