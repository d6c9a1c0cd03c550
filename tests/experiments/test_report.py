"""The page of results: whole, alone, true to the tables, and alive in a browser."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from experiments.engine.columns import write_results
from experiments.engine.store import read_results
from experiments.reporting.answers import rows_say
from experiments.reporting.comparison import differences
from experiments.reporting.run import report, report_page
from experiments.reporting.sources import read_source
from experiments.studies.sweep.run import coverage_sweep
from spac_theory.checks import InputError

from .tools import ROOT, command, run, settings

VOID = {"meta", "img", "input", "br", "hr", "link"}
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
ALGORITHMS = "spac_sqrt_n,mle_greedy,dpo,uniform"


class Reader(HTMLParser):
    """Tags in balance, ids, addresses, and the text outside style and script."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.wrong: list[str] = []
        self.ids: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.stack.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids[value or ""] += 1
            if name in ("src", "href", "xlink:href"):
                self.addresses.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.stack):
            self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


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
    assert not re.search(r"https?:|//[\w-]+\.|@import|url\((?!#)", page)


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
    found = differences(read_source(str(folder)), read_source(str(tmp_path)))
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
        differences(read_source(str(folder)), read_source(str(tmp_path)))
    with pytest.raises(InputError, match="two folders"):
        report(["compare", str(folder)])


def test_violations_are_counted() -> None:
    bounds = [1.0, 0.1, None, float("nan"), float("inf")]
    rows = pl.DataFrame({"suboptimality": [0.5] * 5, "bound_upper": bounds})
    assert rows_say(rows)[0] == "Upper bounds: 2 violations in 4 fits that have one."


PROBE = """
const told = {};
const table = [...document.querySelectorAll("table")].find((t) =>
  t.caption.textContent.startsWith("mean sub"));
const column = (j) => [...table.tBodies[0].rows].filter((r) => !r.hidden).map((r) => r.cells[j].textContent);
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
told.unnamed = [...document.querySelectorAll("button, input, table, svg, [role=region]")].filter((e) =>
  !(e.textContent.trim() || e.ariaLabel || e.labels?.length || e.caption ||
    e.getAttribute("aria-labelledby"))).length;
document.body.style.maxWidth = "360px"; document.body.style.margin = "0";
told.wide = [...document.querySelectorAll("body *")].filter((e) =>
  !e.closest(".scroll > *, .skip, script, style")
  && e.getBoundingClientRect().right > 361).map((e) => e.tagName);
const out = document.createElement("pre"); out.id = "told"; out.textContent = JSON.stringify(told);
document.body.append(out);
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_tables_sort_and_filter_in_a_browser(page: str, tmp_path: Path) -> None:
    probed = tmp_path / "page.html"
    probed.write_text(page.replace("</body>", f"<script>{PROBE}</script></body>"), encoding="utf-8")
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    words = [str(CHROMIUM), *quiet, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run([*words, probed.as_uri()], capture_output=True, text=True, timeout=90)
    assert "CONSOLE" not in done.stderr, done.stderr
    found = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    told = json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    first = [float(entry.split(" ")[0]) for entry in told["before"]]
    assert [float(entry.split(" ")[0]) for entry in told["up"]] == sorted(first)
    assert [float(entry.split(" ")[0]) for entry in told["down"]] == sorted(first, reverse=True)
    assert (told["ariaUp"], told["ariaDown"]) == ("ascending", "descending")
    assert told["kept"] == ["mle_greedy"]
    assert told["count"] == "1 of 5 rows"
    assert told["all"] == 5
    assert told["unnamed"] == 0
    assert told["wide"] == []


def test_the_program_says_how_it_is_used() -> None:
    done = run([sys.executable, "-m", "experiments.report", "--help"], ROOT)
    assert done.returncode == 0, done.stderr
    assert "DIR" in done.stdout
