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
# # Your own preference data
#
# A log of comparisons, and one question: what may be concluded from it? No true reward is known. The
# diagnosis names contexts where nothing can be ranked, and says of each policy how much it surely gains.

# %%
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import random
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl

from experiments.common.program import composed
from experiments.studies.diagnosis.run import diagnose

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## The log
#
# Yours goes here: a CSV, JSONL or Parquet with the columns `context`, `winner`, `loser`. This one is made up:
# two kinds of question, four styles of answer. On one kind a style was hardly ever tried.

# %%
chance = random.Random(7)
taste = {
    "code": {"short": 0.9, "long": 0.3, "steps": 0.6, "poem": 0.0},
    "advice": {"short": 0.2, "long": 0.6, "steps": 0.8, "poem": 0.1},
}
weights = {"code": [10, 10, 10, 0.05], "advice": [10, 10, 3, 0.3]}
rows = []
for _ in range(4_000):
    kind = chance.choice(list(taste))
    a, b = chance.choices(list(taste[kind]), weights[kind], k=2)
    if a != b:
        wins = chance.random() < 1 / (1 + 2.718 ** (taste[kind][b] - taste[kind][a]))
        rows.append((kind, *((a, b) if wins else (b, a))))
log = pl.DataFrame(rows, schema=["context", "winner", "loser"], orient="row")
log.write_csv(folder / "log.csv")
log.head()

# %%
counts = log.group_by("context", "winner").len().pivot(on="winner", index="context", values="len")
counts

# %% [markdown]
# ## The diagnosis
#
# The same as `python -m experiments.diagnose data=log.csv`, with fewer algorithms.

# %%
settings = composed(
    "diagnose",
    f"data={folder}/log.csv",
    "reward_range=[0.0,1.0]",
    "algorithm=[spac_sqrt_n,spac_wilks,mle_greedy,dpo,pessimistic_mle]",
)
diagnose(settings, folder / "out")

# %% [markdown]
# ## What the policies do
#
# `policies.parquet` has every policy as a long table.

# %%
policies = pl.read_parquet(folder / "out/policies.parquet")
names = policies["policy"].unique(maintain_order=True).to_list()
contexts = policies["context"].unique(maintain_order=True).to_list()
figure, panels = plt.subplots(1, len(contexts), figsize=(9, 3), sharey=True, layout="constrained")
for axes, context in zip(panels, contexts, strict=True):
    own = policies.filter(pl.col("context") == context)
    wide = own.pivot(on="action", index="policy", values="probability")
    axes.imshow(wide.drop("policy").to_numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(wide.width - 1), wide.columns[1:])
    axes.set_yticks(range(len(names)), wide["policy"].to_list())
    axes.set_title(context)
plt.show()

# %%
told = pl.read_csv(folder / "out/diagnosis.csv")
told

# %% [markdown]
# `gain ≥` is negative where the data do not certify an improvement over the policy that wrote the log; by how
# much more data the sign would turn, `C` and `n` say: the bound falls like `√(C/n)`.
