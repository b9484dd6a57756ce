"""Datasets that anyone wrote, to be read: each object in whichever layout it lies."""

import os
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from converters.storage.files import LARGEST_OBJECT, read_file, read_range
from converters.storage.unmarked import unpacked
from formats.grid import is_chunk_name
from formats.gzip import decompress

_PACKED = ".gz"


@dataclass(frozen=True)
class AnyLayoutStorage:
    """Objects below root: the chunk `KEY/X_Y_Z` as `KEY/X/Y/Z` or under its own name, each plain or as gzip with `.gz`.

    The order is the server's. limit: bytes that an object may have when it is unpacked.
    """

    root: Path
    limit: int = LARGEST_OBJECT

    def get(self, name: str) -> bytes | None:
        """Return an object unpacked, None when it is absent. Raises DecodeError for a corrupt `.gz`."""
        for path, suffix in product(self._paths(name), ("", _PACKED)):
            data = read_file(path + suffix)
            if data is not None:
                return decompress(data, self.limit) if suffix else unpacked(data, self.limit)
        return None

    def get_range(self, name: str, start: int, length: int) -> bytes | None:
        """Return length bytes of a plain file from start on, None when there is none: what is asked for so is never packed."""
        return read_range(os.path.join(self.root, name), start, length)

    def exists(self, name: str) -> bool:
        """Tell whether the object is there."""
        return any(os.path.isfile(path + suffix) for path, suffix in product(self._paths(name), ("", _PACKED)))

    def locate(self, name: str) -> str:
        """Return the path that the viewer's name would have."""
        return str(self.root / name)

    def _paths(self, name: str) -> tuple[str, ...]:
        flat = os.path.join(self.root, name)
        folder, _, last = name.rpartition("/")
        return (os.path.join(self.root, folder, *last.split("_")), flat) if is_chunk_name(last) else (flat,)
