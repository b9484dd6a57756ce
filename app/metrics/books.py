"""The figures of a server process: what was counted is written up, left for the other processes, and told for all of them."""

import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.jobs.store import Store
from app.metrics.counts import Absorber, Cell, Key
from app.metrics.exposition import JobsNow, exposition
from app.metrics.figures import total
from app.metrics.folders import Folders
from app.metrics.jobs import JobCounts
from app.metrics.names import Names
from app.metrics.process import cpu_seconds, process_gauges
from app.metrics.shared import Shared, Snapshot, Sum
from converters.errors import ConverterError


@dataclass(frozen=True)
class Taken:
    """What the event loop's thread hands to the bookkeeper's."""

    cells: dict[Key, Cell]
    connections: int
    in_progress: int


class Books:
    """The figures of this process and, in the shared folder, of the others; use it in one thread."""

    def __init__(self, folders: Folders, store: Store, folder: Path | None) -> None:
        self._store = store
        self._jobs = JobCounts()
        store.watch(self._jobs.note)
        self._shared = Shared(folder) if folder is not None else None
        self._absorber = Absorber(folders, Names(folder / "names.jsonl" if folder is not None else None))

    def keep(self, taken: Taken) -> Snapshot:
        """Write up what was counted."""
        self._absorber.absorb(taken.cells)
        gauges = {**process_gauges(), "connections": taken.connections, "in_progress": taken.in_progress}
        figures = total([self._absorber.figures, self._jobs.figures(), {("cpu",): cpu_seconds()}])
        snapshot = Snapshot(figures, gauges)
        if self._shared is not None:
            with suppress(OSError):  # the folder is full or gone: the next time will tell all
                self._shared.write(snapshot)
        return snapshot

    def page(self, taken: Taken, accept: str) -> tuple[bytes, str]:
        """Return the page of all metrics and its type."""
        # Written before it is told: no process may tell less later on.
        return exposition(self._sum(self.keep(taken)), self._jobs_now(), accept)

    def close(self) -> None:
        """Leave the others."""
        if self._shared is not None:
            self._shared.close()

    def _sum(self, own: Snapshot) -> Sum:
        if self._shared is not None:
            with suppress(OSError):
                return self._shared.sum(own)
        return Sum(own.figures, (own.gauges,))

    def _jobs_now(self) -> JobsNow | None:
        try:
            return self._store.counts()
        except (OSError, sqlite3.Error, ConverterError):
            return None
