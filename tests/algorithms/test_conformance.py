"""What every algorithm of the field must do, whoever wrote it."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from spac_theory import ALGORITHMS, LearnerView, Oracle, WinnerCounts, make_algorithm, testing
from spac_theory.bandit.online import OnlineAccess

from .conftest import Setting, make_setting

QUICK = {
    "spac_t": {"iterations": 10}, "dpo_gradient": {"steps": 30}, "sail": {"steps": 30},
    "spac_practical": {"rounds": 2, "steps": 20, "selfplay": "sampled"}, "mpo": {"iterations": 50},
    "sapo": {"steps": 30, "symbols": 2}, "spo": {"steps": 30}, "nash_md": {"iterations": 30},
    "xpo": {"rounds": 2}, "vpo_online": {"rounds": 2}, "online_dpo": {"rounds": 2},
}  # fmt: skip
OURS = [n for n in ALGORITHMS if ALGORITHMS[n].__module__.startswith("spac_theory.")]
PAGES = Path(__file__).resolve().parents[2] / "docs" / "methods"


@pytest.fixture(scope="module")
def small() -> Setting:
    return make_setting(n=150, seeds=3)


def fit(name, setting, data, seeds, view=None, **options):
    view = setting.view if view is None else view
    bandit = setting.problem.bandit
    access = OnlineAccess(setting.truth, view.rho, seeds, 20, bandit.reward)
    algorithm = make_algorithm(name, **{**QUICK.get(name, {}), **options})
    oracle = Oracle(1.0, access, setting.truth)
    assert algorithm.skip(view, oracle) is None
    return algorithm.fit(view, data, oracle)


@pytest.mark.parametrize("name", OURS)
def test_batch_is_loop_and_policies_are_policies(small, name):
    whole = fit(name, small, small.data, range(3)).policy.probabilities()
    assert whole.shape == (3, 3, 4)
    assert float(whole.min()) >= 0
    assert torch.allclose(whole.sum(-1), torch.ones(3, 3, dtype=torch.float64), atol=1e-9)
    assert torch.equal(whole, fit(name, small, small.data, range(3)).policy.probabilities())
    alone = fit(name, small, WinnerCounts(small.data.wins[1:2]), [1]).policy.probabilities()
    assert torch.allclose(whole[1], alone[0], atol=1e-6)


CERTIFICATES = {
    "duality gap", "gradient norm", "stationarity", "spread over starts", "estimate", "closed form",
    "none",
}  # fmt: skip
LABELS = {"xpo", "vpo_online", "online_dpo", "sim_oprl"}
BUDGET = 20


def judged(name, small, labels=BUDGET):
    """A fit and what the access object counted."""
    bandit = small.problem.bandit
    access = OnlineAccess(small.truth, bandit.rho, range(3), labels, bandit.reward)
    algorithm = make_algorithm(name, **QUICK.get(name, {}))
    return algorithm.fit(small.view, small.data, Oracle(1.0, access, small.truth)), access


@pytest.mark.parametrize("name", OURS)
def test_every_fit_says_what_it_certifies(small, name):
    """One of the declared kinds, with a number `(S,)` where the kind is one, and none where not."""
    found, access = judged(name, small)
    assert found.gap_kind in CERTIFICATES
    if found.gap_kind == "none":
        assert found.gap is None
    elif found.gap_kind != "closed form":
        assert found.gap is not None
        assert found.gap.shape == (3,)
        assert torch.isfinite(found.gap).all()
        assert float(found.gap.min()) >= -1e-9
    for column in found.extra.values():
        assert column.shape == (3,)
    assert access.labels.tolist() == [BUDGET if name in LABELS else 0] * 3
    assert bool((access.scores > 0).all()) is (name == "drpo")


READS = {
    "π_ref": lambda s: (replace(s.view, reference=s.view.reference.flip(-1)), s.data),
    "data": lambda s: (s.view, WinnerCounts(s.data.wins.transpose(-1, -2))),
}


@pytest.mark.parametrize("name", OURS)
def test_the_index_says_what_an_algorithm_is_given(small, name):
    """Change one input: the policy moves only if the index names that input as given."""
    if name in ("uniform", "behaviour_cloning"):
        return
    table = (PAGES / "README.md").read_text(encoding="utf-8").partition("<!-- end algorithms")[0]
    (given,) = [x.split("|")[3] for x in table.splitlines() if x.startswith(f"| `{name}` |")]
    plain, _ = judged(name, small)
    for word, change in READS.items():
        if (name, word) == ("drpo", "data"):
            continue  # the data name its random streams and are not read otherwise
        view, data = change(small)
        changed = Setting(small.problem, view, data, small.truth)
        moved, _ = judged(name, changed)
        same = torch.allclose(plain.policy.probabilities(), moved.policy.probabilities(), atol=1e-9)
        if not same:
            assert word in given, f"{name} reads {word}; the index says {given}"


EQUIVARIANT = [
    "ipo", "simpo", "rpo", "vpo_offline", "chi_po", "chi2_rlhf", "spac_kl", "spin", "sppo", "dno",
    "rebel", "nash_md", "mpo", "hypo", "sail", "sapo", "linear_alignment",
]  # fmt: skip


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_relabelling_actions_permutes_the_policy(small, name):
    order = torch.tensor([2, 0, 3, 1])
    data = WinnerCounts(small.data.wins[:, :, order][..., order])
    view = LearnerView(
        small.view.reward_class,
        small.view.rho,
        small.view.reference[:, order],
        small.view.baseline[:, order],
    )
    # Strings are not symmetric, symbols are; draws from the queue depend on the order of actions.
    single = {"symbols": None, "replay": "mean"} if name == "sapo" else {}
    straight = fit(name, small, small.data, range(3), **single).policy.probabilities()
    permuted = fit(name, small, data, range(3), view, **single).policy.probabilities()
    assert torch.allclose(permuted, straight[..., order], atol=1e-5)


def test_every_algorithm_has_a_page_and_every_page_an_index_line():
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    plain = {"behaviour_cloning", "uniform"}  # one sentence each, in their own file
    missing = [n for n in OURS if n not in plain and f"`{n}`" not in index]
    assert missing == []
    for page in PAGES.glob("*.md"):
        if page.name == "README.md":
            continue
        text = page.read_text(encoding="utf-8")
        assert f"({page.name})" in index
        for heading in ("Objective", "coverage", "solved here", "How sure", "Options"):
            assert heading in text, f"{page.name} lacks {heading}"


def test_the_index_names_a_check_of_every_algorithm_and_its_files_exist():
    """Of the second table: one line an algorithm, and tests that are there and speak of it."""
    text = (PAGES / "README.md").read_text(encoding="utf-8")
    rows = text.partition("## What checks each algorithm")[2].partition("\n## ")[0].splitlines()
    table = [row.split("|")[1:4] for row in rows if row.startswith("| `")]
    named = [name for cells in table for name in re.findall(r"`(\w+)`", cells[0])]
    assert sorted(named) == sorted(OURS)
    for names, _, files in table:
        for name in set(re.findall(r"`(\w+)`", names)) - {"uniform"}:
            paths = [PAGES.parents[1] / "tests" / f for f in re.findall(r"`([^`]+)`", files)]
            text = "".join(p.read_text(encoding="utf-8") for p in paths)
            assert f'"{name}"' in text or f"{ALGORITHMS[name].__name__}(" in text, name


def test_options_named_on_a_page_exist():
    known = {f.name for n in ALGORITHMS for f in dataclasses.fields(ALGORITHMS[n])}
    known |= {"transition_pessimism", "reward_pessimism"}
    for page in PAGES.glob("*.md"):
        text = page.read_text(encoding="utf-8").partition("## Options")[2]
        for cell in re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE):
            assert set(cell.split(", ")) <= known, f"{page.name}: {cell}"


def test_every_algorithm_is_one_word_of_a_sweep():
    """`algorithm=[rpo]` finds a file, with every option of the dataclass at its default."""
    folder = PAGES.parents[1] / "conf" / "algorithm"
    found = {}
    for file in folder.glob("*.yaml"):
        for spec in yaml.safe_load(file.read_text(encoding="utf-8")).values():
            name = spec.pop("name")
            resolved = dataclasses.asdict(make_algorithm(name, **spec))
            if file.stem == name:
                assert resolved == dataclasses.asdict(make_algorithm(name)), file.name
            found[name] = file
    assert set(OURS) <= set(found)


PLUGIN = """
from dataclasses import dataclass

from spac_theory import ALGORITHMS, Fit
from spac_theory.view import TabularPolicy


@ALGORITHMS.register("{name}")
@dataclass(frozen=True)
class Mine:
    def skip(self, view, oracle):
        return None

    def fit(self, view, data, oracle=None):
        seen = data.compared.sum(-1).double() + {added}
        return Fit(TabularPolicy(seen / seen.sum(-1, keepdim=True)), "closed form")
"""


def test_plug_ins_are_checked_by_one_command(tmp_path, capsys):
    good, bad, empty = (tmp_path / f"{name}.py" for name in ("good", "bad", "empty"))
    good.write_text(PLUGIN.format(name="checked_good", added=1))
    bad.write_text(PLUGIN.format(name="checked_bad", added="data.wins[0, 0, 0, 1] + 1"))
    words = [sys.executable, "-m", "spac_theory.testing", str(good), str(bad)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=PAGES.parents[1])
    assert (done.returncode, done.stdout) == (1, "checked_good: as it must be\n")
    assert done.stderr.startswith("checked_bad: ")  # a data set of it sees another
    assert done.stderr.count("\n") == 1
    empty.write_text("")
    assert testing.main([str(empty)]) == 2
    assert "registers no algorithm" in capsys.readouterr().err
