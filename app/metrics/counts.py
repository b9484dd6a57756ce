"""Counting where requests pass: plain lists in a dict, of which another thread makes the figures of the metrics once a second.

A chunk takes some 80 microseconds, so nothing is looked up for it here but its own path: which dataset and scale that is of is
found out later, once for all requests of a second.
"""

from bisect import bisect_left
from collections.abc import Callable

from app.metrics.asked import CHUNK, FILE, PREFIXES, SHARD, file_kind, method_class, other_kind, status_class
from app.metrics.figures import Figures, add
from app.metrics.folders import OTHER, Folders, Place
from app.metrics.names import Names

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Seconds; a request counts in the first bucket that holds it."""

_MOST_CELLS = 1000
"""Of folders that are not known, in one second: others count together."""
_FIRST_BUCKET = 3
_EMPTY = [0, 0, 0.0, *[0] * (len(BOUNDS) + 1)]

Cell = list[float]
"""Requests, bytes of bodies, seconds, then the requests of each bucket."""
Key = tuple[str, str, str, int]
"""Folder of the path, "" where it does not matter; kind, as the path alone tells it; method; status, 0 for none."""

_OUTCOMES = {200: "found", 206: "found", 304: "found", 404: "absent", 500: "failed"}


class Counts:
    """What was asked for since it was last taken; use it in one thread, where taking is done too.

    is_known: tells whether a folder was found to be of a dataset: such ones count however many others there are.
    """

    def __init__(self, is_known: Callable[[str], bool]) -> None:
        self._cells: dict[Key, Cell] = {}
        self._is_known = is_known

    def note(self, path: str, method: str, status: int, size: int, seconds: float) -> None:
        """Count a request. size: bytes of its body. seconds: until its answer began; one without status was not answered."""
        if path.startswith(PREFIXES):
            folder, _, name = path.rpartition("/")
            key = (folder, file_kind(name), method, status)
        else:
            key = ("", other_kind(path), method, status)
        cell = self._cells.get(key)
        if cell is None:
            cell = self._new_cell(key)
        cell[0] += 1
        cell[1] += size
        if status:
            cell[2] += seconds
            cell[_FIRST_BUCKET + bisect_left(BOUNDS, seconds)] += 1

    def _new_cell(self, key: Key) -> Cell:
        folder, kind, method, status = key
        if len(self._cells) >= _MOST_CELLS and not self._is_known(folder):
            key = ("", kind, method, status)
        return self._cells.setdefault(key, _EMPTY.copy())

    def take(self) -> dict[Key, Cell]:
        """Return what was counted and begin anew."""
        taken, self._cells = self._cells, {}
        return taken


class Absorber:
    """Makes figures of what was counted; use it in one thread."""

    def __init__(self, folders: Folders, names: Names) -> None:
        self.figures: Figures = {}
        self._folders = folders
        self._names = names

    def absorb(self, cells: dict[Key, Cell]) -> None:
        """Add what was counted to the figures."""
        places = self._folders.places({folder for folder, *_ in cells})
        for (folder, kind, method, status), cell in cells.items():
            place = places[folder]
            kind = _kind(kind, place)
            self._add(kind, method, status, cell)
            outcome = _OUTCOMES.get(status)
            if kind in (CHUNK, SHARD) and outcome is not None and method_class(method) == "read":
                add(self.figures, ("scale", *self._labels(place), outcome), cell[0])

    def _labels(self, place: Place) -> tuple[str, str]:
        names = (place.dataset, place.scale)
        return names if place.dataset != OTHER and self._names.admit(*names) else (OTHER, OTHER)

    def _add(self, kind: str, method: str, status: int, cell: Cell) -> None:
        count, size, seconds, *buckets = cell
        add(self.figures, ("requests", kind, method_class(method), status_class(status)), count)
        add(self.figures, ("bytes", kind), size)
        add(self.figures, ("duration_sum", kind), seconds)
        for number, requests in enumerate(buckets):
            if requests:
                add(self.figures, ("duration", kind, str(number)), requests)


def _kind(kind: str, place: Place) -> str:
    """Return the kind of a file by its name and its folder: fragments of meshes may be called anything."""
    return place.kind if kind == FILE or (kind == CHUNK and place.kind != FILE) else kind
