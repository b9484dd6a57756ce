"""The figures of all server processes: each writes its own into a folder that they share, and any of them adds up what is there.

A process holds a lock as long as it lives, so that one that has died is known however it went: what it counted is kept, what it
needed (memory, connections) is not.
"""

import json
import logging
import multiprocessing
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from app.jobs.locks import locked, try_lock
from app.metrics.figures import Figures, from_members, to_members, total

_ENDED = "ended.json"
_ADDING = "adding"
"""The file whose lock one has who adds up."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """What a process, or several, have counted, and what they need now by name."""

    figures: Figures = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Sum:
    """All processes together. processes: the gauges of each that lives. ended: how many have died."""

    figures: Figures
    processes: tuple[Mapping[str, float], ...]
    ended: int = 0


@contextmanager
def shared_folder(processes: int) -> Iterator[Path | None]:
    """Give a new folder for the figures of a server's processes, removed in the end; None for one, and where there is no room."""
    if processes == 1 or os.name != "posix":
        yield None
        return
    try:
        folder = TemporaryDirectory(prefix="glassine-", ignore_cleanup_errors=True)
    except OSError as error:
        _log.warning("there is no room for a temporary folder (%s): /metrics tells of one server process alone", error)
        yield None
        return
    with folder as path:
        yield Path(path)


class Shared:
    """This process' place in a folder that the server's processes share; use it in one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._lock: int | None = None

    def write(self, snapshot: Snapshot) -> None:
        """Leave what this process has counted. Raises OSError when the folder is full or gone."""
        if self._lock is None:
            # Between its making and its locking somebody who adds up would take the file for that of one who has died.
            with locked(self._folder / _ADDING):
                self._lock = try_lock(self._folder / f"{self._name}.lock")
        members = {"figures": to_members(snapshot.figures), "gauges": dict(snapshot.gauges)}
        _replace(self._folder / f"{self._name}.json", members)

    def sum(self, own: Snapshot) -> Sum:
        """Return the sum of all processes, of which this one has counted what own tells. Raises OSError."""
        with locked(self._folder / _ADDING):
            living, dead = self._others()
            ended = self._ended()
            if dead:
                ended = self._fold(ended, dead)
        figures = total([own.figures, *(snapshot.figures for snapshot in living), from_members(ended["figures"])])
        return Sum(figures, (own.gauges, *(snapshot.gauges for snapshot in living)), ended["count"])

    def close(self) -> None:
        """Count as ended from now on."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        starter = multiprocessing.parent_process()
        if starter is not None and not starter.is_alive():
            # It was killed, and nobody else would remove the folder.
            shutil.rmtree(self._folder, ignore_errors=True)

    def _others(self) -> tuple[list[Snapshot], dict[str, Snapshot]]:
        """Return what the other processes have left, of those that live and, by name, of those that have died."""
        living, dead = [], {}
        for path in sorted(self._folder.glob("*.lock")):
            if path.stem == self._name:
                continue
            lock = try_lock(path)
            snapshot = _read(path.with_suffix(".json"))
            if lock is None:
                living.append(snapshot)
            else:
                os.close(lock)
                dead[path.stem] = snapshot
        return living, dead

    def _ended(self) -> dict[str, Any]:
        with suppress(FileNotFoundError):
            ended: dict[str, Any] = json.loads((self._folder / _ENDED).read_bytes())
            return ended
        return {"figures": [], "count": 0, "folded": []}

    def _fold(self, ended: dict[str, Any], dead: Mapping[str, Snapshot]) -> dict[str, Any]:
        """Add what the dead have counted to what those before them have, and remove what they left."""
        # Whoever is killed in here has not removed what was added already: the names tell the next one.
        new = [snapshot.figures for name, snapshot in dead.items() if name not in ended["folded"]]
        figures = total([from_members(ended["figures"]), *new])
        ended = {"figures": to_members(figures), "count": ended["count"] + len(new), "folded": sorted(dead)}
        _replace(self._folder / _ENDED, ended)
        for name in dead:
            for suffix in (".json", ".new", ".lock"):
                (self._folder / f"{name}{suffix}").unlink(missing_ok=True)
        return ended


def _read(path: Path) -> Snapshot:
    """Return what a process has left, nothing where it had no time for that."""
    try:
        members = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Snapshot()
    return Snapshot(from_members(members["figures"]), members["gauges"])


def _replace(path: Path, members: Mapping[str, Any]) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(members))
    temporary.replace(path)
