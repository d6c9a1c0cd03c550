"""The failure that pessimism is for: more data make maximum likelihood worse at first."""

from __future__ import annotations

import torch

from experiments.claims import CLAIMS, Outcome
from spac_theory import make_algorithm, make_behaviour, make_problem
from spac_theory.learning.trials import Trial, make_trial


def rare_lucky(dial: float) -> Trial:
    """The rare lucky problem, its best action covered at `dial`."""
    problem = make_problem("rare_lucky")
    return make_trial(problem, make_behaviour("coverage").policy(problem, dial))


def suboptimality(algorithm: str, dial: float, sizes: list[int], seeds: int) -> torch.Tensor:
    """Suboptimality of one algorithm on the rare lucky problem, `(sizes, seeds)`."""
    trial, rows = rare_lucky(dial), []
    for n in sizes:
        fit = make_algorithm(algorithm).fit(trial.view, trial.data(n, seeds, f"claim-{dial}"))
        rows.append(trial.suboptimality(fit.policy.probabilities()))
    return torch.stack(rows)


@CLAIMS.register("more_data_hurts")
def more_data_hurts(size: str) -> Outcome:
    """More data make the rivals worse before they get better, and SPAC better all the way.

    On the rare lucky problem at coverage 0.2, greedy maximum likelihood and DPO by gradient are
    no better at n = 1e4 than at n = 300, SPAC with λ = √n is at least three times better, and at
    n = 1e6 all three have recovered.
    """
    seeds = 20 if size == "small" else 200
    sizes = [300, 10_000, 1_000_000]
    means = {
        name: suboptimality(name, 0.2, sizes, seeds).mean(1)
        for name in ("mle_greedy", "dpo_gradient", "spac")
    }
    rivals = [means["mle_greedy"], means["dpo_gradient"]]
    holds = all(float(m[1]) >= float(m[0]) for m in rivals)
    holds &= float(means["spac"][1]) <= float(means["spac"][0]) / 3
    holds &= all(float(m[2]) <= 0.1 * float(m[1]) for m in rivals)
    text = "; ".join(
        f"{name} " + " → ".join(f"{float(v):.3f}" for v in m) for name, m in means.items()
    )
    return Outcome(holds, f"mean suboptimality at n = 300 → 1e4 → 1e6 over {seeds} seeds: {text}")


@CLAIMS.register("fixed_lambda_stalls")
def fixed_lambda_stalls(size: str) -> Outcome:
    """A fixed λ need not converge.

    With λ = 10 the saddle is still worse than 0.1 at n = 1e6, where λ = √n is exact to 1e-3.
    """
    seeds = 10 if size == "small" else 200
    trial, means = rare_lucky(0.2), []
    data = trial.data(10**6, seeds, "claim-fixed")
    for options in ({"lam": "fixed", "scale": 10.0}, {"lam": "sqrt_n"}):
        fit = make_algorithm("spac", **options).fit(trial.view, data)
        means.append(float(trial.suboptimality(fit.policy.probabilities()).mean()))
    return Outcome(
        means[0] > 0.1 and means[1] < 1e-3,
        f"mean suboptimality at n = 1e6 over {seeds} seeds: λ = 10 {means[0]:.3f}, λ = √n {means[1]:.1e}",
    )
