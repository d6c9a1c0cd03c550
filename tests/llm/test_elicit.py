"""Sim-OPRL's questions: the bandit's posterior on one-hot features, pairs, pessimism and budget."""

import itertools

import pytest
import torch
from small_runs import Killed
from test_rounds import pipeline

from experiments.common.files import read_json
from llm.files.digests import read_rows
from llm.methods import Batch, make_method
from llm.methods.kinds import Elicitation
from llm.stages.elicit import belief, disputed, posterior, sizes
from llm.worlds.referee import LanguageJudge
from spac_theory import LearnerView, WinnerCounts, make_algorithm
from spac_theory.algorithms.sim_oprl import (
    laplace_covariance,
    most_disputed,
    pair_variance,
    posterior_mode,
)
from spac_theory.bandit.online import OnlineAccess
from spac_theory.bandit.preferences import PreferenceModel
from spac_theory.objective import tabular_margins, tabular_preference_loss
from spac_theory.rewards.linear import tabular_class
from spac_theory.view import Oracle

X, A = 3, 4


def one_hot():
    """Every response of every prompt as an axis of its own, `(X, A, X·A)`."""
    return torch.eye(X * A, dtype=torch.float64).view(X, A, X * A)


def answers(count, seed=0):
    """Random questions with their answers."""
    g = torch.Generator().manual_seed(seed)
    picks = torch.stack(
        [torch.randint(n, (count,), generator=g) for n in (X, A, A, 2)], -1
    ).tolist()
    return [{"row": x, "first": a, "second": b, "wins": float(w)} for x, a, b, w in picks]


def test_on_one_hot_features_belief_and_bound_are_the_bandits():
    asked = answers(60)
    wins = torch.zeros(1, X, A, A, dtype=torch.int64)
    for q in asked:
        pair = (q["first"], q["second"]) if q["wins"] else (q["second"], q["first"])
        wins[0, q["row"], pair[0], pair[1]] += 1
    uniform = torch.full((X, A), 1 / A, dtype=torch.float64)
    rho = torch.full((X,), 1 / X, dtype=torch.float64)
    view = LearnerView(tabular_class(X, A, reward_range=(0.0, 50.0)), rho, uniform, uniform)
    reward, _ = posterior_mode(view, wins)
    covariance = laplace_covariance(reward, wins, view)[0]
    known = posterior(one_hot(), asked)
    torch.testing.assert_close(known.mode.view(X, A), reward[0], rtol=0, atol=1e-5)
    blocks = known.covariance.view(X, A, X, A)
    for x in range(X):
        torch.testing.assert_close(blocks[x, :, x], covariance[x], rtol=0, atol=1e-5)
    spread = covariance - covariance.mean(-1, keepdim=True) - covariance.mean(-2, keepdim=True)
    spread = (spread + covariance.mean((-1, -2), keepdim=True)).diagonal(dim1=-2, dim2=-1).sqrt()
    torch.testing.assert_close(
        known.lower(one_hot(), 1.5), reward[0] - 1.5 * spread, rtol=0, atol=1e-5
    )


def test_the_mode_is_where_the_slope_is_zero():
    g = torch.Generator().manual_seed(1)
    delta = torch.randn(30, 5, generator=g, dtype=torch.float64) * 3
    wins = torch.rand(30, generator=g, dtype=torch.float64)  # chances, as a judge model gives them
    w = belief(delta, wins).mode.requires_grad_()
    p = torch.sigmoid(delta @ w)
    height = (
        torch.nn.functional.binary_cross_entropy(p, wins, reduction="sum") + w.square().sum() / 2
    )
    assert float(torch.autograd.grad(height, w)[0].abs().max()) < 1e-8


def test_the_most_disputed_pair_by_a_plain_loop():
    features = torch.randn(6, A, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    known = belief(torch.randn(9, 5, dtype=torch.float64), torch.ones(9, dtype=torch.float64))
    pairs = disputed(features, known, 3, torch.Generator().manual_seed(3))
    draws = known.draws(3, torch.Generator().manual_seed(3))
    for row, pair in zip(features, pairs.tolist(), strict=True):
        best = {int((row @ w).argmax()) for w in draws}
        rivals = best if len(best) > 1 else set(range(A))

        def doubt(pair, row=row):
            gap = row[pair[0]] - row[pair[1]]
            return float(gap @ known.covariance @ gap)

        allowed = [
            (a, b) for a, b in itertools.permutations(range(A), 2) if a in best and b in rivals
        ]
        assert doubt(pair) == pytest.approx(max(doubt(p) for p in allowed))
        assert pair[0] != pair[1]
    table = torch.eye(A, dtype=torch.float64).expand(1, A, A)
    same = torch.zeros(2, 1, A, dtype=torch.float64)
    same[..., 2] = 1.0
    (agreed,) = most_disputed(same, pair_variance(table)).nonzero().tolist()
    assert agreed[1] == 2  # the optimum all agree on, against a rival


class Noted(OnlineAccess):
    """Online access that keeps the labels it gave."""

    def label(self, requests):
        wins = super().label(requests)
        self.given = getattr(self, "given", 0) + wins
        return wins


def test_on_the_labels_of_the_bandit_the_whole_method_is_the_bandits():
    """Its own questions and answers, our posterior, bound and loss: the likelihood of its policy, and DPO."""
    g = torch.Generator().manual_seed(4)
    uniform = torch.full((X, A), 1 / A, dtype=torch.float64)
    rho = torch.full((X,), 1 / X, dtype=torch.float64)
    view = LearnerView(tabular_class(X, A, reward_range=(0.0, 50.0)), rho, uniform, uniform)
    reward = 3 * torch.rand(X, A, generator=g, dtype=torch.float64)
    access = Noted(PreferenceModel(torch.sigmoid(tabular_margins(reward))), rho, [0], budget=60)
    unread = WinnerCounts(torch.ones(1, X, A, A, dtype=torch.int64))
    algorithm = make_algorithm("sim_oprl", rounds=4)
    policy = algorithm.fit(view, unread, Oracle(0.0, online=access)).policy.probabilities()[0]
    asked = [
        {"row": x, "first": a, "second": b, "wins": 1.0}
        for x, a, b in access.given[0].nonzero().tolist()
        for _ in range(int(access.given[0, x, a, b]))
    ]
    assert len(asked) == 60
    lower = posterior(one_hot(), asked).lower(one_hot(), algorithm.width)
    logp, base = (
        torch.randn(X, A, generator=g, dtype=torch.float64).log_softmax(-1) for _ in range(2)
    )
    logp.requires_grad_()
    batch = Batch({"own": logp}, {}, {"initial": {"own": base}}, {"own": lower})
    best = -(rho[:, None] * policy * logp).sum()
    ends = torch.zeros(X, A, A, dtype=torch.float64)
    ends[torch.arange(X), policy.argmax(-1), lower.argmin(-1)] = rho
    dpo = tabular_preference_loss(0.3 * (logp - base), ends)
    for finish, expected in (("best", best), ("dpo", dpo)):
        loss, _ = make_method("sim_oprl", {"finish": finish}).loss(batch)
        assert abs(float((loss - expected).detach())) < 1e-10
        ours, theirs = (
            torch.autograd.grad(v, logp, retain_graph=True)[0] for v in (loss, expected)
        )
        assert float((ours - theirs).abs().max()) < 1e-10
        assert float(ours.abs().max()) > 1e-4


def test_the_finish_trains_on_the_ends_of_the_bound():
    batch = Batch(
        {"own": torch.tensor([[-1.0, -2.0, -3.0]])}, {},
        {"initial": {"own": torch.tensor([[-2.0, -2.0, -2.0]])}}, {"own": torch.tensor([[0.1, 0.9, -0.5]])},
    )  # fmt: skip
    dpo, best = (make_method("sim_oprl", {"finish": f, "beta": 0.5}) for f in ("dpo", "best"))
    assert float(dpo.loss(batch)[0]) == pytest.approx(0.4740769842)  # −log σ(½ (0 − (−1)))
    assert float(best.loss(batch)[0]) == 2.0


def test_a_budget_is_spent_once_and_survives_a_kill(tmp_path, monkeypatch):
    assert sizes(Elicitation(10, 4, 2, 1.0, 4)) == [2, 3, 2, 3]
    options = (
        "methods=[sim_oprl]",
        "rounds=2",
        "methods.sim_oprl.budget=20",
        "methods.sim_oprl.rounds=3",
    )
    options += ("methods.sim_oprl.samples=4", "methods.sim_oprl.dimension=6")
    asked, left = LanguageJudge.__call__, [2]

    def dying(self, prompts, given):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return asked(self, prompts, given)

    with monkeypatch.context() as patch:
        patch.setattr(LanguageJudge, "__call__", dying)
        with pytest.raises(Killed):
            pipeline(tmp_path, *options)()
    home = tmp_path / "sim_oprl/round-01/label-own"
    before = [read_rows(p) for p in sorted((home / "parts").iterdir())]
    assert [len(part) for part in before] == [6, 7]
    results = pipeline(tmp_path, *options)()["sim_oprl"]
    questions = read_rows(home / "asked.parquet")
    assert questions[:13] == before[0] + before[1]
    assert len(questions) == 20
    assert all(q["first"] != q["second"] and q["wins"] in (0.0, 1.0) for q in questions)
    given = [{name: r[name] for name in ("labels", "samples", "steps")} for r in results]
    assert given[0] == {"labels": 20, "samples": 4 * 48, "steps": 6}
    assert given[1] == {"labels": 20, "samples": 4 * 48, "steps": 12}  # once for all rounds
    stages = read_json(tmp_path / "manifest.json")["stages"]
    assert not any(name.startswith("sim_oprl/round-02/sample") for name in stages)
