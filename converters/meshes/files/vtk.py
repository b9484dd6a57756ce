"""VTK's legacy files of POLYDATA, text and binary (The VTK User's Guide, "Simple legacy formats"; cells as offsets since 5.1).

meshio and trimesh read no POLYDATA, and VTK's own wheel has a hundred megabytes.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.errors import DamagedError, SourceError
from converters.meshes.files.surface import Points, Surface, Triangles, fans

_TYPES = {
    "unsigned_char": "u1", "char": "i1", "unsigned_short": ">u2", "short": ">i2", "unsigned_int": ">u4", "int": ">i4",
    "unsigned_long": ">u8", "long": ">i8", "vtkidtype": ">i4", "vtktypeint32": ">i4", "vtktypeint64": ">i8",
    "float": ">f4", "double": ">f8",
}  # fmt: skip
_CELLS = ("VERTICES", "LINES", "POLYGONS", "TRIANGLE_STRIPS")
_ATTRIBUTES = ("POINT_DATA", "CELL_DATA")
_LARGEST_WHOLE = 1 << 53
_LONGEST_NUMBER = 64
"""Letters of a number in a text file."""


class _BrokenError(Exception):
    """What is wrong with the file, without its name."""


@dataclass
class _Text:
    """The bytes of a file and how far they are read."""

    data: bytes
    binary: bool
    position: int = 0

    def line(self) -> str:
        """Return the rest of the line, without spaces at its ends."""
        end = self.data.find(b"\n", self.position)
        end = len(self.data) if end < 0 else end
        line = self.data[self.position : end]
        self.position = end + 1
        return line.decode("latin-1").strip()

    def words(self) -> list[str]:
        """Return the words of the next line that has any; none at the end."""
        while self.position < len(self.data):
            words = self.line().split()
            if words:
                return words
        return []

    def numbers(self, count: int, kind: str) -> NDArray[np.float64] | NDArray[np.int64]:
        """Return the next count numbers of one of VTK's types: float64, or int64 for whole ones."""
        stored = np.dtype(_TYPES.get(kind.lower()) or _broken(f"tells numbers of type {kind}, expected float, double, int, ..."))
        size = count * stored.itemsize if self.binary else max(0, 2 * count - 1)
        if size > len(self.data) - self.position:
            raise _BrokenError(f"tells {count} numbers where {len(self.data) - self.position} bytes are left, it is cut short")
        found = self._binary(stored, size) if self.binary else self._text(count)
        if stored.kind != "f" and found.dtype.kind == "f" and not (np.abs(found) < _LARGEST_WHOLE).all():
            raise _BrokenError(f"holds what is no whole number among {count} numbers")
        with np.errstate(invalid="ignore"):  # NaNs are told later, by their places
            return found.astype(np.float64) if stored.kind == "f" else found.astype(np.int64)

    def _binary(self, stored: np.dtype[np.generic], size: int) -> NDArray[np.generic]:
        begin, self.position = self.position, self.position + size
        return np.frombuffer(self.data[begin : self.position], stored)

    def _text(self, count: int) -> NDArray[np.float64]:
        words = self.data[self.position :].split(None, count)
        if len(words) < count or max(map(len, words[:count]), default=0) > _LONGEST_NUMBER:
            raise _BrokenError(f"holds fewer than the {count} numbers that it tells, it is cut short or damaged")
        # What is left of the data begins with the last word, if there is one.
        self.position = len(self.data) - (len(words[count]) if len(words) > count else 0)
        try:
            return np.array(words[:count], dtype="S").astype(np.float64) if count else np.zeros(0)
        except ValueError:
            raise _BrokenError(f"holds what is no number among {count} numbers") from None


def read_vtk(path: Path) -> Surface:
    """Return the polygons and triangle strips of a legacy VTK file, polygons cut into triangles.

    Raises SourceError for another kind of file, DamagedError for one that cannot be read.
    """
    text = _Text(path.read_bytes(), binary=False)
    if not text.line().lower().startswith("# vtk datafile version"):
        raise SourceError(f"{path}: is no legacy VTK file (its first line is not `# vtk DataFile Version ...`); save it as .vtk")
    try:
        text.line()
        text.binary = _one_of(text.words(), ("ASCII", "BINARY")) == "BINARY"
        kind = text.words()
        if [word.upper() for word in kind] != ["DATASET", "POLYDATA"]:
            raise SourceError(
                f"{path}: holds {' '.join(kind[1:]) or 'nothing'}, expected POLYDATA, a surface; extract the surface first"
            )
        points, triangles = _sections(text)
    except _BrokenError as error:
        raise DamagedError(f"{path}: {error}; export the surface again") from None
    return Surface(points, triangles)


def _sections(text: _Text) -> tuple[Points, Triangles]:
    points = np.zeros((0, 3))
    triangles = [np.zeros((0, 3), np.int64)]
    while words := text.words():
        name = words[0].upper()
        if name in _ATTRIBUTES:
            break
        if name == "POINTS":
            points = text.numbers(3 * _count(words, 1), _word(words, 2)).reshape(-1, 3).astype(np.float64)
        elif name in _CELLS:
            corners, sizes = _cells(text, words)
            triangles += [_triangles(name, corners, sizes)]
        elif name == "FIELD":
            _pass_fields(text, _count(words, 2))
        elif name == "METADATA":
            _pass_metadata(text)
        else:
            raise _BrokenError(f"has a section {words[0][:40]!r}, expected POINTS, POLYGONS, ...; it is damaged")
    return points, np.concatenate(triangles)


def _cells(text: _Text, words: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the corners of all cells of a section, one behind the other, and how many each has."""
    first, second = _count(words, 1), _count(words, 2)
    begin = text.position
    told = text.words()
    if told[:1] == ["OFFSETS"]:
        offsets = text.numbers(first, _word(told, 1)).astype(np.int64)
        kind = _one_of(text.words(), ("CONNECTIVITY",), and_more=True)
        corners = text.numbers(second, kind).astype(np.int64)
        sizes = np.diff(offsets)
        if len(offsets) and (offsets[0] or offsets[-1] != second or sizes.min(initial=0) < 0):
            raise _BrokenError("has offsets of cells that do not fit their corners")
        return corners, sizes
    text.position = begin
    return _counted(text.numbers(second, "int").astype(np.int64), first)


def _counted(numbers: NDArray[np.int64], cells: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return corners and sizes of cells that stand as a count and as many corners each."""
    if cells and len(numbers) == 4 * cells and (numbers[::4] == 3).all():
        return numbers.reshape(-1, 4)[:, 1:].ravel(), np.full(cells, 3)
    counts, position, values = np.zeros(cells, np.int64), 0, numbers.tolist()
    places = np.zeros(len(numbers), bool)
    for cell in range(cells):
        if position >= len(values) or not 0 <= values[position] < len(values) - position:
            raise _BrokenError(f"has a cell {cell} that reaches beyond its section")
        places[position], counts[cell] = True, values[position]
        position += 1 + values[position]
    if position != len(values):
        raise _BrokenError(f"has {len(values)} numbers for cells that need {position}")
    return numbers[~places], counts


def _triangles(name: str, corners: NDArray[np.int64], sizes: NDArray[np.int64]) -> Triangles:
    """Return the triangles of a section; points and lines have none."""
    if name not in ("POLYGONS", "TRIANGLE_STRIPS"):
        return np.zeros((0, 3), np.int64)
    if len(sizes) and sizes.min() < 3:
        raise _BrokenError(f"has a polygon of {sizes.min()} corners, expected at least 3")
    return fans(corners, sizes) if name == "POLYGONS" else _strips(corners, sizes)


def _strips(corners: NDArray[np.int64], sizes: NDArray[np.int64]) -> Triangles:
    """Return the triangles of strips: each three corners in a row, every second one the other way round."""
    parts = sizes - 2
    within = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    firsts = np.repeat(np.cumsum(sizes) - sizes, parts) + within
    odd = within % 2
    return np.stack([corners[firsts], corners[firsts + 1 + odd], corners[firsts + 2 - odd]], axis=1)


def _pass_fields(text: _Text, arrays: int) -> None:
    for _ in range(arrays):
        words = text.words()
        if words and words[0].upper() == "METADATA":
            _pass_metadata(text)
            words = text.words()
        if _word(words, 3).lower() == "string":
            raise _BrokenError("has a field of strings before its points, which is not read")
        text.numbers(_count(words, 1) * _count(words, 2), words[3])


def _pass_metadata(text: _Text) -> None:
    """Read on to the empty line that ends the metadata of an array."""
    while text.position < len(text.data) and text.line():
        pass


def _count(words: list[str], place: int) -> int:
    word = _word(words, place)
    if not re.fullmatch(r"\d{1,12}", word):
        raise _BrokenError(f"says {' '.join(words)[:60]!r}, expected a count in the place of {word[:20]!r}")
    return int(word)


def _word(words: list[str], place: int) -> str:
    if len(words) <= place:
        raise _BrokenError(f"says {' '.join(words)[:60]!r}, expected more; it is cut short or damaged")
    return words[place]


def _one_of(words: list[str], expected: tuple[str, ...], *, and_more: bool = False) -> str:
    """Return the word that is one of those expected, or the one behind it."""
    if not words or words[0].upper() not in expected:
        raise _BrokenError(f"says {' '.join(words)[:40]!r}, expected {' or '.join(expected)}")
    return _word(words, 1) if and_more else words[0].upper()


def _broken(message: str) -> str:
    raise _BrokenError(message)
