"""A job's process as the server sees it: started confined and at a low priority, listened to, ended with all that it started."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.jobs.child import Work
from app.jobs.confinement import can_confine
from app.jobs.places import Places
from converters.errors import ConverterError

_LISTENED = 1 << 16
"""Bytes that are read from a process at a time."""
_KEPT = (
    "PATH",
    "LANG",
    "LANGUAGE",
    "TZ",
    "HOME",
    "GLASSINE_DEBUG",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "VIRTUAL_ENV",
)
_KEPT_BEGINNINGS = ("LC_", "PYTHON", "LD_", "DYLD_")
_REMOTE_BEGINNINGS = (
    "AWS_",
    "GOOGLE_",
    "GCE_",
    "TENSORSTORE_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class UnconfinedError(ConverterError):
    """This system cannot hold a job to the configured folders."""


@dataclass(frozen=True)
class Run:
    """One run of a command. scratch: its folder for temporary files. log: what it prints goes to the end of this file.

    lock: a descriptor that it holds as long as it lives. planned: it tells only what it would do, and may not write.
    """

    command: str
    options: dict[str, Any]
    scratch: Path
    log: Path
    lock: int | None = None
    planned: bool = False


class JobProcess:
    """A running process; use it from the thread that made it, which has to live as long."""

    def __init__(self, process: subprocess.Popen[bytes], pipe: int) -> None:
        self._process = process
        self._pipe = pipe
        self._heard = b""
        self.has_more = True
        """Whether it may still tell something."""

    def fileno(self) -> int:
        """The descriptor that can be read when the process tells something or has ended."""
        return self._pipe

    @property
    def number(self) -> int:
        """The id of the process, and of its group."""
        return self._process.pid

    def told(self) -> Iterator[dict[str, Any]]:
        """Yield what it has told since, without waiting."""
        while data := self._read():
            *lines, self._heard = (self._heard + data).split(b"\n")
            for line in lines:
                yield json.loads(line)

    def has_ended(self) -> bool:
        """Tell whether the process has ended; its number stays its own until it is closed."""
        if self._process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def ask_to_end(self) -> None:
        """Ask the process to leave what it does in order."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the process and all that it started, now; what it started also when it has ended itself."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> int:
        """Wait for the end of the process, and return its exit status, negative for the signal that killed it."""
        with suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        os.close(self._pipe)
        return self._process.wait()

    def _read(self) -> bytes:
        try:
            data = os.read(self._pipe, _LISTENED)
        except BlockingIOError:
            return b""
        self.has_more = data != b""
        return data


def check_confinement(places: Places) -> None:
    """Raise UnconfinedError when jobs cannot be held to their folders here, and it was not said that they need not be."""
    if not places.settings.unconfined and not can_confine():
        raise UnconfinedError(
            "this system cannot keep a job to the configured folders (Landlock of Linux 5.19 or later), so none is run; with "
            "GLASSINE_UNCONFINED=1 jobs may read whatever the server may"
        )


def start(run: Run, places: Places) -> JobProcess:
    """Start a process for a run; it works in the served folder. Raises OSError, UnconfinedError."""
    check_confinement(places)
    run.scratch.mkdir(parents=True, exist_ok=True)
    ours, theirs = os.pipe()
    try:
        process = _popen(run, places, theirs)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    os.set_blocking(ours, False)
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it has died already, which is seen at its end
        process.stdin.write(_work(run, places, theirs).encode())
        process.stdin.flush()
    return JobProcess(process, ours)


def _popen(run: Run, places: Places, pipe: int) -> subprocess.Popen[bytes]:
    with open(run.log, "ab") as log:
        # -P: nothing is imported from the folder that it works in.
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "app.jobs.child"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=places.root,
            env=_environment(run, places),
            pass_fds=[pipe] if run.lock is None else [pipe, run.lock],
            process_group=0,
        )


def _work(run: Run, places: Places, pipe: int) -> Work:
    caches = [] if places.settings.cache is None else [_kernels(places.settings.cache)]
    home = [Path("~", name).expanduser() for name in (".aws", ".config/gcloud")] if places.settings.remote else []
    return Work(
        command=run.command,
        options=run.options,
        planned=run.planned,
        read=tuple(map(str, (places.root, *places.inputs, *home))),
        write=tuple(map(str, (run.scratch, *caches, *([] if run.planned else [places.root])))),
        network=places.settings.remote or "://" in str(run.options.get("executor", "")),
        unconfined=places.settings.unconfined and not can_confine(),
        pipe=pipe,
        kept=() if run.lock is None else (run.lock,),
    )


def _kernels(cache: Path) -> Path:
    """Return the folder for compiled kernels, made when missing."""
    folder = cache / "kernels"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _environment(run: Run, places: Places) -> dict[str, str]:
    """Return the environment of a process: nothing secret, which a file could be made to show."""
    beginnings = _KEPT_BEGINNINGS + (_REMOTE_BEGINNINGS if places.settings.remote else ())
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(beginnings)}
    if places.settings.cache is not None:
        kept["NUMBA_CACHE_DIR"] = str(places.settings.cache / "kernels")
    return {**dict.fromkeys(_THREADS, "1"), **kept, "TMPDIR": str(run.scratch), "PYTHONSAFEPATH": "1"}
