"""A volume that lies in many files, side by side: found by a pattern of names or listed in a JSON file."""

import hashlib
import json
import math
import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import OptionError, SourceError
from converters.geometry import Affine, Geometry
from converters.sources.axes import shape_text
from converters.sources.fingerprints import files_fingerprint
from converters.sources.opening import open_source
from converters.sources.pieces.layout import pieces_of_pattern, read_layout
from converters.sources.source import Report, Source, SourceOptions
from formats.grid import Box, Triple

_SAME = 1e-6
"""Voxel sizes that differ by no larger part are the same."""

_SAME_PLACE = 0.01
"""Voxels between two places that are the same but for rounding."""

_FEW_BLOCKS = 4
_MOST_CELLS = 1 << 24


@dataclass(frozen=True)
class Piece:
    """A source that is a part of another one. start: voxels x, y, z before it there."""

    source: Source
    start: Triple

    @property
    def box(self) -> Box:
        """Its voxels in the whole volume."""
        return Box((0, 0, 0), self.source.shape).shifted(self.start)


@dataclass(frozen=True)
class PiecesSource:
    """A source that is made of pieces, which do not overlap; see converters.sources.source.Source.

    Voxels that no piece holds are 0. layout: the JSON file that told of the pieces, else None.
    """

    name: str
    pieces: tuple[Piece, ...]
    shape: Triple
    block: Triple
    geometry: Geometry
    notes: tuple[str, ...]
    layout: Path | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle so that a process which is given the same source again and again makes its pieces, maybe thousands, once."""
        return _restored, (self._pickled,)

    @cached_property
    def _pickled(self) -> bytes:
        return pickle.dumps(tuple(getattr(self, field.name) for field in fields(self)))

    @property
    def num_channels(self) -> int:
        """How many channels read returns."""
        return self.pieces[0].source.num_channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """The data type of what read returns."""
        return self.pieces[0].source.dtype

    @property
    def label(self) -> bool:
        """Whether all pieces say that they hold labels."""
        return all(piece.source.label for piece in self.pieces)

    def fingerprint(self) -> dict[str, Any]:
        """Return the size and time of change of the layout and a digest of those of all pieces."""
        told = [(piece.start, piece.source.fingerprint()) for piece in self.pieces]
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        layout = {} if self.layout is None else files_fingerprint((self.layout,))
        return {"pieces": len(self.pieces), "sha256": digest} | layout

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of box, [x, y, z, channel]. Raises DamagedError for what cannot be read of a piece."""
        met = [(piece, common) for piece in self.pieces if min((common := piece.box.intersection(box)).shape) > 0]
        if len(met) == 1 and met[0][1] == box:
            return _read(met[0][0], box)
        voxels = np.zeros((*box.shape, self.num_channels), self.dtype, order="F")
        for piece, common in met:
            voxels[common.slices(box.start)] = _read(piece, common)
        return voxels

    def spooled(self, directory: Path, report: Report) -> "PiecesSource":
        """Return the same of pieces that read any box at once."""
        sizes = [math.prod(piece.source.shape) for piece in self.pieces]
        pieces = []
        for position, piece in enumerate(self.pieces):
            part = _Part(report, sum(sizes[:position]), sizes[position], sum(sizes))
            pieces.append(replace(piece, source=piece.source.spooled(directory / str(position), part.report)))
        return replace(self, pieces=tuple(pieces), block=_blocks(pieces))


@dataclass(frozen=True)
class _Part:
    """What a piece's unpacking is of the whole: voxels before it, its own, and all."""

    whole: Report
    before: int
    size: int
    total: int

    def report(self, done: int, total: int) -> None:
        """Report how far the whole has come when the piece has come to done of total bytes."""
        self.whole(self.before + self.size * done // max(1, total), self.total)


def open_pattern(path: Path, options: SourceOptions) -> PiecesSource:
    """Return the source of the pieces that a pattern of names such as `x{1}y{1}z{1}.h5` stands for, laid side by side.

    Pieces beside each other have the same extents; along an axis the last ones may be smaller. Raises SourceError for a piece
    that is missing, cannot be read or does not fit, OptionError where an option is needed or does not fit.
    """
    files = pieces_of_pattern(path)
    sources = {cell: open_source(file, _options_of_piece(options)) for cell, file in files.items()}
    starts = [_starts(sources, axis) for axis in range(3)]
    pieces = [Piece(source, _triple(starts[axis][cell[axis]] for axis in range(3))) for cell, source in sorted(sources.items())]
    counts = " x ".join(str(len(along) - 1) for along in starts)
    return _joined(path, pieces, options, f"{len(pieces)} pieces are laid side by side, {counts} along x, y, z")


def open_pieces(path: Path, options: SourceOptions) -> PiecesSource:
    """Return the source of the pieces that a JSON file lists: each one's file, its array, and where it starts.

    Raises SourceError for what is no such list, for a piece that is missing, cannot be read or overlaps another, and for voxels
    that no piece holds unless the list says that they are zeros; OptionError where an option is needed or does not fit.
    """
    layout = read_layout(path)
    options = replace(options, resolution=options.resolution or layout.resolution)
    pieces = []
    for listed in layout.pieces:
        file = path.parent / listed.file
        if not file.exists():
            raise SourceError(f"{path}: the piece {file} is not there: copy it too, or take it off the list")
        if file.suffix.lower() == ".json":
            raise SourceError(f"{path}: the piece {file} is a list of pieces itself: list its pieces here")
        pieces.append(Piece(open_source(file, _options_of_piece(options, listed.array)), listed.start))
    whole = _joined(path, pieces, options, f"{len(pieces)} pieces are listed")
    _check_apart(path, whole.pieces)
    if layout.missing == "error":
        _check_complete(path, whole)
    return replace(whole, layout=path)


@lru_cache(maxsize=2)
def _restored(pickled: bytes) -> PiecesSource:
    return PiecesSource(*pickle.loads(pickled))


def _options_of_piece(options: SourceOptions, array: str | None = None) -> SourceOptions:
    return replace(options, voxel_offset=(0, 0, 0), array=array or options.array)


def _joined(path: Path, pieces: Sequence[Piece], options: SourceOptions, note: str) -> PiecesSource:
    """Return the source of pieces that lie apart. Raises SourceError where their data types, channels or voxel sizes differ."""
    first = pieces[0].source
    for piece in pieces:
        _check_alike(path, first, piece.source)
    shape = _triple(max(piece.box.end[axis] for piece in pieces) for axis in range(3))
    affine, notes = _affine(pieces)
    geometry = Geometry(first.geometry.resolution, options.offset, affine, first.geometry.world if affine else "")
    return PiecesSource(str(path), tuple(pieces), shape, _blocks(pieces), geometry, (note, *notes, *first.notes))


def _check_alike(path: Path, first: Source, other: Source) -> None:
    if first.dtype.newbyteorder("=") != other.dtype.newbyteorder("="):
        raise SourceError(
            f"{path}: {first.name} holds {first.dtype}, {other.name} {other.dtype}: save all pieces as the same type"
        )
    if first.num_channels != other.num_channels:
        raise SourceError(
            f"{path}: {first.name} has {first.num_channels} channels, {other.name} {other.num_channels}: all pieces need the same"
        )
    if not np.allclose(first.geometry.resolution, other.geometry.resolution, rtol=_SAME, atol=0):
        sizes = [", ".join(f"{n:g}" for n in source.geometry.resolution) for source in (first, other)]
        raise OptionError(
            f"{path}: the voxels of {first.name} are {sizes[0]} nm large and those of {other.name} {sizes[1]} nm: "
            "add --resolution X,Y,Z in nm"
        )


def _starts(sources: dict[Triple, Source], axis: int) -> list[int]:
    """Return how many voxels lie before each position along an axis, and at last before the end.

    Raises SourceError where pieces beside each other differ in extent, or one that is not the last from those before it.
    """
    at: dict[int, Source] = {}
    letter = "xyz"[axis]
    for cell, source in sorted(sources.items()):
        beside = at.setdefault(cell[axis], source)
        if source.shape[axis] != beside.shape[axis]:
            raise SourceError(
                f"{source.name}: has {source.shape[axis]} voxels along {letter}, {beside.name} beside it {beside.shape[axis]}: "
                "pieces side by side need the same; is one cut short?"
            )
    extents = [at[position].shape[axis] for position in range(len(at))]
    for position, extent in enumerate(extents):
        if extent > extents[0] or (extent < extents[0] and position + 1 < len(extents)):
            raise SourceError(
                f"{at[position].name}: has {extent} voxels along {letter}, {at[0].name} {extents[0]}: only the last piece along "
                "an axis may be smaller; a JSON file can say where each piece starts"
            )
    return [sum(extents[:position]) for position in range(len(extents) + 1)]


def _check_apart(path: Path, pieces: Sequence[Piece]) -> None:
    """Raise SourceError that names two pieces that overlap."""
    ordered = sorted(pieces, key=lambda piece: piece.start)
    starts = np.array([piece.box.start for piece in ordered])
    ends = np.array([piece.box.end for piece in ordered])
    for position, piece in enumerate(ordered):
        # Sorted by x: what begins behind the piece's end cannot meet it.
        behind = int(np.searchsorted(starts[:, 0], ends[position, 0]))
        rest = slice(position + 1, behind)
        meets = ((starts[rest] < ends[position]) & (ends[rest] > starts[position])).all(axis=1)
        if meets.any():
            other = ordered[position + 1 + int(np.argmax(meets))]
            common = piece.box.intersection(other.box)
            raise SourceError(
                f"{path}: {piece.source.name} and {other.source.name} overlap: both hold the voxels from "
                f"{_numbers(common.start)} to {_numbers(common.end)} (x, y, z)"
            )


def _check_complete(path: Path, whole: PiecesSource) -> None:
    """Raise SourceError where some voxels lie in none of the pieces, which do not overlap."""
    held, voxels = sum(piece.box.voxels for piece in whole.pieces), math.prod(whole.shape)
    if held < voxels:
        raise SourceError(
            f"{path}: its {len(whole.pieces)} pieces hold {held} of the {voxels} voxels of {shape_text(whole.shape)} (x, y, z)"
            f'{_hole(whole)}: list all pieces with the voxels before each, or add "missing": "zeros" to the list'
        )


def _hole(whole: PiecesSource) -> str:
    """Say where the first voxel is that no piece holds; nothing where the pieces lie too irregularly for that to be cheap."""
    edges = [sorted({0, *(end for piece in whole.pieces for end in (piece.start[a], piece.box.end[a]))}) for a in range(3)]
    cells = [len(along) - 1 for along in edges]
    if math.prod(cells) > _MOST_CELLS:
        return ""
    covered = np.zeros(cells, bool)
    for piece in whole.pieces:
        covered[tuple(slice(*np.searchsorted(edges[a], (piece.start[a], piece.box.end[a]))) for a in range(3))] = True
    cell = np.unravel_index(int(np.argmin(covered)), covered.shape)
    return f", none that at {_numbers(tuple(edges[axis][position] for axis, position in enumerate(cell)))}"


def _blocks(pieces: Sequence[Piece]) -> Triple:
    return _triple(_block(pieces, axis) for axis in range(3))


def _block(pieces: Sequence[Piece], axis: int) -> int:
    """Return the extent of what is read at one go where all pieces' blocks lie on one grid.

    Else that of the pieces where these do and hold few blocks, because what lies across two of them is read for both.
    """
    block = max(piece.source.block[axis] for piece in pieces)
    extent = max(piece.source.shape[axis] for piece in pieces)
    apart = [piece.start[axis] for piece in pieces]
    if any(start % block for start in apart) and extent <= _FEW_BLOCKS * block and not any(start % extent for start in apart):
        return extent
    return block


def _affine(pieces: Sequence[Piece]) -> tuple[Affine | None, tuple[str, ...]]:
    """Return the whole volume's affine where all pieces tell the same, and a note where they contradict each other."""
    told = [_affine_of_whole(piece) for piece in pieces]
    first = told[0]
    if first is None:
        return None, ()
    length = max(pieces[0].source.geometry.resolution)
    tolerance = length * np.array([_SAME, _SAME, _SAME, _SAME_PLACE])
    if any(other is None or not (np.abs(first - other) <= tolerance).all() for other in told):
        return None, ("the pieces tell different places in the world, which are left out",)
    x, y, z = ((float(a), float(b), float(c), float(d)) for a, b, c, d in first)
    return (x, y, z), ()


def _affine_of_whole(piece: Piece) -> NDArray[np.float64] | None:
    affine = piece.source.geometry.affine
    if affine is None:
        return None
    matrix = np.array(affine, np.float64)
    matrix[:, 3] -= matrix[:, :3] @ np.array(piece.start)
    return matrix


def _read(piece: Piece, box: Box) -> NDArray[Any]:
    x, y, z = piece.start
    return piece.source.read(box.shifted((-x, -y, -z)))


def _numbers(voxel: tuple[int, ...]) -> str:
    return ", ".join(str(n) for n in voxel)


def _triple(numbers: Iterable[int]) -> Triple:
    x, y, z = numbers
    return x, y, z
