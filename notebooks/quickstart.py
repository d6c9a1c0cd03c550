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
# # Quickstart: SPAC against DPO where the data cover one good policy
#
# A notebook in plain text: open it with Jupytext (`jupytext --to ipynb quickstart.py`), or run it with
# `python notebooks/quickstart.py`. It takes a few seconds; expected output stands in comments.
#
# The question: preferences were collected by a policy that plays the best answer one time in five and a
# crowd of other answers almost never. Which method finds the best answer?

# %%
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib.pyplot as plt
import torch

from spac_theory import (
    Game,
    LearnerView,
    PreferenceModel,
    certify,
    coverage,
    fast_saddle,
    make_algorithm,
    make_behaviour,
    make_problem,
    mirror_descent,
    pair_law,
    sample_winner_counts,
    winner_law,
)
from spac_theory.bounds.upper import best_upper_bound, covering_complexity

# %% [markdown]
# ## The problem
#
# Ten contexts, ten actions. At every context one action has reward 1, a common one 0.5, and eight rare ones
# between 0.2 and 0.5. The learner sees none of these numbers.

# %%
problem = make_problem("rare_lucky")
bandit = problem.bandit
behaviour = make_behaviour("coverage").policy(problem, 0.2)  # the best action, one time in five
report = coverage(problem, behaviour)
print(f"suboptimality of the behaviour   {bandit.suboptimality(behaviour):.3f}")
print(f"concentrability of the optimum   {report.single:.1f}")
print(f"concentrability of every policy  {report.all.upper:.1f}")
# suboptimality of the behaviour   0.403
# concentrability of the optimum   2.0
# concentrability of every policy  199.5

# %% [markdown]
# The first number is what SPAC's guarantee pays for, the second what greedy maximum likelihood and DPO
# would need. That gap is the whole story.
#
# ## The data
#
# Bradley–Terry comparisons of two draws from the behaviour, as winner counts: `W[x, a, b]` says how often
# `a` beat `b` at `x`. Forty independent data sets sit on one tensor axis, and `n` costs nothing.

# %%
law = winner_law(bandit.rho, pair_law(behaviour), PreferenceModel.from_reward(bandit.reward))
data = sample_winner_counts(law, 10_000, range(40), bandit.name, "quickstart")
print(tuple(data.wins.shape), int(data.n[0]))
# (40, 10, 10, 10) 10000

# %% [markdown]
# ## SPAC and DPO on the same data
#
# An algorithm receives a *view* of the setting, which has no reward in it, and the data. The referee
# evaluates.

# %%
view = LearnerView(problem.reward_class, bandit.rho, reference=behaviour, baseline=behaviour)
fits = {
    "SPAC, λ = √n": make_algorithm("spac", lam="sqrt_n").fit(view, data),
    "SPAC, λ from data": make_algorithm("spac", lam="wilks").fit(view, data),
    "DPO, closed form": make_algorithm("dpo", beta=0.1).fit(view, data),
    "DPO, by gradient": make_algorithm("dpo_gradient", beta=0.1).fit(view, data),
    "maximum likelihood": make_algorithm("mle_greedy").fit(view, data),
}
for name, fit in fits.items():
    print(f"{name:20s} {bandit.suboptimality(fit.policy.probabilities()).mean():.3f}")

# %% [markdown]
# ## The certificate
#
# Nothing here is called exact on trust. Any policy and any critic bound the value of the game from both
# sides, and the gap between the sides is computed, not assumed. The fast saddle closes it to 1e-6; a
# hundred rounds of self-play (the paper's own algorithm) close it to within Hedge's bound.

# %%
game = Game(problem.reward_class, data, data.n.double().sqrt(), bandit.rho, behaviour)
saddle = fast_saddle(game)
print(f"fast saddle   gap {saddle.certificate.gap.max():.1e}")
play = mirror_descent(game, 100)
print(f"SPAC-T, T=100 gap {play.certificate.gap.max():.3f}, guaranteed {play.bound:.3f}")
naive = certify(game, behaviour, saddle.reward)
print(f"the behaviour gap {naive.gap.mean():.3f}")

# %% [markdown]
# ## The bound
#
# The theorem, with its constants, at the best `λ`: it holds with probability 0.9, and at what sample size
# does it say anything?

# %%
for n in (10**4, 10**6, 10**8):
    size = covering_complexity(problem.reward_class, torch.tensor([n]), delta=0.1)
    value = best_upper_bound(problem.reward_class.difference_bound, report.single, size)
    print(f"n = {n:.0e}: suboptimality at most {float(value):.3f}")

# %% [markdown]
# ## The curve
#
# More data make maximum likelihood and gradient DPO *worse* before they get better: a rare action that won
# the only comparison it ever had looks best. SPAC goes straight down.

# %%
sizes = [100, 1_000, 10_000, 100_000]
names = {
    "spac": "SPAC, λ = √n",
    "dpo_gradient": "DPO, by gradient",
    "mle_greedy": "max. likelihood",
}
print("n".ljust(18), *(f"{n:>8d}" for n in sizes))
curves = {}
for name, label in names.items():
    algorithm = make_algorithm(name)
    curves[label] = []
    for n in sizes:
        sample = sample_winner_counts(law, n, range(20), bandit.name, "quickstart")
        policy = algorithm.fit(view, sample).policy.probabilities()
        curves[label].append(float(bandit.suboptimality(policy).mean()))
    print(label.ljust(18), *(f"{v:8.3f}" for v in curves[label]))

# %%
figure, axes = plt.subplots(figsize=(5, 3.4), layout="constrained")
for (label, values), marker in zip(curves.items(), "o^v", strict=True):
    axes.loglog(sizes, values, marker=marker, label=label)
axes.set(xlabel="comparisons n", ylabel="mean suboptimality")
axes.legend()
plt.show()

# %% [markdown]
# `make sweep` draws this curve for five coverages, seven sample sizes, a hundred seeds and every rival.
