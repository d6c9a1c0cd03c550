"""What a decoder does: its exact law on a language, its answers to held-out prompts elsewhere.

The policy is the start; nothing is trained. A decoder may give a text no mass, so held-out pairs have no
finite log-probs and no preference accuracy; what its own answers show is reported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llm.data.encode import prompt_ids, prompt_text, response_ids
from llm.data.padding import Ids, by_length, pad, put_back
from llm.data.row import Row
from llm.files import processes
from llm.files.digests import write_rows
from llm.files.parts import part_seed, pieces
from llm.methods.kinds import Decoding
from llm.models.decoding import Mixed
from llm.models.engines import Ends, GenerationSettings, draw
from llm.models.load import load_model
from llm.stages import measure
from llm.worlds.world import World
from spac_theory.checks import InputError

MARK = "QUERY"
Shown = tuple[list[int], list[int] | None]


@torch.no_grad()
def logps(
    model: Any, shown: Shown, responses: Sequence[Ids], method: Decoding, pad_id: int
) -> Tensor:
    """`log q(y|x)` of every response after one prompt as the decoder shows it, `(A,)` float64."""
    told, plain = (None if s is None else _logits(model, s, responses, pad_id) for s in shown)
    assert told is not None
    law = method.law(told, plain)
    lengths = torch.tensor([len(y) for y in responses]).unsqueeze(-1)
    targets = torch.tensor([[*y, *[pad_id] * (law.shape[1] - len(y))] for y in responses])
    picked = law.gather(-1, targets.unsqueeze(-1)).squeeze(-1).log()
    real = torch.arange(law.shape[1]) < lengths
    return torch.where(real, picked, 0.0).sum(-1)


def _logits(model: Any, prompt: Ids, responses: Sequence[Ids], pad_id: int) -> Tensor:
    """Logits before every token of the responses, `(A, L, V)` float64."""
    batch = pad([prompt] * len(responses), responses, pad_id)
    device = next(model.parameters()).device
    out = model(batch["input_ids"].to(device), attention_mask=batch["attention_mask"].to(device))
    found: Tensor = out.logits[:, len(prompt) - 1 : -1].double().cpu()
    return found


def table(model: Any, language: World, tokenizer: Any, method: Decoding) -> Tensor:
    """`log q(y|x)` of every response at every prompt, `(X, A)`."""
    turns = [{"role": "user", "content": language.prompts[0]}]
    responses = [response_ids(tokenizer, turns, y) for y in language.responses]
    asked = [shown(tokenizer, x, method, turned=True) for x in language.prompts]
    pad_id = tokenizer.pad_token_id
    return torch.stack([logps(model.eval(), s, responses, method, pad_id) for s in asked])


def shown(tokenizer: Any, prompt: str, method: Decoding, turned: bool) -> Shown:
    """Token ids of what a decoder shows for a prompt, a turn of a conversation or plain text."""
    told, plain = method.texts(prompt)

    def ids(text: str) -> list[int]:
        return prompt_ids(tokenizer, [{"role": "user", "content": text}] if turned else text)

    return ids(told), None if plain is None else ids(plain)


def answer(
    model: Any,
    prompts: Sequence[Shown],
    method: Decoding,
    s: GenerationSettings,
    ends: Ends,
    seed: int,
) -> list[list[list[int]]]:
    """Answers by `model.generate`, every token from the decoder's law."""

    @contextlib.contextmanager
    def same() -> Iterator[Any]:
        yield model

    plain = [p for _, p in prompts if p is not None]

    def combine(told: Tensor, beside: Tensor) -> Tensor:
        return method.law(told, beside).log()

    def alone(_: Tensor, told: Tensor) -> Tensor:
        return method.law(told.float(), None).log()

    mixed = Mixed(same, plain, s.samples, ends.pad, combine) if plain else alone
    return draw(model, [told for told, _ in prompts], s, ends, seed, mixed)


def held_out(folder: Path, bench: measure.Bench, start: str, method: Decoding) -> dict[str, Any]:
    """Answers to held-out prompts, their reward, length, and KL to the start."""
    prompts = list({r.key: r for r in bench.rows}.values())[: bench.evaluation.prompts]
    if not prompts:
        return {}
    model = load_model(start, bench.model).to(processes.device()).eval()
    tok, s = bench.tokenizer, bench.generation
    s = GenerationSettings(s.engine, bench.evaluation.samples, 1.0, 1.0, s.max_new_tokens, s.batch)
    seen = [_rendered(bench, row.prompt, method) for row in prompts]
    order, drawn = by_length([told for told, _ in seen]), list[list[list[int]]]()
    for span in pieces(len(prompts), s.batch):
        part = [seen[order[i]] for i in span]
        seed = part_seed("held-out", bench.seed, span.start)
        drawn += answer(model, part, method, s, Ends(tok.pad_token_id, tok.eos_token_id), seed)
    given = []
    for row, told, ys in zip(prompts, seen, put_back(drawn, order), strict=True):
        values = logps(model, told, ys, method, tok.pad_token_id).tolist()
        for y, value in zip(ys, values, strict=True):
            given.append({**measure.written(row, y, bench), "logp": value})
    measure.reward(given, bench)
    asked = [Row(a["prompt_ids"], {measure.OWN: [a["answer_ids"]]}) for a in given]
    before, tokens = measure.live(start, bench)
    found = measure.logps(before, asked, (measure.OWN,), tokens, bench)
    for answered, logps_of in zip(given, found, strict=True):
        (answered["start_logp"],) = logps_of[measure.OWN]
    write_rows(folder / measure.ANSWERS, given)
    return measure.behaviour(given, bench.run / measure.START)


def _rendered(bench: measure.Bench, ids: Ids, method: Decoding) -> Shown:
    """What the decoder shows for a prompt that is known by its token ids."""
    text, turned = spoken(bench.tokenizer, ids)
    return shown(bench.tokenizer, text, method, turned)


def spoken(tokenizer: Any, ids: Ids) -> tuple[str, bool]:
    """The words behind a prompt's token ids, and whether they are a turn of a conversation.

    Refused for what is neither plain text nor a single turn: it could not be shown in another way.
    """
    text = tokenizer.decode(list(ids), skip_special_tokens=True)
    if list(ids) == prompt_ids(tokenizer, text):
        return text, False
    if tokenizer.chat_template:
        before, _, after = prompt_text(tokenizer, [{"role": "user", "content": MARK}]).partition(
            MARK
        )
        whole = tokenizer.decode(list(ids)).strip()
        inner = whole.removeprefix(before.strip()).removesuffix(after.strip()).strip()
        if list(ids) == prompt_ids(tokenizer, [{"role": "user", "content": inner}]):
            return inner, True
    raise InputError(
        f"The prompt {text!r:.60} is a conversation of several turns or was cut; a method that shows "
        "prompts in its own way needs single turns, so raise data.max_prompt_length or take other rows."
    )
