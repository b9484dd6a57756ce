"""A job, as the API shows it and as it is kept, and which state may follow which."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field


class State(StrEnum):
    """What a job does."""

    QUEUED = "queued"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


WAITING = frozenset({State.INTERRUPTED, State.QUEUED})
"""Jobs that the queue starts by itself."""
ENDED = frozenset({State.DONE, State.FAILED, State.CANCELLED})
AGAIN = frozenset({State.FAILED, State.CANCELLED})
"""Jobs that may be tried again."""


class Reached(BaseModel):
    """How far the present step has come. rate: units a second."""

    step: str | None = None
    done: int | None = None
    total: int | None = None
    unit: str | None = None
    rate: float | None = None
    seconds_left: float | None = None


class Job(BaseModel):
    """One run of a command. Times are UTC; attempts: how often its process was started; dataset: path below the served folder.

    change: counts all changes of all jobs; this one's is the number of its last. removed: no longer listed.
    """

    id: int
    command: str
    options: dict[str, Any]
    state: State
    cancelling: bool = False
    attempts: int = 0
    step: str | None = None
    done: int | None = None
    total: int | None = None
    unit: str | None = None
    rate: float | None = None
    seconds_left: float | None = None
    error: str | None = None
    summary: str | None = None
    dataset: str | None = None
    link: str | None = None
    created: str
    started: str | None = None
    ended: str | None = None
    log: str | None = None
    change: int = Field(0, exclude=True)
    removed: bool = Field(False, exclude=True)

    @property
    def is_ended(self) -> bool:
        """Whether nothing happens to it any more by itself."""
        return self.state in ENDED

    @property
    def seconds(self) -> float | None:
        """How long it took from the last start of its process to its end, None where there was none of these."""
        if self.started is None or self.ended is None:
            return None
        return max(0.0, (datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.started)).total_seconds())


class JobList(BaseModel):
    """All jobs, the newest first."""

    jobs: list[Job]


def now() -> str:
    """Return the time as jobs have it: UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
