"""Independent references of the exact solvers: other formulations by other authors, slow."""
