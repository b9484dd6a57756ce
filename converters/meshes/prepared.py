"""Meshes that are prepared in a folder before they come into a dataset: files of their own, or shards."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from converters.meshes.levels import Levels
from converters.meshes.outputs import Encoding, LegacyFiles, MeshOutput, MultiresFiles, PartSink
from converters.shards import Part, new_part, shard_from_parts
from converters.storage.flat import FlatStorage
from formats.info import Sharding
from formats.meshes import legacy, multires
from formats.meshes.info import LegacyMeshInfo, MeshInfo, MultiresMeshInfo
from formats.sharding.ids import places, shard_name

_PART = "part"


class Prepared(Protocol):
    """Takes meshes.

    files: the names of each segment's own files, those that make it seen last. shards: of the files that many are in.
    stored_bytes: of all of them.
    """

    files: dict[int, tuple[str, ...]]
    shards: tuple[str, ...]
    stored_bytes: int

    def put(self, segment: int, levels: Levels) -> None:
        """Prepare one segment's mesh. Raises EncodeError, DiskFullError."""
        ...


@contextmanager
def prepared(folder: Path, info: MeshInfo) -> Iterator[Prepared]:
    """Give what prepares meshes in a folder as their info tells; all is there when the context is left. Raises DiskFullError."""
    if isinstance(info, LegacyMeshInfo) or info.sharding is None:
        yield _Files(folder, info)
        return
    with new_part(folder / _PART) as part:
        shards = _Shards(part, info)
        yield shards
    shards.finish(folder, info.sharding)
    (folder / _PART).unlink()


@dataclass
class _Files:
    folder: Path
    info: MeshInfo
    files: dict[int, tuple[str, ...]] = field(default_factory=dict)
    shards: tuple[str, ...] = ()
    stored_bytes: int = 0

    def put(self, segment: int, levels: Levels) -> None:
        with self._output(levels).open(0) as sink:
            sink.put(segment, levels.meshes)
        self.stored_bytes += sink.stored_bytes
        if isinstance(self.info, LegacyMeshInfo):
            self.files[segment] = legacy.fragment_name(segment, 0), legacy.manifest_name(segment)
        else:
            self.files[segment] = multires.fragments_name(segment), multires.manifest_name(segment)

    def _output(self, levels: Levels) -> MeshOutput:
        root, name = self.folder.parent, self.folder.name
        if isinstance(self.info, LegacyMeshInfo):
            return LegacyFiles(FlatStorage(root), name)
        return MultiresFiles(root, name, _encoding(levels, self.info))


@dataclass
class _Shards:
    part: Part
    info: MultiresMeshInfo
    files: dict[int, tuple[str, ...]] = field(default_factory=dict)
    shards: tuple[str, ...] = ()
    stored_bytes: int = 0

    def put(self, segment: int, levels: Levels) -> None:
        PartSink(self.part, _encoding(levels, self.info)).put(segment, levels.meshes)
        self.files[segment] = ()

    def finish(self, folder: Path, sharding: Sharding) -> None:
        """Put the shards together from the part, which is whole."""
        numbers = np.unique(places(np.array(list(self.files), np.uint64), sharding)[0]).tolist()
        self.shards = tuple(shard_name(number, sharding) for number in numbers)
        for number, name in zip(numbers, self.shards, strict=True):
            self.stored_bytes += shard_from_parts(folder / name, [folder / _PART], sharding, number)


def _encoding(levels: Levels, info: MultiresMeshInfo) -> Encoding:
    return Encoding(tuple(scale / info.lod_scale_multiplier for scale in levels.scales), info.vertex_quantization_bits)
