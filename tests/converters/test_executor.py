import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from converters.errors import ValueRefusedError, WorkerError
from converters.executor import SerialExecutor, open_executor, run, worker_count
from tests.converters.running import die_at_three, double, process_of, refuse_three
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


def test_worker_count() -> None:
    assert worker_count("serial") == 1
    assert worker_count("processes:7") == 7
    assert worker_count("processes") == len(os.sched_getaffinity(0))


def test_workers_end_with_a_parent_that_is_killed() -> None:
    with started("tasks", 60) as process:
        wait_for(process, lambda line: line == "begin\n")
        _wait_for_workers(process)
        process.kill()
        process.wait()
        assert_nothing_runs(process)


@pytest.mark.parametrize("seconds", [0.0, 0.04, 0.08, 0.12, 0.2, 0.6])
def test_ctrl_c_ends_all_without_a_word_from_the_workers(seconds: float) -> None:
    with started("tasks", 0.2) as process:
        wait_for(process, lambda line: line == "begin\n")
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGINT)
        errors = ended(process)
        assert process.returncode == 130
        assert errors == ""
        assert_nothing_runs(process)


def _wait_for_workers(process: Any) -> None:
    deadline = time.monotonic() + 30
    # The parent, the resource tracker of multiprocessing, two workers.
    while len(session(process)) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.02)
