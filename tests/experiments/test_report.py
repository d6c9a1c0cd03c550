"""The page of results: whole, alone, true to the tables, and alive in a browser."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from plotly.offline import get_plotlyjs

from experiments.common.style import title
from experiments.engine.columns import write_results
from experiments.engine.store import read_results
from experiments.reporting.kinds.answers import rows_say
from experiments.reporting.run import report, report_page
from experiments.reporting.sources import kind_of, read_source
from experiments.results import curves
from experiments.studies.sweep.analysis import dials_by_coverage
from experiments.studies.sweep.curves import floor_of
from experiments.studies.sweep.run import coverage_sweep
from spac_theory.checks import InputError

from .pages import drawn, read
from .tools import ROOT, command, run, settings

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
ALGORITHMS = "spac_sqrt_n,mle_greedy,dpo,uniform"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small sweep, finished, as its program leaves it."""
    folder = tmp_path_factory.mktemp("report") / "small"
    words = settings(folder, "behaviour.dials=[0.1,0.4]", algorithms=ALGORITHMS)
    assert coverage_sweep({**words, "figure": {**words["figure"], "formats": []}}, folder)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    assert report([str(folder)])
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_is_whole_and_alone(page: str) -> None:
    reader = read(page)
    assert reader.wrong == []
    assert reader.stack == []
    assert [name for name, count in reader.ids.items() if count > 1] == []
    assert all(address.startswith(("#", "data:")) for address in reader.addresses)
    inner = [address[1:] for address in reader.addresses if address.startswith("#")]
    assert set(inner) <= set(reader.ids)
    own = page.replace(get_plotlyjs(), "")
    assert len(own) < len(page) - 1_000_000  # the library is in it, once
    assert not re.search(r"https?:|//[\w-]+\.|@import|url\((?!#)", own)


def test_the_page_holds_every_number_of_the_table(page: str, folder: Path) -> None:
    summary = (folder / "summary.md").read_text(encoding="utf-8")
    entries = [entry.strip(" *") for line in summary.splitlines() if line.startswith("| ")
               for entry in line.strip("|").split("|")]  # fmt: skip
    text = read(page).text
    missing = [
        entry for entry in entries if entry and set(entry) > set("-: ") and entry not in text
    ]
    assert len(entries) > 20
    assert missing == []


def test_the_data_of_the_page_are_the_curves(page: str, folder: Path) -> None:
    address = next(a for a in reversed(read(page).addresses) if a.startswith("data:text/csv"))
    rows = pl.read_csv(base64.b64decode(address.partition(",")[2]))
    summary = pl.read_csv(folder / "summary.csv")
    assert rows.select("dial", "n", "algorithm", "mean").equals(
        summary.select("dial", "n", "algorithm", "mean")
    )


def test_every_point_of_a_curve_is_a_mean_of_the_table(page: str, folder: Path) -> None:
    lines = curves(read_results(folder))
    against_n = drawn(page)[0]
    assert len(against_n) == lines["dial"].n_unique()
    for (data, layout), dial in zip(against_n, dials_by_coverage(lines), strict=True):
        assert layout["xaxis"]["type"] == layout["yaxis"]["type"] == "log"
        told = {trace["name"]: trace for trace in data if "hovertemplate" in trace}
        for (label,), rows in lines.filter(pl.col("dial") == dial).group_by("algorithm"):
            trace, low = told[title(str(label))], floor_of(lines)
            assert trace["x"] == rows.sort("n")["n"].to_list()
            for y, mean in zip(trace["y"], rows.sort("n")["mean"], strict=True):
                assert y == pytest.approx(mean if mean >= low else low / 2, rel=1e-6)
        names = {trace["name"] for trace in data}
        assert names - {""} == set(told)  # bands and marks follow a curve that has a box


def test_what_a_file_says_stays_text(folder: Path, tmp_path: Path) -> None:
    rows = read_results(folder)
    label = "<img src=x onerror=alert(1)>"
    strange = rows.with_columns(pl.col("algorithm").replace("dpo", label))
    write_results(strange, tmp_path / "results.parquet")
    reader = read(report_page([read_source(str(tmp_path))]))
    assert label in reader.text
    assert "x" not in reader.addresses


def test_a_study_is_told_in_its_own_words(tmp_path: Path) -> None:
    done = run(
        command("experiments.lambda_choice", tmp_path / "study", "seeds=2", "n=[50]", "store=s"),
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    reader = read(report_page([read_source(str(tmp_path / "study"))]))
    assert reader.wrong == []
    assert "python -m experiments.lambda_choice seeds=2 n=[50]" in reader.text
    for line in (tmp_path / "study" / "summary.md").read_text().splitlines():
        if line.startswith("| ") and "---" not in line:
            assert all(entry.strip(" *") in reader.text for entry in line.strip("|").split("|"))


def test_claims_are_told_with_their_verdicts(tmp_path: Path) -> None:
    source = read_source(str(ROOT / "docs"))
    written = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    assert source.rows.height == len(re.findall(r"^## ", written, re.MULTILINE))
    fails = source.rows.filter(pl.col("verdict") == "fails")
    assert fails.height == written.count("- **Fails**")
    (tmp_path / "claims.md").write_text(
        written.replace("- **Fails**:", "- Holds:", 1), encoding="utf-8"
    )
    told = kind_of(source).compare(source, read_source(str(tmp_path / "claims.md")))
    assert f"1 changed their verdict: {fails['claim'][0]} (fails → holds)" in told.answers[0]


def test_kinds_stand_on_one_page(folder: Path, tmp_path: Path) -> None:
    words = "# Diagnosis\n\nUse [this](http://elsewhere.org) policy.\n\n![a picture](no.png)\n"
    (tmp_path / "diagnosis.md").write_text(words, encoding="utf-8")
    (tmp_path / "diagnosis.csv").write_text("policy,gain\nspac,0.5\n", encoding="utf-8")
    places = (folder, tmp_path, ROOT / "docs")
    reader = read(report_page([read_source(str(place)) for place in places]))
    assert reader.wrong == []
    assert [name for name, count in reader.ids.items() if count > 1] == []
    assert all(address.startswith(("#", "data:")) for address in reader.addresses)
    assert "Use this policy." in reader.text


def test_two_studies_are_paired_cell_by_cell(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {"n": [10] * 40 + [20] * 40, "seed": [*range(40)] * 2, "suboptimality": 0.5}
    )
    fallen = pl.when(pl.col("n") == 10).then(0.25 + pl.col("seed") / 1000).otherwise(0.5)
    low = rows.with_columns(suboptimality=fallen)
    for name, frame in (("a", rows), ("b", low)):
        (tmp_path / name).mkdir()
        write_results(frame, tmp_path / name / "results.parquet", {})
    pair = [read_source(str(tmp_path / name)) for name in "ab"]
    found = kind_of(pair[0]).compare(*pair).data["comparison"]
    assert found.select("n", "units", "move").rows() == [(10, 40, "lower"), (20, 40, "equal")]
    assert found["change"].to_list() == pytest.approx([-0.25 + 0.0195, 0.0])


def test_nothing_is_written_where_a_folder_holds_nothing(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no results"):
        report([str(folder), str(tmp_path), "-o", str(tmp_path / "page.html")])
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_is_paired(folder: Path, tmp_path: Path) -> None:
    rows = read_results(folder)
    values = pl.col("suboptimality") - pl.when(pl.col("algorithm") == "dpo").then(0.125).otherwise(
        0
    )
    write_results(rows.with_columns(values)[::-1], tmp_path / "results.parquet")
    pair = [read_source(str(place)) for place in (folder, tmp_path)]
    found = kind_of(pair[0]).compare(*pair).data["comparison"]
    shifted = found.filter(pl.col("algorithm") == "dpo")
    assert shifted["change"].to_list() == pytest.approx([-0.125] * shifted.height)
    assert set(found.filter(pl.col("algorithm") != "dpo")["move"]) == {"equal"}
    assert report(["compare", str(folder), str(tmp_path), "-o", str(tmp_path / "page.html")])
    reader = read((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert reader.wrong == []
    assert [name for name, count in reader.ids.items() if count > 1] == []
    assert "equal in 12" in reader.text


def test_sweeps_of_other_data_are_not_compared(folder: Path, tmp_path: Path) -> None:
    rows = read_results(folder).with_columns(pl.lit("elsewhere").alias("problem"))
    write_results(rows, tmp_path / "results.parquet")
    with pytest.raises(InputError, match="problem is"):
        report(["compare", str(folder), str(tmp_path)])
    with pytest.raises(InputError, match="compare two of one kind"):
        report(["compare", str(folder), str(ROOT / "docs")])
    with pytest.raises(InputError, match="two folders"):
        report(["compare", str(folder)])


def test_violations_are_counted() -> None:
    bounds = [1.0, 0.1, None, float("nan"), float("inf")]
    rows = pl.DataFrame({"suboptimality": [0.5] * 5, "bound_upper": bounds})
    assert rows_say(rows)[0] == "Upper bounds: 2 violations in 4 fits that have one."


PROBE = """
const told = {}, later = () => new Promise((done) => setTimeout(done, 400));
const table = [...document.querySelectorAll("table")].find((t) =>
  t.caption.textContent.startsWith("mean sub"));
const column = (j) => [...table.tBodies[0].rows].filter((r) => !r.hidden).map((r) => r.cells[j].textContent);
const figure = document.querySelector("figure.drawn"), box = figure.querySelector("input");
const visible = () => [...figure.querySelectorAll(".panel")].map((panel) =>
  panel.querySelectorAll(".scatterlayer .trace").length);
const ink = () => getComputedStyle(figure.querySelector(".xtitle")).fill;
(async () => {
  const head = table.tHead.rows[0].cells[1];
  told.before = column(1);
  head.querySelector("button").click();
  told.up = column(1); told.ariaUp = head.getAttribute("aria-sort");
  head.querySelector("button").click();
  told.down = column(1); told.ariaDown = head.getAttribute("aria-sort");
  const label = table.parentElement.previousElementSibling, input = label.querySelector("input");
  input.value = "mle"; input.dispatchEvent(new Event("input"));
  told.kept = column(0); told.count = label.querySelector("output").textContent;
  input.value = ""; input.dispatchEvent(new Event("input"));
  told.all = column(0).length;
  await later();
  told.ink = ink(); told.drawn = visible();
  box.click(); await later();
  told.hidden = visible();
  box.click(); await later();
  told.again = visible();
  told.unnamed = [...document.querySelectorAll("button, input, table, figure, [role=region], [role=img]")]
    .filter((e) => !(e.textContent.trim() || e.ariaLabel || e.labels?.length || e.caption ||
      e.getAttribute("aria-labelledby"))).length;
  document.body.style.maxWidth = "360px"; document.body.style.margin = "0";
  window.dispatchEvent(new Event("resize")); await later(); await later();
  told.wide = [...document.querySelectorAll("body *")].filter((e) =>
    !e.closest(".scroll > *, .panel > *, .skip, script, style")
    && e.getBoundingClientRect().right > 361).map((e) => e.tagName);
  told.broad = [...document.querySelectorAll(".panel .main-svg")].filter((e) =>
    e.getBoundingClientRect().width > 361).length;
})().catch((error) => { told.error = String(error); }).finally(() => {
  const out = document.createElement("pre"); out.id = "told"; out.textContent = JSON.stringify(told);
  document.body.append(out);
});
"""
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=20000",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom",
)  # fmt: skip


def in_browser(page: str, folder: Path, *flags: str) -> dict[str, Any]:
    """What the probe finds on a page in a browser that has no network and must not complain."""
    probed = folder / "page.html"
    probed.write_text(page.replace("</body>", f"<script>{PROBE}</script></body>"), encoding="utf-8")
    words = [
        str(CHROMIUM),
        *QUIET,
        *flags,
        f"--user-data-dir={folder / 'profile'}",
        probed.as_uri(),
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240)
    assert "CONSOLE" not in done.stderr, done.stderr
    found = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(html.unescape(found[1]))
    assert "error" not in told, told["error"]
    return told


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_the_page_is_alive_in_a_browser(page: str, tmp_path: Path) -> None:
    told = in_browser(page, tmp_path)
    first = [float(entry.split(" ")[0]) for entry in told["before"]]
    assert [float(entry.split(" ")[0]) for entry in told["up"]] == sorted(first)
    assert [float(entry.split(" ")[0]) for entry in told["down"]] == sorted(first, reverse=True)
    assert (told["ariaUp"], told["ariaDown"]) == ("ascending", "descending")
    assert told["kept"] == ["mle_greedy"]
    assert told["count"] == "1 of 5 rows"
    assert told["all"] == 5
    assert told["unnamed"] == 0
    assert told["wide"] == []
    assert told["broad"] == 0
    assert len(told["drawn"]) == 2
    assert all(after < before for before, after in zip(told["drawn"], told["hidden"], strict=True))
    assert told["again"] == told["drawn"]
    red, green, blue = map(int, re.findall(r"\d+", told["ink"])[:3])
    assert red + green + blue < 3 * 128  # dark on light


def test_the_program_says_how_it_is_used() -> None:
    done = run([sys.executable, "-m", "experiments.report", "--help"], ROOT)
    assert done.returncode == 0, done.stderr
    assert "DIR" in done.stdout
