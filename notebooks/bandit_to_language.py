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
# # From bandit to language model
#
# The same objective, twice. First the bandit: prompts are contexts, answers are actions, the game is solved
# exactly. Then a small language model on a language whose true reward is known, so that its answers can be
# judged exactly too.

# %%
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from spac_theory.objective import practical_loss

warnings.filterwarnings("ignore", message="IProgress not found")
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## One loss
#
# A policy scores an answer by `s(x,y) = β log π(y|x)/π_t(y|x)`. The loss of the language model is one
# function, which the bandit's algorithm calls as well: `λ` times the likelihood of the preferences, and a
# critic's term on the policy's own answers. Without that term it is DPO.

# %%
chosen, rejected, own = torch.randn(3, 64, dtype=torch.float64, generator=torch.manual_seed(0))
dpo = torch.nn.functional.softplus(rejected - chosen).mean()
without = practical_loss(chosen, rejected, own, lam=3.0, beta=0.3, w=0.0).total
print(f"λ × DPO {3 * float(dpo):.6f}, the loss with w = 0 {float(without):.6f}")
assert torch.allclose(3 * dpo, without)

# %% [markdown]
# ## A language model of 100,000 parameters
#
# `python -m llm.run` in the small: demonstrations, fine-tuning, two rounds of each method on 400 preferences.

# %%
from experiments.common.files import read_json
from experiments.common.program import composed
from llm.run import CONFIG, execute

settings = composed(
    "run",
    "methods=[dpo,spac]",
    "rounds=2",
    "data.language.pairs=400",
    "data.language.demonstrations=2000",
    "train.save_every=1000000",
    "sft.save_every=1000000",
    "train.report_to=[]",
    "sft.report_to=[]",
    f"run_dir={folder}/run",
    folder=CONFIG,
)
execute(settings)

# %% [markdown]
# ## Exact suboptimality, round by round
#
# The language is small enough to sum over every answer: no samples, no judge.

# %%
results = read_json(folder / "run/results.json")
figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
start = results["rounds"]["sft"][-1]["suboptimality"]
for name, marker in (("dpo", "^"), ("spac", "o")):
    values = [start, *(r["suboptimality"] for r in results["rounds"][name])]
    axes.plot(range(len(values)), values, marker=marker, label=name.upper())
axes.set(xlabel="round", ylabel="suboptimality (exact)")
axes.set_xticks(range(len(values)))
axes.legend()
plt.show()

# %% [markdown]
# Two rounds on 400 rows say little about which method is better; `python -m llm.chart` asks that with five
# seeds and tuning for everyone. What this shows is that the path is whole: from rows to a policy whose
# value is known exactly.
