"""One table and one figure of all the jobs of `--multirun`: Hydra's callback of the coverage sweep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

    from experiments.common.table import Table

MOST = 9  # panels of the figure


class Merge(Callback):
    """Notes what is there before the jobs, and reads what they have written after them."""

    def __init__(self) -> None:
        self.before: dict[Path, int] = {}

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Results of earlier multiruns in the same folder are not those of this one."""
        self.before = _written(Path(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Merge the jobs whose results are new."""
        place = Path(config.hydra.sweep.dir)
        new = [p for p, time in _written(place).items() if self.before.get(p) != time]
        if new:
            merge(sorted(path.parent for path in new), place, list(config.figure.formats))


def _written(place: Path) -> dict[Path, int]:
    """The results of every job below a folder, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in place.glob("*/results.parquet")}


def merge(jobs: list[Path], place: Path, formats: list[str]) -> None:
    """Write `results.parquet` with a column `job`, `summary.md` and the figure `jobs`, and say where."""
    import polars as pl

    from experiments.common.figure import save
    from experiments.common.files import write_text
    from experiments.common.provenance import facts
    from experiments.common.table import make_console, show_paths
    from experiments.engine.columns import text, write_results
    from experiments.engine.store import read_results, stack

    names = job_names({job: _overrides(job) for job in jobs})
    rows = stack(
        read_results(job).with_columns(pl.lit(name).alias("job")) for job, name in names.items()
    )
    console, path = make_console(), place / "results.parquet"
    own = {"job": text("what the job of a multirun changes")}
    write_results(rows, path, own, facts({"jobs": list(names.values())}))
    lines = merged_curves(rows)
    table = merged_table(lines)
    table.show(console)
    write_text(place / "summary.md", table.markdown())
    pictures = save(merged_figure(lines), place / "jobs", formats) if formats else []
    show_paths([path, place / "summary.md", *pictures], console)


def _overrides(job: Path) -> list[str]:
    """What a job was given, as Hydra noted it."""
    return [str(word) for word in OmegaConf.load(job / ".hydra/overrides.yaml")]


def job_names(overrides: dict[Path, list[str]]) -> dict[Path, str]:
    """Each job by the words that not all of them share; alone, or without words, by its folder."""
    shared = set.intersection(*(set(words) for words in overrides.values()))
    return {
        job: ", ".join(word for word in words if word not in shared) or job.name
        for job, words in overrides.items()
    }


def merged_curves(rows: pl.DataFrame) -> pl.DataFrame:
    """The curves of every job, one below the other; the dial of a job is its sparsest that covers `π*`."""
    import polars as pl

    from experiments.studies.sweep.analysis import aggregate, shown_dials

    parts = []
    for (job,), own in rows.group_by("job", maintain_order=True):
        lines = aggregate(own, float(own["delta"][0]))
        at = lines.filter(pl.col("dial") == shown_dials(lines)[0])
        parts.append(at.with_columns(pl.lit(job).alias("job")))
    return pl.concat(parts, how="diagonal_relaxed")


def merged_table(lines: pl.DataFrame) -> Table:
    """An algorithm and job a line, sample sizes across."""
    from experiments.common.table import Table
    from experiments.studies.sweep.table import entry

    sizes = lines["n"].unique().sort().to_list()
    body = []
    for (label, job), own in lines.group_by("algorithm", "job", maintain_order=True):
        found = {row["n"]: entry(row) for row in own.iter_rows(named=True)}
        body.append([label, job, *(found.get(n) for n in sizes)])
    order = lines["algorithm"].unique(maintain_order=True).to_list()
    body.sort(key=lambda line: order.index(line[0]))
    dials = ", ".join(f"{dial:g}" for dial in lines["dial"].unique().sort())
    title = f"Mean suboptimality of every job at dial {dials}"
    return Table(title, ["algorithm", "job", *(f"n = {n:,}" for n in sizes)], body, left=2)


def merged_figure(lines: pl.DataFrame) -> Figure:
    """A panel an algorithm, a curve a job: what changes between jobs is seen beside itself."""
    import polars as pl

    from experiments.common.figure import make_figure
    from experiments.common.style import series, title

    labels = lines["algorithm"].unique(maintain_order=True).to_list()[:MOST]
    jobs = lines["job"].unique(maintain_order=True).to_list()
    columns = min(3, len(labels))
    figure, axes = make_figure(
        -(-len(labels) // columns), columns, (3.3, 2.7), sharex=True, sharey=True
    )
    for axis, label in zip(axes.flat, labels, strict=False):
        for index, job in enumerate(jobs):
            at = lines.filter(pl.col("algorithm") == label, pl.col("job") == job).sort("n")
            axis.plot(at["n"], at["mean"].clip(1e-6), label=job, **series(index))
        axis.set(xscale="log", yscale="log", title=title(label))
    for axis in axes.flat[len(labels) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("mean suboptimality")
    handles = axes.flat[0].get_legend_handles_labels()
    figure.legend(
        *handles, loc="outside lower center", ncols=2 if max(map(len, jobs)) < 40 else 1, fontsize=8
    )
    return figure
