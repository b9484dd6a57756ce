"""Skeletons of a dataset, read back as the viewer finds them."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.errors import DatasetError
from converters.storage.any_layout import AnyLayoutStorage
from converters.storage.files import read_file
from formats.errors import FormatError, InfoError
from formats.info import Sharding
from formats.members import read_json
from formats.sharding.ids import shard_name
from formats.sharding.lookup import read_entry, read_minishard_index
from formats.skeletons.encoded import decode_skeleton
from formats.skeletons.info import SKELETONS, SkeletonInfo, parse_skeleton_info
from formats.skeletons.skeleton import Skeleton

_LARGEST = 1 << 32
"""Bytes that a skeleton may have when it is unpacked."""
_PACKED, _SHARD = ".gz", ".shard"
_HEXADECIMAL = re.compile(r"[0-9a-f]{1,16}")


@dataclass(frozen=True)
class SkeletonReader:
    """The skeletons in a folder."""

    folder: Path
    info: SkeletonInfo

    def segments(self) -> list[int]:
        """Return the ids of the segments that have a skeleton, ascending. Raises DatasetError."""
        try:
            return sorted(set(self._in_files() if self.info.sharding is None else self._in_shards()))
        except (FormatError, OSError) as error:
            raise DatasetError(f"{self.folder}: {error}") from error

    def read(self, segment: int) -> Skeleton | None:
        """Return a segment's skeleton as it is stored, None where there is none. Raises DatasetError."""
        storage = AnyLayoutStorage(self.folder)
        try:
            if self.info.sharding is None:
                data = storage.get(str(segment))
            else:
                data = read_entry(storage.get_range, segment, self.info.sharding, _LARGEST)
            return None if data is None else decode_skeleton(data, self.info.vertex_attributes)
        except (FormatError, OSError) as error:
            raise DatasetError(f"{self.folder}: segment {segment}: {error}") from error

    def _in_files(self) -> Iterator[int]:
        for name in os.listdir(self.folder):
            stem = name.removesuffix(_PACKED)
            if stem.isascii() and stem.isdecimal():
                yield int(stem)

    def _in_shards(self) -> Iterator[int]:
        sharding = self.info.sharding
        assert sharding is not None
        get_range = AnyLayoutStorage(self.folder).get_range
        for shard in self._shards(sharding):
            for minishard in range(1 << sharding.minishard_bits):
                index = read_minishard_index(get_range, (shard, minishard), sharding)
                yield from () if index is None else np.asarray(index.ids).tolist()

    def _shards(self, sharding: Sharding) -> list[int]:
        """Return the numbers of the shards that are there, ascending; an info may tell of more than anybody can look for."""
        stems = (name.removesuffix(_SHARD) for name in os.listdir(self.folder) if name.endswith(_SHARD))
        found = {int(stem, 16): stem for stem in stems if _HEXADECIMAL.fullmatch(stem)}
        named = (number for number, stem in found.items() if shard_name(number, sharding) == stem + _SHARD)
        return sorted(number for number in named if not number >> sharding.shard_bits)


def read_skeleton_info(folder: Path) -> SkeletonInfo:
    """Return the info of the folder of skeletons that a volume names. Raises InfoError, also where there is none."""
    data = read_file(folder / "info")
    if data is None:
        raise InfoError(f"info: names skeletons, {folder.name}, that are not there; take the member skeletons out of it")
    return parse_skeleton_info(data)


def parse_alone(data: bytes) -> SkeletonInfo | None:
    """Return the info of a dataset of skeletons alone, None for that of anything else. Raises InfoError for a damaged one."""
    members = read_json(data)
    kind = members.get("@type") if isinstance(members, dict) else None
    return parse_skeleton_info(data) if kind == SKELETONS else None


def open_skeletons(folder: Path) -> SkeletonReader:
    """Open a folder of skeletons. Raises DatasetError when there is none that the viewer would open."""
    try:
        return SkeletonReader(folder, parse_skeleton_info((folder / "info").read_bytes()))
    except FileNotFoundError:
        raise DatasetError(
            f"{folder}: no skeletons, there is no file `info` in it; make them with glassine skeletonize"
        ) from None
    except (FormatError, OSError) as error:
        raise DatasetError(f"{folder}: {error}") from error
