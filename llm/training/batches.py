"""The row `(prompt, chosen, rejected, self-play)` as token ids, and how rows become a batch.

A batch lists the sequences of `B` rows stream by stream: `B` chosen, `B` rejected, then `K·B`
self-play samples (sample 1 of every row, then sample 2, …), all padded on the right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Ids = Sequence[int]


def pad(prompts: Sequence[Ids], responses: Sequence[Ids], pad_id: int) -> dict[str, Tensor]:
    """Right-pad `prompt + response`: `input_ids`, `attention_mask`, `completion_mask`, `(B, L)`."""
    starts = torch.tensor([len(p) for p in prompts]).unsqueeze(-1)
    whole = [[*p, *r] for p, r in zip(prompts, responses, strict=True)]
    ends = torch.tensor([len(row) for row in whole]).unsqueeze(-1)
    width = int(ends.max())
    ids = torch.tensor([row + [pad_id] * (width - len(row)) for row in whole])
    place = torch.arange(width)
    attention = (place < ends).long()
    completion = attention * (place >= starts)
    return {"input_ids": ids, "attention_mask": attention, "completion_mask": completion}


@dataclass(frozen=True)
class PreferenceCollator:
    """Rows with `prompt_ids, chosen_ids, rejected_ids, selfplay_ids (K lists)` and `ref_*_logps`.

    Adds `reference (2 + K, B)`, the precomputed log-probs in the batch's stream order.
    """

    pad_id: int

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Stack the streams of `rows`; every row must hold the same number of self-play samples."""
        samples = len(rows[0]["selfplay_ids"])
        responses = [row["chosen_ids"] for row in rows] + [row["rejected_ids"] for row in rows]
        reference = [
            [row["ref_chosen_logps"] for row in rows],
            [row["ref_rejected_logps"] for row in rows],
        ]
        for k in range(samples):
            responses += [row["selfplay_ids"][k] for row in rows]
            reference.append([row["ref_selfplay_logps"][k] for row in rows])
        prompts = [row["prompt_ids"] for row in rows] * (2 + samples)
        batch = pad(prompts, responses, self.pad_id)
        return {**batch, "reference": torch.tensor(reference, dtype=torch.float64)}


@dataclass(frozen=True)
class DemonstrationCollator:
    """Rows with `prompt_ids` and `response_ids`, for supervised fine-tuning."""

    pad_id: int

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Stack `rows`."""
        prompts = [row["prompt_ids"] for row in rows]
        return pad(prompts, [row["response_ids"] for row in rows], self.pad_id)
