"""The process of one job: `python -P -m app.jobs.child`, with its work on standard input, which stays open while it is wanted.

What it prints goes into the job's log. Progress, and how it ended, go as lines of JSON to a pipe. Spawned workers import this
module again, so it imports nothing heavy.
"""

import gc
import io
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from app.kernels import keep_kernels

if TYPE_CHECKING:
    from converters.steps import Progress

_PR_SET_PDEATHSIG = 1
NICE = 19
"""At 10 one chunk in a hundred takes twice as long beside a conversion, at 15 longer, at 19 none (benchmarks latency)."""
_MORE_WILLINGLY_KILLED = "500"
"""Of 1000: when memory is short a job goes before the server and what else runs."""
_EVERY_SECONDS = 0.2
"""Between two lines of progress of one step."""
_LONGEST_SUMMARY = 20_000
"""Characters."""


@dataclass(frozen=True)
class Work:
    """What a child is to do. planned: tell only what the command would do. read, write: folders that it may.

    unconfined: without holding it to them. pipe: the descriptor that progress goes to. kept: descriptors that its own children do
    not get.
    """

    command: str
    options: dict[str, Any]
    planned: bool
    read: tuple[str, ...]
    write: tuple[str, ...]
    network: bool
    unconfined: bool
    pipe: int
    kept: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """Return it as one line."""
        return json.dumps(asdict(self)).encode() + b"\n"


def decode_work(line: bytes) -> Work:
    """Return the work of a line."""
    members = json.loads(line)
    return Work(**{**members, **{name: tuple(members[name]) for name in ("read", "write", "kept")}})


def main() -> None:
    """Do the work. The exit status is that of the command line."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A server's worker holds signals back while it is started, and hands that on.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
    _end_with_server()
    gc.set_threshold(50_000)
    work = decode_work(_line(sys.stdin.fileno()))
    threading.Thread(target=_wait_for_end, daemon=True).start()
    os.nice(NICE)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_MORE_WILLINGLY_KILLED)
    for descriptor in (work.pipe, *work.kept):
        os.set_inheritable(descriptor, False)
    keep_kernels()
    with open(work.pipe, "w", encoding="utf-8") as pipe:
        status = _do(work, Teller(pipe))
    sys.stdout.flush()
    sys.stderr.flush()
    # All is written and told; taking the interpreter apart would keep the next job waiting.
    os._exit(status)


class Teller:
    """Lines of JSON on a pipe."""

    def __init__(self, pipe: TextIO) -> None:
        self._pipe = pipe
        self._step = ""
        self._next = 0.0

    def progress(self, progress: "Progress") -> None:
        """Tell how far the work has come, not too often, and each step's beginning and end."""
        now = time.monotonic()
        if progress.step == self._step and now < self._next and progress.done < progress.total:
            return
        self._step, self._next = progress.step, now + _EVERY_SECONDS
        self.tell(asdict(progress))

    def tell(self, members: Mapping[str, Any]) -> None:
        """Write one line. A server that has gone hears nothing."""
        with suppress(BrokenPipeError):
            self._pipe.write(json.dumps(members) + "\n")
            self._pipe.flush()


def _line(descriptor: int) -> bytes:
    """Return a line, and nothing of what comes behind it."""
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        return file.readline()


def _do(work: Work, teller: Teller) -> int:
    """Run the command and tell how it ended; return its exit status."""
    from app.cli import DONE, INTERRUPTED, told

    printed = _Printed(sys.stdout)
    try:
        _confine(work)
        with redirect_stdout(printed):
            ended = _run(work, teller)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        sentence, status = told(error)
        if os.environ.get("GLASSINE_DEBUG", "0") not in ("", "0"):
            traceback.print_exc()
        print(f"glassine: {sentence}", file=sys.stderr)
        teller.tell({"error": sentence, "status": status})
        return status
    teller.tell({"summary": printed.text(), **ended})
    return DONE


def _confine(work: Work) -> None:
    if not work.unconfined:
        from app.jobs.confinement import Confinement, confine

        confine(Confinement(tuple(map(Path, work.read)), tuple(map(Path, work.write)), work.network))


def _run(work: Work, teller: Teller) -> dict[str, Any]:
    """Run the command, and return what is told of it beside what it printed."""
    from app.progress import progress_told_to

    if work.planned:
        from app.jobs.plans import tell_plan

        members, text = tell_plan(work.command, work.options)
        print(text)
        return {"plan": members}
    from app.jobs.catalogue import job_command

    with progress_told_to(teller.progress):
        job_command(work.command).run(work.options)
    return {}


class _Printed(io.TextIOBase):
    """Standard output that keeps the beginning of what is printed."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._kept: list[str] = []

    def write(self, text: str) -> int:
        """Print a text."""
        self._kept.append(text)
        return self._out.write(text)

    def flush(self) -> None:
        """Hand on what was printed."""
        self._out.flush()

    def text(self) -> str:
        """Return what was printed."""
        return "".join(self._kept).strip()[:_LONGEST_SUMMARY]


def _end_with_server() -> None:
    """Ask the kernel to kill this process when the thread that started it ends."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_for_end() -> None:
    """End this process and all that it started as soon as the server is gone, also where or before the kernel was asked to."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
