"""What blocks leave for each other and for the volume: their labels, their components, what they show their neighbours.

Everything lies below one folder, which is deleted when the run ends. Labels are cut into pieces, packed one by one, so that a
tile of the volume reads little more than itself.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import DamagedError
from converters.labels.components import BlockComponents, Faces
from converters.labels.joining import BlockFaces
from converters.labels.measuring import Extents
from converters.storage.files import LARGEST_OBJECT, new_file, write_file
from formats.errors import DecodeError
from formats.grid import Box, Grid, Triple
from formats.gzip import compress, decompress

_ENTRY = np.dtype("<u8")


@dataclass(frozen=True)
class BlockTable:
    """The components of a block; see BlockComponents. unordered: voxels that are NaN. highest: the largest grey value, or NaN."""

    sizes: NDArray[np.int64]
    firsts: NDArray[np.int64]
    found: int
    largest_left_out: int
    foreground: int
    unordered: int
    highest: float


@dataclass(frozen=True)
class Measured:
    """What is known of the volume's components in a block.

    ids: those that it holds, ascending. extents: where their voxels in it lie. shown: the largest id in each pixel, [x, y].
    """

    ids: NDArray[Any]
    extents: Extents
    shown: NDArray[Any]


@dataclass(frozen=True)
class LabelSpool:
    """The files of all blocks.

    blocks: counted from the volume's first voxel. piece: voxels x, y, z that are packed together; a block is whole ones.
    """

    folder: Path
    blocks: Grid
    piece: Triple

    def write(self, cell: Triple, block: BlockComponents, unordered: int, highest: float) -> None:
        """Keep a block; its table comes last. Raises DiskFullError."""
        self._write_labels(cell, block.labels)
        faces = {f"labels {axis} {side}": face for (axis, side), face in block.faces.items()}
        values = {f"values {axis} {side}": face for (axis, side), face in block.values.items()}
        write_file(self._path("faces", cell), _packed({**faces, **values}))
        counts = np.array([block.found, block.largest_left_out, block.foreground, unordered])
        table = {"sizes": block.sizes, "firsts": block.firsts, "counts": counts, "highest": np.array([highest])}
        write_file(self._path("tables", cell), _packed(table))

    def table(self, cell: Triple) -> BlockTable:
        """Return the components of a block. Raises DamagedError."""
        arrays = _unpacked(self._path("tables", cell))
        found, left_out, foreground, unordered = (int(n) for n in arrays["counts"])
        return BlockTable(arrays["sizes"], arrays["firsts"], found, left_out, foreground, unordered, float(arrays["highest"][0]))

    def faces(self, cell: Triple) -> BlockFaces:
        """Return what a block shows its neighbours. Raises DamagedError."""
        labels: Faces = {}
        values: Faces = {}
        for name, face in _unpacked(self._path("faces", cell)).items():
            kind, axis, side = name.split(" ")
            (labels if kind == "labels" else values)[int(axis), int(side)] = face
        return BlockFaces(labels, values)

    def pieces(self, cell: Triple) -> Grid:
        """Return the pieces of a block, counted from the volume's first voxel."""
        box = self.blocks.chunk_box(cell)
        return Grid(box.start, box.shape, self.piece)

    def read_labels(self, cell: Triple, box: Box) -> NDArray[np.uint32]:
        """Return a block's own labels in a box that lies in it, [x, y, z], Fortran order. Raises DamagedError."""
        labels = np.zeros(box.shape, np.uint32, order="F")
        pieces, path = self.pieces(cell), self._path("labels", cell)
        try:
            with path.open("rb") as file:
                entries = np.frombuffer(file.read(16 * int(np.prod(pieces.shape))), _ENTRY).reshape(-1, 2)
                for position in pieces.cells_meeting(box):
                    begin, length = entries[_number(position, pieces.shape)]
                    if length:
                        file.seek(int(begin))
                        whole = pieces.chunk_box(position)
                        part = whole.intersection(box)
                        labels[part.slices(box.start)] = _piece(file.read(int(length)), whole)[part.slices(whole.start)]
        except (OSError, ValueError, IndexError, DecodeError) as error:
            raise DamagedError(f"{path}: cannot be read any more ({error})") from error
        return labels

    def write_histogram(self, cell: Triple, rows: NDArray[np.int64]) -> None:
        """Keep the rows of level_counts of a block. Raises DiskFullError."""
        write_file(self._path("histograms", cell), _packed({"rows": rows}))

    def histogram(self, cell: Triple) -> NDArray[np.int64]:
        """Return the rows of level_counts of a block. Raises DamagedError."""
        return _unpacked(self._path("histograms", cell))["rows"]

    def write_bright(self, cell: Triple, bright: NDArray[np.bool_]) -> None:
        """Keep the pixels in which a block has voxels above the threshold, [x, y]. Raises DiskFullError."""
        write_file(self._path("bright", cell), _packed({"bright": bright}))

    def bright(self, cell: Triple) -> NDArray[np.bool_]:
        """Return the pixels of write_bright. Raises DamagedError."""
        return _unpacked(self._path("bright", cell))["bright"]

    def write_measured(self, cell: Triple, measured: Measured) -> None:
        """Keep what was measured in a block. Raises DiskFullError."""
        extents = measured.extents
        arrays = {"ids": measured.ids, "begins": extents.begins, "ends": extents.ends, "sums": extents.sums}
        write_file(self._path("measured", cell), _packed({**arrays, "shown": measured.shown}))

    def measured(self, cell: Triple) -> Measured:
        """Return what was measured in a block. Raises DamagedError."""
        arrays = _unpacked(self._path("measured", cell))
        extents = Extents(arrays["begins"], arrays["ends"], arrays["sums"])
        return Measured(arrays["ids"], extents, arrays["shown"])

    def _write_labels(self, cell: Triple, labels: NDArray[np.uint32]) -> None:
        """Write where each piece begins and how long it is, and the pieces; one without labels has no bytes."""
        pieces = self.pieces(cell)
        entries = np.zeros((int(np.prod(pieces.shape)), 2), _ENTRY)
        with new_file(self._path("labels", cell)) as file:
            file.seek(entries.nbytes)
            for number, position in enumerate(pieces.cells()):
                piece = labels[pieces.chunk_box(position).slices(pieces.voxel_offset)]
                if piece.any():
                    data = compress(piece.tobytes("F"))
                    entries[number] = file.tell(), len(data)
                    file.write(data)
            file.seek(0)
            file.write(entries.tobytes())

    def _path(self, kind: str, cell: Triple) -> Path:
        return self.folder / kind / "_".join(str(n) for n in cell)


def _number(position: Triple, shape: Triple) -> int:
    return position[0] + shape[0] * (position[1] + shape[1] * position[2])


def _piece(data: bytes, box: Box) -> NDArray[np.uint32]:
    voxels = np.frombuffer(decompress(data, 4 * box.voxels), np.uint32)
    return voxels.reshape(box.shape, order="F")


def _packed(arrays: dict[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return compress(buffer.getbuffer())


def _unpacked(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(io.BytesIO(decompress(path.read_bytes(), LARGEST_OBJECT)), allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, KeyError, DecodeError) as error:
        raise DamagedError(f"{path}: cannot be read any more ({error})") from error
