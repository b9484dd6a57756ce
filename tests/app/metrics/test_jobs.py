"""What is told of jobs: each change of a state once, whichever way it comes, and never their progress."""

from pathlib import Path

import pytest

from app.jobs.job import Job, Reached, State
from app.jobs.store import Store, WrongStateError
from app.metrics.jobs import JOB_BOUNDS, JobCounts

Told = list[tuple[int, str]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "jobs")


def watch(store: Store) -> Told:
    """Return a list to which each job is added whose change is told."""
    told: Told = []
    store.watch(lambda job: told.append((job.id, "removed" if job.removed else str(job.state))))
    return told


def test_every_change_of_a_state_is_told_once(store: Store) -> None:
    told = watch(store)
    first, second = (store.add("convert", {}, name).id for name in ("a", "b"))
    assert store.start(first)
    store.reached(first, Reached(step="chunks", done=1, total=2))
    store.died(first, 3, "")
    assert store.start(first)
    store.finish(first, State.FAILED, error="no")
    store.retry(first)
    store.cancel(first)
    store.remove(first)
    assert store.start(second)
    store.cancel(second)
    store.interrupt()
    assert told == [
        (first, "queued"), (second, "queued"), (first, "running"), (first, "interrupted"), (first, "running"),
        (first, "failed"), (first, "queued"), (first, "cancelled"), (first, "removed"),
        (second, "running"), (second, "running"), (second, "cancelled"),
    ]  # fmt: skip
    assert store.counts() == {("convert", "cancelled"): 1}
    store.close()


def test_a_job_that_is_cancelled_before_it_was_started_again_took_no_time(store: Store) -> None:
    seconds: list[float | None] = []
    store.watch(lambda job: seconds.append(job.seconds))
    number = store.add("convert", {}, None).id
    store.start(number)
    store.finish(number, State.FAILED)
    store.retry(number)
    store.cancel(number)
    queued, running, failed, again, cancelled = seconds
    assert (queued, running, again, cancelled) == (None, None, None, None)
    assert failed is not None
    store.close()


def test_what_is_refused_is_not_told(store: Store) -> None:
    number = store.add("convert", {}, None).id
    told = watch(store)
    with pytest.raises(WrongStateError):
        store.retry(number)
    store.finish(number, State.DONE)
    store.interrupt()
    assert told == []
    assert store.counts() == {("convert", "queued"): 1}
    store.close()


def test_before_the_first_job_there_is_none(store: Store) -> None:
    assert store.counts() == {}


def job(state: State, started: str | None = None, ended: str | None = None) -> Job:
    return Job(id=1, command="mesh", options={}, state=state, created="", started=started, ended=ended)


def test_the_ends_of_jobs_are_counted_with_their_seconds() -> None:
    counts = JobCounts()
    counts.note(job(State.RUNNING, "2026-11-21T22:00:00.000Z"))
    counts.note(job(State.DONE, "2026-11-21T22:00:00.000Z", "2026-11-21T22:00:10.000Z"))
    counts.note(job(State.DONE, "2026-11-21T22:00:00.000Z", "2026-11-23T22:00:00.500Z"))
    counts.note(job(State.CANCELLED, None, "2026-11-21T22:00:00.000Z"))
    counts.note(job(State.DONE, None, None).model_copy(update={"removed": True}))
    assert counts.figures() == {
        ("jobs_ended", "mesh", "done"): 2,
        ("jobs_ended", "mesh", "cancelled"): 1,
        ("job_duration_sum", "mesh", "done"): 172810.5,
        ("job_duration", "mesh", "done", str(JOB_BOUNDS.index(10.0))): 1,
        ("job_duration", "mesh", "done", str(len(JOB_BOUNDS))): 1,
    }


def test_a_clock_that_was_set_back_makes_no_time_of_less_than_nothing() -> None:
    assert job(State.DONE, "2026-11-21T22:00:10.000Z", "2026-11-21T22:00:00.000Z").seconds == 0
