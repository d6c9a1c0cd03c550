"""Solvers of the game (3) and the certificate (6) that every answer carries."""
