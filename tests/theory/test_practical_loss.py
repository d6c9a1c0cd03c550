"""The practical losses (9) and (10): their corners, and how they meet at `s = 0`."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from experiments.claims.games.instances import random_simplex
from spac_theory import InputError
from spac_theory.keys import generator
from spac_theory.objective import practical_loss, tabular_game

score = st.floats(-20, 20)
rows = st.lists(st.tuples(score, score, score), min_size=1, max_size=10)


def columns(table):
    return torch.tensor(table, dtype=torch.float64).unbind(-1)


@given(rows, st.floats(0, 50))
def test_without_critic_it_is_lam_times_dpo(table, lam):
    chosen, rejected, play = columns(table)
    dpo = torch.log1p(torch.exp(rejected - chosen)).mean()
    loss = practical_loss(chosen, rejected, play, lam=lam, beta=0.1, w=0.0)
    torch.testing.assert_close(loss.total, lam * dpo, rtol=1e-10, atol=1e-12)


@given(rows, st.floats(0.05, 3), st.floats(0.05, 3))
def test_without_preferences_on_the_chosen_it_is_spin(table, beta, beta_c):
    """`−log σ((β_c/β)(s(y⁺) − s(y′)))`, Chen et al. (2024)."""
    chosen, rejected, play = columns(table)
    spin = torch.log1p(torch.exp(-(beta_c / beta) * (chosen - play))).mean()
    loss = practical_loss(
        chosen, rejected, play, lam=0.0, beta=beta, beta_c=beta_c, baseline="chosen"
    )
    torch.testing.assert_close(loss.total, spin, rtol=1e-9, atol=1e-12)


@given(rows)
def test_both_is_the_mean_of_chosen_and_rejected(table):
    chosen, rejected, play = columns(table)
    for form in ("linear", "smoothed"):
        parts = {
            b: practical_loss(chosen, rejected, play, lam=1.0, beta=0.1, baseline=b, form=form)
            for b in ("both", "chosen", "rejected")
        }
        mean = (parts["chosen"].critic + parts["rejected"].critic) / 2
        torch.testing.assert_close(parts["both"].critic, mean, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("lam", [0.0, 0.5, 4.0])
def test_linear_form_is_the_game(lam):
    """(9) on enumerated responses equals `G(π_t, s)` of the bandit with `ν` the data's responses."""
    rng = generator("linear form")
    contexts, actions, n = 3, 4, 25
    s = torch.from_numpy(rng.normal(0, 1, (contexts, actions)))
    policy = random_simplex(rng, contexts, actions)
    x, a, b = (torch.from_numpy(rng.integers(0, k, n)) for k in (contexts, actions, actions))
    wins = torch.zeros(contexts, actions, actions, dtype=torch.float64)
    wins.index_put_((x, a, b), torch.ones(n, dtype=torch.float64), accumulate=True)
    rho = wins.sum((-2, -1)) / n
    data = (wins.sum(-1) + wins.sum(-2)) / 2
    baseline = data / data.sum(-1, keepdim=True)
    expected = tabular_game(s, policy, baseline, rho, wins / n, lam)
    loss = practical_loss(
        s[x, a], s[x, b], s[x], lam=lam, beta=1.0, form="linear", selfplay_weight=policy[x]
    )
    torch.testing.assert_close(loss.total, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("baseline", ["both", "chosen", "rejected"])
@pytest.mark.parametrize(("beta", "beta_c"), [(0.1, 0.1), (0.1, 0.7), (2.0, 0.3)])
def test_slopes_of_both_forms_agree_at_zero(baseline, beta, beta_c):
    """`w = 2β/β_c` makes the gradient of (10) that of (9) at `s = 0`; `w = 1` does not."""
    gradients = {}
    for form, w in (("linear", 1.0), ("smoothed", 2 * beta / beta_c), ("smoothed", 1.0)):
        s = torch.zeros(3, 6, dtype=torch.float64, requires_grad=True)
        loss = practical_loss(
            *s, lam=3.0, beta=beta, beta_c=beta_c, w=w, baseline=baseline, form=form
        )
        (gradients[form, w],) = torch.autograd.grad(loss.total, s)
    torch.testing.assert_close(gradients["smoothed", 2 * beta / beta_c], gradients["linear", 1.0])
    assert not torch.allclose(gradients["smoothed", 1.0], gradients["linear", 1.0])


@given(rows, st.floats(0, 5), st.floats(0, 5))
def test_smoothed_form_is_never_negative(table, lam, w):
    loss = practical_loss(*columns(table), lam=lam, beta=0.1, w=w)
    assert float(loss.total) >= 0


def test_exact_expectation_is_the_mean_of_many_samples():
    """K columns with weights against their weighted repetition as plain samples."""
    chosen, rejected = torch.tensor([0.3, -0.2]).double(), torch.tensor([0.1, 0.4]).double()
    play = torch.tensor([[0.5, -1.0], [0.2, 0.9]], dtype=torch.float64)
    weight = torch.tensor([[0.75, 0.25], [0.5, 0.5]], dtype=torch.float64)
    exact = practical_loss(chosen, rejected, play, lam=1.0, beta=1.0, selfplay_weight=weight)
    sampled = torch.stack([play[0, [0, 0, 0, 1]], play[1, [0, 0, 1, 1]]])
    mean = practical_loss(chosen, rejected, sampled, lam=1.0, beta=1.0)
    torch.testing.assert_close(exact.total, mean.total)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lam": -1.0}, "lam is -1"),
        ({"beta": 0.0}, "beta is 0"),
        ({"beta_c": -2.0}, "beta_c is -2"),
        ({"w": float("nan")}, "w is nan"),
        ({"baseline": "all"}, "baseline is 'all'; it must be one of"),
        ({"form": "cubic"}, "form is 'cubic'; it must be one of"),
        ({"rejected": torch.zeros(3)}, "must share their first axis"),
    ],
)
def test_bad_input(options, message):
    given_ = {"chosen": torch.zeros(2), "rejected": torch.zeros(2), "selfplay": torch.zeros(2)}
    with pytest.raises(InputError, match=message):
        practical_loss(**{**given_, "lam": 1.0, "beta": 0.1, **options})
