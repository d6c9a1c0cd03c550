"""Prompt identity: the token ids a model generates from are the token ids it is trained on.

A prompt is rendered and tokenised once, in :func:`prompt_ids`; generation and training both start
from that list. A recorded answer continues it. It has exactly one beginning-of-sequence token where
the tokenizer uses one, and an end-of-sequence token only where the answer really ends: a recorded
answer that was cut to the length limit has none, nor has a sample that ran into it.
"""

from __future__ import annotations

from typing import Any

from llm.data.formats import Prompt
from spac_theory.checks import InputError


def prompt_text(tokenizer: Any, prompt: Prompt) -> str:
    """The prompt as the model sees it, with the mark that opens the answer."""
    if isinstance(prompt, str):
        return prompt
    return _render(tokenizer, prompt, add_generation_prompt=True)


def prompt_ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Token ids of :func:`prompt_text`, with one beginning-of-sequence token."""
    return _with_one_bos(tokenizer, _tokenise(tokenizer, prompt_text(tokenizer, prompt)))


def response_ids(tokenizer: Any, prompt: Prompt, response: str) -> list[int]:
    """Token ids of a recorded, finished answer after `prompt`, closed by end-of-sequence."""
    start = prompt_text(tokenizer, prompt)
    if isinstance(prompt, str):
        full = start + response
    else:
        turns = [*prompt, {"role": "assistant", "content": response}]
        full = _render(tokenizer, turns, add_generation_prompt=False)
    if not full.startswith(start):
        raise InputError(
            "The chat template renders the prompt differently once an answer follows it; "
            "generation and training would see different prompts, so use another template."
        )
    before = _tokenise(tokenizer, start)
    together = _tokenise(tokenizer, full)
    if together[: len(before)] == before:
        ids = together[len(before) :]
    else:  # a token would bridge the boundary; the model never generates it, so cut there
        ids = _tokenise(tokenizer, full[len(start) :])
    return _close(tokenizer, ids)


def _close(tokenizer: Any, ids: list[int]) -> list[int]:
    """Cut whatever the template writes after end-of-sequence (Zephyr: a newline), or add it."""
    eos = tokenizer.eos_token_id
    return [*ids[: ids.index(eos)], eos] if eos in ids else [*ids, eos]


def _tokenise(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _with_one_bos(tokenizer: Any, ids: list[int]) -> list[int]:
    bos = tokenizer.bos_token_id
    if bos is None or not _adds_bos(tokenizer):
        return ids
    while ids[:1] == [bos]:
        ids = ids[1:]
    return [bos, *ids]


def _adds_bos(tokenizer: Any) -> bool:
    """Whether sequences start with BOS: the tokenizer adds it, or its chat template writes it."""
    added = tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    return added or "bos_token" in (tokenizer.chat_template or "")


def _render(tokenizer: Any, turns: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
    if not tokenizer.chat_template:
        raise InputError(
            "The tokenizer has no chat template but the rows are conversations; name one in "
            "data.chat_template (mistral, zephyr or a .jinja file)."
        )
    text: str = tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=add_generation_prompt
    )
    return text
