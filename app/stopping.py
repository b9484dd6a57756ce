"""How server processes end: told to stop, they finish what they are answering; told again, they end at once."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import NoReturn

GRACE_SECONDS = 30
"""How long what is being answered may take when the server is told to stop."""
END_SECONDS = 5
"""How long the rest may take behind it."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_log = logging.getLogger(__name__)


def stop_on_signals() -> None:
    """Have Ctrl-C and SIGTERM raise KeyboardInterrupt in the main thread, once; the next one ends the process."""
    for number in _SIGNALS:
        signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    for each in _SIGNALS:
        signal.signal(each, end_now)
    raise KeyboardInterrupt


def end_now(number: int, frame: FrameType | None) -> None:
    """End this process by a signal, and its workers; what they started ends with them, as when they are killed."""
    for worker in multiprocessing.active_children():
        worker.kill()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def end_in_time(seconds: float) -> None:
    """End this process after so many seconds if it is still there: a thread that waits for a dead disk cannot be told to end."""
    timer = threading.Timer(seconds, _cut)
    timer.daemon = True
    timer.start()


def _cut() -> NoReturn:
    _log.error("what was being answered could not be ended in time, the process ends without it")
    os._exit(1)


def stop_workers(workers: Iterable[SpawnProcess]) -> None:
    """Have workers finish what they are answering, and wait for their end."""
    started = [worker for worker in workers if worker.pid is not None]
    for worker in started:
        worker.terminate()
    for worker in started:
        worker.join()
