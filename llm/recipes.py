"""Switches of the command line that stand for several settings at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spac_theory.checks import InputError


def settled(values: Mapping[str, Any]) -> dict[str, Any]:
    """`train.lora: true` becomes `model.lora: {}`, adapters with their defaults, unless it is given.

    `train.lora: false` takes adapters away. The switch itself is gone afterwards, so that one field
    says whether there are adapters.
    """
    train, model = dict(values.get("train") or {}), dict(values.get("model") or {})
    switch = train.pop("lora", None)
    if switch is not None and not isinstance(switch, bool):
        raise InputError(
            f"train.lora is {switch!r:.60}; it must be true, false or null (as model.lora says); "
            "rank and target modules are fields of model.lora."
        )
    if switch is True and model.get("lora") is None:
        model["lora"] = {}
    if switch is False:
        model["lora"] = None
    return {**values, "train": train, "model": model}
