"""Running tasks one after the other, in processes, or wherever an executor of concurrent.futures takes them."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait as wait_for_handles
from typing import ParamSpec, TypeVar

from converters.errors import WorkerError

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")
P = ParamSpec("P")
R = TypeVar("R")


class SerialExecutor(Executor):
    """An executor that does each task at once, in this process."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Run the task and return its finished future."""
        future: Future[R] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class _Processes(ProcessPoolExecutor):
    """Worker processes that never see Ctrl-C, not even while they start."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Hand the task to a worker, one started for it when none is free."""
        # A worker inherits what is held back here; interrupted before _start_worker it would print a traceback.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def worker_count(executor: str) -> int:
    """Return how many tasks `serial`, `processes` or `processes:N` runs at once; processes alone takes one a core."""
    name, _, number = executor.partition(":")
    if name == "serial":
        return 1
    return int(number) if number else _cores()


def open_executor(executor: str) -> Executor:
    """Return the executor that `serial`, `processes` or `processes:N` names; use it as a context."""
    if executor == "serial":
        return SerialExecutor()
    # Spawned: the server that starts conversions has threads, which forks do not survive.
    context = multiprocessing.get_context("spawn")
    return _Processes(worker_count(executor), mp_context=context, initializer=_start_worker)


def run(
    executor: Executor, function: Callable[[TaskT], ResultT], tasks: Iterable[TaskT], *, max_pending: int
) -> Generator[tuple[TaskT, ResultT], None, None]:
    """Yield (task, result) as each finishes; on any error cancel what has not started and wait for what has.

    Close it (contextlib.closing) where the loop over it may be left early: then nothing runs any more. Only submit, wait, result
    and cancel are used, so that any executor of concurrent.futures will do.
    Raises what the task raised, and WorkerError when a worker process died.
    """
    waiting = iter(tasks)
    pending: dict[Future[ResultT], TaskT] = {}

    def submit(count: int) -> None:
        for task in islice(waiting, count):
            pending[executor.submit(function, task)] = task

    try:
        submit(max_pending)
        while pending:
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield pending.pop(future), future.result()
            submit(len(done))
    except BrokenProcessPool as error:
        raise WorkerError(
            "a worker process died before its block was done (out of memory or killed); run the same command again, "
            "with a smaller --memory or fewer --executor processes:N if memory was short"
        ) from error
    finally:
        wait([future for future in pending if not future.cancel()])


def _cores() -> int:
    """Return the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker() -> None:
    # Ctrl-C reaches the whole process group: the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker as soon as its parent is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_handles([parent.sentinel])
        os._exit(1)
