"""Every class of bad input gives one sentence that names field, value and remedy."""

import math

import numpy as np
import pytest
import torch

from spac_theory import (
    ContextualBandit,
    Game,
    InputError,
    LearnerView,
    LinearClass,
    PreferenceModel,
    Problem,
    WinnerCounts,
    checks,
    load_plugins,
    make_algorithm,
    make_behaviour,
    make_problem,
    sample_winner_counts,
    tabular_class,
)
from spac_theory.bandit.contextual import tilt
from spac_theory.bandit.preferences import ladder
from spac_theory.bounds.upper import finite_complexity, upper_bound
from spac_theory.links import BRADLEY_TERRY
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.linear import one_hot_features

HALF = torch.tensor([0.5, 0.5], dtype=torch.float64)
TABLE = torch.full((2, 2), 0.5, dtype=torch.float64)
WINS = torch.ones(1, 2, 2, 2, dtype=torch.int64)
CLASS = tabular_class(2, 2, reward_range=(0.0, 1.0))
NAN = float("nan")


def bandit(**changes):
    parts = {"rho": HALF, "features": one_hot_features(2, 2), "reward": torch.eye(2)}
    return ContextualBandit(**{**parts, **changes})


def view(**changes):
    parts = {"rho": HALF, "reference": TABLE, "baseline": TABLE}
    return LearnerView(CLASS, **{**parts, **changes})


def game(**changes):
    parts = {"data": WinnerCounts(WINS), "lam": torch.ones(1), "rho": HALF, "baseline": TABLE}
    return Game(CLASS, **{**parts, **changes})


def counts(table):
    return WinnerCounts(torch.as_tensor(table))


def model(table):
    return PreferenceModel(torch.tensor([table]))


def linear(**bounds):
    return LinearClass(torch.ones(2, 2, 1), **bounds)


def with_nan(shape):
    table = torch.ones(shape, dtype=torch.float64)
    table[(0,) * len(shape)] = NAN
    return table


def unrealizable():
    return Problem(bandit(reward=9 * torch.eye(2)), CLASS, TABLE)


law = torch.full((2, 2, 2), 0.125, dtype=torch.float64)
size = finite_complexity(3, torch.tensor([10]), 0.1)

CASES = {
    # probabilities
    "rho sums": (lambda: bandit(rho=[0.5, 0.6]), ["rho", "1.1", "divide by the sum"]),
    "rho negative": (lambda: bandit(rho=[1.5, -0.5]), ["rho", "-0.5", "at least 0"]),
    "rho nan": (lambda: bandit(rho=[NAN, 1.0]), ["rho[0]", "nan", "finite"]),
    "baseline sums": (lambda: view(baseline=2 * TABLE), ["baseline", "sums to 2", "must sum to 1"]),
    "reference nan": (lambda: view(reference=with_nan((2, 2))), ["reference[0, 0]", "nan"]),
    "policy sums": (lambda: bandit().value(torch.eye(2).double() * 0.7), ["policy", "0.7", "sum to 1"]),
    "suboptimality of counts": (lambda: bandit().suboptimality(3 * TABLE), ["policy", "3"]),
    "tilt reference": (lambda: tilt(TABLE * 3, torch.eye(2), 1.0), ["reference", "3"]),
    "profile": (lambda: Problem(bandit(), CLASS, 3 * TABLE), ["profile", "sums to 3"]),
    "preference range": (lambda: model([[0.5, 1.2], [-0.2, 0.5]]), ["preference", "[0, 1]"]),
    "preference pairs": (lambda: model([[0.5, 0.6], [0.6, 0.5]]), ["preference", "must be 1"]),
    "preference shape": (lambda: model([[0.5, 0.6]]), ["preference", "(1, 1, 2)", "(X, A, A)"]),
    # numbers and arrays
    "features nan": (lambda: bandit(features=with_nan((2, 2, 3))), ["features[0, 0, 0]", "nan"]),
    "features infinite": (
        lambda: bandit(features=math.inf * torch.ones(2, 2, 1)),
        ["features", "inf", "finite"],
    ),
    "features shape": (lambda: bandit(features=torch.ones(2, 3)), ["features", "(2, 3)", "(2, 2"]),
    "features words": (lambda: bandit(features="none"), ["features", "array of numbers", "none"]),
    "reward nan": (lambda: bandit(reward=with_nan((2, 2))), ["reward[0, 0]", "nan"]),
    "one action": (
        lambda: ContextualBandit([1.0], torch.ones(1, 1, 1), [[0.0]]),
        ["reward", "(1, 1)", "A >= 2"],
    ),
    "rho shape": (lambda: view(rho=[1.0]), ["rho", "(1,)", "(2,)"]),
    "class features nan": (
        lambda: LinearClass(with_nan((2, 2, 1)), norm_bound=1.0),
        ["features", "nan"],
    ),
    "members empty": (lambda: FiniteClass(torch.zeros(0, 2, 2)), ["members", "empty", "one"]),
    # counts
    "count negative": (lambda: counts(-WINS), ["wins", "-1", "at least 0"]),
    "count fraction": (lambda: counts(0.5 * WINS), ["wins", "fractional", "whole numbers"]),
    "count nan": (lambda: counts(NAN * WINS), ["wins"]),
    "count shape": (lambda: counts(WINS[0]), ["wins", "(2, 2, 2)", "(S, X, A, A)"]),
    "no comparison": (lambda: counts(0 * WINS), ["n is 0", "n >= 1"]),
    "no seed": (lambda: counts(WINS[:0]), ["n is 0", "n >= 1"]),
    "no array": (lambda: WinnerCounts([[1]]), ["wins", "(S, X, A, A)"]),
    "n zero": (lambda: sample_winner_counts(law, 0, range(1)), ["n is 0", "at least 1"]),
    "n fraction": (lambda: sample_winner_counts(law, 2.5, range(1)), ["n is 2.5", "whole"]),
    "n huge": (lambda: ladder(10**10), ["n is 10000000000", "at most 1000000000"]),
    "n nan": (lambda: ladder(NAN), ["n is nan", "whole number"]),
    "n infinite": (lambda: ladder(math.inf), ["n is inf", "whole number"]),
    "law unnormalised": (lambda: sample_winner_counts(3 * law, 5, range(1)), ["law", "sum"]),
    "law negative": (lambda: sample_winner_counts(-law, 5, range(1)), ["law", "at least 0"]),
    "split of one": (
        lambda: counts([[[[0, 1], [0, 0]]]]).split(0.5, "k"),
        ["n is 1", "n >= 2"],
    ),
    "split share": (lambda: counts(WINS).split(1.0, "k"), ["share is 1", "(0, 1)"]),
    # parameters
    "lam negative": (lambda: game(lam=torch.tensor([-1.0])), ["lam is -1", "[0, 1e+08]"]),
    "lam nan": (lambda: game(lam=torch.tensor([NAN])), ["lam", "nan", "finite"]),
    "lam shape": (lambda: game(lam=torch.ones(3)), ["lam", "(3,)", "(1,)"]),
    "scale negative": (lambda: make_algorithm("spac", scale=-1.0), ["scale is -1", "[0, inf"]),
    "scale infinite": (lambda: make_algorithm("spac", scale=math.inf), ["scale is inf"]),
    "delta zero": (lambda: view(delta=0.0), ["delta is 0", "(0, 1)"]),
    "delta one": (lambda: view(delta=1.0), ["delta is 1", "(0, 1)"]),
    "delta in a bound": (lambda: finite_complexity(2, torch.ones(1), 1.5), ["delta is 1.5"]),
    "kappa": (lambda: BRADLEY_TERRY.kappa(-1.0), ["difference_bound is -1", "[0, 700]"]),
    "negative C": (
        lambda: upper_bound(1.0, -0.1, size, torch.ones(1)),
        ["concentrability is -0.1", "[0, inf"],
    ),
    "data of another size": (
        lambda: game(data=counts(torch.ones(1, 3, 2, 2))),
        ["data", "(3, 2)", "(2, 2)"],
    ),
    "beta words": (lambda: make_algorithm("dpo", beta="small"), ["beta is 'small'", "number"]),
    "beta bool": (lambda: make_algorithm("dpo", beta=True), ["beta is True", "number"]),
    "beta infinite": (lambda: make_algorithm("dpo", beta=math.inf), ["beta is inf"]),
    "iterations": (lambda: make_algorithm("spac_t", iterations=0), ["iterations is 0"]),
    "iterations infinite": (
        lambda: make_algorithm("spac_t", iterations=math.inf),
        ["iterations is inf", "whole number"],
    ),
    "rule": (lambda: make_algorithm("spac", lam="magic"), ["lam", "magic", "sqrt_n"]),
    # classes
    "range reversed": (lambda: linear(reward_range=(1.0, -1.0)), ["reward_range", "(1, -1)", "below"]),
    "range empty": (lambda: tabular_class(2, 2, reward_range=(1.0, 1.0)), ["reward_range", "below"]),
    "range away from zero": (lambda: linear(reward_range=(0.5, 1.0)), ["reward_range", "contain 0"]),
    "range of one": (lambda: linear(reward_range=(0.5,)), ["reward_range", "(low, high)"]),
    "range no pair": (lambda: linear(reward_range=3.0), ["reward_range", "(low, high)"]),
    "no bound": (lambda: linear(), ["norm_bound", "reward_range", "at least one bound"]),
    "norm zero": (lambda: linear(norm_bound=0.0), ["norm_bound is 0", "(0, 1e+06]"]),
    "norm nan": (lambda: linear(norm_bound=NAN), ["norm_bound is nan"]),
    "ball misses range": (
        lambda: tabular_class(2, 2, 0.1, (1.0, 2.0)),
        ["norm_bound is 0.1", "too small", "reward_range"],
    ),
    "rank deficient": (
        lambda: LinearClass(torch.ones(2, 2, 3), reward_range=(-1.0, 1.0)),
        ["norm_bound is None", "rank deficient", "give a norm_bound"],
    ),
    "unrealizable": (unrealizable, ["reward_class", "true reward", "widen"]),
    "radius": (lambda: CLASS.log_covering(0.0), ["radius is 0", "(0, inf"]),
    # names
    "algorithm": (lambda: make_algorithm("dop"), ["algorithm is 'dop'", "dpo", "spac"]),
    "algorithm option": (
        lambda: make_algorithm("dpo", betta=1.0),
        ["'dpo'", "unknown option 'betta'", "beta, ridge"],
    ),
    "no options": (lambda: make_algorithm("uniform", x=1), ["unknown option 'x'", "none"]),
    "behaviour": (lambda: make_behaviour("x"), ["behaviour is 'x'", "coverage"]),
    "problem": (lambda: make_problem("x"), ["problem is 'x'", "tabular"]),
    "problem option": (lambda: make_problem("tabular", actions=1), ["actions is 1", "at least 2"]),
    "rule choice": (lambda: checks.choice("field", 3, ["a", "b"]), ["field is 3", "a, b"]),
    "unhashable choice": (lambda: checks.choice("field", ["a"], ["a", "b"]), ["field is", "a, b"]),
    "plugin missing": (lambda: load_plugins(["/no/such.py"]), ["plugins", "/no/such.py", "existing"]),
    "plugin no python": (lambda: load_plugins([__file__ + "c"]), ["plugins", "existing .py file"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_with_field_value_and_remedy(case):
    call, parts = CASES[case]
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    for part in parts:
        assert part in message, message
    assert message.endswith((".", ".)", ").")), message
    assert "\n" not in message
    assert len(message) < 700


def test_input_errors_are_value_errors():
    assert issubclass(InputError, ValueError)


def test_probabilities_of_less_precision_are_divided_by_their_sum():
    for kind in (np.float32, np.float16, torch.float32, torch.bfloat16):
        rng = np.random.default_rng(0)
        exact = rng.dirichlet(np.ones(7), size=(3, 4))
        given = (
            torch.tensor(exact).to(kind) if isinstance(kind, torch.dtype) else exact.astype(kind)
        )
        found = checks.probabilities("policy", given, (3, 4, 7))
        assert found.dtype == torch.float64
        assert float((found.sum(-1) - 1).abs().max()) < 1e-14
        assert float((found - torch.from_numpy(exact)).abs().max()) < 0.02
    with pytest.raises(InputError, match=r"policy sums to 1.125"):
        checks.probabilities("policy", np.array([0.5, 0.625], dtype=np.float32), (2,))
    double = torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64)
    assert torch.equal(checks.probabilities("policy", double, (3,)), double)


def test_good_input_passes():
    """The same builders without a change are accepted, so the cases fail for their own reason."""
    assert bandit().reward.shape == (2, 2)
    assert view().rho.shape == bandit().rho.shape
    assert game().reward_class is CLASS
    assert counts(WINS).n.tolist() == [float(torch.as_tensor(WINS).sum())]
    assert linear(norm_bound=1.0).norm_bound == 1.0
