"""Where the voxels of an NRRD file lie: behind its header, in another file, or in several (format.html, "data file")."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from converters.errors import SourceError
from converters.sources.mapped import StoredArray
from converters.sources.nrrd.header import NrrdHeader
from converters.sources.nrrd.joined import JoinedPart
from converters.sources.packed import Packing

_PIECE = 1 << 16
_PATTERN = re.compile(r"%0?[0-9]{0,2}[du]")
_PACKINGS: dict[str, Callable[[int], Packing] | None] = {
    "raw": None,
    "gz": lambda begin: Packing("gzip", begin),
    "gzip": lambda begin: Packing("gzip", begin),
    "bz2": lambda begin: Packing("bzip2", begin),
    "bzip2": lambda begin: Packing("bzip2", begin),
}
"""Encodings -> what they are from a byte of the file on."""


def voxel_parts(header: NrrdHeader, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[JoinedPart, ...]:
    """Return where the array of this shape, fastest axis first, lies: in one part or in several of the same shape.

    Raises SourceError for encodings that are not read, for files that are not there, too many, too few or cut short.
    """
    encoding = header.text("encoding").lower()
    if encoding not in _PACKINGS:
        raise SourceError(
            f"{header.path}: its voxels are in the encoding {encoding[:40]}, raw, gzip and bzip2 are read: write it again, e.g. "
            "with `unu save -f nrrd -e gzip -i IN -o OUT`"
        )
    names, part_shape = _named(header, shape)
    begin = header.end if names is None else 0
    files = [header.path] if names is None else (_beside(header, name) for name in names)
    return tuple(_part(header, StoredArray(file, begin, part_shape, dtype, 0), _PACKINGS[encoding]) for file in files)


def _named(header: NrrdHeader, shape: tuple[int, ...]) -> tuple[Iterable[str] | None, tuple[int, ...]]:
    """Return the names of the files and the shape of each one's array; None for the names where the voxels follow the header."""
    told = header.fields.get("datafile")
    if told is None:
        return None, shape
    kind, *numbers = told.split() or [""]
    if kind == "SKIPLIST":
        raise SourceError(f"{header.path}: its data files are a SKIPLIST, which is not read: list them under LIST")
    if kind == "LIST":
        names: Iterable[str] = header.listed
        count, dimension = len(header.listed), _integers(header, numbers, (0, 1))
    elif len(numbers) >= 3 and len(_PATTERN.findall(kind)) == 1 and kind.count("%") == 1:
        first, last, step, *dimension = _integers(header, numbers, (3, 4))
        if step == 0:
            raise header.unsound("datafile", "a step that is not 0")
        run = range(first, last + (1 if step > 0 else -1), step)
        names, count = _numbered(kind, run), len(run)
    else:
        return [told], shape
    return names, _part_shape(header, shape, count, dimension[0] if dimension else len(shape) - 1)


def _integers(header: NrrdHeader, texts: list[str], counts: tuple[int, ...]) -> list[int]:
    if len(texts) not in counts or not all(re.fullmatch(r"-?[0-9]{1,9}", text) for text in texts):
        raise header.unsound("datafile", "NAME, LIST [DIMENSION] or PATTERN%03d FIRST LAST STEP [DIMENSION]")
    return [int(text) for text in texts]


def _numbered(pattern: str, run: range) -> Iterator[str]:
    return (pattern % number for number in run)


def _part_shape(header: NrrdHeader, shape: tuple[int, ...], count: int, dimension: int) -> tuple[int, ...]:
    """Return the shape of each of count files of so many dimensions: slices, or slabs where all dimensions are in each."""
    if not 1 <= dimension <= len(shape):
        raise header.unsound("datafile", f"files of 1 to {len(shape)} dimensions")
    if dimension == len(shape):
        if count < 1 or shape[-1] % count:
            raise SourceError(f"{header.path}: its {count} data files cannot share the {shape[-1]} of the last axis evenly")
        return (*shape[:-1], shape[-1] // count)
    expected = prod(shape[dimension:])
    if count != expected:
        raise SourceError(
            f"{header.path}: its header names {count} data files, expected {expected}, one for each {dimension} dimensions of "
            f"sizes {' '.join(map(str, shape))}"
        )
    return shape[:dimension] + (1,) * (len(shape) - dimension)


def _beside(header: NrrdHeader, name: str) -> Path:
    """Return a data file's path. A header from elsewhere must not make a volume of any file of this machine."""
    folder = header.path.parent
    if not os.path.abspath(folder / name).startswith(os.path.join(os.path.abspath(folder), "")) or "\0" in name:
        raise SourceError(
            f"{header.path}: its data file {name[:200]!r} lies outside the header's folder: copy it there and change its name"
            " in the header"
        )
    return folder / name


def _part(header: NrrdHeader, array: StoredArray, packing: Callable[[int], Packing] | None) -> JoinedPart:
    """Return the part whose data begin at array.offset, after the lines and bytes that the header says to skip."""
    with array.file.open("rb") as file:
        stat = os.fstat(file.fileno())
        begin = _after_lines(header, file, array.offset)
    skip = header.integer("byteskip", 0)
    if packing is not None:
        if skip < 0:
            raise SourceError(f"{header.path}: byte skip {skip} of packed voxels, 0 or more is read: unpack them first")
        return JoinedPart(StoredArray(array.file, skip, array.shape, array.dtype, stat.st_mtime_ns), packing(begin))
    # -1: the voxels are the file's last bytes; -1 - n: n bytes follow them.
    offset = begin + skip if skip >= 0 else stat.st_size - array.nbytes + skip + 1
    found = StoredArray(array.file, max(offset, 0), array.shape, array.dtype, stat.st_mtime_ns)
    found.check_size()
    return JoinedPart(found)


def _after_lines(header: NrrdHeader, file: BinaryIO, begin: int) -> int:
    """Return the byte after the lines to skip."""
    left = header.integer("lineskip", 0)
    file.seek(begin)
    while left > 0:
        piece = file.read(_PIECE)
        if not piece:
            raise SourceError(f"{header.path}: {file.name} has fewer lines than the header's line skip, {left} are missing")
        ends = [found.end() for found in re.finditer(b"\n", piece)][:left]
        left -= len(ends)
        begin += ends[-1] if left == 0 and ends else len(piece)
    return begin
