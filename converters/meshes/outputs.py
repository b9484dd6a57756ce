"""Where meshes go: files of the legacy format, files of the multi-resolution format, or parts of shards."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from converters.meshes.multires_object import encode_object
from converters.shards import GroupParts, Part, new_part
from converters.storage.files import new_file
from converters.storage.flat import FlatStorage
from converters.storage.storage import Storage
from converters.volumes.outputs import check_shared
from formats.meshes import legacy, multires
from formats.meshes.mesh import Mesh


class MeshSink(Protocol):
    """Takes the meshes of one group. stored_bytes: of what is in its place, 0 for parts of shards."""

    stored_bytes: int

    def put(self, segment: int, levels: Sequence[Mesh]) -> None:
        """Store one segment's mesh. levels: of detail, the finest first."""
        ...


class LegacySink(MeshSink, Protocol):
    """Takes meshes of the legacy format."""

    def put_pieces(self, segment: int, pieces: Iterable[Mesh]) -> None:
        """Store one segment's mesh that comes in pieces, each as a fragment."""
        ...


class MultiresSink(MeshSink, Protocol):
    """Takes meshes of the multi-resolution format."""

    def put_encoded(self, segment: int, manifest: bytes, fragments: Iterable[bytes]) -> None:
        """Store one segment's mesh. fragments: all of them, one behind the other, in pieces of any size."""
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
    def open(self, group: int) -> Iterator[LegacySink]:
        """Give what takes the meshes of a group."""
        check_shared(self.storage.root)
        yield _LegacySink(self.storage, self.folder)


@dataclass
class _LegacySink:
    storage: Storage
    folder: str
    stored_bytes: int = 0

    def put(self, segment: int, levels: Sequence[Mesh]) -> None:
        self.put_pieces(segment, levels[:1])

    def put_pieces(self, segment: int, pieces: Iterable[Mesh]) -> None:
        names = []
        for number, piece in enumerate(pieces):
            names.append(legacy.fragment_name(segment, number))
            self._store(names[-1], legacy.encode_fragment(piece))
        self._store(legacy.manifest_name(segment), legacy.encode_manifest(names))

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
    def open(self, group: int) -> Iterator[MultiresSink]:
        """Give what takes the meshes of a group."""
        check_shared(self.root)
        yield _MultiresSink(self.root / self.folder, self.encoding)


@dataclass
class _MultiresSink:
    folder: Path
    encoding: Encoding
    stored_bytes: int = 0

    def put(self, segment: int, levels: Sequence[Mesh]) -> None:
        encoded = encode_object(levels, self.encoding.lod_scales, self.encoding.bits)
        self.put_encoded(segment, encoded.manifest, [encoded.fragments])

    def put_encoded(self, segment: int, manifest: bytes, fragments: Iterable[bytes]) -> None:
        storage = FlatStorage(self.folder)
        with new_file(self.folder / multires.fragments_name(segment)) as file:
            for data in fragments:
                file.write(data)
            self.stored_bytes += file.tell()
        self.stored_bytes += storage.put(multires.manifest_name(segment), manifest, compressible=False)


@dataclass(frozen=True)
class MultiresParts:
    """A part of shards for each group, its meshes' fragments before their manifests."""

    parts: GroupParts
    encoding: Encoding

    @contextmanager
    def open(self, group: int) -> Iterator[MultiresSink]:
        """Give what takes the meshes of a group."""
        check_shared(self.parts.folder.parent)
        with new_part(self.parts.path(group)) as part:
            yield PartSink(part, self.encoding)


@dataclass
class PartSink:
    """Appends meshes to a part of shards."""

    part: Part
    encoding: Encoding
    stored_bytes: int = 0

    def put(self, segment: int, levels: Sequence[Mesh]) -> None:
        """Append one segment's mesh."""
        encoded = encode_object(levels, self.encoding.lod_scales, self.encoding.bits)
        self.put_encoded(segment, encoded.manifest, [encoded.fragments])

    def put_encoded(self, segment: int, manifest: bytes, fragments: Iterable[bytes]) -> None:
        """Append one segment's mesh that is encoded. fragments: one behind the other, in pieces of any size."""
        self.part.put(segment, manifest, before=fragments)
