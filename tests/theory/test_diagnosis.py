from __future__ import annotations

import math

import pytest
import torch

from spac_theory import (
    InputError,
    LearnerView,
    WinnerCounts,
    certify,
    make_algorithm,
    tabular_class,
)
from spac_theory.learning.diagnosis import (
    appearances,
    context_weights,
    contexts_report,
    policies_report,
)
from spac_theory.saddle.game import Game


def counts(*triples: tuple[int, int, int], contexts: int = 2, actions: int = 4) -> WinnerCounts:
    context, winner, loser = zip(*triples, strict=True)
    return WinnerCounts.from_triples(context, winner, loser, contexts=contexts, actions=actions)


def view(data: WinnerCounts, **options: object) -> LearnerView:
    contexts, actions = data.wins.shape[1:3]
    shown = appearances(data)
    cls = tabular_class(contexts, actions, reward_range=(-1.0, 1.0))
    return LearnerView(cls, context_weights(data), shown, shown)


def test_components_of_the_comparison_graph() -> None:
    data = counts((0, 0, 1), (0, 2, 3), (0, 3, 2), (1, 0, 0))
    first, second = contexts_report(data)
    assert (first.comparisons, first.compared_actions, first.components) == (3, 4, 2)
    assert (second.comparisons, second.compared_actions, second.components) == (0, 0, 0)
    joined = contexts_report(counts((0, 0, 1), (0, 2, 3), (0, 1, 2)))[0]
    assert joined.components == 1


def test_shares_of_the_data() -> None:
    data = counts((0, 0, 1), (0, 0, 2), (0, 0, 0))
    assert context_weights(data).tolist() == [1.0, 0.0]
    assert appearances(data)[0].tolist() == pytest.approx([4 / 6, 1 / 6, 1 / 6, 0])
    assert appearances(data)[1].tolist() == [0.25] * 4


def test_mass_and_concentrability_of_one_pair() -> None:
    # One context, actions 0 and 1 compared n times: Σ_D is the Laplacian of one edge of weight 1,
    # and a policy that moves mass m along that edge has C = m².
    data = counts((0, 0, 1), (0, 1, 0), contexts=1, actions=3)
    move = torch.tensor([[0.9, 0.1, 0.0]], dtype=torch.float64)
    away = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
    dust = torch.tensor([[0.9, 0.1 - 1e-11, 1e-11]], dtype=torch.float64)  # of a solver
    report = policies_report(view(data), data, {"move": move, "away": away, "dust": dust})
    assert report["dust"].concentrability == pytest.approx(0.4**2)
    assert report["move"].concentrability == pytest.approx(0.4**2)
    assert report["move"].unseen_mass == 0
    assert math.isinf(report["away"].concentrability)
    assert report["away"].unseen_mass == pytest.approx(0.2)


def test_certified_values_against_the_game() -> None:
    data = counts(*[(0, 0, 1)] * 30, *[(0, 1, 2)] * 20, *[(1, 3, 0)] * 14)
    setting = view(data)
    fit = make_algorithm("spac").fit(setting, data)
    policy = fit.policy.probabilities()[0]
    report = policies_report(setting, data, {"ν": setting.baseline, "spac": policy})
    game = Game(setting.reward_class, data, data.n.double().sqrt(), setting.rho, setting.baseline)
    lower = certify(game, policy[None], fit.reward).lower
    best = game.best_response(setting.baseline[None]).value  # at ν only λ E_D is left
    assert report["spac"].pessimistic_value == pytest.approx(float(lower - best), abs=1e-6)
    assert report["ν"].pessimistic_value == pytest.approx(0, abs=1e-6)
    assert report["ν"].improvement == pytest.approx(0, abs=1e-9)
    assert report["spac"].improvement <= report["spac"].improvement_asymptotic


def test_the_lower_bound_holds_for_the_true_reward() -> None:
    """For a reward of the class, `J(π) − J(ν)` is above the bound in at least 1 − δ of data sets."""
    from spac_theory import (
        PreferenceModel,
        make_behaviour,
        make_problem,
        pair_law,
        sample_winner_counts,
        winner_law,
    )

    problem = make_problem("rare_lucky", contexts=2, actions=4)
    bandit = problem.bandit
    mu = make_behaviour("coverage").policy(problem, 0.3)
    law = winner_law(bandit.rho, pair_law(mu), PreferenceModel.from_reward(bandit.reward))
    setting = LearnerView(problem.reward_class, bandit.rho, mu, mu)
    for seed in range(10):
        data = sample_winner_counts(law, 20_000, [seed], "diagnosis")
        policy = make_algorithm("spac").fit(setting, data).policy.probabilities()[0]
        report = policies_report(setting, data, {"spac": policy})["spac"]
        gain = float(bandit.value(policy) - bandit.value(mu))
        assert report.improvement <= gain
        assert report.improvement_asymptotic <= gain
        assert report.improvement_asymptotic > 0


def test_bad_input_is_one_sentence() -> None:
    data = counts((0, 0, 1))
    with pytest.raises(InputError, match="policy 'x' has shape"):
        policies_report(view(data), data, {"x": torch.ones(1, 4)})
    with pytest.raises(InputError, match="sums to"):
        policies_report(view(data), data, {"x": torch.ones(2, 4)})
    twice = WinnerCounts(data.wins.repeat(2, 1, 1, 1))
    with pytest.raises(InputError, match="2 data sets"):
        policies_report(view(data), twice, {"x": torch.ones(2, 4)})


def test_policies_a_few_at_a_time_have_the_same_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    from spac_theory.learning import diagnosis

    data = counts(*[(0, 0, 1), (0, 2, 3), (1, 1, 0), (1, 3, 2)] * 20)
    told = view(data)
    tables = {str(i): torch.rand(2, 4, dtype=torch.float64).softmax(-1) for i in range(5)}
    whole = policies_report(told, data, tables)
    monkeypatch.setattr(diagnosis, "LARGEST_BATCH", 1)
    for name, report in policies_report(told, data, tables).items():
        assert report.improvement == pytest.approx(whole[name].improvement, abs=1e-12)
        assert report.pessimistic_value == pytest.approx(whole[name].pessimistic_value, abs=1e-12)
