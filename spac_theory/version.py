"""The version of the numbers, apart from the version of the package."""

RESULTS_VERSION = 6
"""Raise it whenever a change of this package may change any stored result: caches then start anew."""
