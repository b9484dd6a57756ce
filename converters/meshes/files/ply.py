"""PLY files, text and binary (The PLY Polygon File Format, Greg Turk, 1994).

trimesh gives a shorter surface for a text file that is cut short, and does not read polygons of different numbers of corners in
binary files, nor the texture coordinates that MeshLab adds to each face.
"""

import re
import struct
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from converters.errors import DamagedError, SourceError
from converters.meshes.files.surface import Surface, fans

_KINDS = {
    "char": "b", "int8": "b", "uchar": "B", "uint8": "B", "short": "h", "int16": "h", "ushort": "H", "uint16": "H",
    "int": "i", "int32": "i", "uint": "I", "uint32": "I", "float": "f", "float32": "f", "double": "d", "float64": "d",
}  # fmt: skip
"""PLY's types as Python's struct has them."""
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
_CORNERS = ("vertex_indices", "vertex_index")
_LARGEST_HEADER = 1 << 20
_MOST_ALIKE = 64
"""Values of a row up to which all rows are first taken for alike."""
_LONGEST_NUMBER = 64
"""Letters of a number in a text file."""

_Column = NDArray[np.float64]


class _BrokenError(Exception):
    """What is wrong with the file, without its name."""


@dataclass(frozen=True)
class _Property:
    """kind: of a value. count_kind: of how many there are, where they are a list, else None."""

    name: str
    kind: str
    count_kind: str | None


@dataclass(frozen=True)
class _Element:
    name: str
    count: int
    properties: tuple[_Property, ...]


class _Numbers(Protocol):
    """The numbers behind the header. position: what is read so far."""

    position: int

    def rows(self, kinds: str, count: int) -> _Column:
        """Return the next count rows of numbers of these kinds, float64 [count, len(kinds)]."""
        ...

    def some(self, kind: str, count: int) -> list[float]:
        """Return the next count numbers of one kind."""
        ...


@dataclass
class _Text:
    words: list[bytes]
    position: int = 0

    def rows(self, kinds: str, count: int) -> _Column:
        words = self._take(len(kinds) * count)
        if max(map(len, words), default=0) > _LONGEST_NUMBER:
            raise _BrokenError("holds what is no number")
        try:
            numbers = np.array(words, "S").astype(np.float64) if words else np.zeros(0)
        except ValueError:
            raise _BrokenError("holds what is no number") from None
        return numbers.reshape(count, len(kinds))

    def some(self, kind: str, count: int) -> list[float]:
        try:
            return [float(word) for word in self._take(count)]
        except ValueError:
            raise _BrokenError("holds what is no number") from None

    def _take(self, count: int) -> list[bytes]:
        if count > len(self.words) - self.position:
            raise _BrokenError(f"holds {len(self.words)} numbers, fewer than its header tells")
        self.position += count
        return self.words[self.position - count : self.position]


@dataclass
class _Binary:
    data: bytes
    order: str
    position: int

    def rows(self, kinds: str, count: int) -> _Column:
        dtype = np.dtype([(f"{number}", f"{self.order}{_NUMPY.get(kind, kind)}") for number, kind in enumerate(kinds)])
        begin = self._take(dtype.itemsize * count)
        rows = np.frombuffer(self.data, dtype, count, begin)
        with np.errstate(invalid="ignore"):  # NaNs are told later, by their places
            return (
                np.stack([rows[name].astype(np.float64) for name in dtype.names or ()], axis=1) if kinds else np.zeros((count, 0))
            )

    def some(self, kind: str, count: int) -> list[float]:
        form = f"{self.order}{count}{kind}"
        return list(struct.unpack_from(form, self.data, self._take(struct.calcsize(form))))

    def _take(self, size: int) -> int:
        if size > len(self.data) - self.position:
            raise _BrokenError(f"has {len(self.data)} bytes, fewer than its header tells")
        self.position += size
        return self.position - size


_NUMPY = {"b": "i1", "B": "u1", "h": "i2", "H": "u2", "i": "i4", "I": "u4", "f": "f4", "d": "f8"}


def read_ply(path: Path) -> Surface:
    """Return the surface of a PLY file, polygons cut into triangles.

    Raises SourceError for another kind of file, DamagedError for one that cannot be read.
    """
    data = path.read_bytes()
    header = re.match(rb"ply\r?\n(.*?)\bend_header\r?\n", data[:_LARGEST_HEADER], re.DOTALL)
    if header is None:
        raise SourceError(f"{path}: is no PLY file (it has no header from `ply` to `end_header`); export it again")
    try:
        form, elements = _header(header[1].decode("latin-1").splitlines())
        numbers = _Text(data[header.end() :].split()) if form == "ascii" else _Binary(data, _ORDERS[form], header.end())
        points, faces = np.zeros((0, 3)), (np.zeros(0, np.int64), np.zeros(0, np.int64))
        for element in elements:
            if element.name == "face":
                faces = _faces(numbers, element)
            elif element.name == "vertex":
                points = _points(numbers, element)
            else:
                _values(numbers, element)
        return Surface(points, fans(*faces))
    except (_BrokenError, ValueError) as error:
        raise DamagedError(f"{path}: {error}; it is cut short or damaged, export it again") from None


def _header(lines: list[str]) -> tuple[str, list[_Element]]:
    form, elements = "", []
    for line in lines:
        words = line.split()
        match words:
            case [] | ["comment" | "obj_info", *_]:
                continue
            case ["format", "ascii" | "binary_little_endian" | "binary_big_endian" as told, *_]:
                form = told
            case ["element", name, count] if re.fullmatch(r"\d{1,12}", count):
                elements.append(_Element(name, int(count), ()))
            case ["property", "list", count_kind, kind, name] if elements and {count_kind, kind} <= set(_KINDS):
                elements[-1] = _with(elements[-1], _Property(name, _KINDS[kind], _KINDS[count_kind]))
            case ["property", kind, name] if elements and kind in _KINDS:
                elements[-1] = _with(elements[-1], _Property(name, _KINDS[kind], None))
            case _:
                raise _BrokenError(f"says {line[:60]!r} in its header, which is not understood")
    if not form:
        raise _BrokenError("tells no format in its header")
    return form, elements


def _with(element: _Element, told: _Property) -> _Element:
    return _Element(element.name, element.count, (*element.properties, told))


def _points(numbers: _Numbers, element: _Element) -> NDArray[np.float64]:
    values = _values(numbers, element)
    if not {"x", "y", "z"} <= set(values):
        raise _BrokenError(f"has points with {', '.join(values)[:60]}, expected x, y and z")
    return np.stack([values[axis][0] for axis in "xyz"], axis=1)


def _faces(numbers: _Numbers, element: _Element) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the corners of all faces, one behind the other, and how many each has."""
    values = _values(numbers, element)
    lists = [name for name in _CORNERS if name in values]
    if len(lists) != 1:
        raise _BrokenError(f"has faces without one list of corners, {' or '.join(_CORNERS)}")
    corners, sizes = values[lists[0]]
    if not (np.abs(corners) < 1 << 53).all():
        raise _BrokenError("has corners that are no whole numbers")
    return corners.astype(np.int64), sizes


def _values(numbers: _Numbers, element: _Element) -> dict[str, tuple[_Column, NDArray[np.int64]]]:
    """Return all values of each property of an element, and how many each row has."""
    begin = numbers.position
    sizes = [len(values) for values in _row(numbers, element)] if element.count else [1] * len(element.properties)
    numbers.position = begin
    found = _alike(numbers, element, sizes) if sum(sizes) <= _MOST_ALIKE else None
    if found is None:
        numbers.position = begin
        rows = [_row(numbers, element) for _ in range(element.count)]
        columns = [[row[place] for row in rows] for place in range(len(element.properties))]
        found = [(np.array(list(chain(*column)), np.float64), np.array([len(part) for part in column])) for column in columns]
    return {told.name: column for told, column in zip(element.properties, found, strict=True)}


def _row(numbers: _Numbers, element: _Element) -> list[list[float]]:
    """Return the values of each property in the next row."""
    values = []
    for told in element.properties:
        (count,) = numbers.some(told.count_kind, 1) if told.count_kind else (1.0,)
        if not (0 <= count < 1 << 32 and count == int(count)):
            raise _BrokenError(f"has a list of {count:g} values")
        values.append(numbers.some(told.kind, int(count)))
    return values


def _alike(numbers: _Numbers, element: _Element, sizes: list[int]) -> list[tuple[_Column, NDArray[np.int64]]] | None:
    """Return the values of each property if all rows have as many as the first one, None otherwise.

    sizes: how many values each property has in the first row.
    """
    parts = [(told.count_kind or "") + told.kind * size for told, size in zip(element.properties, sizes, strict=True)]
    try:
        rows = numbers.rows("".join(parts), element.count)
    except _BrokenError:
        return None
    found, place = [], 0
    for told, size in zip(element.properties, sizes, strict=True):
        if told.count_kind:
            if not (rows[:, place] == size).all():
                return None
            place += 1
        found.append((rows[:, place : place + size].ravel(), np.full(element.count, size)))
        place += size
    return found
