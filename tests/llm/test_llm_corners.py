"""The corners of theory (10): DPO with the critic off, SPIN with the preferences off."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llm.methods import Batch
from llm.methods.spac import Spac

finite = st.floats(-40, 0)
NAMES = ("chosen", "rejected", "own")


def batch_of(rows):
    """A batch of three streams and one response each, and its log-ratios."""
    table = torch.tensor(rows, dtype=torch.float64).T
    logp = {name: table[i].unsqueeze(-1) for i, name in enumerate(NAMES)}
    anchor = {name: table[3 + i].unsqueeze(-1) for i, name in enumerate(NAMES)}
    return Batch(logp, {}, {"current": anchor}), table[:3] - table[3:]


@given(st.lists(st.tuples(*[finite] * 6), min_size=1, max_size=8), st.floats(0.01, 5))
def test_without_critic_it_is_lam_times_dpo(rows, beta):
    batch, ratio = batch_of(rows)
    loss, _ = Spac(lam=2.5, beta=beta, w=0.0).loss(batch)
    dpo = torch.log1p(
        torch.exp(-beta * (ratio[0] - ratio[1]))
    ).mean()  # Rafailov et al., equation 7
    torch.testing.assert_close(loss, 2.5 * dpo, rtol=1e-9, atol=1e-12)


@given(st.lists(st.tuples(*[finite] * 6), min_size=1, max_size=8), st.floats(0.01, 5))
def test_without_preferences_it_is_spin(rows, beta):
    batch, ratio = batch_of(rows)
    loss, _ = Spac(lam=0.0, beta=beta, w=1.0, baseline="chosen").loss(batch)
    spin = torch.log1p(torch.exp(-beta * (ratio[0] - ratio[2]))).mean()  # Chen et al., equation 4.7
    torch.testing.assert_close(loss, spin, rtol=1e-9, atol=1e-12)


def test_without_samples_the_critic_must_be_off():
    method = Spac(lam=1.0, w=0.0)
    assert [stream.name for stream in method.streams()] == ["chosen", "rejected"]
    batch, _ = batch_of([(0.0,) * 6] * 3)
    loss, metrics = method.loss(batch)
    assert float(loss) == pytest.approx(0.6931471805599453)
    assert "rewards/selfplay" not in metrics
