"""One small problem, its data, and an online access, shared by the tests of the field."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from spac_theory import (
    LearnerView,
    Oracle,
    PreferenceModel,
    Problem,
    WinnerCounts,
    make_problem,
    sample_winner_counts,
)
from spac_theory.bandit.online import OnlineAccess
from spac_theory.learning.trials import make_trial


@dataclass
class Setting:
    problem: Problem
    view: LearnerView
    data: WinnerCounts
    truth: PreferenceModel

    def oracle(self, budget: int = 60) -> Oracle:
        bandit, seeds = self.problem.bandit, range(len(self.data.n))
        access = OnlineAccess(self.truth, bandit.rho, seeds, budget, bandit.reward)
        return Oracle(1.0, access, self.truth)


def make_setting(
    n: int = 400,
    seeds: int = 3,
    problem: str = "tabular",
    behaviour: Tensor | None = None,
    **options: object,
) -> Setting:
    if problem == "tabular" and not options:
        options = {"contexts": 3, "actions": 4}
    built = make_problem(problem, **options)
    mu = built.profile if behaviour is None else behaviour
    wave = torch.softmax(torch.arange(mu.numel(), dtype=torch.float64).reshape(mu.shape).sin(), -1)
    mu = (mu + wave) / 2
    trial = make_trial(built, mu)
    data = sample_winner_counts(trial.law, n, range(seeds), "field-tests")
    return Setting(built, trial.view, data, trial.preference)


def negative_log_posterior(wins: Tensor, reward: Tensor) -> Tensor:
    """Bradley–Terry loss of one context's `wins (A, A)` and the prior `N(0, I)`, at `reward (A,)`."""
    margin = reward.unsqueeze(-1) - reward.unsqueeze(-2)
    loss = -(wins * torch.nn.functional.logsigmoid(margin)).sum()
    return loss + 0.5 * (reward**2).sum()


@pytest.fixture(scope="session")
def setting() -> Setting:
    return make_setting()
