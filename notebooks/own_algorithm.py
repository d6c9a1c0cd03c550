# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Write your own algorithm
#
# One class: what it needs, its options with their range and meaning, and `fit`, which treats all data sets at
# once and never sees the reward. Then: check it, compare it, draw it.

# %%
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

SOURCE = '''
"""Play the action with the best share of wins, minus a bonus for how seldom it was seen."""

from dataclasses import dataclass

import torch

from spac_theory import ALGORITHMS, Fit
from spac_theory.learning.needs import KNOWN_CONTEXTS, Learner
from spac_theory.options import positive
from spac_theory.view import TabularPolicy


@ALGORITHMS.register("cautious_share")
@dataclass(frozen=True)
class CautiousShare(Learner):
    needs = frozenset({KNOWN_CONTEXTS})

    caution: float = positive(1.0, "how much is taken off for each standard deviation")

    def fit(self, view, data, oracle=None):
        won, lost = data.wins.sum(-1).double(), data.wins.sum(-2).double()
        seen = won + lost
        lower = (won + 1) / (seen + 2) - self.caution / (2 * (seen + 1).sqrt())
        best = lower == lower.amax(-1, keepdim=True)
        return Fit(TabularPolicy(best / best.sum(-1, keepdim=True).double()), "closed form")
'''
folder = Path(tempfile.mkdtemp())
plugin = folder / "cautious_share.py"
plugin.write_text(SOURCE)

# %% [markdown]
# ## Does it keep the contract?
#
# The conformance suite that every shipped algorithm passes: it neither changes what it is given nor draws
# from a global generator, a policy does not depend on other data sets, bad options are refused.

# %%
from spac_theory import load_plugins, testing

load_plugins([str(plugin)])
print("skips:", testing.check_algorithm("cautious_share", caution=2.0) or "nothing")

# %% [markdown]
# ## Is it any good?
#
# A sweep, as `python -m experiments.coverage_sweep` would run it from the command line:
#
#     plugins=[cautious_share.py] '+algorithm.mine={name: cautious_share}'

# %%
from experiments.common.program import composed
from experiments.results import curves, load, plot, table
from experiments.studies.sweep.run import coverage_sweep

settings = composed(
    "coverage_sweep",
    "algorithm=[spac_sqrt_n,mle_greedy,pessimistic_mle]",
    "+algorithm.mine={name: cautious_share}",
    f"plugins=[{plugin}]",
    "behaviour.dials=[0.1,0.3]",
    "grid.n=[300,3000,30000]",
    "grid.seeds=40",
    "grid.block=40",
    "launcher.processes=0",
    "figure.formats=[]",
    f"store={folder}/store",
)
coverage_sweep(settings, folder / "out")

# %%
lines = curves(load(folder / "out"))
figure, axes = plt.subplots(figsize=(5, 3.4), layout="constrained")
plot(lines, axes, dial=0.1)
plt.show()

# %% [markdown]
# The stranger has a style and its own name in every figure. Its table, for a paper or a page:

# %%
print(table(lines, 0.1).markdown())

# %% [markdown]
# One data set of it, looked at: what was seen, and what it plays.

# %%
from experiments.results import cell, heatmap

heatmap(cell(folder / "out", "mine", 0.1, 3000, seed=0))
