"""The workers of a Dask cluster, however it was started, as an executor of concurrent.futures."""

import logging
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

from converters.errors import OptionError, WorkerError
from converters.memory import available_memory

_CONNECT_SECONDS = 10
"""How long a scheduler may take to answer."""

_WORKER_SECONDS = 60
"""How long to wait for the first worker: deployments start them after the scheduler."""

_MEMORY_SHARE = 0.7
"""Part of a worker's own limit that its tasks may take: at 0.8 Dask gives it no more work, at 0.95 it is killed."""

_POLL_SECONDS = 0.1

_GONE = (OSError, RuntimeError)
"""What the methods of Dask's client raise when the scheduler is gone."""


class ClusterExecutor(Executor):
    """An executor whose tasks run on the workers of a Dask cluster; made by open_cluster, used as a context.

    Dask does the tasks of a lost worker again on another one, so they must be idempotent. client: a distributed.Client, most of
    whose methods tell no types.
    """

    def __init__(self, address: str, client: Any) -> None:
        self.address = address
        self._client = client
        # A client that has lost its scheduler looks for it again, and finds a new one that knows nothing of our tasks.
        self._connection = client.scheduler_comm
        self._run = uuid.uuid4().hex

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Hand a task to the scheduler; Dask takes arguments by name for itself, so they are refused with TypeError."""
        if kwargs:
            raise TypeError(f"arguments by name cannot be handed to Dask: {sorted(kwargs)}")
        self._check()
        # Not pure: a task that is given a second time must run a second time. Client.get_executor would do all this, but takes
        # a result for an error when the worker that held it was lost just then.
        task = self._client.submit(_call, _Call(self._run, fn, args), pure=False)
        future: Future[Any] = Future()
        future.add_done_callback(partial(_cancel, task))
        self._client.loop.add_callback(_forward, task, future)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Close the connection; what has not been waited for is given up."""
        self._client.close()

    def threads(self) -> int:
        """Return how many tasks the cluster runs at once now, 0 while it has lost all workers. Raises WorkerError."""
        self._check()
        try:
            return sum(self._client.nthreads().values())
        except _GONE as error:
            raise self.lost() from error

    def memory_bytes(self) -> int:
        """Return the bytes that all tasks together may take when each has the least that a thread has. Raises WorkerError."""
        self._check()
        try:
            workers = self._client.scheduler_info(n_workers=-1).get("workers", {})
            free = self._client.run(available_memory, on_error="ignore")
        except _GONE as error:
            raise self.lost() from error
        there = {address: worker for address, worker in workers.items() if address in free}
        on_host: Counter[str] = Counter()
        for worker in there.values():
            on_host[worker["host"]] += worker["nthreads"]
        shares = [
            min(free[address] / on_host[worker["host"]], _limit(worker) / worker["nthreads"]) for address, worker in there.items()
        ]
        return int(min(shares, default=0) * on_host.total())

    def settle(self) -> None:
        """Wait, when tasks have been cancelled, until none runs any more: Dask calls cancelled also what runs or is on its way.

        Returns at once when the scheduler is gone: nobody can tell then.
        """
        ended, self._run = self._run, uuid.uuid4().hex
        with suppress(*_GONE):
            while self._connected() and any(self._client.run(_end_run, ended, on_error="ignore").values()):
                time.sleep(_POLL_SECONDS)

    def lost(self) -> WorkerError:
        """Return the error that tells that the scheduler cannot be reached any more."""
        return WorkerError(
            f"the connection to the scheduler at {self.address} was lost; start it again, then run the same command"
        )

    def _check(self) -> None:
        # Asked a question without a connection, Dask's client waits for one first.
        if not self._connected():
            raise self.lost()

    def _connected(self) -> bool:
        return self._client.status == "running" and self._client.scheduler_comm is self._connection


def open_cluster(address: str) -> ClusterExecutor:
    """Connect to the scheduler at an address such as tcp://HOST:PORT and wait for its first worker.

    Raises OptionError when Dask is not installed, nobody answers within 10 seconds, no worker comes within 60, or the workers
    have another glassine than this process.
    """
    try:
        distributed = import_module("distributed")
    except ImportError as error:
        raise OptionError(f'--executor {address} needs Dask: pip install "glassine[cluster]"') from error
    for name in ("distributed.client", "distributed.batched", "tornado.application"):
        # What is logged when a connection is lost is told by our own errors.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    client = _connect(distributed, address)
    try:
        _check_workers(client, address)
        return ClusterExecutor(address, client)
    except BaseException:
        client.close()
        raise


def is_killed_worker(error: Exception) -> bool:
    """Tell whether Dask gave a task up because the workers that did it were lost, one after the other."""
    return type(error).__name__ == "KilledWorker" and type(error).__module__.startswith("distributed")


async def _forward(task: Any, future: Future[Any]) -> None:
    """Wait, in the thread of Dask's client, for what becomes of a task, a distributed.Future, and tell it a future."""
    try:
        result = await task
    except CancelledError:
        future.cancel()
        future.set_running_or_notify_cancel()
    except Exception as error:
        if future.set_running_or_notify_cancel():
            future.set_exception(error)
    else:
        if future.set_running_or_notify_cancel():
            future.set_result(result)


def _cancel(task: Any, future: Future[Any]) -> None:
    """Cancel a task, a distributed.Future, when its future is."""
    if future.cancelled() and not task.cancelled():
        task.cancel()


def _connect(distributed: Any, address: str) -> Any:
    """Return a client of the scheduler at an address. Raises OptionError."""
    if address.startswith("tls://") and distributed.Security().get_connection_args("client").get("ssl_context") is None:
        raise OptionError(
            f"--executor {address} needs certificates: name them in Dask's configuration, distributed.comm.tls.ca-file "
            "and distributed.comm.tls.client.cert and .key"
        )
    try:
        _knock(address)
        # Not the default for other users of Dask in this process.
        return distributed.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, OverflowError, UnicodeError) as error:
        raise OptionError(
            f"no Dask scheduler answers at {address} ({_told(error)}); start one with `dask scheduler` "
            "and give --executor the address that it prints"
        ) from error


def _knock(address: str) -> None:
    """Raise OSError unless a scheduler answers at an address, OverflowError or UnicodeError when there can be none.

    Dask's client itself tries again and again where nobody listens, and waits for ever where somebody else does.
    """
    protocol, _, place = address.partition("://")
    host, _, port = place.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS) as connection:
        # With TLS the client has the first word, without it the scheduler.
        if protocol == "tcp" and not connection.recv(1):
            raise ConnectionAbortedError("who listens there hung up")


def _check_workers(client: Any, address: str) -> None:
    """Wait for a worker and compare what is installed there. Raises OptionError."""
    try:
        client.wait_for_workers(1, timeout=_WORKER_SECONDS)
    except TimeoutError as error:
        raise OptionError(
            f"the scheduler at {address} has had no worker for {_WORKER_SECONDS} seconds; "
            f"start some: dask worker {address} --nthreads 1"
        ) from error
    from importlib.metadata import version  # costs each local worker that starts more than all the rest of this module

    ours = version("glassine")
    for worker, theirs in client.run(version, "glassine", on_error="return").items():
        if theirs != ours:
            found = f"glassine {theirs}" if isinstance(theirs, str) else "no glassine"
            raise OptionError(f"the worker at {worker} has {found}, this is glassine {ours}: install the same version on all")


@dataclass(frozen=True)
class _Call:
    """A task as it goes to a worker. run: which tasks are settled together."""

    run: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class _Runs:
    """In a worker: how many tasks of each run are being done, and which runs have ended."""

    tasks: Counter[str] = field(default_factory=Counter)
    ended: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


_runs = _Runs()


def _call(call: _Call) -> Any:
    """Do a task in a worker. Raises CancelledError, which nobody waits for, when its run has ended."""
    with _runs.lock:
        if call.run in _runs.ended:
            raise CancelledError
        _runs.tasks[call.run] += 1
    try:
        return call.function(*call.arguments)
    finally:
        with _runs.lock:
            _runs.tasks[call.run] -= 1


def _end_run(run: str) -> int:
    """Begin no more task of a run in this worker, and return how many are still being done."""
    with _runs.lock:
        _runs.ended.add(run)
        return _runs.tasks[run]


def _limit(worker: dict[str, Any]) -> float:
    """Return the bytes that a worker's tasks may take of the limit that it was started with."""
    return _MEMORY_SHARE * worker["memory_limit"] if worker["memory_limit"] else float("inf")


def _told(error: Exception) -> str:
    """Return the first line of what an error says, its type when it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
