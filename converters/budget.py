"""What a run may take of its machines, and what the run that it goes on with might."""

from concurrent.futures import Executor
from dataclasses import dataclass

from converters.executor import memory_of, workers_of
from converters.journal import Journal
from converters.options import byte_count

_SPARE = 0.8
"""The part of the memory that is free which a run takes, when nothing is said."""


@dataclass(frozen=True)
class Budget:
    """What a run may take: bytes of memory over all its processes, and how many blocks it works on at once."""

    memory: int
    workers: int


def budget_of(memory: str | None, executor: Executor) -> Budget:
    """Return what a run may take now: the memory that its options say, else most of what its workers' machines leave.

    Raises WorkerError when a cluster is gone.
    """
    return Budget(byte_count(memory) if memory else int(_SPARE * memory_of(executor)), workers_of(executor))


def budget_begun(journal: Journal, budget: Budget) -> Budget:
    """Return the memory and workers of the run that is gone on with, whose plan is kept; else note this run's."""
    told = journal.done.get("plan", {}).get(())
    if told is None:
        journal.add("plan", (), {"memory": budget.memory, "workers": budget.workers})
        return budget
    return Budget(told["memory"], told["workers"])
