"""A real Dask scheduler and workers, processes of their own over TCP on this machine, started as an administrator would."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
_SECONDS = 60


@dataclass
class Cluster:
    """A scheduler and its workers, each in a session of its own. address: what --executor takes."""

    folder: Path
    address: str = ""
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_scheduler(self) -> None:
        """Start a scheduler, on a free port or where it was before, and wait until it listens."""
        port = self.address.rpartition(":")[2] or "0"
        self.scheduler = self._start("scheduler", "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")
        found = wait_for_text(self.folder / "scheduler.log", "Scheduler at:")
        self.address = found.split("Scheduler at:")[1].split()[0]

    def start_worker(self, *options: str) -> None:
        """Start a worker with one thread, with a nanny that starts it again when it dies, as Dask does by default."""
        name = f"worker{len(self.workers)}"
        told = (
            "--nthreads",
            "1",
            "--host",
            "127.0.0.1",
            "--no-dashboard",
            "--local-directory",
            str(self.folder / name),
            *options,
        )
        self.workers.append(self._start(name, "worker", self.address, *told))

    def wait_for_workers(self) -> None:
        """Wait until the scheduler knows all workers that were started."""
        for number in range(len(self.workers)):
            wait_for_text(self.folder / f"worker{number}.log", "Registered to:")

    def kill_worker(self, number: int) -> None:
        """Kill a worker and its nanny with SIGKILL, as if its machine were gone."""
        _kill(self.workers[number])

    def kill_worker_process(self, number: int) -> None:
        """Kill a worker with SIGKILL and leave its nanny, as the kernel does when memory is short."""
        for child in psutil.Process(self.workers[number].pid).children():
            # The nanny's other child is the resource tracker of multiprocessing.
            if "spawn_main" in " ".join(child.cmdline()):
                child.send_signal(signal.SIGKILL)

    def kill_scheduler(self) -> None:
        """Kill the scheduler with SIGKILL."""
        assert self.scheduler is not None
        _kill(self.scheduler)

    def stop(self) -> None:
        """End everything; nothing is left."""
        for process in (*self.workers, *([self.scheduler] if self.scheduler else [])):
            _kill(process)

    def _start(self, name: str, *command: str) -> "subprocess.Popen[bytes]":
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *command],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


@contextmanager
def started_cluster(folder: Path, workers: int = 3) -> Iterator[Cluster]:
    """Start a scheduler and workers of one thread each, their logs in folder; all are gone at the end."""
    running = Cluster(folder)
    try:
        running.start_scheduler()
        for _ in range(workers):
            running.start_worker()
        running.wait_for_workers()
        yield running
    finally:
        running.stop()


def wait_for_text(log: Path, text: str) -> str:
    """Return the line of a log that has the text, as soon as it is there."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        for line in log.read_text("utf-8", errors="replace").splitlines(keepends=True):
            if text in line and line.endswith("\n"):
                return line
        time.sleep(0.02)
    raise AssertionError(f"{text!r} is not in {log}:\n{log.read_text('utf-8', errors='replace')}")


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and all of its session, and wait until it is gone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=_SECONDS)
