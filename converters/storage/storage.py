"""The interface of every layout, and the choice of one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol

from converters.storage.flat import FlatStorage
from converters.storage.nested import NestedStorage


class ReadableStorage(Protocol):
    """The objects of one dataset under the viewer's names (`info`, `KEY/x0-x1_y0-y1_z0-z1`, ...), to be read; pickles."""

    def get(self, name: str) -> bytes | None:
        """Return an object as the viewer sees it (decompressed), None when it is absent. Raises DecodeError, OSError."""
        ...

    def get_range(self, name: str, start: int, length: int) -> bytes | None:
        """Return length bytes of an object from start on, fewer at its end, None when it is absent.

        Raises DecodeError, OSError.
        """
        ...

    def exists(self, name: str) -> bool:
        """Tell whether the object is there. Raises OSError where that cannot be told."""
        ...

    def locate(self, name: str) -> str:
        """Return where an object is, for messages: the path that the viewer's name would have, or a URL."""
        ...


class Storage(ReadableStorage, Protocol):
    """The objects of one dataset on a disk; pickles."""

    @property
    def root(self) -> Path: ...

    def put(self, name: str, data: bytes, *, compressible: bool) -> int:
        """Store an object atomically and return the bytes it takes on disk. Raises DiskFullError, OSError."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the viewer's names of the objects in one folder, sorted by their names on disk."""
        ...


Layout = Literal["nested", "flat", "sharded"]

_LAYOUTS: dict[Layout, type[NestedStorage] | type[FlatStorage]] = {
    "nested": NestedStorage,
    "flat": FlatStorage,
    "sharded": FlatStorage,  # to the viewer shards are files under names of their own, never compressed as a whole
}


def open_storage(root: Path, layout: Layout) -> Storage:
    """Return the storage of a dataset folder; nothing is created before the first put."""
    return _LAYOUTS[layout](root)
