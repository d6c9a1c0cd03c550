"""Self-play: `K` samples `y' ~ π_t` at every prompt, from prompt token ids, seeded, in parts.

Two engines answer the same call. `transformers` is always there; `vllm` is imported when chosen.
Generation works on token ids throughout, so prompts cannot change between here and training, and a
sample carries an end-of-sequence token only where the model produced one.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from llm.files.digests import Rows
from llm.files.parts import join_parts, make_parts
from llm.files.progress import Progress
from llm.models.load import ModelSettings, load_model, need
from spac_theory.checks import choice, integer, number


@dataclass(frozen=True)
class GenerationSettings:
    """How self-play samples are drawn. Temperature 1 and top_p 1 sample from `π_t` itself."""

    engine: str
    samples: int
    temperature: float
    top_p: float
    max_new_tokens: int
    batch: int

    def __post_init__(self) -> None:
        choice("generation.engine", self.engine, ENGINES)
        integer("generation.samples", self.samples, low=1)
        number("generation.temperature", self.temperature, low=0, open_low=True)
        number("generation.top_p", self.top_p, low=0, high=1, open_low=True)
        integer("generation.max_new_tokens", self.max_new_tokens, low=1)
        integer("generation.batch", self.batch, low=1)


class Engine(Protocol):
    """Anything that continues prompts."""

    def __call__(self, prompts: Sequence[Sequence[int]], seed: int) -> list[list[list[int]]]:
        """`K` continuations a prompt, each cut after its first end-of-sequence token."""
        ...


def cut(ids: Sequence[int], eos: int) -> list[int]:
    """`ids` up to and including the first end-of-sequence token, or all of them."""
    ids = list(ids)
    return ids[: ids.index(eos) + 1] if eos in ids else ids


class TransformersEngine:
    """`model.generate` on left-padded prompts."""

    def __init__(self, path: str, model: ModelSettings, tokenizer: Any, s: GenerationSettings):
        from llm.files import processes

        self.model = load_model(path, model).to(processes.device()).eval()
        self.pad, self.eos, self.settings = tokenizer.pad_token_id, tokenizer.eos_token_id, s

    def __call__(self, prompts: Sequence[Sequence[int]], seed: int) -> list[list[list[int]]]:
        """See :class:`Engine`."""
        import torch
        from transformers import GenerationConfig

        width = max(len(p) for p in prompts)
        ids = torch.full((len(prompts), width), self.pad)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        s, device = self.settings, self.model.device
        kind: Any = GenerationConfig
        config = kind(
            do_sample=True,
            temperature=s.temperature,
            top_p=s.top_p,
            top_k=0,
            num_return_sequences=s.samples,
            max_new_tokens=s.max_new_tokens,
            pad_token_id=self.pad,
            eos_token_id=self.eos,
        )
        torch.manual_seed(seed)
        with torch.no_grad():
            out = self.model.generate(
                input_ids=ids.to(device), attention_mask=mask.to(device), generation_config=config
            )
        new = iter([self._strip(row) for row in out[:, width:].tolist()])
        return [list(itertools.islice(new, s.samples)) for _ in prompts]

    def _strip(self, ids: list[int]) -> list[int]:
        """Cut at EOS; padding only ever follows it."""
        return cut(ids, self.eos)


class VllmEngine:
    """The same call on vLLM (https://docs.vllm.ai), one seed a request."""

    def __init__(self, path: str, model: ModelSettings, tokenizer: Any, s: GenerationSettings):
        need("vllm", "generation.engine")
        vllm: Any = importlib.import_module("vllm")

        self.eos, self.settings, self.vllm = tokenizer.eos_token_id, s, vllm
        adapter = (Path(path) / "adapter_config.json").exists()
        base = model.name if adapter else path
        self.adapter = path if adapter else None
        self.llm = vllm.LLM(model=base, dtype=model.dtype, enable_lora=adapter)

    def __call__(self, prompts: Sequence[Sequence[int]], seed: int) -> list[list[list[int]]]:
        """See :class:`Engine`."""
        s = self.settings
        requests = [{"prompt_token_ids": list(p)} for p in prompts]
        parameters = [
            self.vllm.SamplingParams(
                n=s.samples,
                temperature=s.temperature,
                top_p=s.top_p,
                max_tokens=s.max_new_tokens,
                seed=seed + i,
            )
            for i in range(len(prompts))
        ]
        extra: dict[str, Any] = {}
        if self.adapter is not None:
            request: Any = importlib.import_module("vllm.lora.request")
            extra["lora_request"] = request.LoRARequest("iterate", 1, self.adapter)
        answers = self.llm.generate(requests, parameters, use_tqdm=False, **extra)
        return [[cut(list(o.token_ids), self.eos) for o in answer.outputs] for answer in answers]


ENGINES: dict[str, Any] = {"transformers": TransformersEngine, "vllm": VllmEngine}


def part_seed(*key: Any) -> int:
    """A seed below 2³¹ that depends on the whole key and nothing else."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:4]) >> 1


def generate(
    folder: Path, rows: Rows, engine: Any, settings: GenerationSettings, eos: int, key: str
) -> dict[str, Any]:
    """Stage: write `selfplay.parquet` with `selfplay_ids` (K lists a row) and `stopped`.

    `engine` is called once, when a part is missing, to make the :class:`Engine`. Interrupted, it
    loses at most the part it was at.
    """
    target = folder / "selfplay.parquet"
    if not target.exists():
        live: list[Engine] = []

        def make(number: int, span: range) -> Rows:
            if not live:
                live.append(engine())
            answers = live[0]([rows[i]["prompt_ids"] for i in span], part_seed(key, number))
            done = [{"selfplay_ids": a, "stopped": [y[-1:] == [eos] for y in a]} for a in answers]
            bar.tokens += sum(len(y) for a in answers for y in a)
            return done

        with Progress(f"self-play {key}", len(rows)) as bar:
            for count in make_parts(folder / "parts", len(rows), settings.batch, make):
                bar.advance(count)
    join_parts(folder / "parts", len(rows), settings.batch, target)
    return {"selfplay": target.name, "settings": asdict(settings)}
