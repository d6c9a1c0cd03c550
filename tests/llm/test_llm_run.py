"""The command `python -m llm.run` on a tiny run: interrupted, finished, repeated, and misused.

That a killed run ends like an undisturbed one is the claim `kills_change_nothing`, whose small version
runs with the other claims.
"""

import html
import signal

from experiments.claims.kills import SMALL, launch, reach
from experiments.common.files import read_json
from experiments.common.program import guarded
from experiments.reporting.run import report_page
from experiments.reporting.sources import read_source
from llm.run import composed, execute

FAST = ("rounds=1", "data.language.demonstrations=256", "data.language.pairs=32")


def again(folder, *overrides):
    """The same command in this process: its exit code."""
    values = composed("run", f"run_dir={folder}", *SMALL, *FAST, *overrides)
    return guarded(lambda: execute(values))


def test_ctrl_c_is_one_sentence_and_leaves_a_run_that_goes_on(tmp_path, capsys):
    process = launch(tmp_path, *FAST)
    reach(process, "spac/round-01/sample-own")
    process.send_signal(signal.SIGINT)
    message = process.communicate()[1]
    assert process.returncode == 130
    assert message.strip().startswith("Interrupted; what is finished is kept")
    assert not (tmp_path / "results.json").exists()
    done = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("stage.json")}
    assert {path.parent.name for path in done} == {"prepare", "sft", "evaluate"}

    assert again(tmp_path) == 0
    assert (tmp_path / "results.json").exists()
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    manifest = read_json(tmp_path / "manifest.json")
    capsys.readouterr()
    assert again(tmp_path) == 0  # a finished run: nothing is done twice
    assert "sample-own" not in capsys.readouterr().out
    assert read_json(tmp_path / "manifest.json") == manifest

    page = report_page([read_source(str(tmp_path))])
    for name, rounds in read_json(tmp_path / "results.json")["rounds"].items():
        assert name in page
        assert f"{rounds[-1]['suboptimality']:.3f}" in page
    command = read_json(tmp_path / "results.json")["made"]["command"]
    assert html.escape(command) in page.partition("To make these numbers again")[2][:600]

    assert again(tmp_path, "methods.spac.lam=5.0") == 2
    message = capsys.readouterr().err
    assert "method.lam was 3.0 and is now 5.0" in message
    assert message.count("\n") == 1
