"""Programs on top of `spac_theory`: sweeps, the results store, tables and figures."""
