"""A run directory: stages that are done once, name what they consumed, and refuse stale input.

A stage is a folder. `inputs.json` appears before its work starts and `stage.json` when it is done;
`manifest.json` in the run directory gathers all finished stages. None of them holds a time, a path
outside the run or a host name: two runs of one configuration have the same manifest.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.common.files import read_json, write_json
from llm.files import processes
from llm.files.digests import file_digest
from spac_theory.checks import InputError

SCHEMA = 1
Record = dict[str, Any]


class StaleInput(InputError):
    """A stage in the run directory was made from something else than what is asked for now."""


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`."""
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    parts: dict[str, Any] = {}
    for key, item in value.items():
        parts |= flatten(item, f"{prefix}.{key}" if prefix else str(key))
    return parts


def first_difference(old: Record, new: Record) -> str:
    """The first entry in which two records differ, in words."""
    before, after = flatten(old), flatten(new)
    for key in sorted(before | after):
        if before.get(key) != after.get(key):
            return f"{key} was {before.get(key)!r} and is now {after.get(key)!r}"
    return "nothing"


class Run:
    """A run directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def stage(
        self, name: str, inputs: Record, work: Callable[[Path], dict[str, Any]]
    ) -> dict[str, Any]:
        """Do `work(folder)` unless it is done; return what it returned.

        `inputs` names, by value or hash, everything the result depends on. Raises StaleInput when
        the folder was started or finished from other inputs. `work` may find what an interrupted
        call left and must go on from there; its values that name a file in the folder
        (`{"rows": "rows.parquet"}`) are recorded with the file's hash.
        """
        folder = self.directory / name
        # A round trip through JSON, so that stored and fresh records compare equal.
        wanted = {"schema": SCHEMA, **_plain(inputs)}
        self._refuse_stale(folder, name, wanted)
        if (folder / "stage.json").exists():
            outputs: dict[str, Any] = read_json(folder / "stage.json")["outputs"]
            return outputs
        if processes.is_main():
            write_json(folder / "inputs.json", wanted)
        processes.barrier()
        outputs = _plain(work(folder))
        processes.barrier()
        if processes.is_main():
            record = {"inputs": wanted, "outputs": outputs, "files": _hashes(folder, outputs)}
            write_json(folder / "stage.json", record)
            self.write_manifest()
        processes.barrier()
        return outputs

    def _refuse_stale(self, folder: Path, name: str, wanted: Record) -> None:
        if not (folder / "inputs.json").exists():
            return
        stored = read_json(folder / "inputs.json")
        if stored != wanted:
            raise StaleInput(
                f"The stage {name} in {self.directory} was made from other inputs "
                f"({first_difference(stored, wanted)}); choose another run_dir, or delete "
                f"{folder} to make it again."
            )

    def file_hash(self, name: str, output: str) -> str:
        """The recorded hash of a finished stage's file."""
        return str(read_json(self.directory / name / "stage.json")["files"][output])

    def write_manifest(self) -> None:
        """Gather all finished stages into `manifest.json`."""
        stages = {
            str(path.parent.relative_to(self.directory)): read_json(path)
            for path in sorted(self.directory.rglob("stage.json"))
        }
        write_json(self.directory / "manifest.json", {"schema": SCHEMA, "stages": stages})


def _plain(value: Any) -> Any:
    import json

    return json.loads(json.dumps(value, sort_keys=True, default=str))


def _hashes(folder: Path, outputs: dict[str, Any]) -> dict[str, str]:
    files = {k: folder / v for k, v in outputs.items() if isinstance(v, str) and v}
    return {k: file_digest(path) for k, path in files.items() if path.is_file()}
