"""The queue of jobs of a served folder: one process runs it, whichever has its lock; any can answer for it."""

import logging
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Protocol

from app.jobs.job import Job, Reached, State
from app.jobs.locks import try_lock
from app.jobs.store import Store
from converters.errors import ConverterError

_LOOK_SECONDS = 0.2
"""Between two looks at what has been asked for, by this process or another one."""
_LOCK_SECONDS = 1.0
"""Between two tries to get the queue's lock."""
_AGAIN_SECONDS = 10.0
"""After what should not happen, before the queue begins again."""
_GRACE_SECONDS = 3.0
"""How long a process that is asked to end may take."""
_MOST_DEATHS = 3
"""How often a job's process may be killed before the job has failed."""

_log = logging.getLogger(__name__)


class Process(Protocol):
    """The process of a job; app.jobs.process.JobProcess."""

    has_more: bool

    def fileno(self) -> int: ...
    def told(self) -> Any: ...
    def has_ended(self) -> bool: ...
    def ask_to_end(self) -> None: ...
    def kill(self) -> None: ...
    def close(self) -> int: ...


Starter = Callable[[Job, int], Process]
"""Starts the process of a job; the number is the descriptor of the job's lock, which the process holds."""


@dataclass
class _Running:
    """A job whose process works. ended: what the process told in the end. asked: when it was asked to end."""

    job: Job
    process: Process
    pace: "_Pace"
    ended: dict[str, Any] = field(default_factory=dict)
    asked: float | None = None


class Queue:
    """Runs the jobs of a folder in a thread, as long as no other process does.

    folder: of locks and the store. at_once: how many jobs run together.
    """

    def __init__(self, folder: Path, store: Store, start: Starter, at_once: int) -> None:
        self._folder = folder
        self._store = store
        self._start = start
        self._at_once = at_once
        self._running: dict[int, _Running] = {}
        self._stopping = threading.Event()
        self._wakes: tuple[int, int] | None = None
        # The kernel ends a job's process when the thread that started it ends, so this one lasts.
        self._thread = threading.Thread(target=self._run, name="glassine-queue", daemon=True)

    def open(self) -> None:
        """Begin, where the system has what a queue needs."""
        if os.name != "posix":
            return
        self._wakes = os.pipe()
        for end in self._wakes:
            os.set_blocking(end, False)
        self._thread.start()

    def wake(self) -> None:
        """Look at once for what there is to do."""
        if self._wakes is not None:
            with suppress(BlockingIOError):  # it is awake
                os.write(self._wakes[1], b"!")

    def close(self) -> None:
        """End what runs, which is interrupted so, and let another process have the queue."""
        if self._wakes is None:
            return
        self._stopping.set()
        self.wake()
        self._thread.join()
        ends, self._wakes = self._wakes, None
        for end in ends:
            os.close(end)

    def _run(self) -> None:
        while not self._stopping.is_set():
            lock = self._try_lock()
            if lock is None:
                self._sleep(_LOCK_SECONDS)
                continue
            try:
                self._store.interrupt()
                while not self._stopping.is_set():
                    self.look()
            except Exception as error:
                # What ran is interrupted, and taken up again when the store can be written.
                _tell("the queue of jobs has to begin again", error)
                self._sleep(_AGAIN_SECONDS)
            finally:
                self._end_all()
                os.close(lock)

    def _try_lock(self) -> int | None:
        """Return the descriptor of the queue's lock; None where another process has it or there has never been a job."""
        if not self._folder.is_dir():
            return None
        try:
            return try_lock(self._folder / "queue.lock")
        except OSError as error:
            _log.error("jobs cannot be run: %s", error)
            return None

    def _sleep(self, seconds: float) -> None:
        self._wait([], seconds)

    def _wait(self, telling: list[int], seconds: float) -> None:
        """Wait until one of these descriptors can be read, or this queue is woken."""
        if self._wakes is None:
            return
        wait([self._wakes[0], *telling], seconds)
        with suppress(BlockingIOError):
            os.read(self._wakes[0], 1 << 16)

    def look(self) -> None:
        """Start what can be started, then wait a moment for news of what runs, where the queue is open, and take note of them."""
        self._start_waiting()
        telling = [running.process.fileno() for running in self._running.values() if running.process.has_more]
        self._wait(telling, _LOOK_SECONDS)
        for running in list(self._running.values()):
            ended = running.process.has_ended()
            self._listen(running)
            if ended:
                self._note_end(running)
        self._cancel_asked()

    def _start_waiting(self) -> None:
        room = self._at_once - len(self._running)
        if room <= 0:
            return
        for job in self._store.waiting({running.job.dataset for running in self._running.values()}):
            if room > 0 and self._try_start(job):
                room -= 1

    def _try_start(self, job: Job) -> bool:
        """Start a job, unless its process from before is still about to die or it does not wait any more."""
        lock = try_lock(self._folder / f"{job.id}.lock")
        if lock is None:
            return False
        try:
            if not self._store.start(job.id):
                return False
            process = self._start(job, lock)
        except (OSError, ConverterError) as error:
            self._store.finish(job.id, State.FAILED, error=f"its process could not be started: {error}")
            return False
        finally:
            os.close(lock)  # the process has it now
        self._running[job.id] = _Running(job, process, _Pace())
        return True

    def _listen(self, running: _Running) -> None:
        """Take note of what a process has told, of its progress only the last."""
        progress = None
        for members in running.process.told():
            if "step" in members:
                progress = running.pace.reached(members)
            else:
                running.ended.update(members)
        if progress is not None:
            # On a full disk the next one may be noted, and the job need not end for this one.
            with suppress(sqlite3.OperationalError, OSError):
                self._store.reached(running.job.id, progress)

    def _note_end(self, running: _Running) -> None:
        number, ended = running.job.id, running.ended
        del self._running[number]
        # What it started may live a moment longer.
        running.process.kill()
        status = running.process.close()
        if "summary" in ended:
            self._store.finish(number, State.DONE, summary=ended["summary"])
        elif "error" in ended:
            self._store.finish(number, State.FAILED, error=ended["error"])
        elif running.asked is not None:
            self._store.finish(number, State.CANCELLED)
        else:
            self._store.died(number, _MOST_DEATHS, _death(status))
        shutil.rmtree(self._folder / "scratch" / str(number), ignore_errors=True)

    def _cancel_asked(self) -> None:
        """End the processes of jobs that are to be cancelled: asked first, then killed."""
        for number in self._store.cancelling() if self._running else ():
            running = self._running.get(number)
            if running is None:
                continue
            if running.asked is None:
                running.asked = time.monotonic()
                running.process.ask_to_end()
            elif time.monotonic() - running.asked > _GRACE_SECONDS:
                running.process.kill()

    def _end_all(self) -> None:
        """End all processes; their jobs stay marked as running, or are interrupted where that can be written."""
        for running in self._running.values():
            running.process.kill()
            running.process.close()
        self._running.clear()
        try:
            self._store.interrupt()
        except Exception as error:
            # The next process that has the queue does it.
            _tell("what was interrupted could not be noted", error)


def _tell(what: str, error: Exception) -> None:
    """Log what an error led to; where the error came from only when it is none of the disk's, which come again and again."""
    is_known = isinstance(error, OSError | sqlite3.Error | ConverterError)
    _log.error("%s: %s", what, error, exc_info=None if is_known else error)


class _Pace:
    """How fast the steps of a job go, each from when it was first told of."""

    def __init__(self) -> None:
        self._begun: dict[str, tuple[float, int]] = {}

    def reached(self, members: dict[str, Any]) -> Reached:
        """Return how far a step has come, with its rate and the time left where they can be told."""
        now = time.monotonic()
        begun, already = self._begun.setdefault(members["step"], (now, members["done"]))
        if now <= begun or members["done"] <= already:
            return Reached(**members)
        rate = (members["done"] - already) / (now - begun)
        return Reached(**members, rate=rate, seconds_left=(members["total"] - members["done"]) / rate)


def _death(status: int) -> str:
    """Return the sentence for a process that was killed too often."""
    how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    return (
        f"its process ended {_MOST_DEATHS} times before the work was done, last with {how}; if memory was short, try again with "
        "another option memory or fewer processes"
    )
