"""A process of `tests.converters.running` and all that it starts, seen from outside."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]

Watched = subprocess.Popen[str]


@contextmanager
def started(*arguments: object) -> Iterator[Watched]:
    """Start the process in a session of its own; whatever is left of the session at the end is killed."""
    command = [sys.executable, "-m", "tests.converters.running", *map(str, arguments)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            for member in session(process):
                os.kill(member, signal.SIGKILL)


def wait_for(process: Watched, found: Callable[[str], bool]) -> str:
    """Read the process's lines up to one that is looked for, and return it."""
    assert process.stdout is not None
    for line in process.stdout:
        if found(line):
            return line
    raise AssertionError(f"the process ended before: {process.stderr.read() if process.stderr else ''}")


def ended(process: Watched) -> str:
    """Wait until the process has ended and return what it said on standard error."""
    _, errors = process.communicate(timeout=60)
    return errors


def session(process: Watched) -> list[int]:
    """Return the processes, not counting those that are dead, that this one began and what these began, itself too."""
    return [pid for pid in psutil.pids() if _session(pid) == process.pid and _alive(pid)]


def assert_nothing_runs(process: Watched) -> None:
    """Fail unless all processes of the session end within some seconds."""
    deadline = time.monotonic() + 20
    while session(process):
        assert time.monotonic() < deadline, [psutil.Process(pid).cmdline() for pid in session(process)]
        time.sleep(0.02)


def files_of(folder: Path) -> dict[str, str]:
    """Return a hash of every file below a folder; folders have none, links tell where they lead."""
    return {str(path.relative_to(folder)): _hash(path) for path in sorted(folder.rglob("*"))}


def _hash(path: Path) -> str:
    if path.is_symlink():
        return os.readlink(path)
    return "" if path.is_dir() else hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
