"""Real text through the diagnosis of one's own data: whether a model's states tell its better answers.

`llm` is imported when the claim runs. The small version is a toy that draws words of a lexicon at random.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.claims import CLAIMS, Outcome
from experiments.common.configuration import read as configured
from experiments.common.program import composed

if TYPE_CHECKING:
    from experiments.studies.diagnosis.evidence import Evidence

PAIRS = {"small": 240, "full": 400}
TOY = "good great lovely happy bad awful sad horrible dull nice the of and was it they table"


@CLAIMS.register("own_text_carries_signal")
def own_text_carries_signal(size: str) -> Outcome:
    """A real model's states tell which of its answers a lexicon preferred; dealt out, they do not.

    SmolLM2-135M goes on 400 times with two answers to beginnings of reviews; VADER rates them, a coin by
    Bradley–Terry labels them. In `experiments.diagnose`, on the model's own states (mean over the answer, 32
    axes): the linear class is right on more than half of the comparisons of held-out prompts (95 % interval),
    and beats labels flipped by prompt (p ≤ 0.05); with the same states dealt to other answers the interval
    holds one half. (Small: a toy with words of the lexicon.)
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = toy(folder / "toy") if size == "small" else "smollm2-135m"
        rows = answers(folder, model, PAIRS[size])
        own = states(folder, model, rows)
        found, nothing = evidence(rows, own), evidence(rows, dealt(own))
    right, wrong = (e.agreement["features"].right for e in (found, nothing))
    p, q = found.p_value or 1.0, nothing.p_value or 1.0
    alone = found.agreement["length alone"].right
    return Outcome(
        right.low > 0.5 and p <= 0.05 and wrong.low <= 0.5 <= wrong.high,
        f"{PAIRS[size]} pairs: right on {right.estimate:.0%} [{right.low:.0%}, {right.high:.0%}] of held-out "
        f"comparisons (p = {p:.2g}); states dealt out {wrong.estimate:.0%} "
        f"[{wrong.low:.0%}, {wrong.high:.0%}] (p = {q:.2g}); length alone {alone.estimate:.0%}",
    )


def toy(folder: Path) -> str:
    """A random model whose words are those of `TOY`."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from llm.worlds import tiny

    base = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate([*tiny.SPECIAL, *TOY.split()])}, "<unk>")
    )
    base.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    kind: Any = PreTrainedTokenizerFast
    marks = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    tokenizer = kind(tokenizer_object=base, **marks)
    tokenizer.save_pretrained(folder)
    tiny.model(tokenizer, 0).save_pretrained(folder)
    return str(folder)


def answers(folder: Path, model: str, pairs: int) -> Path:
    """Rows `prompt, chosen, rejected` as the language-model path makes them from `data=sentiment`."""
    from llm.data.columns import KNOWN
    from llm.files.digests import read_rows
    from llm.models.bundled import settled
    from llm.run import composed as settings_of
    from llm.run import quiet
    from llm.settings import Settings, build
    from llm.stages.respond import respond

    quiet()
    words = (f"data.sentiment.pairs={pairs}", "data.sentiment.test_pairs=2", f"model.name={model}")
    s = build(Settings, settings_of("run", "model=smollm2-135m", "train.report_to=[]", *words))
    assert s.data.sentiment is not None
    respond(folder, s.data.sentiment, settled(s.model), s.generation, seed=0)
    made = [r for r in read_rows(folder / "responses.parquet") if r["split"] == "train"]
    import polars as pl

    rows = folder / "rows.parquet"
    pl.DataFrame([{k: r[k] for k in KNOWN if k in r} for r in made]).write_parquet(rows)
    return rows


def states(folder: Path, model: str, rows: Path) -> Path:
    """The file of `python -m llm.features rows model=… pooling=mean`."""
    from llm.features import execute

    target = folder / "features.parquet"
    words = (f"data={rows}", f"model={model}", "pooling=mean", "dimension=32", f"output={target}")
    with contextlib.redirect_stdout(io.StringIO()):
        execute(composed("features", *words))
    return target


def dealt(features: Path) -> Path:
    """The same features, each given to an answer drawn by lot."""
    import polars as pl

    from spac_theory.keys import generator

    table = pl.read_parquet(features)
    order = generator("own text", "dealt", table.height).permutation(table.height)
    target = features.with_name("dealt.parquet")
    table.drop("key")[order].insert_column(0, table["key"]).write_parquet(target)
    return target


def evidence(rows: Path, features: Path) -> Evidence:
    """What the diagnosis says of the features, no algorithm asked."""
    from experiments.studies.diagnosis.evidence import gather_evidence
    from experiments.studies.diagnosis.logs import Settings
    from experiments.studies.diagnosis.rows import make_problem
    from llm.data.comparisons import read

    words = (f"data={rows}", f"features={features}", "algorithm=[uniform]")
    s = configured(Settings, composed("diagnose", *words))
    problem = make_problem(read(s.data, s.reading), s.features, s.rows, None, s.delta)
    return gather_evidence(problem, {}, s.rows.permutations)
