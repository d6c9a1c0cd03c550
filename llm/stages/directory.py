"""A run directory: stages that are done once, name what they consumed, and refuse stale input.

A stage is a folder. `inputs.json` appears before its work starts and `stage.json` when it is done;
`manifest.json` in the run directory gathers all finished stages. None of them holds a time, a path
outside the run or a host name: two runs of one configuration have the same manifest.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.common.files import StorageError, read_json, write_json
from llm.files import processes
from llm.files.digests import file_digest
from llm.files.failures import Diverged
from spac_theory.checks import InputError

SCHEMA = 2
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
        self._known: dict[tuple[Path, int, int], str] = {}

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
        fresh = not (folder / "inputs.json").exists()
        processes.barrier()  # every process has looked before one of them writes
        if processes.is_main():
            write_json(folder / "inputs.json", wanted)
        processes.barrier()
        outputs = _plain(self._work(folder, work, fresh))
        processes.barrier()
        if processes.is_main():
            record = {"inputs": wanted, "outputs": outputs, "files": _hashes(folder, outputs)}
            write_json(folder / "stage.json", record)
            self.write_manifest()
        processes.barrier()
        return outputs

    def _work(
        self, folder: Path, work: Callable[[Path], dict[str, Any]], fresh: bool
    ) -> dict[str, Any]:
        """Do the work. What is refused leaves nothing that would be in the way of a corrected command.

        A full disk is no such refusal, and parts that an earlier call finished are kept; a training that
        diverged is of no use to anybody.
        """
        try:
            return work(folder)
        except StorageError:
            raise
        except (InputError, Diverged) as error:
            if processes.is_main() and (fresh or isinstance(error, Diverged)):
                shutil.rmtree(folder, ignore_errors=True)
            raise

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
        """The hash of a finished stage's file; refused if the file is not the one that was recorded."""
        record = read_json(self.directory / name / "stage.json")
        path = self.directory / name / record["outputs"][output]
        wanted = str(record["files"][output])
        if not path.is_file() or self._digest(path) != wanted:
            raise InputError(
                f"{path} is not the file that the stage {name} wrote: it was changed or is missing; "
                f"restore it, or delete {path.parent} and what was made from it to make them again."
            )
        return wanted

    def _digest(self, path: Path) -> str:
        """The hash of a file, taken again only when its time or size has changed."""
        look = path.stat()
        key = (path, look.st_mtime_ns, look.st_size)
        if key not in self._known:
            self._known[key] = file_digest(path)
        return self._known[key]

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
