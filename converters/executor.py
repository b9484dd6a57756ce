"""Running tasks one after the other, in processes, or on a cluster: what an executor of concurrent.futures can, nothing wider."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing.connection import wait as wait_for_handles
from multiprocessing.context import BaseContext
from pathlib import Path
from types import FrameType
from typing import ParamSpec, TypeVar

from converters import native
from converters.cluster import ClusterExecutor, is_killed_worker, open_cluster
from converters.errors import ConverterError, DamagedError, TaskError, WorkerError
from converters.memory import available_memory
from converters.storage.files import raise_if_full
from formats.errors import FormatError

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")
P = ParamSpec("P")
R = TypeVar("R")

_LOOK_SECONDS = 5
"""How often a cluster is asked how many threads it has, while no task ends."""

_PR_SET_PDEATHSIG = 1
"""From Linux's prctl.h."""


@dataclass(frozen=True)
class Failure:
    """Why one task could not be done while others can; str(error) is one sentence for the user."""

    error: ConverterError | FormatError


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


class _Processes(Executor):
    """Worker processes that never see Ctrl-C, not even while they start, and end with the thread that gives them their tasks.

    They are there from the first task on. may_fork: they may be copies of this process, where that is safe.
    """

    def __init__(self, workers: int, *, may_fork: bool) -> None:
        self.workers = workers
        self._may_fork = may_fork
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Hand the task to a worker, one started for it when none is free."""
        if self._pool is None:
            # Not below: multiprocessing starts a process of its own here and lets Ctrl-C through when that is there.
            self._pool = ProcessPoolExecutor(
                self.workers, _context(may_fork=self._may_fork), initializer=_start_worker, initargs=(native.kept_in(),)
            )
        with _uninterrupted():
            return self._pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers, after what they have to do."""
        if self._pool is not None:
            self._pool.shutdown(wait, cancel_futures=cancel_futures)


def _context(*, may_fork: bool) -> BaseContext:
    """Return how workers are started: forked, they have at once what this process has imported.

    Only a process of one thread survives a fork: what other threads hold stays held in the copy. macOS's libraries have threads
    that nobody sees.
    """
    return multiprocessing.get_context("fork" if may_fork and _is_alone() else "spawn")


def _is_alone() -> bool:
    """Tell whether this process is known to have one thread, those of libraries counted: Linux tells (proc(5))."""
    try:
        return sys.platform == "linux" and len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back, from a worker that is started meanwhile and from this thread: half started a worker would complain.

    A worker inherits what is blocked. For this process that is not enough: libraries have threads of their own that take signals.
    """
    caught: list[tuple[int, FrameType | None]] = []
    handler = signal.getsignal(signal.SIGINT)
    may_handle = callable(handler) and threading.current_thread() is threading.main_thread()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    if may_handle:
        signal.signal(signal.SIGINT, lambda number, frame: caught.append((number, frame)))
    try:
        yield
    finally:
        if may_handle:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if caught and callable(handler):
            handler(*caught[0])


def workers_of(executor: Executor) -> int:
    """Return how many tasks an executor of open_executor runs at once; a cluster's threads now, at least 1.

    Raises WorkerError when the cluster's scheduler is gone.
    """
    if isinstance(executor, ClusterExecutor):
        return max(1, executor.threads())
    return executor.workers if isinstance(executor, _Processes) else 1


def memory_of(executor: Executor) -> int:
    """Return the bytes that the tasks of an executor can take together: of this machine, or of the cluster's workers.

    Raises WorkerError when the cluster's scheduler is gone.
    """
    return executor.memory_bytes() if isinstance(executor, ClusterExecutor) else available_memory()


def place_for_workers(path: Path | str, executor: str) -> str:
    """Return a path as the executor's workers have to be told it: those of a cluster run in folders of their own.

    A URL stays as it is.
    """
    text = os.fspath(path)
    return os.path.abspath(text) if "://" in executor and "://" not in text else text


def open_executor(executor: str) -> Executor:
    """Return the executor of a name: `serial`, `processes` (one a core), `processes:N`, or the address of a Dask scheduler.

    Use it as a context, and from the thread that opened it. Raises OptionError when a cluster cannot be used.
    """
    if executor == "serial":
        return SerialExecutor()
    if "://" in executor:
        return open_cluster(executor)
    number = executor.partition(":")[2]
    return _Processes(int(number) if number else _cores(), may_fork=True)


def open_apart(workers: int) -> Executor:
    """Return worker processes that share nothing with this one: a copy of a server would keep its connections open."""
    return _Processes(workers, may_fork=False)


def start_workers(executor: Executor, function: Callable[..., object]) -> None:
    """Have the workers of an executor start now and import what they need for a function.

    Before the run claims its folder: a worker that is a copy of this process would hold the lock, too.
    """
    for _ in range(workers_of(executor)):
        executor.submit(_import, function)


def _import(function: Callable[..., object]) -> None:
    """Do nothing: to be handed a function, a worker has imported its module."""


def run(
    executor: Executor, function: Callable[[TaskT], ResultT], tasks: Iterable[TaskT], *, max_pending: int
) -> Generator[tuple[TaskT, ResultT | Failure], None, None]:
    """Yield (task, result) as each finishes, (task, Failure) for one that fails alone: the others go on.

    Close it (contextlib.closing) where the loop over it may be left early: what has not started is cancelled then, what has is
    waited for, and nothing runs any more. Only submit, wait, result and cancel are used, so that any executor of
    concurrent.futures will do. max_pending: how many tasks are handed out at once; a cluster gets one a thread that it has.
    Ends with DiskFullError, ValueRefusedError and every other ConverterError of a task but DamagedError and TaskError, which are
    failures, as FormatError is; with WorkerError when a process of the pool died, or the cluster's scheduler is gone.
    """
    waiting = iter(tasks)
    pending: dict[Future[ResultT], TaskT] = {}
    attempt = partial(_attempt, function)
    cluster = executor if isinstance(executor, ClusterExecutor) else None

    def submit() -> None:
        # A cluster's workers come and go.
        room = workers_of(cluster) if cluster else max_pending
        for task in islice(waiting, max(0, room - len(pending))):
            pending[executor.submit(attempt, task)] = task

    try:
        submit()
        while pending:
            # What is done when a scheduler is lost may never be told: submit() asks for it.
            done, _ = wait(pending, timeout=_LOOK_SECONDS if cluster else None, return_when=FIRST_COMPLETED)
            # In the order of the tasks: that of a set differs from run to run, and what is told with it.
            for future in [future for future in pending if future in done]:
                task, result = pending.pop(future), _outcome(future)
                yield task, result
            submit()
    except BrokenProcessPool as error:
        raise WorkerError(
            "a worker process died before its block was done (out of memory or killed); run the same command again, "
            "with a smaller --memory or fewer --executor processes:N if memory was short"
        ) from error
    except CancelledError as error:
        raise cluster.lost() if cluster else error from None
    finally:
        wait([future for future in pending if not future.cancel()])
        if cluster and pending:
            cluster.settle()


def _attempt(function: Callable[[TaskT], ResultT], task: TaskT) -> ResultT:
    """Do a task where it runs. What it raises is ours then, and so can be sent to another process."""
    try:
        return function(task)
    except (ConverterError, FormatError):
        raise
    except Exception as error:
        if isinstance(error, OSError):
            raise_if_full(error, error.filename or "a file")
        raise TaskError(_told(error)) from error


def _outcome(future: Future[R]) -> R | Failure:
    """Return a task's result, or why it failed. Raises what ends all tasks."""
    try:
        return future.result()
    except (DamagedError, TaskError, FormatError) as error:
        return Failure(error)
    except (ConverterError, BrokenProcessPool, CancelledError):
        raise
    except Exception as error:
        if is_killed_worker(error):
            return Failure(TaskError("each worker that did it was lost, again and again: out of memory or killed"))
        raise WorkerError(
            f"a block could not be sent to a worker or back ({_told(error)}); all must have the same glassine and libraries"
        ) from error


def _told(error: Exception) -> str:
    return ": ".join(filter(None, [type(error).__name__, str(error)]))


def _cores() -> int:
    """Return the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker(kept_in: Path | None) -> None:
    native.keep_in(kept_in)
    # Ctrl-C reaches the whole process group: the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A copy of the parent would do what the parent does.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        _be_killed_with_parent()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _be_killed_with_parent() -> None:
    """Ask the kernel to kill this worker when the thread that started it ends: it need not wait for a long call to return.

    That thread is the one that gives the pool its tasks.
    """
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_with_parent() -> None:
    """End this worker as soon as its parent is gone, however it went, also where or before the kernel was asked to."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_handles([parent.sentinel])
        os._exit(1)
