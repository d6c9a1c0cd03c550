"""The scaling of the ball's cone against its closed forms, and the step to its boundary."""

import torch

from spac_theory.solvers.cone import ConePoint, Scaling, longest_step

RADIUS = 1.7


def _pair(seed, lanes=6, p=4):
    rng = torch.Generator().manual_seed(seed)
    theta, y = torch.randn(2, lanes, p, dtype=torch.float64, generator=rng)
    theta = 0.9 * RADIUS * theta / theta.norm(dim=-1, keepdim=True).clamp_min(1)
    y0 = y.norm(dim=-1, keepdim=True) * 1.01 + 1e-3
    det = RADIUS**2 - (theta**2).sum(-1, keepdim=True)
    return theta, ConePoint(y0, y), det, Scaling(RADIUS, theta, det, ConePoint(y0, y))


def test_the_scaling_takes_the_slack_to_the_multiplier():
    """`W⁻² s = y`, from the blocks that the Newton matrix uses."""
    theta, y, _, w = _pair(0)
    along = (w.w1 * theta).sum(-1, keepdim=True)
    tail = w.shift * theta + w.rank_one * w.w1 * (along - w.w0 * RADIUS)
    torch.testing.assert_close(tail, y.tail)
    norm = w.w0**2 - (w.w1**2).sum(-1, keepdim=True)
    torch.testing.assert_close(norm, torch.ones_like(norm))
    product = RADIUS * y.head + (theta * y.tail).sum(-1, keepdim=True)
    torch.testing.assert_close(w.product, product)


def test_the_target_without_a_predictor_is_the_inverse_of_the_slack():
    """`−y + τ s⁻¹` with `s⁻¹ = (B, −θ)/(B² − ‖θ‖²)`."""
    theta, y, det, w = _pair(1)
    tau, nothing = torch.full_like(det, 0.3), torch.zeros_like(det)
    found = w.target(tau, torch.zeros_like(theta), nothing, None)
    torch.testing.assert_close(found.head, 0.3 * RADIUS / det - y.head)
    torch.testing.assert_close(found.tail, -0.3 * theta / det - y.tail)


def test_the_target_solves_the_second_order_equation():
    """`λ ∘ W(dy) = τe − λ∘λ − share · (W⁻¹ds)∘(W dy′)` at `ds = 0`, in parts written out by hand."""
    theta, y, _, w = _pair(2)
    ds = 0.1 * torch.roll(theta, 1, 0)
    along = (w.w1 * ds).sum(-1, keepdim=True)
    share, tau = torch.full_like(along, 0.6), torch.full_like(along, 0.2)
    found = w.target(tau, ds, along, share)

    def scaled(head, tail, sign, power):
        """`W` (sign and power 1) or `W⁻¹` (both −1) of a point, as a matrix."""
        eye = torch.eye(ds.shape[-1], dtype=torch.float64)
        out = []
        for lane in range(len(ds)):
            w0, w1, eta = w.w0[lane], w.w1[lane], w.shift[lane] ** (-0.5 * power)
            block = eye + torch.outer(w1, w1) / (1 + w0)
            rows = torch.cat([sign * w1[:, None], block], 1)
            matrix = torch.cat([torch.cat([w0, sign * w1])[None], rows])
            out.append(eta * matrix @ torch.cat([head[lane], tail[lane]]))
        return torch.stack(out)

    def product(a, b):
        tail = a[:, :1] * b[:, 1:] + b[:, :1] * a[:, 1:]
        return torch.cat([(a * b).sum(-1, keepdim=True), tail], 1)

    lam = scaled(y.head, y.tail, 1, 1)
    torch.testing.assert_close(lam, scaled(torch.full_like(y.head, RADIUS), theta, -1, -1))
    v = scaled(torch.zeros_like(along), ds, -1, -1)
    right = -product(lam, lam) - share * product(v, -lam - v)
    right[:, :1] += tau
    torch.testing.assert_close(product(lam, scaled(found.head, found.tail, 1, 1)), right)


def test_the_longest_step_ends_on_the_boundary():
    theta, _, det, _ = _pair(3)
    step = torch.randn(theta.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    size, inner = (step**2).sum(-1, keepdim=True), (theta * step).sum(-1, keepdim=True)
    alpha = longest_step(-size, -inner, det)
    assert (alpha > 0).all()
    norm = (theta + alpha * step).norm(dim=-1)
    torch.testing.assert_close(norm, torch.full_like(norm, RADIUS))
    inside = longest_step(torch.ones_like(det), torch.ones_like(det), det)
    assert inside.isinf().all()
