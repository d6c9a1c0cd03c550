"""Worked instances of the theory: a local family with a known rate, and a problem of two steps."""
