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
# # Why DPO fails where the data are sparse
#
# Ten contexts, ten actions. The behaviour plays the best action once in ten, a common one almost always, and
# eight rare ones hardly ever. Greedy maximum likelihood and DPO by gradient then get *worse* with more data,
# up to a point. This notebook looks at the rows of one data set to see why.

# %%
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib.pyplot as plt

from spac_theory import (
    LearnerView,
    PreferenceModel,
    make_algorithm,
    make_behaviour,
    make_problem,
    pair_law,
    sample_winner_counts,
    winner_law,
)

problem = make_problem("rare_lucky")
bandit = problem.bandit
behaviour = make_behaviour("coverage").policy(problem, 0.1)
law = winner_law(bandit.rho, pair_law(behaviour), PreferenceModel.from_reward(bandit.reward))
view = LearnerView(problem.reward_class, bandit.rho, reference=behaviour, baseline=behaviour)
methods = {
    "DPO by gradient": make_algorithm("dpo_gradient"),
    "greedy maximum likelihood": make_algorithm("mle_greedy"),
    "SPAC": make_algorithm("spac"),
}

# %% [markdown]
# ## Who is played, and how often was it seen?
#
# For each method: the mass that its policy puts on actions that were compared at most five times at their
# context, over forty data sets.

# %%
sizes = [100, 300, 1_000, 3_000, 10_000, 30_000, 100_000]
rare = {name: [] for name in methods}
loss = {name: [] for name in methods}
for n in sizes:
    data = sample_winner_counts(law, n, range(40), bandit.name, "why")
    seldom = (data.wins.sum(-1) + data.wins.sum(-2)) <= 5
    for name, method in methods.items():
        policy = method.fit(view, data).policy.probabilities()
        on_rare = (bandit.rho[:, None] * policy * seldom).sum((-2, -1)).mean()
        rare[name].append(float(on_rare))
        loss[name].append(float(bandit.suboptimality(policy).mean()))

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for name, marker in zip(methods, "^vo", strict=True):
    left.semilogx(sizes, loss[name], marker=marker, label=name)
    right.semilogx(sizes, rare[name], marker=marker, label=name)
left.set(xlabel="comparisons n", ylabel="mean suboptimality", title="more data first hurt")
right.set(
    xlabel="comparisons n", ylabel="mass on actions seen ≤ 5 times", title="because luck looks good"
)
figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
plt.show()

# %% [markdown]
# An action that met the common one once and won has an estimated reward without upper bound: its likelihood
# only rises. With more data there are more such actions, until each has been seen often enough to lose.
# SPAC's critic may rank an action as low as the data allow, and one comparison allows much: it leaves them.

# %%
assert rare["DPO by gradient"][4] > 0.5 > rare["SPAC"][4]
assert loss["DPO by gradient"][4] > loss["DPO by gradient"][1]
assert loss["SPAC"][4] < loss["SPAC"][1]

# %% [markdown]
# ## One context, looked at closely

# %%
data = sample_winner_counts(law, 3_000, range(1), bandit.name, "why")
wins, losses = data.wins[0].sum(-1), data.wins[0].sum(-2)
policies = {name: m.fit(view, data).policy.probabilities()[0] for name, m in methods.items()}
worst = int(
    (bandit.reward.amax(-1) - (policies["DPO by gradient"] * bandit.reward).sum(-1)).argmax()
)
print(f"context {worst}")
print("action  reward  won  lost " + "".join(f"{name:>27s}" for name in methods))
for a in range(bandit.shape[1]):
    shares = "".join(f"{float(policies[name][worst, a]):27.3f}" for name in methods)
    print(
        f"{a:6d}  {bandit.reward[worst, a]:6.2f} {wins[worst, a]:4d} {losses[worst, a]:5d} {shares}"
    )

# %% [markdown]
# The action that DPO plays has hardly a row behind it. `C(π*)` counts only what the *best* policy needs, and
# that is covered (one time in ten): this is the difference between the two guarantees.
