"""Tasks on a real Dask cluster, whose workers are killed, and what a user reads when there is none."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from converters import cluster as module
from converters.cluster import ClusterExecutor, open_cluster
from converters.errors import DiskFullError, OptionError, TaskError, ValueRefusedError, WorkerError
from converters.executor import Failure, memory_of, open_executor, run, workers_of
from tests.converters.dask_cluster import Cluster, started_cluster
from tests.converters.running import (
    damaged_at_three,
    die_at_three,
    double,
    fail_at_three,
    full_at_three,
    leave_number,
    leave_traces,
    process_of,
    refuse_three,
    sleep,
)
from tests.converters.watching import assert_nothing_runs, ended, started, wait_for

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose workers all live until the last test of this module."""
    with started_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def executor(calm: Cluster) -> Iterator[Executor]:
    with open_executor(calm.address) as opened:
        yield opened


def test_each_result_comes_with_its_task(executor: Executor) -> None:
    assert sorted(run(executor, double, range(40), max_pending=4)) == [(n, 2 * n) for n in range(40)]


def test_a_task_that_is_given_again_runs_again(executor: Executor, tmp_path: Path) -> None:
    for _ in range(2):
        assert list(run(executor, leave_traces, [(str(tmp_path), 0.0, 0)], max_pending=1)) == [((str(tmp_path), 0.0, 0), 0)]
        assert sorted(os.listdir(tmp_path)) == ["begun0", "ended0"]
        (tmp_path / "ended0").unlink()


def test_all_workers_work_and_this_process_does_not(executor: Executor) -> None:
    workers = {pid for _, pid in run(executor, sleep, [0.2] * 9, max_pending=1)}
    assert len(workers) == 3
    assert os.getpid() not in workers


def test_how_much_a_cluster_does_at_once(calm: Cluster, executor: Executor) -> None:
    assert workers_of(executor) == 3
    # Three workers, each with Dask's own limit, on one machine.
    assert 50_000_000 < memory_of(executor) < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_the_smallest_thread_decides_about_memory() -> None:
    class Client:
        status = "running"
        scheduler_comm = None

        def get_executor(self, *, pure: bool) -> None:
            assert not pure

        def scheduler_info(self, n_workers: int) -> dict[str, Any]:
            assert n_workers == -1
            return {
                "workers": {
                    "tcp://a:1": {"host": "a", "nthreads": 2, "memory_limit": 10_000},
                    "tcp://a:2": {"host": "a", "nthreads": 2, "memory_limit": 0},
                    "tcp://b:1": {"host": "b", "nthreads": 1, "memory_limit": 4_000},
                    "tcp://gone:1": {"host": "gone", "nthreads": 9, "memory_limit": 9},
                }
            }

        def run(self, function: object, *, on_error: str) -> dict[str, int]:
            return {"tcp://a:1": free, "tcp://a:2": free, "tcp://b:1": 90_000}

    executor = ClusterExecutor("tcp://a:8786", Client())
    free = 90_000
    # A thread of b may take 0.7 of 4,000 bytes, one of a:1 0.7 of 5,000, and there are five threads.
    assert executor.memory_bytes() == 5 * 2_800
    free = 8_000
    assert executor.memory_bytes() == 5 * 2_000


@pytest.mark.parametrize(
    ("function", "message"),
    [(damaged_at_three, "block 3 is cut short"), (fail_at_three, "UnpicklableError: block 3 is odd")],
)
def test_a_task_that_fails_alone_is_named_and_the_others_are_done(executor: Executor, function: Any, message: str) -> None:
    results = dict(run(executor, function, range(10), max_pending=4))
    failed = results.pop(3)
    assert isinstance(failed, Failure)
    assert str(failed.error) == message
    assert results == {n: n for n in range(10) if n != 3}


def test_some_errors_end_all(executor: Executor) -> None:
    with pytest.raises(ValueRefusedError, match="the value 3 is refused"):
        list(run(executor, refuse_three, range(100), max_pending=4))
    with pytest.raises(DiskFullError, match="/data/0-64: no room is left"):
        list(run(executor, full_at_three, range(100), max_pending=4))


def test_what_has_begun_is_waited_for_and_the_rest_is_not_begun(executor: Executor, tmp_path: Path) -> None:
    traces = [(str(tmp_path), 0.0 if number == 0 else 0.8, number) for number in range(50)]
    with closing(run(executor, leave_traces, traces, max_pending=4)) as finished:
        next(finished)
    begun = {name.removeprefix("begun") for name in os.listdir(tmp_path) if name.startswith("begun")}
    assert begun == {name.removeprefix("ended") for name in os.listdir(tmp_path) if name.startswith("ended")}
    assert 1 <= len(begun) <= 4


def test_arguments_by_name_are_not_given_to_dask(executor: Executor) -> None:
    with pytest.raises(TypeError, match="arguments by name cannot be handed to Dask"):
        executor.submit(double, number=3)


def test_ctrl_c_ends_the_run_and_not_the_cluster(calm: Cluster) -> None:
    with started("tasks", 0.3, calm.address) as process:
        wait_for(process, lambda line: line.startswith("worked"))
        os.killpg(process.pid, signal.SIGINT)
        errors = ended(process)
        assert process.returncode == 130
        assert errors == ""
        assert_nothing_runs(process)
    with open_executor(calm.address) as executor:
        assert workers_of(executor) == 3


def test_lost_workers_are_made_up_for(tmp_path: Path) -> None:
    with started_cluster(tmp_path) as cluster, open_executor(cluster.address) as executor:
        # Each worker that gets this task dies, and comes again because its nanny is left.
        results = dict(run(executor, die_at_three, range(12), max_pending=6))
        failed = results.pop(3)
        assert isinstance(failed, Failure)
        assert type(failed.error) is TaskError
        assert str(failed.error) == "each worker that did it was lost, again and again: out of memory or killed"
        assert results == {n: n for n in range(12) if n != 3}

        done = []
        for task, result in run(executor, leave_number, [(0.2, number) for number in range(18)], max_pending=6):
            assert task == (0.2, result)
            done.append(result)
            if len(done) == 5:
                cluster.kill_worker(1)
        assert sorted(done) == list(range(18))
        assert workers_of(executor) == 2


def test_a_lost_scheduler_is_told(tmp_path: Path) -> None:
    with started_cluster(tmp_path, workers=1) as cluster, open_executor(cluster.address) as executor:
        assert list(run(executor, process_of, [1], max_pending=1))
        message = f"the connection to the scheduler at {cluster.address} was lost; start it again, then run the same command"
        with started("tasks", 0.3, cluster.address) as process:
            wait_for(process, lambda line: line.startswith("worked"))
            cluster.kill_scheduler()
            # Nothing of what Dask logs: only ours.
            assert ended(process) == f"WorkerError: {message}\n"
            assert process.returncode == 1
            assert_nothing_runs(process)
        questions: list[Callable[[Executor], object]] = [
            lambda opened: list(run(opened, sleep, [0.1] * 100, max_pending=1)),
            workers_of,
            memory_of,
            lambda opened: opened.submit(double, 3),
        ]
        for question in questions:
            with pytest.raises(WorkerError) as caught:
                question(executor)
            assert str(caught.value) == message

        # Dask's client finds a new scheduler, which knows nothing of the run.
        cluster.start_scheduler()
        cluster.start_worker()
        cluster.wait_for_workers()
        with pytest.raises(WorkerError) as caught:
            workers_of(executor)
        assert str(caught.value) == message
        with open_executor(cluster.address) as found:
            assert workers_of(found) >= 1


def test_what_runs_when_the_scheduler_is_lost_is_not_waited_for(tmp_path: Path) -> None:
    with started_cluster(tmp_path, workers=1) as cluster, open_executor(cluster.address) as executor:
        running = run(executor, sleep, [0.1, 600.0], max_pending=1)
        assert next(running)[0] == 0.1
        cluster.kill_scheduler()
        with pytest.raises(WorkerError, match="was lost; start it again"):
            next(running)


def test_workers_that_come_later_get_work_too(tmp_path: Path) -> None:
    with started_cluster(tmp_path, workers=1) as cluster, open_executor(cluster.address) as executor:
        workers = set()
        with closing(run(executor, sleep, [0.1] * 1000, max_pending=1)) as finished:
            for _, pid in finished:
                workers.add(pid)
                if len(workers) == 1 and len(cluster.workers) == 1:
                    cluster.start_worker()
                if len(workers) == 2:
                    break
        assert len(workers) == 2


def test_without_dask_the_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(OptionError) as caught:
        open_executor("tcp://127.0.0.1:8786")
    assert str(caught.value) == '--executor tcp://127.0.0.1:8786 needs Dask: pip install "glassine[cluster]"'


def test_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(OptionError) as caught:
        open_executor(address)
    assert str(caught.value) == (
        f"no Dask scheduler answers at {address} ([Errno 111] Connection refused); start one with `dask scheduler` "
        "and give --executor the address that it prints"
    )


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:99999", "tcp://nobody.invalid:8786", "tcp://[::1:8786"])
def test_where_nobody_can_be(address: str) -> None:
    with pytest.raises(OptionError, match=r"no Dask scheduler answers at .* start one with `dask scheduler`"):
        open_executor(address)


def test_where_somebody_else_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(OptionError, match=rf"no Dask scheduler answers at {address} \(timed out\); start one"):
            open_executor(address)


def test_tls_needs_certificates() -> None:
    with pytest.raises(OptionError) as caught:
        open_executor("tls://127.0.0.1:8786")
    assert str(caught.value) == (
        "--executor tls://127.0.0.1:8786 needs certificates: name them in Dask's configuration, distributed.comm.tls.ca-file "
        "and distributed.comm.tls.client.cert and .key"
    )


def test_a_scheduler_without_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WORKER_SECONDS", 0.5)
    with started_cluster(tmp_path, workers=0) as cluster, pytest.raises(OptionError) as caught:
        open_executor(cluster.address)
    assert str(caught.value) == (
        f"the scheduler at {cluster.address} has had no worker for 0.5 seconds; "
        f"start some: dask worker {cluster.address} --nthreads 1"
    )


@pytest.mark.parametrize(
    ("theirs", "found"), [("0.0.1", "glassine 0.0.1"), (ModuleNotFoundError("No module named 'converters'"), "no glassine")]
)
def test_workers_with_another_glassine(theirs: object, found: str, calm: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distributed.Client.run", lambda *_, **__: {"tcp://10.0.0.7:4001": theirs})
    with pytest.raises(OptionError) as caught:
        open_cluster(calm.address)
    assert str(caught.value).startswith(f"the worker at tcp://10.0.0.7:4001 has {found}, this is glassine ")
    assert str(caught.value).endswith(": install the same version on all")
