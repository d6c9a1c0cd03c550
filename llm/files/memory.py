"""How much memory this process holds and held at most: of its GPU where it has one, else resident."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # proc(5): the high-water mark becomes what is resident now


def reset_peak() -> None:
    """Measure :func:`peak` from here on; where the system cannot, from the start of the process."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        CLEAR.write_text(RESET_PEAK)


def peak() -> int:
    """The most bytes since :func:`reset_peak`: allocated on the GPU, or resident in the process."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return _resident("VmHWM")


def held() -> int:
    """Bytes now: allocated on the GPU, or resident in the process."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    return _resident("VmRSS")


def _resident(name: str) -> int:
    """A line of the process's status; the system's own peak where there is no such file."""
    try:
        lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
        return 1024 * int(lines[name].split()[0])
    except OSError:
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
