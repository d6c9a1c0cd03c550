"""Solvers of convex programs; they know rewards as linear maps and nothing of games."""
