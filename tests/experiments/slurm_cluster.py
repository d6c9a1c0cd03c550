"""A Slurm of one node, started for a test and stopped after it: controller, node and munge as our children.

Everything is in one folder: configuration, keys, logs, state. Nothing of the machine's own Slurm is read or
written, so root is not needed. On Debian: `apt-get install slurmctld slurmd slurm-client munge`.
"""

from __future__ import annotations

import getpass
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel")
CPUS = 2  # jobs that run side by side, whatever the machine has

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=4000 State=UNKNOWN
PartitionName=test Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def lacking() -> str:
    """Why there can be no Slurm here; empty where there can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    return f"needs Slurm: {', '.join(absent)} not found" if absent else ""


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Start the three daemons; the environment under which programs find them."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    host = platform.node().split(".")[0]
    ports = dict(zip(("controller", "node"), _free_ports(2), strict=True))
    text = CONFIGURATION.format(
        host=host, folder=folder, user=getpass.getuser(), cpus=CPUS, **ports
    )
    configuration = folder / "slurm.conf"
    configuration.write_text(text)
    environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(configuration)}
    with ExitStack() as daemons:
        _munge(folder, environment, daemons)
        for name in ("slurmctld", "slurmd"):
            _daemon([name, "-D", "-f", str(configuration)], folder, environment, daemons)
        _until(lambda: "idle" in tell(environment, "sinfo", "-h", "-o", "%T"), folder)
        yield environment
        tell(environment, "scancel", "--user", getpass.getuser())
        _until(lambda: not tell(environment, "squeue", "--noheader"), folder)


def tell(environment: dict[str, str], *words: str) -> str:
    """What a Slurm program answers; nothing where it fails."""
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=30)
    return done.stdout.strip() if done.returncode == 0 else ""


def _munge(folder: Path, environment: dict[str, str], daemons: ExitStack) -> None:
    """The daemon that signs messages, with a key and a socket of its own."""
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed"}
    places = [f"--{option}={folder}/munge.{name}" for option, name in files.items()]
    words = ["munged", "--foreground", "--force", f"--log-file={folder}/munge.log", *places]
    _daemon(words, folder, environment, daemons)
    _until((folder / "munge.socket").exists, folder)


def _daemon(
    words: list[str], folder: Path, environment: dict[str, str], daemons: ExitStack
) -> None:
    """A child that ends with the stack."""
    log = daemons.enter_context((folder / f"{words[0]}.out").open("w"))
    process = subprocess.Popen(words, env=environment, stdout=log, stderr=log, cwd=folder)

    def stop() -> None:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    daemons.callback(stop)


def _until(ready: object, folder: Path, seconds: float = 60) -> None:
    assert callable(ready)
    end = time.monotonic() + seconds
    while not ready():
        said = "\n".join(path.read_text()[-1000:] for path in folder.glob("*.out"))
        assert time.monotonic() < end, f"Slurm is not ready:\n{said}"
        time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
