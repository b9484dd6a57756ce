"""The record of a dataset's skeletons, `.glassine/skeletons.json`: what they were made from and with, and what came of it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from heapq import nsmallest
from pathlib import Path
from typing import Any

from converters.children import SHOWN, Child, record_path
from converters.errors import DatasetError

FOLDER = "skeletons"
"""The skeletons' folder in a dataset, and what its info calls it."""
_IDS = ("limited", "largest")


@dataclass(frozen=True)
class SkeletonRecord:
    """What is known of a dataset's skeletons.

    request: what was asked for (version, volume, options). scale: key of the scale that was traced on. parameters: as they were
    used. counts: segments, skeletons, trees, vertices, end_points, branch_points, stored_bytes. cable_length: nm, of all.
    limited: segments that took all the paths there were for them and may be unfinished. largest: those with the longest cables,
    for a first look.
    """

    request: dict[str, Any]
    scale: str
    parameters: dict[str, Any]
    counts: dict[str, int]
    cable_length: float
    limited: tuple[int, ...] = ()
    largest: tuple[int, ...] = ()


def longest(cable_lengths: Mapping[int, float]) -> tuple[int, ...]:
    """Return the ids of the segments with the longest cables, the longest first. cable_lengths: by segment."""
    ordered = nsmallest(SHOWN, cable_lengths.items(), key=lambda item: (-item[1], item[0]))
    return tuple(segment for segment, length in ordered if length > 0)


def encode_skeleton_record(record: SkeletonRecord) -> bytes:
    """Return the record as JSON, the same bytes for the same record; ids are strings, which hold all their digits."""
    members = {**asdict(record), **{name: [str(segment) for segment in getattr(record, name)] for name in _IDS}}
    return json.dumps(members, indent=1, sort_keys=True).encode() + b"\n"


def skeleton_record_path(dataset: Path) -> Path:
    """Return where a dataset's record of skeletons is."""
    return record_path(dataset, FOLDER)


def read_skeleton_record(dataset: Path) -> SkeletonRecord | None:
    """Return the record of a dataset's skeletons, None when there is none. Raises DatasetError for one that cannot be read."""
    path = skeleton_record_path(dataset)
    try:
        members = json.loads(path.read_bytes())
        return SkeletonRecord(**{**members, **{name: tuple(int(segment) for segment in members.get(name, ())) for name in _IDS}})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DatasetError(f"{path}: not a record of glassine ({error}); make the skeletons again with --overwrite") from error


SKELETONS = Child(FOLDER, "skeletons", encode_skeleton_record, read_skeleton_record)
