"""SPAC-T of the pipeline is SPAC-T of the bandit when a response is one token."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import TrainingArguments

from llm.data.row import Row
from llm.methods import make_method, streams_of
from llm.stages.follow import worth
from llm.training.batches import StreamCollator, read
from llm.training.critic import CriticTrainer
from spac_theory import Game, WinnerCounts, tabular_class
from spac_theory.objective import tabular_game

PROMPTS = [[1, 3, 4], [1, 5, 6], [1, 7, 8]]
X, A, N = 3, 4, 60
ACTIONS = list(range(9, 9 + A))
BOUND, ETA, LAM = 1.6, 0.8, 3.0
OPTIONS = {"bound": BOUND, "eta": ETA, "lam": LAM, "labels": "raw", "samples": A}


class Table(nn.Module):
    """A network that can be any function of prompt and answer, as a critic."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(X, A, dtype=torch.float64))

    def forward(self, input_ids, attention_mask):
        row = torch.tensor([PROMPTS.index(p) for p in input_ids[:, :3].tolist()])
        return SimpleNamespace(logits=self.table[row, input_ids[:, 3] - ACTIONS[0]].unsqueeze(-1))


@pytest.fixture
def world():
    """Random pairs as rows and as winner counts, and the exact game of the rows."""
    g = torch.Generator().manual_seed(4)
    x = torch.randint(X, (N,), generator=g)
    pair = torch.randint(A, (N, 2), generator=g)
    data = WinnerCounts.from_triples(x, pair[:, 0], pair[:, 1], contexts=X, actions=A)
    rho = torch.bincount(x, minlength=X).double() / N
    shown = data.fraction[0].sum(-1) + data.fraction[0].sum(-2)
    nu = shown / shown.sum(-1, keepdim=True)
    cls = tabular_class(X, A, reward_range=(-BOUND / 2, BOUND / 2))
    start = torch.randn(X, A, generator=g, dtype=torch.float64).log_softmax(-1)
    return SimpleNamespace(
        x=x.tolist(), pair=pair.tolist(), start=start, game=Game(cls, data, LAM, rho, nu)
    )


def rows_of(world, policy, total=None):
    """Every answer as an own response, weighted by `policy`; `total` is the critics' sum."""
    rows = []
    for i, (a, b) in zip(world.x, world.pair, strict=True):
        own = [[t] for t in ACTIONS]
        row = Row(PROMPTS[i], {"chosen": [[ACTIONS[a]]], "rejected": [[ACTIONS[b]]], "own": own})
        row.weight["own"] = policy[i].tolist()
        if total is not None:
            row.logp["initial"] = {"own": world.start[i].tolist()}
            row.score["own"] = total[i].tolist()
        rows.append(row)
    return rows


def trainer_of(method, model, folder):
    streams = streams_of(method, A)
    return CriticTrainer(
        model,
        loss=lambda batch: method.critic_loss(batch, LAM),
        streams=tuple(SimpleNamespace(**{**vars(s), "anchors": ()}) for s in streams),
        bound=BOUND,
        args=TrainingArguments(output_dir=str(folder), use_cpu=True, report_to=[]),
    )


def minimise(parameter, loss):
    """LBFGS to the accuracy of float64."""
    solver = torch.optim.LBFGS(
        [parameter],
        max_iter=2000,
        tolerance_grad=1e-13,
        tolerance_change=1e-17,
        history_size=40,
        line_search_fn="strong_wolfe",
    )

    def closure():
        solver.zero_grad()
        value = loss()
        value.backward()
        return value

    solver.step(closure)


def project(method, world, rows, policy):
    """The policy whose table minimises the method's loss, started from `policy`."""
    logits = policy.log().clone().requires_grad_()
    streams = method.trained(streams_of(method, A))
    batch = StreamCollator(0, streams)(rows)

    def loss():
        logps = logits.log_softmax(-1)[world.x].transpose(0, 1).flatten()
        return method.loss(read(batch, logps, streams))[0]

    minimise(logits, loss)
    return logits.detach().softmax(-1)


def test_loss_and_gradient_of_the_critic_are_those_of_the_game(world, tmp_path):
    """Through collator, network and trainer on one side, through `tabular_game` on the other."""
    method, model = make_method("spac_t", OPTIONS), Table()
    nn.init.normal_(model.table, generator=torch.Generator().manual_seed(1))
    policy = world.start.exp()
    trainer = trainer_of(method, model, tmp_path)
    batch = StreamCollator(0, trainer.streams)(rows_of(world, policy))
    got = trainer.compute_loss(model, batch)
    game = world.game
    reward = BOUND / 2 * torch.tanh(model.table)
    fraction = game.data.fraction[0]
    expected = tabular_game(reward, policy, game.baseline, game.rho, fraction, LAM) / (1 + LAM)
    assert abs(float((got - expected).detach())) < 1e-12
    ours, theirs = (torch.autograd.grad(v, model.table)[0] for v in (got, expected))
    assert float((ours - theirs).abs().max()) < 1e-12
    assert float(ours.abs().max()) > 1e-3


def test_rounds_are_those_of_the_bandit(world, tmp_path):
    """Four rounds, critic and policy by LBFGS, against certified critics and the update (5).

    A bounded output reaches the class's bound only in the limit: 1e-6, not 1e-8, is what LBFGS gives.
    """
    method, policy = make_method("spac_t", OPTIONS), world.start.exp()
    total, logits, exact = torch.zeros(X, A).double(), world.start, policy
    for _ in range(4):
        model = Table()
        trainer = trainer_of(method, model, tmp_path)
        batch = StreamCollator(0, trainer.streams)(rows_of(world, policy))
        minimise(model.table, lambda m=model, t=trainer, b=batch: t.compute_loss(m, b))
        reward = (BOUND / 2 * torch.tanh(model.table)).detach()
        total = total + reward
        answer = world.game.best_response(exact, 1e-12)
        game = world.game
        fraction = game.data.fraction[0]
        value = tabular_game(reward, exact, game.baseline, game.rho, fraction, LAM)
        assert abs(float(value) - float(answer.value)) < 1e-6
        logits = logits + ETA * answer.reward[0]
        policy = project(method, world, rows_of(world, policy, total), policy)
        moved, exact = float((logits.softmax(-1) - exact).abs().max()), logits.softmax(-1)
        assert float((policy - exact).abs().max()) < 1e-4
        assert moved > 1e-2


def test_softened_labels_are_the_mean_over_labels_drawn_from_the_fit():
    """(11) is linear in the labels: the fit's law in place of a draw, nothing else."""
    method = make_method("spac_t", {**OPTIONS, "labels": "softened"})
    raw = make_method("spac_t", OPTIONS)
    g = torch.Generator().manual_seed(2)
    r, fit = (torch.randn(N, 2, generator=g, dtype=torch.float64) for _ in range(2))

    def batch(r, score):
        names = ("chosen", "rejected")
        tables = [{n: t[:, i : i + 1] for i, n in enumerate(names)} for t in (r, score)]
        return read_like(*tables)

    soft = method.critic_loss(batch(r, fit), LAM)[0]
    p = torch.sigmoid(fit[:, 0] - fit[:, 1])
    one = torch.stack([raw.critic_loss(batch(r[i : i + 1], fit), LAM)[0] for i in range(N)])
    other = torch.stack(
        [raw.critic_loss(batch(r[i : i + 1].flip(-1), fit), LAM)[0] for i in range(N)]
    )
    assert abs(float(soft - (p * one + (1 - p) * other).mean())) < 1e-12


def read_like(rewards, score):
    from llm.methods import Batch

    return Batch(rewards, {}, {}, score=score)


def test_the_report_of_a_critic_knows_what_was_learnt_by_heart():
    """A critic that explains the drawn labels better than the held-out fit, beside the fit itself."""
    g = torch.Generator().manual_seed(3)
    fit = torch.randn(400, generator=g, dtype=torch.float64)
    wins = torch.rand(400, generator=g, dtype=torch.float64) < torch.sigmoid(fit)
    truth = torch.where(wins, fit, -fit)  # the fit's margin of the answer that won
    rows = [Row([1], {}, score={"chosen": [m], "rejected": [0.0]}) for m in truth.tolist()]
    own = {"own": [0.3, 0.5]}
    honest = [{"chosen": [m], "rejected": [0.0], **own} for m in truth.tolist()]
    byheart = [{"chosen": [4.0], "rejected": [0.0], **own} for _ in rows]
    said, learnt = worth(honest, rows, 2.0), worth(byheart, rows, 2.0)
    assert (said["memorised"], learnt["memorised"]) == (False, True)
    assert math.isclose(said["distance"], 0.0, abs_tol=1e-12)
    assert math.isclose(said["relative"], 0.4 - float(truth.mean()) / 2)
    assert learnt["game"] == pytest.approx(learnt["relative"] + 2 * learnt["distance"])


def test_dual_ascent_raises_lambda_when_the_critic_is_far_from_the_fit():
    method = make_method("spac_t", {"lam": "dual", "radius": 0.02})
    assert method.next_lam(50.0, 0.03) > 50.0 > method.next_lam(50.0, 0.01)
    assert method.next_lam(50.0, 0.02) == 50.0
    assert make_method("spac_t", {}).next_lam(50.0, 0.03) == 50.0
    assert make_method("spac_t", {}).first_lam(3000) == math.sqrt(3000)
