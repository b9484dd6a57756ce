"""Where meshes go: files of the legacy format, files of the multi-resolution format, or parts of shards."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from converters.meshes.multires_object import encode_object
from converters.results import BlockResult
from converters.storage.files import new_file
from converters.storage.flat import FlatStorage
from converters.storage.storage import Storage
from converters.volumes.outputs import check_shared
from formats.info import Sharding
from formats.meshes import legacy, multires
from formats.meshes.mesh import Mesh
from formats.sharding.frame import shard_frame
from formats.sharding.ids import places, shard_name


class MeshSink(Protocol):
    """Takes the meshes of one group. stored_bytes: of what is in its place, 0 for parts of shards."""

    stored_bytes: int

    def put(self, segment: int, levels: Sequence[Mesh]) -> None:
        """Store one segment's mesh. levels: of detail, the finest first."""
        ...


class MeshOutput(Protocol):
    """Where the meshes of a volume go; pickles."""

    @contextmanager
    def open(self, group: int) -> Iterator[MeshSink]:
        """Give what takes the meshes of a group. Raises DatasetError where the run's folder is not."""
        ...


@dataclass(frozen=True)
class LegacyFiles:
    """A manifest and one fragment a segment. storage: of the dataset, below which folder is the meshes'."""

    storage: Storage
    folder: str

    @contextmanager
    def open(self, group: int) -> Iterator[MeshSink]:
        """Give what takes the meshes of a group."""
        check_shared(self.storage.root)
        yield _LegacySink(self.storage, self.folder)


@dataclass
class _LegacySink:
    storage: Storage
    folder: str
    stored_bytes: int = 0

    def put(self, segment: int, levels: Sequence[Mesh]) -> None:
        name = legacy.fragment_name(segment, 0)
        self._store(name, legacy.encode_fragment(levels[0]))
        self._store(legacy.manifest_name(segment), legacy.encode_manifest([name]))

    def _store(self, name: str, data: bytes) -> None:
        self.stored_bytes += self.storage.put(f"{self.folder}/{name}", data, compressible=True)


@dataclass(frozen=True)
class Encoding:
    """How multi-resolution meshes are encoded. lod_scales: nm that a detail of each level measures. bits: of a coordinate."""

    lod_scales: tuple[float, ...]
    bits: int


@dataclass(frozen=True)
class MultiresFiles:
    """A manifest and a file of fragments a segment. root: the run's folder for the dataset."""

    root: Path
    folder: str
    encoding: Encoding

    @contextmanager
    def open(self, group: int) -> Iterator[MeshSink]:
        """Give what takes the meshes of a group."""
        check_shared(self.root)
        yield _MultiresSink(FlatStorage(self.root), self.folder, self.encoding)


@dataclass
class _MultiresSink:
    storage: FlatStorage
    folder: str
    encoding: Encoding
    stored_bytes: int = 0

    def put(self, segment: int, levels: Sequence[Mesh]) -> None:
        encoded = encode_object(levels, self.encoding.lod_scales, self.encoding.bits)
        names = (multires.fragments_name(segment), multires.manifest_name(segment))
        for name, data in zip(names, (encoded.fragments, encoded.manifest), strict=True):
            self.stored_bytes += self.storage.put(f"{self.folder}/{name}", data, compressible=False)


@dataclass(frozen=True)
class MultiresParts:
    """A file a group with its objects as they will lie in shards, and behind them where each is.

    The file ends with rows of uint64 (segment, begin, bytes of fragments, bytes of manifest) and the number of rows.
    """

    folder: Path
    encoding: Encoding

    @contextmanager
    def open(self, group: int) -> Iterator[MeshSink]:
        """Give what takes the meshes of a group."""
        check_shared(self.folder.parent)
        with new_file(self.path(group)) as file:
            sink = _PartSink(file, self.encoding)
            yield sink
            file.write(np.array(sink.rows, "<u8").reshape(-1, 4).tobytes())
            file.write(len(sink.rows).to_bytes(8, "little"))

    def path(self, group: int) -> Path:
        """Return the file of a group's objects."""
        return self.folder / str(group)


@dataclass
class _PartSink:
    file: BinaryIO
    encoding: Encoding
    rows: list[tuple[int, int, int, int]] = field(default_factory=list)
    stored_bytes: int = 0

    def put(self, segment: int, levels: Sequence[Mesh]) -> None:
        encoded = encode_object(levels, self.encoding.lod_scales, self.encoding.bits)
        self.rows.append((segment, self.file.tell(), len(encoded.fragments), len(encoded.manifest)))
        self.file.write(encoded.fragments)
        self.file.write(encoded.manifest)


@dataclass(frozen=True)
class MeshShardTask:
    """One shard. groups: whose parts may hold objects of it. folder: where the shards go."""

    sharding: Sharding
    parts: MultiresParts
    groups: int
    folder: Path
    item: tuple[int]

    @property
    def place(self) -> str:
        """The shard's name in messages."""
        return shard_name(self.item[0], self.sharding)


def write_mesh_shard(task: MeshShardTask) -> BlockResult:
    """Put one shard together from the groups' parts, one object in memory at a time.

    An object's fragments lie directly before its manifest, and the index tells of the manifest alone. Raises DiskFullError.
    """
    rows = np.concatenate([np.zeros((0, 5), np.uint64), *(_rows(task, group) for group in range(task.groups))])
    if not len(rows):
        return BlockResult()
    frame = shard_frame(rows[:, 0], rows[:, 3].astype(np.int64), task.sharding, rows[:, 2].astype(np.int64))
    with new_file(task.folder / task.place) as shard:
        shard.write(frame.head)
        for _, begin, before, size, group in rows[frame.order].tolist():
            with open(task.parts.path(group), "rb") as file:
                file.seek(begin)
                shard.write(file.read(before + size))
        shard.write(frame.tail)
        return BlockResult(stored_bytes=shard.tell())


def _rows(task: MeshShardTask, group: int) -> NDArray[np.uint64]:
    """Return [n, 5] of the objects of a shard in a part: segment, begin, bytes of fragments, bytes of manifest, group."""
    with open(task.parts.path(group), "rb") as file:
        end = file.seek(-8, 2)
        count = int.from_bytes(file.read(8), "little")
        file.seek(end - 32 * count)
        rows = np.frombuffer(file.read(32 * count), "<u8").reshape(count, 4)
    shards, _ = places(rows[:, 0], task.sharding)
    ours = rows[shards == task.item[0]]
    return np.column_stack([ours, np.full(len(ours), group, np.uint64)])
