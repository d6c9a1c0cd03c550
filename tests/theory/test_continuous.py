"""Contexts from a density: the data law, nesting, and policies at contexts they never saw."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from spac_theory import (
    BRADLEY_TERRY,
    InputError,
    LearnerView,
    Oracle,
    make_algorithm,
    make_behaviour,
    make_problem,
)
from spac_theory.bandit.contextual import ContextualBandit
from spac_theory.concentrability.coverage import coverage
from spac_theory.learning.density import draw_trial, fit_continuous
from spac_theory.problems import Problem
from spac_theory.problems.density import draw_comparisons, standard_error
from spac_theory.rewards.finite import FiniteClass
from spac_theory.view import Contexts


@pytest.fixture(scope="module")
def setting():
    problem = make_problem("continuous", evaluation=500)
    family = make_behaviour("coverage")
    mu = family.policy(problem, 0.3)
    view = LearnerView(problem.reward_class, problem.bandit.rho, mu, mu)
    return problem, family, view


def test_comparisons_have_the_law_they_should():
    """20,000 copies of one context: cells against `winner_law` by a chi-squared test."""
    reward = torch.tensor([[0.0, 1.0, -0.5]], dtype=torch.float64).expand(20_000, 3)
    rho = torch.full((20_000,), 1 / 20_000, dtype=torch.float64)
    bandit = ContextualBandit(rho, torch.ones(20_000, 3, 1), reward, "copies")
    problem = Problem(
        bandit, FiniteClass(reward[None]), torch.full((20_000, 3), 1 / 3, dtype=torch.float64)
    )
    mu = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    wins = draw_comparisons(problem, mu.expand(20_000, 3), BRADLEY_TERRY, "test").wins[0].sum(0)
    p = torch.sigmoid(reward[0][:, None] - reward[0])
    law = (2 * mu[:, None] * mu * p).numpy()
    observed, expected = wins.numpy().flatten(), 20_000 * law.flatten()
    assert np.isclose(law.sum(), 1)
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_longer_data_begin_with_shorter_data(setting):
    problem, family, view = setting
    short, long = (draw_trial(problem, family, 0.3, n, 7, view, "k") for n in (50, 200))
    assert torch.equal(short.data.wins[0], long.data.wins[0, :50])
    ours, theirs = (t.view.reward_class.features for t in (short, long))
    assert torch.allclose(ours, theirs[:50], atol=1e-14)
    assert not short.view.known_contexts


def test_rules_agree_with_tables_where_both_speak(setting):
    """At its own prompts the rule of SPAC-T, of KL-RLHF and of DPO is the table it learned."""
    problem, family, view = setting
    trial = draw_trial(problem, family, 0.3, 150, 0, view, "k")
    own = Contexts(trial.view.reward_class.features, trial.view.reference)
    for name, options in (
        ("spac_t", {"iterations": 7}),
        ("spac_t", {"iterations": 7, "output": "last", "start": "reference"}),
        ("kl_rlhf", {}),
        ("dpo", {}),
        ("mle_greedy", {}),
        ("uniform", {}),
    ):
        fit = make_algorithm(name, **options).fit(trial.view, trial.data)
        policy = fit.policy
        assert torch.allclose(policy.probabilities(own), policy.probabilities(), atol=1e-9), name


def test_greedy_in_the_critic_is_almost_the_saddles_policy(setting):
    """They differ at no more prompts than the class has parameters, where the critic is tied."""
    problem, family, view = setting
    trial = draw_trial(problem, family, 0.3, 400, 1, view, "k")
    policy = make_algorithm("spac").fit(trial.view, trial.data).policy
    own = Contexts(trial.view.reward_class.features, trial.view.reference)
    differs = (policy.probabilities(own) - policy.probabilities()).abs().amax(-1) > 1e-3
    assert int(differs.sum()) <= trial.view.reward_class.dimension + 1


def test_fit_is_judged_on_fresh_contexts_with_a_standard_error(setting):
    problem, family, view = setting
    oracle = Oracle(coverage(problem, view.baseline).single)
    losses = {}
    for name in ("spac", "uniform"):
        fit = fit_continuous(
            problem, family, 0.3, 300, range(3), make_algorithm(name), view, oracle, "k"
        )
        policy = fit.policy.probabilities()
        assert policy.shape == (3, 500, 5)
        losses[name] = problem.bandit.suboptimality(policy)
        reward = problem.bandit.reward
        per_context = (policy * (reward.amax(-1, keepdim=True) - reward)).sum(-1).numpy()
        expected = stats.sem(per_context, axis=-1)
        assert np.allclose(fit.extra["standard_error"].numpy(), expected)
        assert torch.allclose(standard_error(problem, policy), fit.extra["standard_error"])
    assert float(losses["spac"].mean()) < 0.5 * float(losses["uniform"].mean())


def test_a_table_says_that_it_does_not_generalise(setting):
    problem, family, view = setting
    with pytest.raises(InputError, match="its policy is a table"):
        fit_continuous(
            problem, family, 0.3, 50, range(1), make_algorithm("pessimistic_mle"), view, None, "k"
        )
