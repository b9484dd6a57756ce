"""Reading meshes back from a dataset, whoever wrote it: legacy, or multi-resolution in files of their own or in shards."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.errors import DatasetError
from converters.meshes.multires_object import decode_level
from converters.storage.any_layout import AnyLayoutStorage
from converters.storage.files import read_file
from formats.errors import DecodeError, FormatError
from formats.info import Sharding, parse_volume_info
from formats.members import IDENTITY, Transform, read_json
from formats.meshes import legacy, multires
from formats.meshes.info import MESHES, LegacyMeshInfo, MeshInfo, MultiresMeshInfo, parse_mesh_info
from formats.meshes.mesh import Mesh, joined
from formats.sharding.ids import places, shard_name
from formats.sharding.lookup import MinishardIndex, read_data, read_minishard_index

LARGEST_MANIFEST = 1 << 28
"""Bytes."""
_KEPT_INDICES = 32
_LARGEST_ID = (1 << 64) - 1
_INDEX, _MANIFEST, _PACKED, _SHARD = ".index", ":0", ".gz", ".shard"


@dataclass(frozen=True)
class StoredObject:
    """An object of a multi-resolution dataset: its manifest, and where the bytes of its fragments begin in which file."""

    manifest: multires.Manifest
    file: str
    begin: int


@dataclass(frozen=True)
class MeshReader:
    """The meshes in a folder."""

    folder: Path
    info: MeshInfo
    _indices: dict[tuple[int, int], MinishardIndex | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def holds(self, segment: int) -> bool:
        """Tell whether a segment has a mesh, and not an empty one. Raises DatasetError."""
        with _named(self.folder, segment):
            if isinstance(self.info, MultiresMeshInfo):
                found = self._find(self.info, segment)
                return found is not None and found.manifest.fragment_bytes > 0
            return bool(self._fragment_names(segment))

    def levels(self, segment: int) -> int:
        """Return how many levels of detail a segment's mesh has, 0 when there is none. Raises DatasetError."""
        if not isinstance(self.info, MultiresMeshInfo):
            return int(self.holds(segment))
        with _named(self.folder, segment):
            found = self._find(self.info, segment)
            return 0 if found is None else len(found.manifest.levels)

    def read(self, segment: int, lod: int = 0) -> Mesh:
        """Return a segment's mesh at a level of detail, 0 the finest; multi-resolution fragments are rejoined.

        Raises DatasetError when the segment or the level is not there or cannot be read.
        """
        with _named(self.folder, segment):
            if isinstance(self.info, MultiresMeshInfo):
                return self._multires(self.info, segment, lod)
            return self._legacy(segment, lod)

    def segments(self) -> NDArray[np.uint64]:
        """Return the ids of all segments that there are meshes of, uint64 [n], ascending. Raises DatasetError."""
        ids = sorted(set(self._ids()))
        return np.array(ids, np.uint64)

    def _legacy(self, segment: int, lod: int) -> Mesh:
        names = self._fragment_names(segment)
        if names is None or lod:
            raise DatasetError(f"has no mesh at level of detail {lod}" if names is not None else "has no mesh")
        storage = AnyLayoutStorage(self.folder)
        fragments = [(name, storage.get(_checked_name(name))) for name in names]
        for name, data in fragments:
            if data is None:
                raise DatasetError(f"its fragment {name!r} is not there")
        return joined([legacy.decode_fragment(data) for _, data in fragments if data is not None])

    def _fragment_names(self, segment: int) -> list[str] | None:
        data = AnyLayoutStorage(self.folder).get(legacy.manifest_name(segment))
        return None if data is None else legacy.decode_manifest(data)

    def _multires(self, info: MultiresMeshInfo, segment: int, lod: int) -> Mesh:
        found = self._find(info, segment)
        if found is None or not lod < len(found.manifest.levels):
            raise DatasetError("has no mesh" if found is None else f"has no mesh at level of detail {lod}")
        offsets = found.manifest.fragment_offsets(lod)
        begin, length = int(offsets[0]), int(offsets[-1] - offsets[0])
        data = AnyLayoutStorage(self.folder).get_range(found.file, found.begin + begin, length)
        if data is None or len(data) != length:
            have = "is not there" if data is None else f"has {len(data)} of them"
            raise DatasetError(
                f"{length} bytes of fragments are expected from byte {found.begin + begin} of {found.file} on, it {have}"
            )
        # Where nothing is to be read, the file need not be as long as its manifest tells.
        mesh = decode_level(found.manifest, bytes(begin if length else 0) + data, lod, info.vertex_quantization_bits)
        return _transformed(mesh, info.transform)

    def _find(self, info: MultiresMeshInfo, segment: int) -> StoredObject | None:
        """Return an object, None when there is none."""
        if info.sharding is None:
            data = AnyLayoutStorage(self.folder, LARGEST_MANIFEST).get(multires.manifest_name(segment))
            return None if data is None else StoredObject(multires.decode_manifest(data), multires.fragments_name(segment), 0)
        shard, minishard = (int(numbers[0]) for numbers in places(np.array([segment], np.uint64), info.sharding))
        index = self._index(info.sharding, shard, minishard)
        stretch = None if index is None else index.find(segment)
        if stretch is None:
            return None
        data = read_data(self._get_range, shard, stretch, info.sharding, LARGEST_MANIFEST)
        manifest = multires.decode_manifest(data)
        # An object's fragments lie directly before its manifest; the index tells of the manifest alone.
        begin = stretch.start - manifest.fragment_bytes
        if begin < 0:
            raise DecodeError(f"its manifest tells {manifest.fragment_bytes} bytes of fragments before byte {stretch.start}")
        return StoredObject(manifest, shard_name(shard, info.sharding), begin)

    def _index(self, sharding: Sharding, shard: int, minishard: int) -> MinishardIndex | None:
        place = shard, minishard
        if place not in self._indices:
            if len(self._indices) == _KEPT_INDICES:
                del self._indices[next(iter(self._indices))]
            self._indices[place] = read_minishard_index(self._get_range, place, sharding)
        return self._indices[place]

    def _get_range(self, name: str, start: int, length: int) -> bytes | None:
        return AnyLayoutStorage(self.folder).get_range(name, start, length)

    def _ids(self) -> Iterator[int]:
        sharding = self.info.sharding if isinstance(self.info, MultiresMeshInfo) else None
        ending = _MANIFEST if not isinstance(self.info, MultiresMeshInfo) else _INDEX
        for name in os.listdir(self.folder):
            if sharding is not None and name.endswith(_SHARD):
                yield from self._shard_ids(sharding, name)
            elif sharding is None and re.fullmatch(rf"[0-9]{{1,20}}{re.escape(ending)}", name.removesuffix(_PACKED)):
                segment = int(name.removesuffix(_PACKED).removesuffix(ending))
                if segment <= _LARGEST_ID:
                    yield segment

    def _shard_ids(self, sharding: Sharding, name: str) -> Iterator[int]:
        try:
            shard = int(name.removesuffix(_SHARD), 16)
            for minishard in range(1 << sharding.minishard_bits):
                index = self._index(sharding, shard, minishard)
                if index is not None:
                    yield from index.ids.tolist()
        except (FormatError, OSError, ValueError) as error:
            raise DatasetError(f"{self.folder / name}: cannot be read ({error})") from error


def open_meshes(dataset: Path) -> MeshReader:
    """Return the meshes of a volume, or of a dataset of meshes alone. Raises DatasetError when there are none."""
    try:
        data = read_file(dataset / "info")
        if data is None:
            raise DatasetError(f"{dataset}: is no dataset, there is no file `info` in it")
        if mesh_kind(data) is not None:
            return MeshReader(dataset, parse_mesh_info(data))
        folder = parse_volume_info(data).mesh
        if folder is None:
            raise DatasetError(f"{dataset}: has no meshes, its info has no member mesh; make them with glassine mesh")
        if "://" in folder:
            raise DatasetError(
                f"{dataset}: its meshes lie at {folder}, and only those in folders are read; copy them into it first"
            )
        return MeshReader(dataset / folder, read_mesh_info(dataset / folder))
    except (FormatError, OSError) as error:
        raise DatasetError(f"{dataset}: {error}") from error


def mesh_kind(info: bytes) -> str | None:
    """Return the @type of an info of meshes, None for that of anything else. Raises InfoError for what is no JSON."""
    members = read_json(info)
    kind = members.get("@type") if isinstance(members, dict) else None
    return kind.lower() if isinstance(kind, str) and kind.lower() in MESHES else None


def read_mesh_info(folder: Path) -> MeshInfo:
    """Return the info of a folder of meshes; one without an info holds legacy meshes to the viewer. Raises InfoError, OSError."""
    data = read_file(folder / "info")
    return LegacyMeshInfo() if data is None else parse_mesh_info(data)


def _transformed(mesh: Mesh, transform: Transform) -> Mesh:
    """Return a mesh of the "stored model" space in the dataset's nm, wound outwards still where it is mirrored."""
    if transform == IDENTITY:
        return mesh
    matrix = np.array(transform).reshape(3, 4)
    vertices = (mesh.vertices @ matrix[:, :3].T + matrix[:, 3]).astype(np.float32)
    return Mesh(vertices, mesh.triangles if np.linalg.det(matrix[:, :3]) > 0 else np.ascontiguousarray(mesh.triangles[:, ::-1]))


def _checked_name(name: str) -> str:
    """Return a fragment's name. Raises DatasetError for one that leads out of the folder."""
    if name.startswith("/") or ".." in name.split("/"):
        raise DatasetError(f"its fragment {name!r} lies outside the folder of the meshes, which is not read")
    return name


@contextmanager
def _named(folder: Path, segment: int) -> Iterator[None]:
    """Put a segment's name before what is wrong with its mesh."""
    try:
        yield
    except (DatasetError, FormatError, OSError) as error:
        raise DatasetError(f"{folder}: segment {segment}: {error}") from error
