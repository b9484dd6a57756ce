"""Meshes that are prepared in a folder before they come into a dataset: files of their own, or shards."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from converters.meshes.levels import Levels
from converters.meshes.multires_object import encode_object
from converters.shards import Part, new_part, shard_from_parts
from converters.storage.files import write_file
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
    if isinstance(info, LegacyMeshInfo):
        yield _LegacyFiles(folder)
    elif info.sharding is None:
        yield _MultiresFiles(folder, info)
    else:
        with new_part(folder / _PART) as part:
            shards = _Shards(part, info)
            yield shards
        shards.finish(folder, info.sharding)
        (folder / _PART).unlink()


@dataclass
class _LegacyFiles:
    folder: Path
    files: dict[int, tuple[str, ...]] = field(default_factory=dict)
    shards: tuple[str, ...] = ()
    stored_bytes: int = 0

    def put(self, segment: int, levels: Levels) -> None:
        fragment, manifest = legacy.fragment_name(segment, 0), legacy.manifest_name(segment)
        self._store(fragment, legacy.encode_fragment(levels.meshes[0]))
        self._store(manifest, legacy.encode_manifest([fragment]))
        self.files[segment] = fragment, manifest

    def _store(self, name: str, data: bytes) -> None:
        write_file(self.folder / name, data)
        self.stored_bytes += len(data)


@dataclass
class _MultiresFiles:
    folder: Path
    info: MultiresMeshInfo
    files: dict[int, tuple[str, ...]] = field(default_factory=dict)
    shards: tuple[str, ...] = ()
    stored_bytes: int = 0

    def put(self, segment: int, levels: Levels) -> None:
        encoded = encode_object(levels.meshes, _lod_scales(levels, self.info), self.info.vertex_quantization_bits)
        self.files[segment] = multires.fragments_name(segment), multires.manifest_name(segment)
        for name, data in zip(self.files[segment], (encoded.fragments, encoded.manifest), strict=True):
            write_file(self.folder / name, data)
            self.stored_bytes += len(data)


@dataclass
class _Shards:
    part: Part
    info: MultiresMeshInfo
    files: dict[int, tuple[str, ...]] = field(default_factory=dict)
    shards: tuple[str, ...] = ()
    stored_bytes: int = 0

    def put(self, segment: int, levels: Levels) -> None:
        encoded = encode_object(levels.meshes, _lod_scales(levels, self.info), self.info.vertex_quantization_bits)
        self.part.put(segment, encoded.manifest, before=encoded.fragments)
        self.files[segment] = ()

    def finish(self, folder: Path, sharding: Sharding) -> None:
        """Put the shards together from the part, which is whole."""
        numbers = np.unique(places(np.array(list(self.files), np.uint64), sharding)[0]).tolist()
        self.shards = tuple(shard_name(number, sharding) for number in numbers)
        for number, name in zip(numbers, self.shards, strict=True):
            self.stored_bytes += shard_from_parts(folder / name, [folder / _PART], sharding, number)


def _lod_scales(levels: Levels, info: MultiresMeshInfo) -> list[float]:
    return [scale / info.lod_scale_multiplier for scale in levels.scales]
