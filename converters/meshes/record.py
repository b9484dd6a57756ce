"""The record of a dataset's meshes, `.glassine/mesh.json`: what they were made of and what was written."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from converters.children import Child, record_path
from converters.errors import DatasetError

FOLDER = "mesh"
"""The meshes' folder in a dataset, and what its info calls it."""


@dataclass(frozen=True)
class MeshRecord:
    """What is known of the meshes.

    glassine: the version that made them. fingerprint: of the volume. options: what the command was told. folder: the meshes',
    below the dataset. scale: the key of the meshed scale. max_error: nm. triangles: of each level of detail, the finest first.
    largest: the ids of the segments with the most triangles, for a first look.
    """

    glassine: str
    fingerprint: dict[str, Any]
    options: dict[str, Any]
    folder: str
    scale: str
    max_error: float
    meshes: int
    triangles: tuple[int, ...]
    stored_bytes: int
    largest: tuple[int, ...]

    @property
    def request(self) -> dict[str, Any]:
        """What was asked for."""
        return {"glassine": self.glassine, "fingerprint": self.fingerprint, "options": self.options}


def encode_mesh_record(record: MeshRecord) -> bytes:
    """Return the record as JSON, the same bytes for the same record; ids are strings, which hold all their digits."""
    members = {**asdict(record), "largest": [str(segment) for segment in record.largest]}
    return json.dumps(members, indent=1, sort_keys=True).encode() + b"\n"


def decode_mesh_record(data: bytes) -> MeshRecord:
    """Return the record in JSON. Raises ValueError, TypeError or KeyError for what is none."""
    members = json.loads(data)
    largest, triangles = (tuple(int(number) for number in members[name]) for name in ("largest", "triangles"))
    return MeshRecord(**{**members, "largest": largest, "triangles": triangles, "folder": str(members["folder"])})


def mesh_record_path(dataset: Path) -> Path:
    """Return the file of the record."""
    return record_path(dataset, FOLDER)


def read_mesh_record(dataset: Path) -> MeshRecord | None:
    """Return the record of a dataset's meshes, None when it has none. Raises DatasetError for one that cannot be read."""
    path = mesh_record_path(dataset)
    try:
        return decode_mesh_record(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DatasetError(f"{path}: not a record of meshes ({error}); make them again with --overwrite") from error


MESHES = Child(FOLDER, "meshes", encode_mesh_record, read_mesh_record)
