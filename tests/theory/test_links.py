"""Links: derivatives by autograd, values by SciPy, symmetry, log-concavity."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from spac_theory.links import BRADLEY_TERRY, LINKS, PROBIT, GeneralLink

REFERENCE = {
    "bradley_terry": (special.expit, special.log_expit),
    "probit": (special.ndtr, special.log_ndtr),
}
margins = st.lists(st.floats(-30, 30), min_size=1, max_size=20)


@given(margins)
@pytest.mark.parametrize("name", LINKS)
def test_values_are_scipys(name, z):
    link, (probability, log_probability) = LINKS[name], REFERENCE[name]
    point = torch.tensor(z, dtype=torch.float64)
    np.testing.assert_allclose(link.probability(point), probability(z), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(link.loss(point), -log_probability(z), rtol=1e-10, atol=1e-300)


@given(margins)
@pytest.mark.parametrize("name", LINKS)
def test_derivatives_are_autograds(name, z):
    link = LINKS[name]
    point = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    first, second = link.loss_derivatives(point.detach())
    (by_autograd,) = torch.autograd.grad(link.loss(point).sum(), point)
    torch.testing.assert_close(first, by_autograd, rtol=1e-9, atol=1e-14)
    copy = point.detach().requires_grad_(True)
    (again,) = torch.autograd.grad(link.loss_derivatives(copy)[0].sum(), copy)
    torch.testing.assert_close(second, again, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", LINKS)
def test_derivatives_of_a_table_are_those_of_both_sides(name):
    """By differences of all pairs, in the tails too: there one side is lost beside the other."""
    link, reward = LINKS[name], torch.tensor([0.0, 0.5, -2.0, 9.0]).double()
    z, wins = reward[:, None] - reward, torch.arange(16.0).double().reshape(4, 4)
    slope, curvature = link.table_derivatives(z, wins, wins + wins.T)
    (first, second), (back, bent) = link.loss_derivatives(z), link.loss_derivatives(-z)
    torch.testing.assert_close(slope, wins * first - wins.T * back)
    torch.testing.assert_close(curvature, wins * second + wins.T * bent)
    torch.testing.assert_close(curvature, curvature.T, rtol=1e-15, atol=0)


def test_the_curvature_of_a_table_keeps_its_digits_in_the_tails():
    z = torch.tensor([[0.0, 40.0], [-40.0, 0.0]]).double()
    one = torch.ones_like(z)
    _, curvature = BRADLEY_TERRY.table_derivatives(z, one / 2, one)
    assert float(curvature[0, 1]) == pytest.approx(float(np.exp(-40.0)), rel=1e-12)


@given(margins)
@pytest.mark.parametrize("name", LINKS)
def test_symmetric_decreasing_and_convex(name, z):
    link, point = LINKS[name], torch.tensor(z, dtype=torch.float64)
    total = link.probability(point) + link.probability(-point)
    torch.testing.assert_close(total, torch.ones_like(point), rtol=0, atol=1e-14)
    first, second = link.loss_derivatives(point)
    assert (first <= 0).all()
    assert (second >= 0).all()


def test_kappa_of_probit_keeps_growing():
    """`κ ≥ 1/I(R)` with the Fisher information by SciPy, in the log domain."""
    for bound in (2.0, 6.0, 9.0, 12.0):
        log_density = -(bound**2) / 2 - 0.5 * np.log(2 * np.pi)
        log_information = 2 * log_density - special.log_ndtr(bound) - special.log_ndtr(-bound)
        assert PROBIT.kappa(bound) >= np.exp(-log_information) * (1 - 1e-9)


@given(st.floats(1e-9, 1 - 1e-9))
@pytest.mark.parametrize("link", [BRADLEY_TERRY, PROBIT])
def test_inverse(link, p):
    point = torch.tensor([p], dtype=torch.float64)
    torch.testing.assert_close(link.probability(link.inverse(point)), point, rtol=1e-9, atol=0)


def test_a_link_of_ones_own_says_what_it_lacks():
    class Half(GeneralLink):
        name = "half"

        def probability(self, z):
            return torch.sigmoid(z)

    with pytest.raises(TypeError, match=r"abstract methods? .*inverse.*loss.*loss_derivatives"):
        Half()


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("z", [-1e6, -700.0, -40.0, 40.0, 700.0, 1e6])
def test_far_margins_stay_finite(name, z):
    point = torch.tensor([z], dtype=torch.float64)
    link = LINKS[name]
    for value in (link.loss(point), *link.loss_derivatives(point)):
        assert torch.isfinite(value).all()
    assert float(link.loss(point)) >= 0
