"""The record of a dataset, `.glassine/record.json`: where it came from and what was written."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from converters.errors import DatasetError
from converters.geometry import Affine, Lengths

PRIVATE = ".glassine"
"""The folder in a dataset that is never served."""


@dataclass(frozen=True)
class Contrast:
    """Grey values of one channel: percentiles for a first look, and the extremes of the sample they are from."""

    low: float
    high: float
    minimum: float
    maximum: float


@dataclass(frozen=True)
class Record:
    """What is known of a conversion.

    glassine: the version that wrote it. source: the path as given. fingerprint: size and time of each file read.
    options: what the command was told. affine: the geometry's (voxel centre -> world nm). transform: dataset nm -> world nm,
    None when they are the same. world: "RAS" or "". contrast: one a channel, empty for a segmentation.
    counts: chunks that were written and their stored_bytes; empty_chunks, which are among them or were left out as the options
    say, so that lost can be told from empty; of labels also components.
    largest_error: of any voxel, 0 where the data type holds all. threshold: the grey value above which voxels became labels.
    """

    glassine: str
    source: str
    fingerprint: dict[str, Any]
    options: dict[str, Any]
    resolution: Lengths
    affine: Affine | None = None
    transform: Affine | None = None
    world: str = ""
    contrast: tuple[Contrast, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    largest_error: float = 0.0
    threshold: float | None = None


def encode_record(record: Record) -> bytes:
    """Return the record as JSON, the same bytes for the same record."""
    return json.dumps(asdict(record), indent=1, sort_keys=True).encode() + b"\n"


def read_record(dataset: Path) -> Record | None:
    """Return a dataset's record, None when it has none. Raises DatasetError for one that cannot be read."""
    path = dataset / PRIVATE / "record.json"
    try:
        members = json.loads(path.read_bytes())
        return _record(members)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DatasetError(f"{path}: not a record of glassine ({error}); convert the dataset again with --overwrite") from error


def _record(members: dict[str, Any]) -> Record:
    x, y, z = (float(length) for length in members["resolution"])
    contrast = tuple(Contrast(**{name: float(grey) for name, grey in c.items()}) for c in members["contrast"])
    rows = {name: _affine(members[name]) for name in ("affine", "transform")}
    return Record(**{**members, **rows, "resolution": (x, y, z), "contrast": contrast})


def _affine(rows: Any) -> Affine | None:
    if rows is None:
        return None
    a, b, c = (tuple(float(n) for n in row) for row in rows)
    if not len(a) == len(b) == len(c) == 4:
        raise ValueError("an affine has 3 rows of 4 numbers")
    return a, b, c
