"""Whole processes, timed, with the memory of the process tree that they start (Linux)."""

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SAMPLE_SECONDS = 0.05


class RunError(Exception):
    """A command ended with another exit status than 0."""


@dataclass(frozen=True)
class Measurement:
    """One run.

    seconds: wall time. cpu_seconds: user and system, of the process and all descendants that were waited for.
    peak_bytes: the largest sum over the process tree, taken every 50 ms, of the memory that is not backed by files.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run(command: Sequence[str], directory: Path, log: Path) -> Measurement:
    """Run a command in directory to its end, what it prints in log. Raises RunError when it fails."""
    older = processes()
    peak = [0]
    ended = threading.Event()
    with log.open("wb") as output:
        begin = time.monotonic()
        process = subprocess.Popen(command, cwd=directory, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        sampler = threading.Thread(target=_sample, args=(process.pid, older, ended, peak))
        sampler.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begin
    ended.set()
    sampler.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = log.read_text(errors="replace")[-2000:]
        raise RunError(f"{' '.join(command)}: exit status {process.returncode}, expected 0; it ended with:\n{tail}")
    return Measurement(seconds, usage.ru_utime + usage.ru_stime, peak[0])


def _sample(pid: int, older: frozenset[int], ended: threading.Event, peak: list[int]) -> None:
    while not ended.wait(_SAMPLE_SECONDS):
        peak[0] = max(peak[0], sum(unshared_bytes(process) for process in process_tree(pid, older)))


def processes(proc: Path = Path("/proc")) -> frozenset[int]:
    """Return the ids of all processes that are alive."""
    return frozenset(int(name) for name in os.listdir(proc) if name.isdigit())


def process_tree(pid: int, older: frozenset[int], proc: Path = Path("/proc")) -> list[int]:
    """Return pid and all its descendants that are alive. older: processes that are none, so that they need not be looked at."""
    parents = {process: _parent(proc / str(process)) for process in processes(proc) - older}
    tree = [pid]
    for parent in tree:
        tree += sorted(process for process, of in parents.items() if of == parent)
    return tree


def _parent(process: Path) -> int | None:
    """Return the parent's id: proc(5), /proc/pid/stat, the second member after the name, which may hold anything."""
    _, _, members = _read(process / "stat").rpartition(")")
    return int(members.split()[1]) if members else None


def unshared_bytes(pid: int, proc: Path = Path("/proc")) -> int:
    """Return RssAnon + RssShmem of a process, 0 when it is gone: proc(5), /proc/pid/status."""
    lines = _read(proc / str(pid) / "status").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
