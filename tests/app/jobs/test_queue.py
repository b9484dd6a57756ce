"""The queue and its store: whatever is asked for in whatever order, each job is in the right state and run once at a time."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.jobs.job import Job, Reached, State
from app.jobs.locks import try_lock
from app.jobs.queue import Queue
from app.jobs.store import NoSuchJobError, Store, WrongStateError
from converters.errors import ConverterError

AT_ONCE = 3
DEATHS = 3
JOBS = 200 if os.environ.get("GLASSINE_SLOW") else 40


class FakeProcess:
    """A process that does what the test says. It holds its job's lock as a real one does."""

    def __init__(self, job: Job, lock: int) -> None:
        self.job = job
        self.lock = os.dup(lock)
        self.telling: list[dict[str, Any]] = []
        self.exit_status: int | None = None
        self.asked = False
        self.has_more = True
        self._reading, self._writing = os.pipe()

    def fileno(self) -> int:
        return self._reading

    def told(self) -> Iterator[dict[str, Any]]:
        while self.telling:
            yield self.telling.pop(0)

    def has_ended(self) -> bool:
        return self.exit_status is not None

    def ask_to_end(self) -> None:
        self.asked = True

    def kill(self) -> None:
        self.end(-9)

    def end(self, status: int) -> None:
        if self.exit_status is None:
            self.exit_status = status
            os.close(self.lock)

    def close(self) -> int:
        os.close(self._reading)
        os.close(self._writing)
        assert self.exit_status is not None
        return self.exit_status


class Jobs(RuleBasedStateMachine):
    """A queue of many jobs, and a model of what each should be."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp(prefix="glassine-test-"))
        self.live: dict[int, FakeProcess] = {}
        self.left_over: list[int] = []
        self.expected: dict[int, State] = {}
        self.datasets: dict[int, str] = {}
        self.deaths: dict[int, int] = {}
        self.place: dict[int, int] = {}
        self.cancelling: set[int] = set()
        self.store = Store(self.folder)
        self.queue = self.new_queue()

    def new_queue(self) -> Queue:
        return Queue(self.folder, self.store, self.start, AT_ONCE)

    def start(self, job: Job, lock: int) -> FakeProcess:
        assert job.id not in self.live, "run twice at once"
        assert try_lock(self.folder / f"{job.id}.lock") is None, "without its lock"
        self.live[job.id] = FakeProcess(job, lock)
        return self.live[job.id]

    # What users do -------------------------------------------------------------------------------------------------------------

    @initialize()
    def many(self) -> None:
        for number in range(JOBS):
            self.add(f"d{number % 17}")

    @rule(dataset=st.sampled_from(["a", "b", "d1", "d2"]))
    def add(self, dataset: str) -> None:
        job = self.store.add("convert", {"dataset": dataset}, dataset)
        assert job.id not in self.expected
        self.expected[job.id] = State.QUEUED
        self.datasets[job.id] = dataset
        self.deaths[job.id] = 0
        self.place[job.id] = max(self.place.values(), default=0) + 1

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = self.any_job(data)
        if self.expected[number] in (State.QUEUED, State.INTERRUPTED):
            assert self.store.cancel(number).state == State.CANCELLED
            self.expected[number] = State.CANCELLED
        elif self.expected[number] == State.RUNNING:
            assert self.store.cancel(number).cancelling
            self.cancelling.add(number)
        else:
            with pytest.raises(WrongStateError, match=f"job {number} is .*, only one that waits or runs can be cancelled"):
                self.store.cancel(number)

    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        number = self.any_job(data)
        if self.expected[number] in (State.FAILED, State.CANCELLED):
            assert self.store.retry(number).state == State.QUEUED
            self.expected[number] = State.QUEUED
            self.deaths[number] = 0
            self.place[number] = max(self.place.values()) + 1
        else:
            with pytest.raises(WrongStateError, match="only a failed or cancelled one can be tried again"):
                self.store.retry(number)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        number = self.any_job(data)
        if self.expected[number] in (State.DONE, State.FAILED, State.CANCELLED):
            self.store.remove(number)
            for kept in (self.expected, self.datasets, self.deaths, self.place):
                del kept[number]  # type: ignore[attr-defined]
            with pytest.raises(NoSuchJobError, match=f"there is no job {number}"):
                self.store.get(number)
        else:
            with pytest.raises(WrongStateError, match="only one that has ended can be removed"):
                self.store.remove(number)

    # What processes do ---------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.live)
    @rule(data=st.data(), how=st.sampled_from(["done", "failed", "killed", "stopped"]))
    def process_ends(self, data: st.DataObject, how: str) -> None:
        number = data.draw(st.sampled_from(sorted(self.live)))
        process = self.live[number]
        if how == "stopped" and not process.asked:
            return
        told: list[dict[str, Any]] = {"done": [{"summary": "so"}], "failed": [{"error": "why"}]}.get(how, [])
        process.telling += told
        process.end({"done": 0, "failed": 1, "stopped": 130}.get(how, -9))
        self.look()

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def process_dies_again_and_again(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.live)))
        for _ in range(DEATHS):
            if number in self.live:
                self.live[number].end(-9)
            self.look()

    @precondition(lambda self: self.live)
    @rule(data=st.data(), done=st.integers(0, 9))
    def process_tells(self, data: st.DataObject, done: int) -> None:
        number = data.draw(st.sampled_from(sorted(self.live)))
        self.live[number].telling.append({"step": "convert", "done": done, "total": 10, "unit": "voxels"})
        self.look()
        assert self.store.get(number).done == done

    @rule(data=st.data())
    def server_is_killed(self, data: st.DataObject) -> None:
        """Its processes die with it, some of them not before the next one begins."""
        late = data.draw(st.sets(st.sampled_from(sorted(self.live)))) if self.live else set()
        for number, process in self.live.items():
            if number in late:
                self.left_over.append(os.dup(process.lock))
            process.end(-9)
            process.close()
            self.expected[number] = State.CANCELLED if number in self.cancelling else State.INTERRUPTED
        self.live.clear()
        self.cancelling.clear()
        self.store.close()
        self.store = Store(self.folder)
        self.store.interrupt()
        self.queue = self.new_queue()

    @rule()
    def the_last_of_a_killed_server_die(self) -> None:
        while self.left_over:
            os.close(self.left_over.pop())

    @rule()
    def look(self) -> None:
        """Let the queue do once what there is to do, and the model too."""
        held = self.held()
        self.expect_starts(held)
        before = dict(self.live)
        self.queue.look()
        for number, process in before.items():
            if process.exit_status is not None:
                del self.live[number]
                self.expect_end(number, process)
        assert all(process.asked for number, process in self.live.items() if number in self.cancelling)

    def held(self) -> set[int]:
        """Return the jobs whose process from before is not dead yet."""
        waiting = [number for number, state in self.expected.items() if state in (State.QUEUED, State.INTERRUPTED)]
        held = set()
        for number in waiting if self.left_over else ():
            lock = try_lock(self.folder / f"{number}.lock")
            if lock is None:
                held.add(number)
            else:
                os.close(lock)
        return held

    def expect_starts(self, held: set[int]) -> None:
        waiting = [number for number, state in self.expected.items() if state in (State.QUEUED, State.INTERRUPTED)]
        waiting.sort(key=lambda number: (self.expected[number] == State.QUEUED, self.place[number]))
        running = [number for number, state in self.expected.items() if state == State.RUNNING]
        busy = {self.datasets[number] for number in running}
        room = AT_ONCE - len(running)
        for number in waiting:
            if room and self.datasets[number] not in busy and number not in held:
                self.expected[number] = State.RUNNING
                room -= 1
            busy.add(self.datasets[number])

    def expect_end(self, number: int, process: FakeProcess) -> None:
        if process.exit_status == 0:
            self.expected[number] = State.DONE
        elif process.exit_status == 1:
            self.expected[number] = State.FAILED
        elif number in self.cancelling:
            self.expected[number] = State.CANCELLED
        else:
            self.deaths[number] += 1
            self.expected[number] = State.FAILED if self.deaths[number] == DEATHS else State.INTERRUPTED
        self.cancelling.discard(number)

    def any_job(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(self.expected)))

    @invariant()
    def every_job_is_as_expected(self) -> None:
        jobs = {job.id: job for job in self.store.all()}
        assert {number: job.state for number, job in jobs.items()} == self.expected
        assert {number for number, job in jobs.items() if job.cancelling} == self.cancelling
        assert {number for number, state in self.expected.items() if state == State.RUNNING} == set(self.live)
        assert len(self.live) <= AT_ONCE
        changes = [job.change for job in self.store.changed_since(0)]
        assert changes == sorted(set(changes)), "each change has a number of its own"
        for job in jobs.values():
            assert (job.ended is None) == (job.state in (State.QUEUED, State.RUNNING, State.INTERRUPTED))
            assert (job.error is None) == (job.state != State.FAILED)

    def teardown(self) -> None:
        for process in self.live.values():
            process.end(-9)
            process.close()
        self.the_last_of_a_killed_server_die()
        self.store.close()
        shutil.rmtree(self.folder)


TestJobs = Jobs.TestCase
TestJobs.settings = settings(max_examples=60 if JOBS == 200 else 12, stateful_step_count=60 if JOBS == 200 else 40)


# One by one ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "jobs")
    yield opened
    opened.close()


def test_there_is_nothing_on_the_disk_before_the_first_job(store: Store, tmp_path: Path) -> None:
    assert store.all() == store.changed_since(0) == store.waiting([]) == []
    assert store.cancelling() == set()
    store.interrupt()
    with pytest.raises(NoSuchJobError):
        store.get(1)
    with pytest.raises(NoSuchJobError):
        store.retry(1)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_see_the_same_jobs(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "jobs")
    first = store.add("convert", {"source": "a", "dataset": "b"}, "b")
    assert other.get(first.id) == first
    other.cancel(first.id)
    assert [job.state for job in store.changed_since(first.change)] == ["cancelled"]
    other.close()


def test_numbers_are_not_given_twice(store: Store) -> None:
    number = store.add("convert", {}, None).id
    store.cancel(number)
    store.remove(number)
    assert store.add("convert", {}, None).id == number + 1
    assert [(job.id, job.removed) for job in store.changed_since(0)] == [(number, True), (number + 1, False)]


def test_an_interrupted_job_comes_before_what_was_queued_earlier(store: Store) -> None:
    jobs = [store.add("convert", {}, name) for name in "abc"]
    store.start(jobs[1].id)
    store.interrupt()
    assert [job.id for job in store.waiting([])] == [jobs[1].id, jobs[0].id, jobs[2].id]


def test_what_comes_later_for_a_dataset_waits_for_what_comes_first(store: Store) -> None:
    jobs = [store.add("convert", {}, name) for name in ("a", "b", "a", "b", None)]
    assert [job.id for job in store.waiting([])] == [jobs[0].id, jobs[1].id, jobs[4].id]
    assert [job.id for job in store.waiting(["a"])] == [jobs[1].id, jobs[4].id]


def test_a_job_is_started_once(store: Store) -> None:
    number = store.add("convert", {}, None).id
    assert store.start(number)
    assert not store.start(number)
    store.reached(number, Reached(step="convert", done=1, total=2, unit="voxels", rate=0.5, seconds_left=2))
    running = store.get(number)
    assert (running.attempts, running.step, running.rate, running.seconds_left) == (1, "convert", 0.5, 2)
    store.finish(number, State.DONE, summary="so")
    assert (store.get(number).rate, store.get(number).done, store.get(number).summary) == (None, 1, "so")
    assert not store.start(number)
    store.reached(number, Reached(step="late"))
    assert store.get(number).step == "convert"


def test_another_versions_file_is_one_sentence(store: Store, tmp_path: Path) -> None:
    store.add("convert", {}, None)
    store._opened().execute("PRAGMA user_version = 99")
    with pytest.raises(ConverterError, match=r"jobs.sqlite: written by another version of glassine \(version 99, expected 1\)"):
        Store(tmp_path / "jobs").all()


def test_a_process_that_cannot_be_started_fails_the_job(store: Store, tmp_path: Path) -> None:
    def start(job: Job, lock: int) -> FakeProcess:
        raise OSError(11, "Resource temporarily unavailable")

    number = store.add("convert", {}, None).id
    Queue(tmp_path / "jobs", store, start, 1).look()
    error = store.get(number).error
    assert error == "its process could not be started: [Errno 11] Resource temporarily unavailable"


def test_a_process_that_does_not_end_when_it_is_asked_is_killed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.queue._GRACE_SECONDS", 0.0)
    started: list[FakeProcess] = []

    def start(job: Job, lock: int) -> FakeProcess:
        started.append(FakeProcess(job, lock))
        return started[0]

    queue = Queue(tmp_path / "jobs", store, start, 1)
    number = store.add("convert", {}, None).id
    queue.look()
    store.cancel(number)
    queue.look()
    assert started[0].asked
    time.sleep(0.001)
    queue.look()
    queue.look()
    assert store.get(number).state == State.CANCELLED


def test_a_job_whose_process_always_dies_has_failed(store: Store, tmp_path: Path) -> None:
    def start(job: Job, lock: int) -> FakeProcess:
        process = FakeProcess(job, lock)
        process.end(-9)
        return process

    number = store.add("convert", {}, None).id
    queue = Queue(tmp_path / "jobs", store, start, 1)
    for _ in range(DEATHS):
        queue.look()
    job = store.get(number)
    assert (job.state, job.attempts) == (State.FAILED, DEATHS)
    assert job.error == (
        "its process ended 3 times before the work was done, last with signal SIGKILL; if memory was short, try again with "
        "another option memory or fewer processes"
    )
    queue.look()
    assert store.get(number).attempts == DEATHS


def test_progress_that_cannot_be_noted_does_not_end_a_job(store: Store, tmp_path: Path) -> None:
    started: list[FakeProcess] = []

    def start(job: Job, lock: int) -> FakeProcess:
        started.append(FakeProcess(job, lock))
        return started[0]

    number = store.add("convert", {}, None).id
    queue = Queue(tmp_path / "jobs", store, start, 1)
    queue.look()
    store._opened().execute("PRAGMA query_only = ON")
    started[0].telling.append({"step": "8_8_8", "done": 1, "total": 3, "unit": "chunks"})
    queue.look()
    assert started[0].exit_status is None
    store._opened().execute("PRAGMA query_only = OFF")
    started[0].telling.append({"step": "8_8_8", "done": 2, "total": 3, "unit": "chunks"})
    queue.look()
    job = store.get(number)
    assert (job.state, job.done) == (State.RUNNING, 2)
    started[0].end(0)
    queue.look()


def test_a_store_that_cannot_be_written_is_one_line_in_the_log_and_the_queue_goes_on_later(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.jobs.queue._AGAIN_SECONDS", 0.05)

    def start(job: Job, lock: int) -> FakeProcess:
        process = FakeProcess(job, lock)
        process.telling.append({"summary": "done"})
        process.end(0)
        return process

    number = store.add("convert", {}, None).id
    store._opened().execute("PRAGMA query_only = ON")
    queue = Queue(tmp_path / "jobs", store, start, 1)
    queue.open()
    try:
        _wait_until(lambda: "begin again" in caplog.text)
        store._opened().execute("PRAGMA query_only = OFF")
        _wait_until(lambda: store.get(number).state == State.DONE)
    finally:
        queue.close()
    assert "the queue of jobs has to begin again: attempt to write a readonly database" in caplog.text
    assert "Traceback" not in caplog.text


def _wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)
