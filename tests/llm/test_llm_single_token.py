"""One objective, two paths: single-token responses are a bandit, and both paths must agree.

The bandit side works on tables `s(x,a)` and exact frequencies through `tabular_*`; the
language-model side works on rows of token ids through the trainer's own loss.
"""

import pytest
import torch
from small_runs import gradient
from transformers import TrainingArguments

from llm.data.row import Row
from llm.methods import streams_of
from llm.methods.spac import Spac
from llm.training.batches import StreamCollator
from llm.training.trainer import MethodTrainer
from spac_theory.objective import game_value, tabular_game, tabular_preference_loss

PROMPTS = [[1, 3, 4], [1, 5, 6], [1, 3, 7, 8]]
ACTIONS = list(range(9, 21))  # twelve one-token responses
X, A, N, K = len(PROMPTS), len(ACTIONS), 60, 3


def rows_and_tables(seed):
    """Random rows with reference log-probs, and the same data as exact frequencies."""
    g = torch.Generator().manual_seed(seed)
    reference = torch.randn(X, A, generator=g, dtype=torch.float64).log_softmax(-1)
    x = torch.randint(X, (N,), generator=g)
    pick = torch.randint(A, (N, 2 + K), generator=g)
    rows = []
    for i in range(N):
        row_reference = reference[x[i], pick[i]].tolist()
        ids = [[ACTIONS[a]] for a in pick[i].tolist()]
        responses = {"chosen": ids[:1], "rejected": ids[1:2], "own": ids[2:]}
        r = row_reference
        logps = {"chosen": r[:1], "rejected": r[1:2], "own": r[2:]}
        rows.append(Row(PROMPTS[x[i]], responses, {"current": logps}))
    wins = torch.zeros(X, A, A, dtype=torch.float64)
    play = torch.zeros(X, A, dtype=torch.float64)
    joint = torch.zeros(X, A, A, A, dtype=torch.float64)  # chosen, rejected, self-play
    for i in range(N):
        a, b = int(pick[i, 0]), int(pick[i, 1])
        wins[x[i], a, b] += 1 / N
        for c in pick[i, 2:].tolist():
            play[x[i], c] += 1 / (N * K)
            joint[x[i], a, b, c] += 1 / (N * K)
    return rows, reference, wins, play, joint


def bandit_loss(model, objective, reference, wins, play, joint):
    """The same objective from the table of the model's next-token log-probs."""
    tables = [model(torch.tensor([p])).logits[0, -1].log_softmax(-1)[ACTIONS] for p in PROMPTS]
    s = objective.beta * (torch.stack(tables) - reference)
    rho = wins.sum((-1, -2))
    share = {"both": 0.5, "chosen": 1.0, "rejected": 0.0}[objective.baseline]
    if objective.form == "linear":
        nu = (share * wins.sum(-1) + (1 - share) * wins.sum(-2)) / rho.unsqueeze(-1)
        policy = play / rho.unsqueeze(-1)
        return tabular_game(s, policy, nu, rho, wins, objective.lam)
    beats = share * joint.sum(2) + (1 - share) * joint.sum(1)  # data response beats self-play
    ratio = (objective.beta_c or objective.beta) / objective.beta
    critic = objective.w * tabular_preference_loss(ratio * s, beats)
    return game_value(critic, tabular_preference_loss(s, wins), objective.lam)


@pytest.mark.parametrize("form", ["linear", "smoothed"])
@pytest.mark.parametrize("baseline", ["both", "chosen", "rejected"])
@pytest.mark.parametrize(("lam", "w"), [(30.0, 1.0), (0.0, 2.0), (0.7, 0.0)])
def test_single_token_responses_are_the_exact_bandit(tiny, tmp_path, form, baseline, lam, w):
    objective = Spac(lam=lam, beta=0.3, beta_c=0.9, w=w, baseline=baseline, form=form)
    model = tiny(dtype=torch.float64, seed=3)
    rows, *tables = rows_and_tables(seed=int(lam) + len(form))
    expected = bandit_loss(model, objective, *tables)
    streams = streams_of(objective, samples=K)
    trainer = MethodTrainer(
        model,
        method=objective,
        streams=streams,
        args=TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[]),
        logp_chunk=7,
    )
    batch = StreamCollator(0, streams)(rows)
    got = trainer.compute_loss(model, batch)
    assert abs(float((got - expected).detach())) < 1e-10
    ours = gradient(model, got)
    assert float((ours - gradient(model, expected)).abs().max()) < 1e-10
    assert float(ours.abs().max()) > 1e-4
