"""Methods that train nothing, and the structured settings: steps, sets, prompts, two steps."""

from __future__ import annotations

import polars as pl
import pytest
import torch

from experiments.claims.two_step import two_step_rows
from experiments.studies.league.analysis import summary
from spac_theory import InputError, make_algorithm, make_problem
from spac_theory.algorithms.drpo import prompt_library
from spac_theory.algorithms.linear_alignment import logit_step
from spac_theory.algorithms.spo import item_bits, removal_kernels
from spac_theory.instances.two_step import SimOprlTwoStep, trap_problem

from .conftest import make_setting


def test_logit_step_follows_the_gradient_of_the_value(setting):
    log_pi = setting.view.reference.log()
    reward = setting.problem.bandit.reward
    leaf = log_pi.clone().requires_grad_(True)
    value = (torch.softmax(leaf, -1) * reward).sum(-1)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    step = logit_step(log_pi, reward, 0.08) - log_pi
    assert torch.allclose(step.norm(dim=-1), torch.full((3,), 0.4, dtype=torch.float64))
    cosine = torch.nn.functional.cosine_similarity(step, gradient, dim=-1)
    assert torch.allclose(cosine, torch.ones(3, dtype=torch.float64), atol=1e-12)


def test_contrastive_form_is_a_power_of_both_policies(setting):
    told = make_algorithm("linear_alignment", form="contrastive", size=0.0)
    step = make_algorithm("linear_alignment", form="contrastive", size=2.0)
    p, q = (a.fit(setting.view, setting.data).policy.probabilities() for a in (told, step))
    want = p**3 / setting.view.reference**2
    assert torch.allclose(q, want / want.sum(-1, keepdim=True), atol=1e-10)


def test_removing_items_takes_exactly_that_many():
    bits, kernels = item_bits(16), removal_kernels(16, 3)
    assert torch.allclose(kernels.sum(-1), torch.ones(3, 16, dtype=torch.float64))
    for level in range(3):
        left = kernels[level] @ bits.sum(-1)
        assert torch.allclose(left, (bits.sum(-1) - level).clamp_min(0))
    # Removing two of three items is symmetric in which one stays.
    assert torch.allclose(kernels[2][7, [1, 2, 4]], torch.full((3,), 1 / 3, dtype=torch.float64))


def test_degree_loss_learns_degrees_and_moves_the_policy():
    setting = make_setting(n=600, problem="item_sets", contexts=4, items=3)
    with_loss = make_algorithm("spo", gamma=3.0).fit(setting.view, setting.data)
    without = make_algorithm("spo", gamma=0.0).fit(setting.view, setting.data)
    one, two = (f.policy.probabilities() for f in (with_loss, without))
    assert float((one - two).abs().max()) > 1e-3
    value = setting.problem.bandit.suboptimality
    assert float(value(two).mean()) < float(value(setting.view.reference))


def test_structured_methods_decline_other_actions():
    setting = make_setting(problem="tabular", contexts=2, actions=6)
    assert "6" in make_algorithm("spo").skip(setting.view, None)
    assert "6" in make_algorithm("sapo", symbols=4).skip(setting.view, None)


def test_item_sets_add_up_and_strings_have_the_right_number_of_actions():
    reward = make_problem("item_sets", contexts=2, items=3).bandit.reward
    assert torch.allclose(reward[:, 7] - reward[:, 6], reward[:, 1] - reward[:, 0])
    assert make_problem("strings", contexts=2, symbols=3, length=2).bandit.shape == (2, 9)


def test_drpo_finds_the_best_prompt_of_a_silent_judge(setting):
    view = setting.view
    options = {"library": 8, "near": 8, "depth": 60, "beam": 4, "noise": 0.0, "proposals": 4}
    search = make_algorithm("drpo", judge="reward", **options)
    oracle = setting.oracle()
    fit = search.fit(view, setting.data, oracle)
    bandit = setting.problem.bandit
    library = bandit.value(prompt_library(view, 8, 0.1))
    assert float(bandit.value(fit.policy.probabilities()).mean()) > float(library.mean())
    assert int(oracle.online.scores.max()) > 0
    assert int(oracle.online.labels.max()) == 0


def test_noise_costs_the_search_something(setting):
    def mean(noise):
        fit = make_algorithm("drpo", depth=30, noise=noise, criteria=1).fit(
            many.view, many.data, many.oracle()
        )
        return float(many.problem.bandit.value(fit.policy.probabilities()).mean())

    many = make_setting(seeds=60)
    assert mean(0.0) > mean(8.0)


def test_queries_help_and_the_trap_is_avoided_with_pessimism():
    problem = trap_problem()

    def run(budget, **options):
        return SimOprlTwoStep(**options).run(problem, 48, 60, budget).suboptimality

    assert float(run(60).mean()) < float(run(0).mean())
    pessimistic, trusting = run(60), run(60, transition_pessimism=0.0)
    assert float(pessimistic.mean()) < float(trusting.mean())
    assert float(pessimistic.min()) >= -1e-12


def test_two_step_value_by_enumeration():
    problem = trap_problem(states=3, actions=2)
    best = max(
        float(problem.value(torch.tensor([a]), torch.tensor([[i, j, k]])))
        for a in range(2) for i in range(2) for j in range(2) for k in range(2)
    )  # fmt: skip
    assert abs(best - problem.optimal_value) < 1e-12


def test_two_step_data_play_the_best_second_action_as_often_as_said():
    problem = trap_problem(coverage=0.1)
    best = problem.second.argmax(-1, keepdim=True)
    assert torch.allclose(problem.behaviour_second.gather(-1, best), torch.tensor(0.1).double())
    assert torch.allclose(problem.behaviour_second.sum(-1), torch.ones(5, dtype=torch.float64))


def test_two_step_runs_are_rows_of_the_one_format():
    """The league's own summary takes them as they are, and counts the queries."""
    runs = [
        two_step_rows(SimOprlTwoStep(query=query), 0.25, 30, 5, 6)
        for query in ("optimistic", "uniform")
    ]
    rows = pl.concat(runs).with_columns(
        pl.lit("tuned").alias("tuning"),
        pl.lit(None, dtype=pl.Boolean).alias("converged"),
        pl.col("coverage").alias("dial"),
        pl.col("transitions").alias("n"),
    )
    lines = {line["algorithm"]: line for line in summary(rows).to_dicts()}
    assert {line["queries"] for line in lines.values()} == {5}
    direct = SimOprlTwoStep(query="uniform").run(trap_problem(), 6, 30, 5).suboptimality
    assert abs(lines["sim_oprl uniform"]["mean_tuned"] - float(direct.mean())) < 1e-12


def test_two_step_refuses_bad_options():
    with pytest.raises(InputError, match="members"):
        SimOprlTwoStep(members=1)
