"""Random games and the agreement of their solvers."""
