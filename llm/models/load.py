"""Loading models and tokenizers, saved ones and hub ones, with or without adapters."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from spac_theory.checks import InputError, choice

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters (Hu et al., 2021, arXiv 2106.09685)."""

    rank: int
    alpha: int
    dropout: float
    target_modules: list[str]


@dataclass(frozen=True)
class ModelSettings:
    """Which base model, at which revision, in which precision, trained fully or by adapters."""

    name: str
    revision: str | None
    dtype: str
    attention: str
    quantise: str | None
    lora: LoraSettings | None
    architecture: dict[str, Any]

    def __post_init__(self) -> None:
        choice("model.dtype", self.dtype, DTYPES)
        if self.quantise is not None:
            choice("model.quantise", self.quantise, ("nf4",))
            need("bitsandbytes", "model.quantise")
            if self.lora is None:
                raise InputError(
                    "model.quantise is set without model.lora; quantised weights cannot be trained "
                    "themselves, so give model.lora too."
                )

    @property
    def is_local(self) -> bool:
        """Whether `name` is a folder rather than a hub name."""
        return Path(self.name).is_dir()

    @property
    def identity(self) -> dict[str, Any]:
        """What the manifest records about the base model."""
        from llm.files.digests import model_digest

        weights = model_digest(Path(self.name)) if self.is_local else self.revision
        return {"name": Path(self.name).name if self.is_local else self.name, "weights": weights}


def need(package: str, field: str) -> None:
    """Refuse a setting whose optional package is not installed."""
    if importlib.util.find_spec(package) is None:
        raise InputError(
            f"{field} needs the package {package}, which is not installed; run "
            f"`pip install {package}` or change {field}."
        )


def load_tokenizer(name: str, revision: str | None = None) -> Any:
    """The tokenizer of a folder or hub name, with a padding token."""
    from transformers import AutoTokenizer

    tokenizer = _reach(name, lambda: AutoTokenizer.from_pretrained(name, revision=revision))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer


def adapter_base(path: str) -> str:
    """The folder or hub name of the model that the adapters at `path` were trained on."""
    from experiments.common.files import read_json

    return str(read_json(Path(path) / "adapter_config.json")["base_model_name_or_path"])


def load_model(path: str, settings: ModelSettings, *, trainable: bool = False) -> Any:
    """The model at `path`: the base itself, a saved full model, or a saved adapter on its base."""
    if (Path(path) / "adapter_config.json").exists():
        from peft import PeftModel

        base = _load_base(adapter_base(path), settings)
        return PeftModel.from_pretrained(base, path, is_trainable=trainable)
    return _load_base(path, settings)


def _load_base(name: str, settings: ModelSettings) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    from llm.models.probe import require_causal_configuration

    extra: dict[str, Any] = {}
    if settings.quantise == "nf4":
        from transformers import BitsAndBytesConfig

        config: Any = BitsAndBytesConfig
        extra["quantization_config"] = config(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=DTYPES[settings.dtype],
        )
    revision = settings.revision if name == settings.name and not Path(name).is_dir() else None
    config = _reach(name, lambda: AutoConfig.from_pretrained(name, revision=revision))
    require_causal_configuration(config, name)
    return _reach(
        name,
        lambda: AutoModelForCausalLM.from_pretrained(
            name,
            revision=revision,
            dtype=DTYPES[settings.dtype],
            attn_implementation=settings.attention,
            use_safetensors=True,
            **extra,
        ),
    )


def _reach(name: str, load: Any) -> Any:
    """Run `load`, turning an unreachable model into one sentence."""
    try:
        return load()
    except OSError as error:
        raise InputError(
            f"model.name is {name!r}; it must be a folder with a saved model or a reachable hub "
            f"name ({str(error).splitlines()[0]:.120})."
        ) from error


def add_lora(model: Any, lora: LoraSettings) -> Any:
    """Wrap `model` with fresh adapters; refuse target names the model does not have."""
    from peft import LoraConfig, get_peft_model

    names = {name.rsplit(".", 1)[-1] for name, m in model.named_modules() if hasattr(m, "weight")}
    missing = [target for target in lora.target_modules if target not in names]
    if missing:
        raise InputError(
            f"model.lora.target_modules names {missing[0]!r}, which this model does not have; "
            f"choose among: {', '.join(sorted(n for n in names if n.endswith('_proj')))}."
        )
    return get_peft_model(
        model,
        LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=list(lora.target_modules),
            task_type="CAUSAL_LM",
        ),
    )
