"""Whether a test may mount a small disk that its own child alone sees, and the words that start one."""

import subprocess

OWN_MOUNTS = ("unshare", "--user", "--map-root-user", "--mount")


def _reason() -> str:
    try:
        trial = ["sh", "-c", "mount -t tmpfs -o size=64k none /tmp"]
        done = subprocess.run([*OWN_MOUNTS, *trial], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        return f"needs mounts of one's own ({error})"
    return f"needs mounts of one's own ({done.stderr.strip()})" if done.returncode else ""


REASON = _reason()
