"""One step of a run after the other: its blocks through the executor, what they gave into the journal."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from converters.errors import DamagedError
from converters.executor import Failure, run
from converters.journal import Item, Journal
from converters.results import BlockResult, decode_result, encode_result


@dataclass(frozen=True)
class Progress:
    """How far a step has come. step: what is being done; done, total: in unit ("bytes", "voxels", "segments" or "shards")."""

    step: str
    done: int
    total: int
    unit: str


Report = Callable[[Progress], None]


class Task(Protocol):
    """One block's work. item: its position among the blocks of the step. place: what a message calls it."""

    @property
    def item(self) -> Item: ...
    @property
    def place(self) -> str: ...


@dataclass(frozen=True)
class Work:
    """What the steps of one run share. pending: blocks that the executor is given at a time."""

    executor: Executor
    journal: Journal
    pending: int
    report: Report


@dataclass(frozen=True)
class Step:
    """Blocks that may be done in any order, all before the next step.

    name: in the journal. shown: in the progress. function: does one task, and may do it again. total, done: of the progress,
    in unit, with what steps shown by the same name had done before.
    """

    name: str
    shown: str
    function: Callable[[Any], BlockResult]
    tasks: Callable[[], Iterable[Any]]
    total: int
    unit: str
    done: int = 0


def do_step(work: Work, step: Step) -> list[BlockResult]:
    """Do what the journal does not tell as done, and return what each block gave, now or then.

    A block that fails alone does not stop the others: DamagedError at the end names the first. Raises what stops all:
    DiskFullError, ValueRefusedError, WorkerError and the like.
    """
    results = [decode_result(gave) for gave in work.journal.done.get(step.name, {}).values()]
    failures = []
    done = step.done + sum(_amount(step, result) for result in results)
    with closing(run(work.executor, step.function, _waiting(work.journal, step), max_pending=work.pending)) as finished:
        for task, result in finished:
            if isinstance(result, Failure):
                failures.append(f"{task.place}: {result.error}")
                continue
            results.append(result)
            work.journal.add(step.name, task.item, encode_result(result))
            done += _amount(step, result)
            work.report(Progress(step.shown, done, step.total, step.unit))
    if failures:
        raise DamagedError(
            f"{len(failures)} of {len(failures) + len(results)} blocks failed, so the dataset was not made; the others are kept "
            f"for the same command; the first that failed: {failures[0]}"
        )
    return results


def _waiting(journal: Journal, step: Step) -> Iterator[Any]:
    """Yield the tasks that are not done, each noted as begun when it is asked for."""
    done = set(journal.done.get(step.name, {}))
    for task in step.tasks():
        if task.item not in done:
            journal.begin(step.name, task.item)
            yield task


def _amount(step: Step, result: BlockResult) -> int:
    return {"voxels": result.voxels, "segments": result.segments}.get(step.unit, 1)
