"""The fragments of a segment that comes in pieces: pieces are cut at the octree's planes, and what lies in a node is encoded."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.meshes.joining import nanometres, tell
from converters.meshes.octree import OctreeGrid, cut
from converters.meshes.outputs import LegacyFiles, MultiresFiles, MultiresParts
from converters.meshes.spool import read_surfaces, write_part
from converters.meshes.surfaces import joined, stacked
from converters.results import BlockResult
from converters.storage.files import new_file
from formats.info import Scale
from formats.meshes.mesh import Mesh
from formats.meshes.multires import encode_draco

_READ_BYTES = 1 << 24


@dataclass(frozen=True)
class CutTask:
    """One piece of a segment at a level of detail. cut: the file for what is left of it, each node's triangles by its code."""

    segment: int
    piece: Path
    cut: Path
    scale: Scale
    grid: OctreeGrid
    lod: int
    item: tuple[int]

    @property
    def place(self) -> str:
        """The piece's name in messages."""
        return f"piece {self.piece.name} of segment {self.segment}"


def octants_path(cut: Path) -> Path:
    """Return the file of the octants that a piece is drawn in, as CutSurface.octant_codes has them."""
    return cut.with_suffix(".octants")


def cut_piece(task: CutTask) -> BlockResult:
    """Cut one piece. Raises DatasetError, DiskFullError."""
    mesh = _mesh(task.piece, task.segment, task.scale)
    surface = cut(task.grid.quantized(mesh.vertices, task.lod), mesh.triangles, task.grid.bits, octants=task.lod > 0)
    _save(octants_path(task.cut), surface.octant_codes())
    parts = [(part.code, part.vertices, part.triangles.astype(np.int32)) for part in surface.fragments()]
    return BlockResult(voxels=len(surface.triangles), stored_bytes=write_part(task.cut, stacked(parts)))


@dataclass(frozen=True)
class EncodeTask:
    """Some fragments of a segment. cuts: the files of cut pieces that hold some of them. codes: of their nodes, uint64 [k],
    ascending. fragments: the file for them, one behind the other."""

    segment: int
    cuts: tuple[Path, ...]
    codes: NDArray[np.uint64]
    fragments: Path
    item: tuple[int]

    @property
    def place(self) -> str:
        """The fragments' name in messages."""
        return f"fragments {self.codes[0]} to {self.codes[-1]} of segment {self.segment}"


def sizes_path(fragments: Path) -> Path:
    """Return the file of the codes and the sizes, uint64 [k, 2], of the fragments in a file."""
    return fragments.with_suffix(".sizes")


def encode_fragments(task: EncodeTask) -> BlockResult:
    """Encode some fragments. Raises DatasetError, DiskFullError."""
    nodes = joined([read_surfaces(path, task.codes) for path in task.cuts])
    sizes = []
    with new_file(task.fragments) as file:
        for code, vertices, triangles in nodes.parts():
            data = encode_draco(vertices, triangles.astype(np.uint32))
            sizes.append((code, len(data)))
            file.write(data)
    _save(sizes_path(task.fragments), np.array(sizes, np.uint64))
    return BlockResult(voxels=len(nodes.triangles), stored_bytes=sum(size for _, size in sizes))


@dataclass(frozen=True)
class StoreTask:
    """The mesh of a segment that is all there. manifest: of the multi-resolution format. files: with its fragments, or with its
    pieces for the legacy format. told, row: what is told of it, as GroupTask has it."""

    output: LegacyFiles | MultiresFiles | MultiresParts
    segment: int
    scale: Scale
    manifest: bytes
    files: tuple[Path, ...]
    told: Path
    row: NDArray[np.uint64]
    item: tuple[int]

    @property
    def place(self) -> str:
        """The segment's name in messages."""
        return f"segment {self.segment}"


def store_mesh(task: StoreTask) -> BlockResult:
    """Store one segment's mesh. Raises DatasetError, DiskFullError."""
    stored = _store_pieces(task, task.output) if isinstance(task.output, LegacyFiles) else _store_fragments(task, task.output)
    tell(task.told, task.item[0], task.row)
    return BlockResult(voxels=int(task.row[0, 1]), chunks=1, stored_bytes=stored)


def _store_pieces(task: StoreTask, output: LegacyFiles) -> int:
    with output.open(task.item[0]) as sink:
        sink.put_pieces(task.segment, (_mesh(path, task.segment, task.scale) for path in task.files))
    return sink.stored_bytes


def _store_fragments(task: StoreTask, output: MultiresFiles | MultiresParts) -> int:
    with output.open(task.item[0]) as sink:
        sink.put_encoded(task.segment, task.manifest, _bytes_of(task.files))
    return sink.stored_bytes


def _bytes_of(files: Iterable[Path]) -> Iterator[bytes]:
    for path in files:
        with open(path, "rb") as file:
            while data := file.read(_READ_BYTES):
                yield data


def _mesh(piece: Path, segment: int, scale: Scale) -> Mesh:
    found = read_surfaces(piece, np.array([segment], np.uint64))
    return Mesh(nanometres(found.vertices, scale), found.triangles.astype(np.uint32))


def _save(path: Path, array: NDArray[np.uint64]) -> None:
    with new_file(path) as file:
        np.save(file, array)
