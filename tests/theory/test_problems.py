"""Problem generators: names tell problems apart, and what is random looks as it should."""

import dataclasses

import numpy as np
import pytest
import torch

from spac_theory import PROBLEMS, InputError, Problem, make_behaviour, make_problem

SMALL = {"continuous": {"evaluation": 100}}
JUDGING = {"evaluation"}  # says where policies are judged, not what the data are


def variations(name):
    """Every option of a problem changed on its own, where the change is allowed."""
    for field in dataclasses.fields(PROBLEMS[name]):
        value = SMALL.get(name, {}).get(field.name, field.default)
        if field.name in JUDGING or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        yield field.name, value + 1 if isinstance(value, int) else value * 0.5


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_two_problems_never_share_a_name(name):
    """The name keys the random streams of the data: equal names only for equal bandits."""
    plain = make_problem(name, **SMALL.get(name, {})).bandit
    changed = 0
    for option, value in variations(name):
        try:
            other = make_problem(name, **{**SMALL.get(name, {}), option: value}).bandit
        except InputError:
            continue
        parts = [(getattr(plain, f), getattr(other, f)) for f in ("rho", "features", "reward")]
        if all(a.shape == b.shape and torch.equal(a, b) for a, b in parts):
            continue
        changed += 1
        assert other.name != plain.name, f"{option}={value} keeps the name {plain.name}"
    assert changed > 0


def test_rare_lucky_is_what_it_says():
    problem = make_problem("rare_lucky", contexts=50, actions=12, rare_mass=0.06)
    reward, profile = problem.bandit.reward, problem.profile
    assert (reward.amax(-1) == 1).all()
    assert ((reward == 0.5).sum(-1) == 1).all()
    rare = (reward < 1) & (reward != 0.5)
    assert (rare.sum(-1) == 10).all()
    assert (reward[rare] >= 0.2).all()
    assert (reward[rare] <= 0.5).all()
    torch.testing.assert_close((profile * rare).sum(-1), torch.full((50,), 0.06).double())
    assert (profile[reward == 1] == 0).all()
    assert len(set(reward.argmax(-1).tolist())) > 6  # the places are shuffled


def test_linear_features_and_parameter_have_length_one():
    problem = make_problem("linear", contexts=6, actions=4, dimension=3)
    features, reward = problem.bandit.features, problem.bandit.reward
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(6, 4, dtype=torch.float64))
    theta = torch.linalg.lstsq(features.flatten(0, 1), reward.flatten()[:, None]).solution
    assert float(theta.norm()) == pytest.approx(1)
    assert problem.reward_class.contains(reward)
    assert not problem.reward_class.contains(1.5 * reward)


def test_a_table_is_realizable_up_to_a_shift_of_each_context():
    """Data and `L` see rewards up to such shifts, and so does the class."""
    problem = make_problem("tabular", contexts=3, actions=4)
    shift = torch.tensor([[5.0], [-3.0], [0.2]], dtype=torch.float64)
    cls, reward = problem.reward_class, problem.bandit.reward
    assert cls.contains(reward + shift)
    assert not cls.contains(3 * reward)


def test_a_profile_of_numpy_is_kept_as_the_tensor_it_was_checked_as():
    inner = make_problem("tabular", contexts=2, actions=3)
    profile = np.array([[0.5, 0.25, 0.25], [0.2, 0.3, 0.5]])
    problem = Problem(inner.bandit, inner.reward_class, profile)
    assert torch.equal(problem.profile, torch.from_numpy(profile))
    policy = make_behaviour("coverage").policy(problem, 0.2)
    assert torch.allclose(policy.sum(-1), torch.ones(2, dtype=torch.float64))
