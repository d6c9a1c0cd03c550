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
# # The theorem by hand
#
# (T1) says: with probability at least `1 − δ`, the policy that solves SPAC's game loses at most
#
# `κ C/λ + λ ε_n`, where `ε_n = (2/n) log(N/δ)`
#
# against any policy with concentrability `C`, in a class of `N` rewards. Each number is computed here with
# nothing but a calculator's operations, then held against the library, then against what is measured.

# %%
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import math

import matplotlib.pyplot as plt

from spac_theory import (
    BRADLEY_TERRY,
    LearnerView,
    PreferenceModel,
    bound,
    coverage,
    make_algorithm,
    make_behaviour,
    make_problem,
    pair_law,
    sample_winner_counts,
    winner_law,
)

problem = make_problem("finite", members=64)
bandit, members = problem.bandit, problem.reward_class.members
behaviour = make_behaviour("coverage").policy(problem, 0.3)
R = problem.reward_class.difference_bound
print(
    f"{len(members)} rewards on {bandit.shape[0]} contexts and {bandit.shape[1]} actions, R = {R:.3f}"
)

# %% [markdown]
# ## κ: what the link costs
#
# A difference of rewards is seen through a sigmoid `σ`. Its slope is smallest where rewards differ most, at
# `R`; `κ` is the inverse of that slope, `1/σ'(R) = e^R + 2 + e^−R`.

# %%
kappa = math.exp(R) + 2 + math.exp(-R)
print(f"κ(R) = {kappa:.3f}, by the library {BRADLEY_TERRY.kappa(R):.3f}")
assert math.isclose(kappa, BRADLEY_TERRY.kappa(R), rel_tol=1e-9)

# %% [markdown]
# ## C: what the data cover
#
# `C` is the largest ratio, over the class, between how much a member errs in the *value* of `π*` against the
# baseline (squared) and how much it errs on the *data*. For 64 members it is a maximum over 64 numbers.

# %%
pairs = pair_law(behaviour)
optimal = bandit.optimal_policy
error = members - bandit.reward  # (64, X, A)
value = (bandit.rho[:, None] * error * (optimal - behaviour)).sum((-2, -1)) ** 2
difference = error[:, :, :, None] - error[:, :, None, :]
on_data = (bandit.rho[:, None, None] * pairs * difference**2).sum((-3, -2, -1))
C = float((value / on_data.clamp_min(1e-300)).nan_to_num(0).max())
library = coverage(problem, behaviour).single
print(f"C by hand {C:.6f}, by the library {library:.6f}")
assert math.isclose(C, library, rel_tol=1e-6)

# %% [markdown]
# ## ε_n, λ*, the bound

# %%
n, delta = 10_000, 0.1
epsilon = 2 / n * math.log(len(members) / delta)
star = math.sqrt(kappa * C / epsilon)
by_hand = kappa * C / star + star * epsilon
found = bound(C=C, n=n, R=R, members=len(members), delta=delta)
print(
    f"ε_n = {epsilon:.2e}, λ* = {star:.1f}, bound by hand {by_hand:.4f}, by the library {float(found):.4f}"
)
assert math.isclose(by_hand, float(found), rel_tol=1e-12)
print(found)

# %% [markdown]
# ## What is measured
#
# 200 data sets at each size: the 0.9-quantile must lie below the bound.

# %%
view = LearnerView(problem.reward_class, bandit.rho, reference=behaviour, baseline=behaviour)
law = winner_law(bandit.rho, pairs, PreferenceModel.from_reward(bandit.reward))
sizes = [100, 1_000, 10_000, 100_000]
quantiles, bounds, broken = [], [], 0
for size in sizes:
    at = bound(C=C, n=size, R=R, members=len(members), delta=delta)
    data = sample_winner_counts(law, size, range(200), bandit.name, "hand")
    fit = make_algorithm("spac", scale=at.lam / math.sqrt(size)).fit(view, data)  # λ = scale √n
    lost = bandit.suboptimality(fit.policy.probabilities())
    broken += int((lost > at.value).sum())
    quantiles.append(float(lost.quantile(0.9)))
    bounds.append(at.value)
print(
    f"{broken} of {200 * len(sizes)} data sets beyond the bound; {delta:.0%} are allowed at each size"
)
assert broken <= delta * 200 * len(sizes)

figure, axes = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
axes.loglog(sizes, bounds, "k--", label="(T1) at λ*")
axes.loglog(
    sizes, [max(q, 1e-4) for q in quantiles], "o-", label="0.9-quantile of what is lost (0 at 1e-4)"
)
axes.axhline(R, color="grey", lw=0.8, ls=":", label="R: above it the bound says nothing")
axes.set(xlabel="comparisons n", ylabel="suboptimality")
axes.legend(loc="lower left", fontsize=7)
plt.show()
