"""The corners of theory (10): DPO with the critic off, SPIN with the preferences off."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llm.methods.objective import Objective

finite = st.floats(-40, 0)


@given(st.lists(st.tuples(*[finite] * 6), min_size=1, max_size=8), st.floats(0.01, 5))
def test_without_critic_it_is_lam_times_dpo(rows, beta):
    table = torch.tensor(rows, dtype=torch.float64).T
    logps, reference = table[:3], table[3:]
    loss, _ = Objective(lam=2.5, beta=beta, w=0.0)(logps, reference)
    log_ratio = (logps[0] - reference[0]) - (logps[1] - reference[1])
    dpo = torch.log1p(torch.exp(-beta * log_ratio)).mean()  # Rafailov et al. (2023), equation 7
    torch.testing.assert_close(loss, 2.5 * dpo, rtol=1e-9, atol=1e-12)


@given(st.lists(st.tuples(*[finite] * 6), min_size=1, max_size=8), st.floats(0.01, 5))
def test_without_preferences_it_is_spin(rows, beta):
    table = torch.tensor(rows, dtype=torch.float64).T
    logps, reference = table[:3], table[3:]
    loss, _ = Objective(lam=0.0, beta=beta, w=1.0, baseline="chosen")(logps, reference)
    log_ratio = (logps[0] - reference[0]) - (logps[2] - reference[2])
    spin = torch.log1p(torch.exp(-beta * log_ratio)).mean()  # Chen et al. (2024), equation 4.7
    torch.testing.assert_close(loss, spin, rtol=1e-9, atol=1e-12)


def test_without_samples_the_critic_must_be_off():
    logps = torch.zeros(2, 3, dtype=torch.float64)
    objective = Objective(lam=1.0, w=0.0)
    assert not objective.uses_selfplay
    loss, metrics = objective(logps, logps)
    assert float(loss) == pytest.approx(0.6931471805599453)
    assert "rewards/selfplay" not in metrics
