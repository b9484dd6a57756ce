"""The record of a dataset's skeletons, `.glassine/skeletons.json`: what they were made from and with, and what came of it."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from converters.children import Child, record_path
from converters.errors import DatasetError

FOLDER = "skeletons"
"""The skeletons' folder in a dataset, and what its info calls it."""


@dataclass(frozen=True)
class SkeletonRecord:
    """What is known of a dataset's skeletons.

    request: what was asked for (version, volume, options). scale: key of the scale that was traced on. parameters: as they were
    used. counts: segments, skeletons, trees, vertices, end_points, branch_points, stored_bytes. cable_length: nm, of all.
    limited: segments that took all the paths there were for them and may be unfinished.
    """

    request: dict[str, Any]
    scale: str
    parameters: dict[str, Any]
    counts: dict[str, int]
    cable_length: float
    limited: tuple[int, ...] = field(default=())


def encode_skeleton_record(record: SkeletonRecord) -> bytes:
    """Return the record as JSON, the same bytes for the same record."""
    return json.dumps(asdict(record), indent=1, sort_keys=True).encode() + b"\n"


def skeleton_record_path(dataset: Path) -> Path:
    """Return where a dataset's record of skeletons is."""
    return record_path(dataset, FOLDER)


def read_skeleton_record(dataset: Path) -> SkeletonRecord | None:
    """Return the record of a dataset's skeletons, None when there is none. Raises DatasetError for one that cannot be read."""
    path = skeleton_record_path(dataset)
    try:
        members = json.loads(path.read_bytes())
        return SkeletonRecord(**{**members, "limited": tuple(members["limited"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DatasetError(f"{path}: not a record of glassine ({error}); make the skeletons again with --overwrite") from error


SKELETONS = Child(FOLDER, "skeletons", encode_skeleton_record, read_skeleton_record)
