"""Rows as trees, packed without padding: one prompt shared by all its responses.

A row of `R` responses is a tree of `P + Σ L_r` tokens instead of `R (P + L)` padded ones. Packs hold as
many trees as a budget of tokens allows.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Ids = Sequence[int]


@dataclass(frozen=True)
class Tree:
    """One prompt and its responses, as token ids; neither may be empty."""

    prompt: Ids
    responses: tuple[Ids, ...]

    @property
    def tokens(self) -> int:
        """How many tokens it takes in a pack."""
        return len(self.prompt) + sum(map(len, self.responses))


@dataclass(frozen=True)
class Pack:
    """Trees one behind the other, and where their log-probs are read.

    `input_ids`, `position_ids (1, T)`; `layout (1, 1, 2, T)`, see :mod:`llm.models.tree_attention`.
    The state at `states[i]` predicts `targets[i]`, a token of response `owners[i]`; responses are
    numbered tree by tree, `responses` of them, and end at the tokens `ends`.
    """

    input_ids: Tensor
    position_ids: Tensor
    layout: Tensor
    states: Tensor
    targets: Tensor
    owners: Tensor
    ends: Tensor
    responses: int

    def to(self, device: Any) -> Pack:
        """The same on another device."""
        moved = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in vars(self).items()}
        return Pack(**moved)  # type: ignore[arg-type]

    def tensors(self) -> dict[str, Tensor]:
        """The entries of a batch, `pack/…`, as a data loader moves them; :func:`unpacked` reads them."""
        named = {f"pack/{k}": v for k, v in vars(self).items() if isinstance(v, Tensor)}
        return {**named, "pack/responses": torch.tensor(self.responses)}


def pack(trees: Sequence[Tree]) -> Pack:
    """Lay out `trees`; the last token of a prompt predicts the first of each of its responses."""
    ids: list[int] = []
    positions: list[int] = []
    tree_of: list[int] = []
    branch_of: list[int] = []
    states: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    ends: list[int] = []
    for number, tree in enumerate(trees):
        length = len(tree.prompt)
        last = len(ids) + length - 1
        ids += tree.prompt
        positions += range(length)
        branch_of += [0] * length
        for branch, response in enumerate(tree.responses, 1):
            first, size = len(ids), len(response)
            ids += response
            positions += range(length, length + size)
            branch_of += [branch] * size
            states += [last, *range(first, first + size - 1)]
            targets += response
            owners += [len(ends)] * size
            ends.append(first + size - 1)
        tree_of += [number] * tree.tokens
    return Pack(
        torch.tensor([ids]),
        torch.tensor([positions]),
        torch.tensor([tree_of, branch_of])[None, None],
        torch.tensor(states),
        torch.tensor(targets),
        torch.tensor(owners),
        torch.tensor(ends),
        len(ends),
    )


def unpacked(entries: Mapping[str, Tensor]) -> Pack:
    """The pack of a batch's entries."""
    fields = {k.removeprefix("pack/"): v for k, v in entries.items() if k.startswith("pack/")}
    return Pack(**{**fields, "responses": int(fields["responses"])})  # type: ignore[arg-type]


def families(
    texts: Sequence[Ids],
    keys: Sequence[Hashable],
    budget: int,
    own: Sequence[int] | None = None,
) -> tuple[list[Tree], list[int]]:
    """Texts with one key as branches of what they all begin with, and whose text each response is.

    The last `own` tokens of a text are left to its branch, at least one; a text has more. A family that would
    pass `budget` tokens is split, in order.
    """
    kept = own or [1] * len(texts)
    kin: dict[Hashable, list[int]] = {}
    for number, key in enumerate(keys):
        kin.setdefault(key, []).append(number)
    trees, places = list[Tree](), list[int]()
    for members in kin.values():
        first = texts[members[0]]
        shared = min(min(_alike(first, texts[i]), len(texts[i]) - kept[i]) for i in members)
        sizes = [len(texts[i]) - shared for i in members]
        parts = fill(sizes, max(1, budget - shared) if shared else 1)  # strangers stand alone
        for part in parts:
            found = [texts[members[i]] for i in part]
            trees.append(Tree(found[0][: shared or 1], tuple(ids[shared or 1 :] for ids in found)))
            places += [members[i] for i in part]
    return trees, places


def _alike(one: Ids, other: Ids) -> int:
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def fill(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Rows `0 … n−1` into packs of at most `budget` tokens, few of them: first fit, longest first.

    A row above the budget gets a pack of its own. Inside a pack, and among packs, rows stay in order.
    """
    packs: list[list[int]] = []
    room: list[int] = []
    for row in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        for number, left in enumerate(room):
            if sizes[row] <= left:
                packs[number].append(row)
                room[number] -= sizes[row]
                break
        else:
            packs.append([row])
            room.append(budget - sizes[row])
    return sorted(sorted(rows) for rows in packs)


def deal(sizes: Sequence[int], budget: int, hands: int = 1) -> list[list[list[int]]]:
    """Rows `0 … n−1` dealt to `hands` processes, to each as many packs of at most `budget` tokens.

    As few packs as :func:`fill` needs, rounded up to a multiple of `hands`, and of about equal size: the
    longest row first, into the pack with most room. Where that breaks the budget the packs of `fill` are
    dealt out as they are. A pack may be empty; a row above the budget gets one of its own.
    """
    packs = fill(sizes, budget)
    packs += [[] for _ in range(-len(packs) % hands)]
    even = _spread(sizes, len(packs))
    if all(_total(sizes, rows) <= budget or len(rows) == 1 for rows in even):
        packs = even
    packs.sort(key=lambda rows: (-_total(sizes, rows), rows))
    found: list[list[list[int]]] = [[] for _ in range(hands)]
    for start in range(0, len(packs), hands):  # who got the longest last gets the shortest next
        found.sort(key=lambda held: sum(_total(sizes, rows) for rows in held))
        for held, rows in zip(found, packs[start : start + hands], strict=True):
            held.append(rows)
    return found


def _spread(sizes: Sequence[int], count: int) -> list[list[int]]:
    packs: list[list[int]] = [[] for _ in range(count)]
    room = [(0, number) for number in range(count)]
    for row in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        held, number = heapq.heappop(room)
        packs[number].append(row)
        heapq.heappush(room, (held + sizes[row], number))
    return [sorted(rows) for rows in packs]


def _total(sizes: Sequence[int], rows: Sequence[int]) -> int:
    return sum(sizes[row] for row in rows)
