from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spac_theory import InputError
from spac_theory.keys import generator
from spac_theory.statistics import (
    clopper_pearson,
    difference_interval,
    local_slopes,
    log_log_slope,
    mean_interval,
    quantile_interval,
)


def hits(intervals: list[tuple[float, float]], truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in intervals]))


def test_the_bootstrap_of_the_mean_keeps_its_level() -> None:
    rng = generator("test", "mean")
    found = [mean_interval(rng.exponential(size=100), replicates=500) for _ in range(400)]
    assert hits([(i.low, i.high) for i in found], 1.0) == pytest.approx(0.94, abs=0.035)


def test_the_bootstrap_width_is_that_of_the_normal_approximation() -> None:
    samples = generator("test", "width").normal(size=2000)
    width = mean_interval(samples).half_width
    assert width == pytest.approx(1.96 * samples.std() / math.sqrt(2000), rel=0.1)


def test_order_statistics_of_the_median_of_ten() -> None:
    # Binomial(10, 1/2): P(B ≤ 1) = 11/1024, P(B ≤ 2) = 56/1024, so [X_(2), X_(9)] at level 0.95.
    interval = quantile_interval(range(1, 11), 0.5)
    assert (interval.estimate, interval.low, interval.high) == (5, 2, 9)


def test_the_quantile_interval_covers_at_least_its_level_and_not_always() -> None:
    rng = generator("test", "quantile")
    found = [quantile_interval(rng.exponential(size=100), 0.9) for _ in range(1000)]
    share = hits([(i.low, i.high) for i in found], math.log(10))
    assert 0.935 < share < 0.99


@pytest.mark.parametrize(("count", "finite"), [(35, False), (36, True)])
def test_an_upper_limit_of_a_quantile_needs_enough_samples(count: int, finite: bool) -> None:
    # 0.9^35 = 0.02503 > 0.025 > 0.9^36.
    assert math.isfinite(quantile_interval(range(count), 0.9).high) is finite


@given(st.integers(0, 40), st.integers(1, 40))
def test_clopper_pearson_is_mirrored_and_contains_the_estimate(events: int, trials: int) -> None:
    events = min(events, trials)
    one, other = clopper_pearson(events, trials), clopper_pearson(trials - events, trials)
    assert one.low <= one.estimate <= one.high
    assert one.low == pytest.approx(1 - other.high, abs=1e-9)


def test_clopper_pearson_without_events_is_closed_form() -> None:
    assert clopper_pearson(0, 50).high == pytest.approx(1 - 0.025 ** (1 / 50), rel=1e-9)
    assert clopper_pearson(0, 50).low == 0


def test_pairing_removes_what_both_share() -> None:
    rng = generator("test", "pairs")
    shared = rng.normal(size=200) * 10
    paired = difference_interval(shared + 1 + 0.1 * rng.normal(size=200), shared)
    assert paired.low < 1 < paired.high
    assert paired.half_width < 0.05


def test_the_slope_of_a_power_law_is_its_exponent() -> None:
    n = np.array([1e2, 1e3, 1e4, 1e5])
    rows = np.outer(np.ones(30), n**-0.5)
    slope = log_log_slope(n, rows)
    assert (slope.estimate, slope.low, slope.high) == pytest.approx((-0.5, -0.5, -0.5))
    bent = n**-0.5 * (n < 1e4) + 0.1 * (n / 1e3) ** -1.0 * (n >= 1e4)
    steps = [s.estimate for s in local_slopes(n, np.outer(np.ones(30), bent))]
    assert steps[0] == pytest.approx(-0.5)
    assert steps[2] == pytest.approx(-1.0)


def test_the_slope_interval_keeps_its_level_with_exact_zeros() -> None:
    n = np.array([1e2, 1e3, 1e4])
    rng = generator("test", "slope")
    found = []
    for _ in range(300):
        noise = rng.lognormal(sigma=0.5, size=(100, 3)) * (rng.random((100, 1)) > 0.4)
        found.append(log_log_slope(n, noise * n**-0.5, replicates=400))
    assert hits([(i.low, i.high) for i in found], -0.5) == pytest.approx(0.945, abs=0.04)


def test_intervals_depend_on_their_key_alone() -> None:
    samples = generator("test", "key").normal(size=50)
    assert mean_interval(samples, "a") == mean_interval(samples, "a")
    assert mean_interval(samples, "a") != mean_interval(samples, "b")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([]), "samples has shape"),
        (lambda: mean_interval([1, math.nan]), "NaN"),
        (lambda: mean_interval([1.0], level=1), "level is 1"),
        (lambda: difference_interval([1.0], [1.0, 2.0]), "same seeds"),
        (lambda: quantile_interval([1.0], 1.0), "probability is 1"),
        (lambda: clopper_pearson(3, 2), "events is 3"),
        (lambda: log_log_slope([1, 2], np.ones((29, 2))), "29 rows"),
        (lambda: log_log_slope([2, 1], np.ones((30, 2))), "increasing"),
        (lambda: log_log_slope([1, 2], np.zeros((30, 2))), "positive"),
    ],
)
def test_bad_samples_are_one_sentence(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(InputError, match=message):
        call()
