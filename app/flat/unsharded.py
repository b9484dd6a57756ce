"""What an `info` tells of shards, and the same `info` without them."""

import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from formats.errors import FormatError
from formats.grid import Grid, compressed_morton_code, morton_bits
from formats.info import VOLUME, Scale, Sharding, parse_volume_info, take_sharding
from formats.members import Members, read_json

_KINDS: dict[str, Literal["skeletons", "meshes"]] = {
    "neuroglancer_skeletons": "skeletons",
    "neuroglancer_multilod_draco": "meshes",
}


@dataclass(frozen=True)
class ShardedScale:
    """Where the chunks of a scale are. grid: of its only chunk size."""

    grid: Grid
    sharding: Sharding

    def chunk_id(self, name: str) -> int | None:
        """Return the id under which shards hold a chunk, None for a name that no chunk of the scale has."""
        cell = self.grid.cell_of(name)
        return None if cell is None else compressed_morton_code(cell, self.grid.shape)


@dataclass(frozen=True)
class Unsharded:
    """An info without its shards, and what it told of them.

    info: the bytes for the viewer, None where they are those that are stored. scales: by the folder of each scale, relative to
    the info's; None for one without shards. entries: how the skeletons or the manifests of meshes beside the info are sharded.
    kind: which of the two these are.
    """

    info: bytes | None = None
    scales: Mapping[str, ShardedScale | None] = field(default_factory=dict)
    entries: Sharding | None = None
    kind: Literal["skeletons", "meshes"] | None = None


def unsharded(info: bytes) -> Unsharded:
    """Return an info without shards; what the viewer would refuse, or has no shards, stays as it is."""
    try:
        members = read_json(info)
        if not isinstance(members, dict):
            return Unsharded()
        kind = _KINDS.get(str(members.get("@type", VOLUME)))
        return _unsharded_volume(info, members) if kind is None else _unsharded_entries(members, kind)
    except FormatError:
        return Unsharded()


def _unsharded_volume(info: bytes, members: dict[str, Any]) -> Unsharded:
    scales: dict[str, ShardedScale | None] = {}
    for scale, told in zip(parse_volume_info(info).scales, members["scales"], strict=True):
        folder = _folder(scale)
        # A scale in another dataset's folder would be asked for there: it stays in its shards.
        if scale.sharding is not None and folder is not None and _has_ids(scale.grid()):
            scales[folder] = ShardedScale(scale.grid(), scale.sharding)
            del told["sharding"]
        elif scale.sharding is None and folder is not None:
            scales.setdefault(folder, None)
    return Unsharded(_encoded(members) if any(scales.values()) else None, scales)


def _unsharded_entries(members: dict[str, Any], kind: Literal["skeletons", "meshes"]) -> Unsharded:
    sharding = take_sharding(Members("info", members))
    if sharding is None:
        return Unsharded()
    return Unsharded(_encoded({name: value for name, value in members.items() if name != "sharding"}), {}, sharding, kind)


def _folder(scale: Scale) -> str | None:
    """Return the folder of a scale, relative to the info's, None where it is not below it."""
    folder = posixpath.normpath(scale.key)
    return None if folder.startswith(("/", "..")) or folder == "." else folder


def _has_ids(grid: Grid) -> bool:
    """Tell whether the chunks of a grid have ids: those of the largest do not fit into 64 bits."""
    try:
        return morton_bits(grid.shape) >= 0
    except ValueError:
        return False


def _encoded(members: dict[str, Any]) -> bytes:
    return json.dumps(members, indent=1).encode() + b"\n"
