"""`python -m llm.features rows.jsonl model=MODEL`: features of every answer from a model's states.

Those of a causal model at the end of prompt + answer, or of an encoder in the mean over the answer, are taken
in parts (run it again to go on), reduced by the principal axes of what tells a prompt's answers apart, and
written as Parquet for
`python -m experiments.diagnose data=rows.jsonl features=features.parquet`.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from experiments.common.configuration import Count
from experiments.common.configuration import read as configured
from experiments.common.program import launch
from llm.data.comparisons import Comparisons, read
from llm.data.features import write_features
from llm.data.judgements import Reading
from llm.data.projection import project
from llm.files import processes
from llm.files.digests import Rows, digest
from llm.files.parts import make_parts, pieces
from llm.files.progress import Progress
from llm.models.bundled import settled
from llm.models.load import ModelSettings, load_encoder, load_model, load_tokenizer
from llm.run import quiet
from spac_theory.checks import InputError, integer

if TYPE_CHECKING:
    from llm.models.states import StateReader


@dataclass(frozen=True)
class FeatureSettings:
    """Everything `python -m llm.features` does."""

    data: str | None
    reading: Reading
    model: str | None
    revision: str | None
    dtype: Literal["float32", "bfloat16"]
    attention: Literal["sdpa", "eager", "flash_attention_2", "flex_attention"]
    chat_template: str | None
    kind: Literal["causal", "encoder"]
    pooling: Literal["last", "mean"] | None
    max_length: Count
    dimension: Count
    batch: Count
    part: Count
    output: str

    def __post_init__(self) -> None:
        integer("max_length", self.max_length, low=2)
        if not self.model:
            raise InputError(f"model is {self.model!r}; name a folder or a hub name.")

    @property
    def pooled(self) -> str:
        """The pooling asked for, else the last state of a causal model and the mean of an encoder's."""
        return self.pooling or ("last" if self.kind == "causal" else "mean")

    @property
    def base(self) -> ModelSettings:
        """The model as the loader wants it; a bundled one by its folder."""
        name = str(self.model)
        return settled(
            ModelSettings(name, self.revision, self.dtype, self.attention, None, None, {})
        )


def texts(data: Comparisons) -> list[tuple[Any, str]]:
    """Prompt and answer of every answer."""
    prompts = (data.prompts[x] for x in data.prompt_of.tolist())
    return list(zip(prompts, data.answers, strict=True))


def raw_states(settings: FeatureSettings, data: Comparisons, folder: Path) -> tuple[Tensor, int]:
    """States of every answer, part by part: what is on disk is not made again; and texts cut now."""
    reader, pairs = make_reader(settings), texts(data)

    def make(number: int, rows: range) -> Rows:
        states = reader.states([pairs[i] for i in rows], settings.batch)
        return [{"state": row.tolist()} for row in states]

    with Progress("features", len(pairs)) as bar:
        for done in make_parts(folder, len(pairs), settings.part, make):
            bar.advance(done)
    processes.barrier()
    return joined(folder, len(pairs), settings.part), reader.cut


def make_reader(settings: FeatureSettings) -> StateReader:
    """The model, on its device, with its tokenizer."""
    from llm.data import templates
    from llm.models.states import EncoderReader, Reader

    base = settings.base
    tokenizer = templates.install(load_tokenizer(base.name, base.revision), settings.chat_template)
    load, kind = (
        (load_model, Reader) if settings.kind == "causal" else (load_encoder, EncoderReader)
    )
    model = load(base.name, base).to(processes.device())
    return kind(model, tokenizer, settings.pooled, settings.max_length)


def joined(folder: Path, total: int, size: int) -> Tensor:
    """All parts as one `(N, D)` float32, without a Python list of numbers."""
    import pyarrow.parquet as pq

    found = []
    for number in range(len(pieces(total, size))):
        column = pq.read_table(folder / f"part-{number:05d}.parquet")["state"].combine_chunks()
        values = torch.from_numpy(column.values.to_numpy(zero_copy_only=False).copy())
        found.append(values.reshape(len(column), -1).float())
    return torch.cat(found)


def execute(values: dict[str, Any], folder: Path | None = None) -> None:
    """Read the rows, take the states, project, write; Hydra's `folder` is not used."""
    settings = configured(FeatureSettings, values)
    quiet()
    data = read(settings.data, settings.reading, "data")
    output = Path(settings.output).expanduser()
    facts: dict[str, Any] = {
        "model": settings.base.identity,
        "kind": settings.kind,
        "pooling": settings.pooled,
        "max_length": settings.max_length,
        "template": settings.chat_template,
    }
    mark = digest([facts, settings.dtype, settings.part, data.keys()])
    parts = output.with_name(f"{output.name}.parts-{mark}")
    states, cut = raw_states(settings, data, parts)
    if not processes.is_main():
        return
    found = project(states, data.prompt_of, settings.dimension)
    facts |= {"kept_variance": found.kept, "shortened": found.shortened, "cut": cut}
    write_features(output, data.keys(), found.features, facts)
    shutil.rmtree(parts)
    print(
        f"{len(data.answers)} answers of {len(data.prompts)} prompts ({data.cleaning.words()}): "
        f"{found.features.shape[1]} of {states.shape[1]} axes keep {found.kept:.1%} of the variance within "
        f"prompts; {cut} texts cut to {settings.max_length} tokens.\n  {output}"
    )


def main() -> None:
    """The command line; a word without `=` names the data."""
    bare = [w for w in sys.argv[1:] if "=" not in w and not w.startswith("-")]
    if len(bare) == 1:
        sys.argv = [f"data={w}" if w == bare[0] else w for w in sys.argv]
    launch("llm.features", "llm.features:execute")


if __name__ == "__main__":
    main()
