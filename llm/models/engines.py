"""Engines that continue prompts: `K` samples `y ~ π` at every prompt, from token ids, seeded.

Two engines answer the same call. `transformers` is always there; `vllm` is imported when chosen.
Generation works on token ids throughout, so prompts cannot change between here and training, and a
sample carries an end-of-sequence token only where the model produced one.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from experiments.common.configuration import Count, Positive
from llm.files import processes
from llm.models.load import ModelSettings, load_frozen, need


@dataclass(frozen=True)
class GenerationSettings:
    """How responses are drawn. Temperature 1 and top_p 1 sample from the policy itself."""

    engine: Literal["transformers", "vllm"]
    samples: Count
    temperature: Positive
    top_p: Annotated[float, Field(gt=0, le=1)]
    max_new_tokens: Count
    batch: Count

    def __post_init__(self) -> None:
        if self.engine == "vllm":
            need("vllm", "generation.engine")


class Engine(Protocol):
    """Anything that continues prompts."""

    def __call__(self, prompts: Sequence[Sequence[int]], seed: int) -> list[list[list[int]]]:
        """`K` continuations a prompt, each cut after its first end-of-sequence token."""
        ...


def cut(ids: Sequence[int], eos: int) -> list[int]:
    """`ids` up to and including the first end-of-sequence token, or all of them."""
    ids = list(ids)
    return ids[: ids.index(eos) + 1] if eos in ids else ids


@dataclass(frozen=True)
class Ends:
    """The two token ids that an engine has to know: padding, and end of sequence."""

    pad: int
    eos: int


def draw(
    model: Any,
    prompts: Sequence[Sequence[int]],
    s: GenerationSettings,
    ends: Ends,
    seed: int,
    mixed: Any = None,
    top_k: int = 0,
) -> list[list[list[int]]]:
    """`K` continuations a prompt by `model.generate` on left-padded prompts, each cut after its EOS.

    `mixed`, a logits processor, comes before temperature, the `top_k` likeliest (0: all) and nucleus.
    """
    import torch
    from transformers import GenerationConfig, LogitsProcessorList

    from llm.models.decoding import left_padded

    ids, mask = left_padded(prompts, ends.pad)
    width = ids.shape[1]
    kind: Any = GenerationConfig
    config = kind(
        do_sample=True,
        temperature=s.temperature,
        top_p=s.top_p,
        top_k=top_k,
        num_return_sequences=s.samples,
        max_new_tokens=s.max_new_tokens,
        pad_token_id=ends.pad,
        eos_token_id=ends.eos,
    )
    torch.manual_seed(seed)
    with torch.no_grad():
        out = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            generation_config=config,
            logits_processor=LogitsProcessorList([] if mixed is None else [mixed]),
        )
    new = iter([cut(row, ends.eos) for row in out[:, width:].tolist()])  # padding follows EOS only
    return [list(itertools.islice(new, s.samples)) for _ in prompts]


class TransformersEngine:
    """`model.generate` on left-padded prompts, by the model at `path` (or one `loaded` already)."""

    def __init__(
        self,
        path: str,
        model: ModelSettings,
        tokenizer: Any,
        s: GenerationSettings,
        loaded: Any = None,
    ) -> None:
        ready = loaded if loaded is not None else load_frozen(path, model)
        self.model = ready.to(processes.device()).eval()
        self.ends = Ends(tokenizer.pad_token_id, tokenizer.eos_token_id)
        self.settings = s

    def __call__(self, prompts: Sequence[Sequence[int]], seed: int) -> list[list[list[int]]]:
        """See :class:`Engine`."""
        return draw(self.model, prompts, self.settings, self.ends, seed)


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
