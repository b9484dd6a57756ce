"""The jobs of a served folder in SQLite, which several server processes have open at once.

Every change is one transaction that names the states it may come from, so that no order of requests leaves a wrong one.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from app.jobs.job import AGAIN, ENDED, WAITING, Job, Reached, State, now
from app.jobs.locks import locked
from converters.errors import ConverterError

_VERSION = 1
_BUSY_SECONDS = 20
_SCHEMA = """
CREATE TABLE IF NOT EXISTS changes (last INTEGER NOT NULL);
INSERT INTO changes SELECT 0 WHERE NOT EXISTS (SELECT * FROM changes);
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    command TEXT NOT NULL, options TEXT NOT NULL, dataset TEXT,
    state TEXT NOT NULL, cancelling INTEGER NOT NULL DEFAULT 0, removed INTEGER NOT NULL DEFAULT 0,
    place INTEGER NOT NULL, change INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, deaths INTEGER NOT NULL DEFAULT 0,
    step TEXT, done INTEGER, total INTEGER, unit TEXT, rate REAL, seconds_left REAL,
    error TEXT, summary TEXT, created TEXT NOT NULL, started TEXT, ended TEXT
);
CREATE INDEX IF NOT EXISTS jobs_by_change ON jobs (change);
"""
"""place: the order in which jobs that wait are started. deaths: how often its process has died since it was last queued."""
_SHOWN = [name for name in Job.model_fields if name not in ("link", "log")]
_IN_ORDER = f"state = '{State.QUEUED}', place"
"""What was interrupted comes before what is queued."""


_IDLE = {"cancelling": False, "rate": None, "seconds_left": None}
"""Columns of a job whose process has ended."""
_UNTRIED = {**dict.fromkeys(Reached.model_fields), "error": None, "summary": None, "started": None, "ended": None}
"""Columns of a job of which nothing is known yet."""


class NoSuchJobError(ConverterError):
    """There is no job of this number."""


class WrongStateError(ConverterError):
    """What is asked for cannot be done with a job in its present state."""


class Store:
    """The jobs. folder: where the file is, made with the first job; before that everything is empty."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "jobs.sqlite"
        self._one_at_a_time = Lock()
        self._connection: sqlite3.Connection | None = None
        self._watchers: list[Callable[[Job], None]] = []

    def watch(self, watcher: Callable[[Job], None]) -> None:
        """Call watcher, in whatever thread, with each job that this process changes, but not for its progress."""
        self._watchers.append(watcher)

    def counts(self) -> dict[tuple[str, ...], int]:
        """Return how many jobs are listed of each command and state."""
        with self._reading() as connection:
            found = connection.execute("SELECT command, state, COUNT(*) FROM jobs WHERE NOT removed GROUP BY command, state")
            return {(command, state): count for command, state, count in found}

    def add(self, command: str, options: dict[str, Any], dataset: str | None) -> Job:
        """Return a new job, the last of the queue. Raises OSError where the folder cannot be written."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._changing(create=True) as connection:
            change = _next_change(connection)
            cursor = connection.execute(
                "INSERT INTO jobs (command, options, dataset, state, place, change, created) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (command, json.dumps(options), dataset, State.QUEUED, change, change, now()),
            )
            return _one(connection, cursor.lastrowid or 0)

    def get(self, number: int) -> Job:
        """Return a job. Raises NoSuchJobError."""
        with self._reading() as connection:
            return _one(connection, number)

    def all(self) -> list[Job]:
        """Return all jobs, the newest first."""
        with self._reading() as connection:
            return _jobs(connection, "NOT removed ORDER BY id DESC")

    def changed_since(self, change: int) -> list[Job]:
        """Return the jobs that have changed later, removed ones too, in the order of their changes."""
        with self._reading() as connection:
            return _jobs(connection, "change > ? ORDER BY change", (change,))

    def cancel(self, number: int) -> Job:
        """Cancel a job that waits, or ask for the end of a running one. Raises NoSuchJobError, WrongStateError."""
        with self._changing() as connection:
            job = _one(connection, number)
            if job.state in WAITING:
                _set(connection, number, {"state": State.CANCELLED, "ended": now()})
            elif job.state == State.RUNNING:
                _set(connection, number, {"cancelling": True})
            else:
                raise WrongStateError(f"job {number} is {job.state}, only one that waits or runs can be cancelled")
            return _one(connection, number)

    def remove(self, number: int) -> Job:
        """Take an ended job from the list and return it as it was. Raises NoSuchJobError, WrongStateError."""
        with self._changing() as connection:
            job = _one(connection, number)
            if job.state not in ENDED:
                raise WrongStateError(f"job {number} is {job.state}, only one that has ended can be removed")
            _set(connection, number, {"removed": True})
            return job

    def retry(self, number: int) -> Job:
        """Queue a failed or cancelled job again, behind all others. Raises NoSuchJobError, WrongStateError."""
        with self._changing() as connection:
            job = _one(connection, number)
            if job.state not in AGAIN:
                raise WrongStateError(f"job {number} is {job.state}, only a failed or cancelled one can be tried again")
            place = _next_change(connection)
            _set(connection, number, {**_UNTRIED, "state": State.QUEUED, "place": place, "deaths": 0})
            return _one(connection, number)

    def waiting(self, busy: Collection[str | None]) -> list[Job]:
        """Return the jobs to start, the first one first. busy: datasets that running jobs write: none of these."""
        with self._reading() as connection:
            jobs = _jobs(connection, f"state IN {_texts(WAITING)} AND NOT removed ORDER BY {_IN_ORDER}")
        taken = {dataset for dataset in busy if dataset is not None}
        startable = []
        for job in jobs:
            if job.dataset not in taken:
                startable.append(job)
            if job.dataset is not None:
                taken.add(job.dataset)  # what comes later for the same dataset needs what comes first
        return startable

    def start(self, number: int) -> bool:
        """Mark a waiting job as running; False when it does not wait any more."""
        with self._changing() as connection:
            job = _find(connection, number)
            if job is None or job.state not in WAITING:
                return False
            attempt = {"state": State.RUNNING, "attempts": job.attempts + 1, "started": now()}
            _set(connection, number, {**_UNTRIED, **attempt})
            return True

    def reached(self, number: int, reached: Reached) -> None:
        """Note how far a running job has come."""
        with self._changing(watched=False) as connection:
            if _running(connection, number) is not None:
                _set(connection, number, reached.model_dump())

    def finish(self, number: int, state: State, *, error: str | None = None, summary: str | None = None) -> None:
        """Note how a running job has ended: done, failed or cancelled."""
        with self._changing() as connection:
            if _running(connection, number) is not None:
                _set(connection, number, {**_IDLE, "state": state, "error": error, "summary": summary, "ended": now()})

    def died(self, number: int, most: int, sentence: str) -> None:
        """Note that a running job's process was killed: it is interrupted, or failed with this sentence the most-th time.

        One that was to be ended anyway is cancelled.
        """
        with self._changing() as connection:
            job = _running(connection, number)
            if job is None:
                return
            (deaths,) = connection.execute("SELECT deaths + 1 FROM jobs WHERE id = ?", (number,)).fetchone()
            if deaths < most or job.cancelling:
                _interrupt(connection, job)
            else:
                _set(connection, number, {**_IDLE, "state": State.FAILED, "error": sentence, "ended": now()})
            _set(connection, number, {"deaths": deaths})

    def interrupt(self) -> None:
        """Note that no process works for what is marked as running: those jobs were interrupted, or cancelled if so asked."""
        if not self._path.exists():
            return
        with self._changing() as connection:
            for job in _jobs(connection, "state = ?", (State.RUNNING,)):
                _interrupt(connection, job)

    def cancelling(self) -> set[int]:
        """Return the running jobs that are to be ended."""
        with self._reading() as connection:
            found = connection.execute("SELECT id FROM jobs WHERE cancelling AND state = ?", (State.RUNNING,))
            return {number for (number,) in found}

    def close(self) -> None:
        """Close the file."""
        with self._one_at_a_time:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._one_at_a_time:
            if self._connection is None and not self._path.exists():
                yield _empty()
            else:
                yield self._opened()

    @contextmanager
    def _changing(self, *, create: bool = False, watched: bool = True) -> Iterator[sqlite3.Connection]:
        """Give the connection in a transaction that ends with the context. watched: tell the watchers what has changed."""
        if not create and not self._path.exists():
            raise NoSuchJobError("there are no jobs yet")
        with self._one_at_a_time:
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            try:
                before = _last_change(connection)
                yield connection
                changed = _jobs(connection, "change > ? ORDER BY change", (before,)) if watched and self._watchers else []
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # on a full disk SQLite may have ended it
                    connection.execute("ROLLBACK")
                raise
        for job in changed:
            for watcher in self._watchers:
                watcher(job)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = _open(str(self._path))
        return self._connection


def _open(path: str) -> sqlite3.Connection:
    # Autocommit: transactions are begun where they are needed. Threads take turns.
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in (0, _VERSION):
        connection.close()
        raise ConverterError(
            f"{path}: written by another version of glassine (version {version}, expected {_VERSION}); remove it"
        )
    if version == 0:
        # Two processes that make the file at once would find it locked.
        with locked(Path(f"{path}.lock")):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _empty() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(_SCHEMA)
    return connection


def _one(connection: sqlite3.Connection, number: int) -> Job:
    job = _find(connection, number)
    if job is None:
        raise NoSuchJobError(f"there is no job {number}")
    return job


def _running(connection: sqlite3.Connection, number: int) -> Job | None:
    job = _find(connection, number)
    return job if job is not None and job.state == State.RUNNING else None


def _interrupt(connection: sqlite3.Connection, job: Job) -> None:
    ending = {"state": State.CANCELLED, "ended": now()} if job.cancelling else {"state": State.INTERRUPTED}
    _set(connection, job.id, {**_IDLE, **ending})


def _find(connection: sqlite3.Connection, number: int) -> Job | None:
    found = _jobs(connection, "id = ? AND NOT removed", (number,))
    return found[0] if found else None


def _jobs(connection: sqlite3.Connection, condition: str, values: Iterable[object] = ()) -> list[Job]:
    rows = connection.execute(f"SELECT {', '.join(_SHOWN)} FROM jobs WHERE {condition}", tuple(values))
    return [Job.model_validate({**dict(zip(_SHOWN, row, strict=True)), "options": json.loads(row[2])}) for row in rows]


def _set(connection: sqlite3.Connection, number: int, values: Mapping[str, object]) -> None:
    names = "".join(f", {name} = ?" for name in values)
    connection.execute(f"UPDATE jobs SET change = ?{names} WHERE id = ?", (_next_change(connection), *values.values(), number))


def _next_change(connection: sqlite3.Connection) -> int:
    connection.execute("UPDATE changes SET last = last + 1")
    return _last_change(connection)


def _last_change(connection: sqlite3.Connection) -> int:
    (change,) = connection.execute("SELECT last FROM changes").fetchone()
    return int(change)


def _texts(states: Iterable[State]) -> str:
    return "(" + ", ".join(f"'{state}'" for state in sorted(states)) + ")"
