import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psutil
import pytest

from converters.errors import ConverterError, DamagedError, DiskFullError, TaskError, ValueRefusedError, WorkerError
from converters.executor import Failure, SerialExecutor, memory_of, open_executor, run, workers_of
from converters.memory import available_memory
from formats.errors import DecodeError, FormatError
from tests.converters.running import (
    damaged_at_three,
    die_at_three,
    double,
    fail_at_three,
    full_at_three,
    process_of,
    refuse_three,
    undecodable_at_three,
)
from tests.converters.watching import assert_nothing_runs, ended, session, started, wait_for


class Held(Executor):
    """An executor whose tasks begin when the test says so."""

    def __init__(self) -> None:
        self.tasks: list[int] = []
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.tasks.append(args[0])
        self.futures.append(Future())
        return self.futures[-1]


def test_serial_gives_each_result_with_its_task() -> None:
    with open_executor("serial") as executor:
        assert sorted(run(executor, double, range(10), max_pending=3)) == [(n, 2 * n) for n in range(10)]


def test_serial_stops_at_an_error() -> None:
    done = []

    def work(number: int) -> None:
        done.append(number)
        refuse_three(number)

    with pytest.raises(ValueRefusedError, match="the value 3 is refused"):
        list(run(SerialExecutor(), work, range(100), max_pending=2))
    assert len(done) <= 5


def test_no_more_tasks_wait_than_told() -> None:
    taken = []

    def tasks() -> Iterator[int]:
        for n in range(50):
            taken.append(n)
            yield n

    for given, _ in enumerate(run(SerialExecutor(), double, tasks(), max_pending=4)):
        assert len(taken) - given <= 4
    assert len(taken) == 50


def test_an_error_cancels_what_has_not_started() -> None:
    held = Held()
    submit = held.submit

    def failing(fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        future = submit(fn, *args)
        if args[0] == 2:
            future.set_exception(ValueRefusedError("no"))
        return future

    held.submit = failing  # type: ignore[method-assign]
    with pytest.raises(ValueRefusedError):
        list(run(held, double, range(100), max_pending=5))
    assert held.tasks == [0, 1, 2, 3, 4]
    assert [future.cancelled() for future in held.futures] == [True, True, False, True, True]


def test_an_error_waits_for_what_runs() -> None:
    running, ended = threading.Event(), []

    def work(number: int) -> None:
        if number:
            running.set()
            time.sleep(0.05)
            ended.append(number)
        else:
            running.wait()
            refuse_three(3)

    with ThreadPoolExecutor(2) as executor:
        with pytest.raises(ValueRefusedError):
            list(run(executor, work, [0, 1], max_pending=2))
        # What it writes may now be cleared away.
        assert ended == [1]


def test_leaving_early_cancels_what_has_not_started() -> None:
    held = Held()
    submit = held.submit

    def answering_one(fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        future = submit(fn, *args)
        if args[0] == 0:
            future.set_result(0)
        return future

    held.submit = answering_one  # type: ignore[method-assign]
    with closing(run(held, double, range(100), max_pending=3)) as results:
        assert next(results) == (0, 0)
    assert [future.cancelled() for future in held.futures] == [False, True, True]


def test_processes() -> None:
    with open_executor("processes:2") as executor:
        assert sorted(run(executor, double, range(20), max_pending=4)) == [(n, 2 * n) for n in range(20)]
        workers = {pid for _, pid in run(executor, process_of, range(20), max_pending=4)}
        assert os.getpid() not in workers
        assert len(workers) <= 2
        with pytest.raises(ValueRefusedError, match="the value 3 is refused"):
            list(run(executor, refuse_three, range(100), max_pending=4))
        # The executor is whole after a task's error, and broken after a worker's death.
        with pytest.raises(WorkerError) as caught:
            list(run(executor, die_at_three, range(100), max_pending=4))
        assert str(caught.value) == (
            "a worker process died before its block was done (out of memory or killed); run the same command again, "
            "with a smaller --memory or fewer --executor processes:N if memory was short"
        )
        with pytest.raises(WorkerError):
            list(run(executor, double, range(2), max_pending=4))


FAILING: list[tuple[Callable[[int], int], type[ConverterError | FormatError], str]] = [
    (damaged_at_three, DamagedError, "block 3 is cut short"),
    (undecodable_at_three, DecodeError, "chunk 3 has 7 bytes, expected 8"),
    # Not one of ours, and one that no process can make again from what another one sends.
    (fail_at_three, TaskError, "UnpicklableError: block 3 is odd"),
]


@pytest.mark.parametrize("executor", ["serial", "processes:2"])
def test_a_task_that_fails_alone_is_named_and_the_others_are_done(executor: str) -> None:
    with open_executor(executor) as opened:
        for function, kind, message in FAILING:
            results = dict(run(opened, function, range(10), max_pending=4))
            failed = results.pop(3)
            assert isinstance(failed, Failure)
            assert type(failed.error) is kind
            assert str(failed.error) == message
            assert results == {n: n for n in range(10) if n != 3}


@pytest.mark.parametrize("executor", ["serial", "processes:2"])
def test_some_errors_end_all(executor: str) -> None:
    with open_executor(executor) as opened:
        with pytest.raises(ValueRefusedError, match="the value 3 is refused"):
            list(run(opened, refuse_three, range(100), max_pending=4))
        with pytest.raises(DiskFullError, match=r"/data/0-64: no room is left on the disk .* run the same command again"):
            list(run(opened, full_at_three, range(100), max_pending=4))


def test_a_dead_worker_ends_all() -> None:
    with open_executor("processes:2") as executor, pytest.raises(WorkerError, match="a worker process died"):
        list(run(executor, die_at_three, range(100), max_pending=4))


def test_what_cannot_be_sent_ends_all() -> None:
    with open_executor("processes:2") as executor, pytest.raises(WorkerError) as caught:
        list(run(executor, double, [threading.Lock()], max_pending=4))  # type: ignore[arg-type]
    assert str(caught.value) == (
        "a block could not be sent to a worker or back (TypeError: cannot pickle '_thread.lock' object); "
        "all must have the same glassine and libraries"
    )


def test_ctrl_c_in_a_task_of_this_process_is_no_failure() -> None:
    def interrupted(number: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run(SerialExecutor(), interrupted, range(3), max_pending=1))


@pytest.mark.parametrize(("name", "count"), [("serial", 1), ("processes:7", 7), ("processes", len(os.sched_getaffinity(0)))])
def test_workers(name: str, count: int) -> None:
    with open_executor(name) as executor:
        assert workers_of(executor) == count
        assert 0.5 * available_memory() < memory_of(executor) < 2 * available_memory()


def test_workers_outlive_other_threads_than_the_one_that_uses_them() -> None:
    results: list[tuple[int, int]] = []

    def work() -> None:
        with open_executor("processes:2") as executor:
            list(run(executor, double, range(4), max_pending=4))
            bystander = threading.Thread(target=time.sleep, args=(0.01,))
            bystander.start()
            bystander.join()
            results.extend(run(executor, double, range(20), max_pending=4))

    user = threading.Thread(target=work)
    user.start()
    user.join()
    assert sorted(results) == [(n, 2 * n) for n in range(20)]


WAYS: dict[str, tuple[str, ...]] = {"forked": (), "spawned": ("beside-a-thread",)}
"""How workers are started, and what the process that starts them is told before all else."""


@pytest.mark.parametrize("way", WAYS)
def test_a_worker_that_no_thread_of_it_can_interrupt_ends_with_a_parent_that_is_killed(way: str) -> None:
    with started(*WAYS[way], "held", 60) as process:
        wait_for(process, lambda line: line == "begin\n")
        _wait_for_workers(process, way)
        time.sleep(1)
        process.kill()
        process.wait()
        assert_nothing_runs(process)


@pytest.mark.parametrize("way", WAYS)
def test_workers_end_with_a_parent_that_is_killed(way: str) -> None:
    with started(*WAYS[way], "tasks", 60) as process:
        wait_for(process, lambda line: line == "begin\n")
        _wait_for_workers(process, way)
        process.kill()
        process.wait()
        assert_nothing_runs(process)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seconds", [0.0, 0.04, 0.08, 0.12, 0.2, 0.6])
def test_ctrl_c_ends_all_without_a_word_from_the_workers(seconds: float, way: str) -> None:
    with started(*WAYS[way], "tasks", 0.2) as process:
        wait_for(process, lambda line: line == "begin\n")
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGINT)
        errors = ended(process)
        assert process.returncode == 130
        assert errors == ""
        assert_nothing_runs(process)


def test_a_worker_ends_when_it_is_told_to_whatever_its_parent_does_then() -> None:
    with started("stubborn", 60) as process:
        wait_for(process, lambda line: line == "begin\n")
        _wait_for_workers(process, "forked")
        os.kill(next(pid for pid in session(process) if pid != process.pid), signal.SIGTERM)
        assert "WorkerError: a worker process died before its block was done" in ended(process)
        assert process.returncode == 1


def test_workers_that_are_apart_are_no_copies_of_their_parent() -> None:
    with started("apart", 60) as process:
        wait_for(process, lambda line: line == "begin\n")
        _wait_for_workers(process, "spawned")


def _wait_for_workers(process: Any, way: str) -> None:
    """Wait for the parent and two workers; spawned ones have multiprocessing's tracker of resources beside them."""
    expected = {"forked": (3, 0), "spawned": (4, 2)}[way]
    deadline = time.monotonic() + 30
    # What is being spawned looks like its parent for a moment.
    while _running(process) != expected:
        assert time.monotonic() < deadline, _running(process)
        time.sleep(0.02)


def _running(process: Any) -> tuple[int, int]:
    """Return how many processes the session has, and how many of them were spawned as workers."""
    members = session(process)
    return len(members), sum("spawn_main" in " ".join(psutil.Process(pid).cmdline()) for pid in members)
