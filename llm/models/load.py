"""Loading models and tokenizers, saved ones and hub ones, with or without adapters."""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from experiments.common.configuration import Count, Share
from spac_theory.checks import InputError

ALL_LINEAR = "all-linear"  # PEFT's word for every linear layer but the output layer
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters (Hu et al., 2021, arXiv 2106.09685); by default on every linear layer."""

    rank: Count = 16
    alpha: Count = 32
    dropout: Share = 0.0
    target_modules: Annotated[list[str], Field(min_length=1)] = field(
        default_factory=lambda: [ALL_LINEAR]
    )


@dataclass(frozen=True)
class ModelSettings:
    """Which base model, at which revision, in which precision, trained fully or by adapters."""

    name: str
    revision: str | None
    dtype: Literal["float32", "bfloat16"]
    attention: Literal["sdpa", "eager", "flash_attention_2", "flex_attention"]
    quantise: Literal["nf4"] | None
    lora: LoraSettings | None
    architecture: dict[str, Any]
    accept_terms: bool = False
    unpinned: bool = False

    def __post_init__(self) -> None:
        if self.attention == "flash_attention_2":
            need("flash_attn", "model.attention")
        if self.quantise is not None:
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


def lacks(package: str, field: str) -> str | None:
    """The sentence on a setting whose optional package is not installed; None if it is."""
    if importlib.util.find_spec(package) is not None:
        return None
    return (
        f"{field} needs the package {package}, which is not installed; run "
        f"`pip install {package}` or change {field}."
    )


def need(package: str, field: str) -> None:
    """Refuse a setting whose optional package is not installed."""
    missing = lacks(package, field)
    if missing:
        raise InputError(missing)


def load_tokenizer(name: str, revision: str | None = None) -> Any:
    """The tokenizer of a folder or hub name, with a padding token."""
    from transformers import AutoTokenizer

    tokenizer = reach(
        name,
        lambda: AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False),
    )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer


def is_adapter(path: str) -> bool:
    """Whether a folder holds adapters, not a whole model."""
    return (Path(path) / "adapter_config.json").exists()


def adapter_base(path: str) -> str:
    """The folder or hub name of the model that the adapters at `path` were trained on."""
    from experiments.common.files import read_json

    return str(read_json(Path(path) / "adapter_config.json")["base_model_name_or_path"])


def pinned_base(path: str, settings: ModelSettings) -> tuple[str, str | None]:
    """The base of the adapters at `path` and its commit; refused where a hub name has none."""
    from experiments.common.files import read_json

    base = adapter_base(path)
    stored = read_json(Path(path) / "adapter_config.json").get("revision")
    revision = settings.revision if base == settings.name else stored
    if not Path(base).is_dir() and not re.fullmatch(r"[0-9a-f]{40}", revision or ""):
        raise InputError(
            f"The adapters in {path} were trained on {base!r} at the revision {revision!r}; a base from "
            "the hub needs a commit (40 hexadecimal digits), so write it as revision into their "
            "adapter_config.json, or name a local folder there."
        )
    return base, revision


def load_configuration(name: str, revision: str | None = None) -> Any:
    """The configuration of a folder or hub name."""
    from transformers import AutoConfig

    return reach(
        name,
        lambda: AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False),
    )


def pinned(settings: ModelSettings) -> ModelSettings:
    """`settings` with a branch or tag of the hub replaced by the commit it stands for now.

    Only where `unpinned` says so; what was taken is said on the error stream and recorded as if given.
    """
    known = re.fullmatch(r"[0-9a-f]{40}", settings.revision or "")
    if not settings.unpinned or settings.is_local or known:
        return settings
    commit = getattr(load_configuration(settings.name, settings.revision), "_commit_hash", None)
    if commit is None:
        raise InputError(
            f"model.revision is {settings.revision!r}, and the hub does not say which commit that is; give "
            "the commit."
        )
    name = settings.revision or "the default branch"
    print(f"{settings.name}: {name} is model.revision={commit} today", file=sys.stderr)
    return replace(settings, revision=str(commit))


def load_model(path: str, settings: ModelSettings, *, trainable: bool = False) -> Any:
    """The model at `path`: the base itself, a saved full model, or a saved adapter on its base."""
    return _load(path, settings, trainable, "AutoModelForCausalLM")


def load_frozen(path: str, settings: ModelSettings) -> Any:
    """The model at `path` for asking only: adapters are folded into the weights where that is exact.

    It is exact up to rounding in float32; weights of 16 or 4 bits could not hold the sum.
    """
    model = load_model(path, settings)
    exact = settings.dtype == "float32" and settings.quantise is None
    return model.merge_and_unload() if is_adapter(path) and exact else model


def load_critic(path: str, settings: ModelSettings, pad_id: int, *, trainable: bool = False) -> Any:
    """The network at `path` with one number a sequence as its output, read at the last token.

    A language model's head is left out for a fresh one; a saved critic comes back as it was.
    """
    model = _load(path, settings, trainable, "AutoModelForSequenceClassification", num_labels=1)
    model.config.pad_token_id = pad_id
    return model


def _load(path: str, settings: ModelSettings, trainable: bool, kind: str, **extra: Any) -> Any:
    if is_adapter(path):
        from peft import PeftModel

        base = _load_base(*pinned_base(path, settings), settings, kind, **extra)
        return PeftModel.from_pretrained(base, path, is_trainable=trainable)
    revision = settings.revision if path == settings.name else None
    return _load_base(path, revision, settings, kind, **extra)


def _load_base(
    name: str, revision: str | None, settings: ModelSettings, kind: str, **extra: Any
) -> Any:
    import transformers

    from llm.models.probe import require_causal_configuration

    auto: Any = getattr(transformers, kind)
    if settings.quantise == "nf4":
        from transformers import BitsAndBytesConfig

        config: Any = BitsAndBytesConfig
        extra["quantization_config"] = config(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=DTYPES[settings.dtype],
        )
    revision = None if Path(name).is_dir() else revision
    require_causal_configuration(load_configuration(name, revision), name)
    return reach(
        name,
        lambda: auto.from_pretrained(
            name,
            revision=revision,
            dtype=DTYPES[settings.dtype],
            attn_implementation=settings.attention,
            use_safetensors=True,
            trust_remote_code=False,
            **extra,
        ),
    )


def load_encoder(name: str, settings: ModelSettings) -> Any:
    """The body of a text encoder, such as BERT, without any head."""
    from transformers import AutoModel

    config = load_configuration(name, settings.revision)
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"model is {name!r}, an encoder-decoder ({config.model_type}); name an encoder such as BERT, "
            "or a causal model with kind=causal."
        )
    return reach(
        name,
        lambda: AutoModel.from_pretrained(
            name,
            revision=settings.revision,
            dtype=DTYPES[settings.dtype],
            attn_implementation=settings.attention,
            use_safetensors=True,
            trust_remote_code=False,
        ),
    )


def reach(name: str, load: Any) -> Any:
    """Run `load`, turning an unreachable model into one sentence."""
    try:
        return load()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"model.name is {name!r}; it must be a folder with a saved model or a reachable hub "
            f"name ({str(error).splitlines()[0]:.120})."
        ) from error


def add_lora(model: Any, lora: LoraSettings, task: str = "CAUSAL_LM") -> Any:
    """Wrap `model` with fresh adapters; refuse target names the model does not have."""
    from peft import LoraConfig, get_peft_model

    names = {name.rsplit(".", 1)[-1] for name, m in model.named_modules() if hasattr(m, "weight")}
    everything = lora.target_modules == [ALL_LINEAR]
    missing = [] if everything else [t for t in lora.target_modules if t not in names]
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
            target_modules=ALL_LINEAR if everything else list(lora.target_modules),
            task_type=task,
        ),
    )
