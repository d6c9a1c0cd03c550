"""The whole field in one table, and beside it what coverage each method needs.

    python -m experiments.league

Every entry of `studies/league/entries.py` meets the same data sets at every dial and sample size, once
with its default options and once with the best of its settings, chosen on other data sets with the true
reward in hand. Cells are kept in the store of the sweeps: a season that was stopped goes on.
"""

from experiments.common.program import launch

if __name__ == "__main__":
    launch("experiments.league", "experiments.studies.league.season:run_league")
