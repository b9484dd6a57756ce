"""The children of a volume: what its info names beside its scales (meshes, skeletons, segment properties), and where they lie."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from converters.errors import DatasetError
from converters.record import PRIVATE
from formats.errors import InfoError
from formats.info import VolumeInfo, parse_volume_info

MEMBERS = ("mesh", "skeletons", "segment_properties")
"""The members of a volume's info that name a child, each also the name of the folder that is made for it."""
SHOWN = 10
"""Segments that links select, of those with the largest children."""


class ChildRecord(Protocol):
    """What is known of a child. request: what was asked for when it was made."""

    @property
    def request(self) -> Mapping[str, Any]: ...


R = TypeVar("R", bound=ChildRecord)


@dataclass(frozen=True)
class Child(Generic[R]):
    """A kind of child.

    member: of the volume's info, and the folder's name. noun: what messages call it. encode: its record as it is stored.
    read: the record of a dataset's child, None when it has none; raises DatasetError for one that cannot be read.
    """

    member: str
    noun: str
    encode: Callable[[R], bytes]
    read: Callable[[Path], R | None]


def record_path(dataset: Path, member: str) -> Path:
    """Return the file of a child's record."""
    return dataset / PRIVATE / f"{member}.json"


def run_path(dataset: Path, member: str) -> Path:
    """Return the folder of the run that makes a child, while there is one."""
    return dataset / PRIVATE / f"{member}-run"


def child_name(info: VolumeInfo, member: str) -> str | None:
    """Return what the info names, None when it names no such child."""
    name: str | None = getattr(info, member)
    return name


def read_volume_info(dataset: Path) -> VolumeInfo:
    """Return a dataset's info. Raises DatasetError where there is none that the viewer would take."""
    try:
        return parse_volume_info((dataset / "info").read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(f"{dataset}: no dataset, there is no file `info` in it; convert a volume into it first") from None
    except (OSError, InfoError) as error:
        raise DatasetError(f"{dataset}: cannot be read as a volume ({error})") from error
