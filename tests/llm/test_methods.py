"""What every registered method must do, whoever wrote it.

Single-token responses are a bandit: with all responses as weighted columns, the loss and the gradient
of a method are those of the algorithm it declares.
"""

import itertools
from dataclasses import replace

import pytest
import torch
from bandit_losses import LOSSES, WIDE, Tables
from transformers import TrainingArguments

from llm.data.row import Row, logp_column
from llm.methods import (
    LIVE,
    METHODS,
    Batch,
    make_method,
    streams_of,
)
from llm.methods.kinds import Decoding
from llm.training.batches import StreamCollator, read
from llm.training.trainer import MethodTrainer
from spac_theory import LearnerView, WinnerCounts, make_algorithm
from spac_theory.algorithms.mpo import magnetic_mirror_descent
from spac_theory.algorithms.sppo import squared_loss_step
from spac_theory.checks import InputError
from spac_theory.learning.preference_game import multiplicative, win_rate
from spac_theory.objective import tabular_margins
from spac_theory.rewards.linear import tabular_class

ALL = list(METHODS)
NAMES = [n for n in ALL if not issubclass(METHODS[n], Decoding)]  # those that train
PROMPTS = [[1, 3, 4], [1, 5, 6], [1, 3, 7, 8]]
ACTIONS = list(range(9, 21))  # twelve one-token responses
X, A, N = len(PROMPTS), len(ACTIONS), 50
EXACT = {
    "chi_po": {"reward_range": WIDE},  # inside the range the bandit's smooth clip is none
    "online_dpo": {"second": "initial"},  # the bandit's pair
    "sppo": {"responses": "all"},  # the expectation that the two extremes stand for
    "sim_oprl": {"finish": "best"},  # the finish whose minimiser is the algorithm's policy
}


def method_of(name):
    return make_method(name, EXACT.get(name, {}))


def world(seed):
    """Random pairs `(x, a, b)` and tables: two frozen policies and a judge's scores."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(X, (N,), generator=g)
    pair = torch.randint(A, (N, 2), generator=g)
    tables = [torch.randn(X, A, generator=g, dtype=torch.float64) for _ in range(3)]
    anchors = {"initial": tables[0].log_softmax(-1), "current": tables[1].log_softmax(-1)}
    anchors |= {
        name: torch.randn(X, A, generator=g, dtype=torch.float64).log_softmax(-1)
        for name in ("magnet", "opponent", "ema")
    }
    wins = torch.zeros(X, A, A, dtype=torch.float64)
    wins.index_put_((x, pair[:, 0], pair[:, 1]), torch.tensor(1 / N, dtype=torch.float64), True)
    return x.tolist(), pair.tolist(), anchors, tables[2], wins


def stored(streams):
    """The streams as if every one were stored in the rows, with all responses as columns."""
    every = {"count": A, "when": "round", "pull": 0.0, "source": "initial"}
    return tuple(s if s.source in ("data", "edit") else replace(s, **every) for s in streams)


def enumerated(method, logp, seed):
    """Rows with every response of a sampled stream, weighted by who writes them."""
    x, pairs, anchors, score, wins = world(seed)
    streams = streams_of(method, samples=1)
    rows = []
    for i, (a, b) in zip(x, pairs, strict=True):
        picks = {s.name: [(a, b)[s.name == "rejected"]] if s.source == "data" else list(range(A))
                 for s in streams}  # fmt: skip
        picks |= {s.name: list(range(s.count)) for s in streams if s.source == "edit"}
        row = Row(PROMPTS[i], {n: [[ACTIONS[c]] for c in p] for n, p in picks.items()})
        for s in streams:
            for name in s.anchors:  # also those that training would make
                row.logp.setdefault(name, {})[s.name] = anchors[name][i, picks[s.name]].tolist()
            if s.labels in ("score", "critic", "elicited"):
                row.score[s.name] = score[i].tolist()
            if s.labels == "pairwise":  # every rival stream is enumerated too
                row.wins[s.name] = torch.sigmoid(score[i][:, None] - score[i]).tolist()
            if s.source not in ("data", "edit"):
                row.weight[s.name] = law_of(s, logp, anchors)[i].exp().tolist()
        rows.append(row)
    return rows, stored(streams), Tables(logp, anchors, score, wins)


def law_of(stream, logp, anchors):
    """`log` of who writes a stream: the weights being trained if live, with `π_1` where it pulls."""
    live = stream.source == "current" and stream.when == "step"
    law = logp.detach() if live else anchors[stream.source]
    return ((1 - stream.pull) * law + stream.pull * anchors["initial"]).log_softmax(-1)


def collated(rows, streams):
    """The batch of stored rows, with the log-probs that a training would make itself."""
    batch = StreamCollator(0, streams)(rows)
    for s in streams:
        for name in set(s.anchors) & set(LIVE):
            values = [r.logp[name][s.name] for r in rows]
            batch[logp_column(name, s.name)] = torch.tensor(values, dtype=torch.float64)
    return batch


def table_of(model):
    """`log π` of the actions."""
    return torch.stack(
        [model(torch.tensor([p])).logits[0, -1].log_softmax(-1)[ACTIONS] for p in PROMPTS]
    )


def trainer_of(method, streams, model, folder):
    arguments = TrainingArguments(output_dir=str(folder), use_cpu=True, report_to=[])
    return MethodTrainer(model, method=method, streams=streams, args=arguments, logp_chunk=7)


@pytest.mark.parametrize("name", [n for n in NAMES if METHODS[n].bandit and n != "spo"])
def test_single_tokens_give_the_loss_and_gradient_of_the_bandit(tiny, tmp_path, name):
    """Through collator, network and trainer on one side, through tables on the other."""
    method = method_of(name)
    kind, options = method.bandit
    model = tiny(dtype=torch.float64, seed=3)
    with torch.no_grad():  # all mass on the actions: expectations over them are exact
        bias = torch.full((24,), -60.0, dtype=torch.float64)
        bias[ACTIONS] = 0.0
    model.lm_head.bias = torch.nn.Parameter(bias, requires_grad=False)
    rows, streams, tables = enumerated(method, table_of(model), seed=1)
    expected = LOSSES[kind](make_algorithm(kind, **options), tables)
    trainer = trainer_of(method, streams, model, tmp_path)
    batch = collated(rows, streams)
    got = trainer.compute_loss(model, batch)
    assert abs(float((got - expected).detach())) < 1e-10
    trained = [p for p in model.parameters() if p.requires_grad]
    ours = torch.autograd.grad(trainer.compute_loss(model, batch), trained)
    theirs = torch.autograd.grad(expected, trained)
    for a, b in zip(ours, theirs, strict=True):
        assert float((a - b).abs().max()) < 1e-10
    assert max(float(a.abs().max()) for a in ours) > 1e-4


SOLVED = [n for n in NAMES if n in ("ipo", "rpo", "simpo", "chi_po", "hypo")]


@pytest.mark.parametrize("name", SOLVED)
def test_the_bandits_solution_is_stationary(name):
    """The gradient of the method's loss at the algorithm's policy is minus that of its ridge."""
    method = method_of(name)
    kind, options = method.bandit
    x, pairs, anchors, _, _ = world(seed=2)
    base = (
        torch.full((X, A), 1 / A, dtype=torch.float64)
        if name == "simpo"
        else anchors["initial"].exp()
    )
    triples = torch.tensor([[i, a, b] for i, (a, b) in zip(x, pairs, strict=True)]).T
    data = WinnerCounts.from_triples(*triples, contexts=X, actions=A)
    rho = torch.full((X,), 1 / X, dtype=torch.float64)
    if name == "hypo":  # its divergence is weighted by the contexts' law, the method's by the rows
        rho = torch.bincount(triples[0], minlength=X).double() / N
    view = LearnerView(tabular_class(X, A, reward_range=(0.0, WIDE)), rho, base, base)
    ridge = 1.0
    policy = make_algorithm(kind, **options, ridge=ridge).fit(view, data).policy.probabilities()[0]
    height = policy.log() - base.log()
    height = (height - height.mean(-1, keepdim=True)).requires_grad_()
    logp = (base.log() + height).log_softmax(-1)
    rows, streams, _ = enumerated(method, logp, seed=2)
    loss, _ = method.loss(of_tables(rows, streams, logp))
    scale = options.get("beta", 1.0) if kind != "ipo" else 1.0
    weight = ridge / N * scale**2
    slope = torch.autograd.grad(loss, height)[0]
    if kind == "ipo":  # its ridge is on τ log π/π_1, of a loss that is τ² times ours
        slope, weight = slope * options["tau"] ** 2, ridge / N * options["tau"] ** 2
    assert float((slope + weight * height.detach()).abs().max()) < 1e-6
    assert float(slope.abs().max()) > 1e-5


@pytest.mark.parametrize("name", ["sppo", "mpo", "nash_md"])
def test_the_bandits_step_or_equilibrium_is_stationary(name):
    """SPPO and MPO: the exact step from `π_t`. Nash-MD: the equilibrium that its step leaves alone."""
    method, seed = method_of(name), 8
    _, options = method.bandit
    _, _, anchors, score, _ = world(seed)
    start, magnet = anchors["current"], anchors["magnet"]
    chances = torch.sigmoid(tabular_margins(score))
    rate = win_rate(chances, start.exp())
    if name == "sppo":
        logp = squared_loss_step(start, rate, method.eta)
    elif name == "mpo":
        pull = method.alpha * method.eta
        pulled = (start + method.eta * rate + pull * magnet) / (1 + pull)
        logp = pulled.log_softmax(-1)
        still = magnetic_mirror_descent(chances[None], start[None], method.eta, method.alpha, 1, 0)
        same = (start + method.eta * rate + pull * start) / (1 + pull)
        torch.testing.assert_close(still[0], same.log_softmax(-1))
    else:
        base = logp = anchors["initial"]
        assert options["eta"] * options["tau"] == method.mixture
        for _ in range(400):
            rival = (0.5 * logp + 0.5 * base).log_softmax(-1)
            logp = multiplicative(rival, win_rate(chances, rival.exp()), options["eta"])
    height = logp.clone().requires_grad_()
    now = height.log_softmax(-1)
    rows, streams, _ = enumerated(method, now, seed)
    loss, _ = method.loss(of_tables(rows, streams, now))
    assert float(torch.autograd.grad(loss, height)[0].abs().max()) < 1e-9
    other = start.clone().requires_grad_()
    rows, streams, _ = enumerated(method, other.log_softmax(-1), seed)
    loss, _ = method.loss(of_tables(rows, streams, other.log_softmax(-1)))
    assert float(torch.autograd.grad(loss, other)[0].abs().max()) > 1e-4


@pytest.mark.parametrize("variant", ["ddp", "dpp", "dpr"])
@pytest.mark.parametrize("coefficient", [None, 1.0])
def test_every_law_of_sail_has_the_algorithms_gradient(variant, coefficient):
    """Released coefficients and the exact gradient, on tables."""
    shares = dict.fromkeys(("ddp", "dpp", "dpr"), 0.0) | {variant: 0.6}
    given = {} if coefficient is None else dict.fromkeys(("rho", "pi", "gamma"), coefficient)
    method = make_method("sail", {**shares, **given})
    algorithm = make_algorithm("sail", variant=variant, share=0.6, **given)
    logp = torch.randn(X, A, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    logp = logp.log_softmax(-1).requires_grad_()
    rows, streams, tables = enumerated(method, logp, seed=9)
    loss, _ = method.loss(of_tables(rows, streams, logp))
    expected = LOSSES["sail"](algorithm, tables)
    assert abs(float((loss - expected).detach())) < 1e-10
    slopes = [torch.autograd.grad(v, logp, retain_graph=True)[0] for v in (loss, expected)]
    mass = [g - logp.detach().exp() * g.sum(-1, keepdim=True) for g in slopes]
    assert float((mass[0] - mass[1]).abs().max()) < 1e-10
    assert float(mass[0].abs().max()) > 1e-4


def test_own_labels_of_sail_say_nothing():
    """DDP and DPP are the same numbers when every label of the data is turned round."""
    method = make_method("sail", {"ddp": 0.5, "dpp": 0.5, "dpr": 0.0})
    logp = torch.randn(X, A, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    logp = logp.log_softmax(-1)
    rows, streams, _ = enumerated(method, logp, seed=9)
    turned = [
        Row(r.prompt, {**r.responses, "chosen": r.responses["rejected"], "rejected": r.responses["chosen"]},
            {a: {**v, "chosen": v["rejected"], "rejected": v["chosen"]} for a, v in r.logp.items()},
            weight=r.weight)
        for r in rows
    ]  # fmt: skip
    losses = [float(method.loss(of_tables(found, streams, logp))[0]) for found in (rows, turned)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-12)
    with pytest.raises(InputError, match=r"ddp \+ dpp \+ dpr is 1\.1"):
        make_method("sail", {"ddp": 0.8})


def test_sppo_as_released_trains_on_the_best_and_the_worst():
    method = make_method("sppo", {})
    wins = torch.tensor([[[0.5, 0.9, 0.8], [0.1, 0.5, 0.4], [0.2, 0.6, 0.5]]], dtype=torch.float64)
    logp = {"own": torch.tensor([[0.3, -0.2, 5.0]], dtype=torch.float64)}
    batch = Batch(
        logp, {}, {"current": {"own": torch.zeros(1, 3, dtype=torch.float64)}}, {}, {"own": wins}
    )
    rates = (2.2 / 3, 1.0 / 3)
    by_hand = ((0.3 - (rates[0] - 0.5)) ** 2 + (-0.2 - (rates[1] - 0.5)) ** 2) / 2
    assert float(method.loss(batch)[0]) == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize("samples", [1, 2])
def test_hypo_is_unbiased_with_one_own_response_and_with_more(samples):
    """Over all draws of own responses the mean gradient is that of `L_DPO + λ KL`."""
    method = make_method("hypo", {"lam": 0.7, "samples": samples})
    logits = torch.randn(4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    logits = logits.requires_grad_()
    base = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64).log()
    mean = torch.zeros(4, dtype=torch.float64)
    for own in itertools.product(range(4), repeat=samples):
        logp, picks = logits.log_softmax(-1), {"chosen": [0], "rejected": [1], "own": [*own]}
        batch = Batch(
            logp={name: logp[at][None] for name, at in picks.items()},
            length={name: torch.ones(1, len(at)) for name, at in picks.items()},
            anchor={"initial": {name: base[at][None] for name, at in picks.items()}},
        )
        chance = float(logp.detach()[[*own]].sum().exp())
        mean += chance * torch.autograd.grad(method.loss(batch)[0], logits)[0]
    logp = logits.log_softmax(-1)
    ratio = logp - base
    want = -torch.nn.functional.logsigmoid(method.beta * (ratio[0] - ratio[1]))
    want = want + 0.7 * (logp.exp() * ratio).sum()
    assert torch.allclose(mean, torch.autograd.grad(want, logits)[0], atol=1e-12)


def of_tables(rows, streams, logp):
    """The batch of these rows when `log π` is the table `logp (X, A)`."""
    batch = collated(rows, streams)
    where = [PROMPTS.index(list(r.prompt)) for r in rows]
    values = [
        torch.stack([logp[i, ACTIONS.index(r.responses[s.name][k][0])]
                     for i, r in zip(where, rows, strict=True)])
        for s in streams for k in range(len(rows[0].responses[s.name]))
    ]  # fmt: skip
    kinds = method_heads(streams)
    told = torch.randn(len(values) * len(rows), 5, generator=torch.Generator().manual_seed(0))
    batch |= {f"told/{name}": told[:, :3].double() for name in kinds}
    return read(batch, torch.cat(values), streams)


def method_heads(streams):
    return {s.head for s in streams if s.head}


@pytest.mark.parametrize("name", NAMES)
def test_streams_and_policies_that_are_not_declared_change_nothing(name):
    method = method_of(name)
    logp = torch.randn(X, A, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    logp = logp.log_softmax(-1).requires_grad_()
    rows, streams, _ = enumerated(method, logp, seed=3)
    batch = of_tables(rows, streams, logp)
    loss, metrics = method.loss(batch)
    nan = torch.full((len(rows), 2), float("nan"), dtype=torch.float64)
    spoiled_names = ("initial", "current", "magnet", "opponent", "other")
    names = [s.name for s in streams]
    spoiled = replace(
        batch,
        logp={**batch.logp, "other": nan},
        length={**batch.length, "other": nan},
        score={"other": nan, **batch.score},
        wins={"other": nan, **batch.wins},
        weight={"other": nan, **batch.weight},
        anchor={
            a: {**dict.fromkeys([*names, "other"], nan), **batch.anchor.get(a, {})}
            for a in spoiled_names
        },
    )
    again, same = method.loss(spoiled)
    assert torch.equal(again, loss)
    assert torch.isfinite(loss)
    for key, value in metrics.items():
        assert torch.isfinite(value), key
        assert torch.equal(same[key], value), key


DRAWN = [n for n in NAMES if any(s.source not in ("data", "edit") for s in method_of(n).streams())]
DRAWN.remove("sim_oprl")  # reads the best and the worst of what was drawn: below


@pytest.mark.parametrize("name", DRAWN)
def test_draws_estimate_what_weights_give(name):
    """The slope of the loss in a random direction, mean over draws, within 3 standard errors."""
    method = method_of(name)
    g = torch.Generator().manual_seed(7)
    logp = torch.randn(X, A, generator=g, dtype=torch.float64).log_softmax(-1).requires_grad_()
    direction = torch.randn(X, A, generator=g, dtype=torch.float64)
    rows, streams, _ = enumerated(method, logp, seed=4)

    def slope(rows, streams):
        # A direction within the simplex, where a score function has mean 0.
        inner = direction - (logp.exp() * direction).sum(-1, keepdim=True)
        loss, _ = method.loss(of_tables(rows, streams, logp))
        return float((torch.autograd.grad(loss, logp)[0] * inner).sum().detach())

    exact = slope(rows, streams)
    counts = {s.name: max(2, s.count) for s in streams_of(method, samples=2)}
    fewer = tuple(s if s.source == "data" else replace(s, count=counts[s.name]) for s in streams)
    found = [slope([drawn(r, streams, counts, g) for r in rows], fewer) for _ in range(60)]
    values = torch.tensor(found)
    assert float(values.std()) > 0
    assert abs(float(values.mean()) - exact) < 3 * float(values.std()) / len(found) ** 0.5


@pytest.mark.parametrize("name", ["sim_oprl", "sppo"])
def test_the_ends_of_a_draw_estimate_the_sum_over_all_draws(name):
    """Two draws a row, the loss reads the better and the worse: its mean is the sum over all pairs."""
    method = make_method(name, {"samples": 2})  # with their defaults: DPO and the extremes
    g = torch.Generator().manual_seed(11)
    logp = torch.randn(X, A, generator=g, dtype=torch.float64).log_softmax(-1)
    rows, streams, _ = enumerated(method, logp, seed=4)
    two = tuple(replace(s, count=2) for s in streams)

    def loss(rows):
        return float(method.loss(of_tables(rows, two, logp))[0])

    exact = 0.0
    for x in range(X):
        mine = [r for r in rows if list(r.prompt) == PROMPTS[x]]
        law = mine[0].weight["own"]
        pairs = list(itertools.product(range(A), repeat=2))
        each = sum(
            law[a] * law[b] * loss([picked(mine[0], two, {"own": [a, b]})]) for a, b in pairs
        )
        exact += len(mine) / len(rows) * each
    found = [loss([drawn(r, two, {"own": 2}, g) for r in rows]) for _ in range(60)]
    values = torch.tensor(found)
    assert float(values.std()) > 0
    assert abs(float(values.mean()) - exact) < 3 * float(values.std()) / len(found) ** 0.5


def drawn(row, streams, counts, g):
    """The row with draws in place of the weighted columns."""
    found = {
        s.name: torch.multinomial(
            torch.tensor(row.weight[s.name]), counts[s.name], replacement=True, generator=g
        ).tolist()
        for s in streams
        if s.source != "data"
    }
    return picked(row, streams, found)


def picked(row, streams, found):
    """The row with these of its weighted columns, each once, without weights."""
    out = Row(
        row.prompt, dict(row.responses), {a: dict(v) for a, v in row.logp.items()}, dict(row.score)
    )
    for s in streams:
        if s.source != "data":
            picks = found[s.name]
            out.responses[s.name] = [row.responses[s.name][c] for c in picks]
            for a in s.anchors:
                out.logp[a][s.name] = [row.logp[a][s.name][c] for c in picks]
            if s.name in row.score:
                out.score[s.name] = [row.score[s.name][c] for c in picks]
            if s.name in row.wins:
                rivals = found[s.against or s.name]
                out.wins[s.name] = [[row.wins[s.name][c][d] for d in rivals] for c in picks]
    return out


def test_beyond_the_clip_chi_po_has_no_gradient():
    method = METHODS["chi_po"](reward_range=1e-6)
    logp = torch.randn(X, A, dtype=torch.float64).log_softmax(-1).requires_grad_()
    rows, streams, _ = enumerated(method, logp, seed=6)
    loss, _ = method.loss(of_tables(rows, streams, logp))
    assert float(torch.autograd.grad(loss, logp)[0].abs().max()) == 0.0
    wide, _ = method_of("chi_po").loss(of_tables(rows, streams, logp))
    assert float(torch.autograd.grad(wide, logp)[0].abs().max()) > 1e-3
