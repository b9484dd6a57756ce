"""The flat layout: the viewer's own names, nothing compressed, so that any static file host can serve it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from converters.storage.files import read_file, read_range, write_file


@dataclass(frozen=True)
class FlatStorage:
    """Objects under the viewer's names below root."""

    root: Path

    def get(self, name: str) -> bytes | None:
        """Return an object, None when it is absent."""
        return read_file(os.path.join(self.root, name))

    def get_range(self, name: str, start: int, length: int) -> bytes | None:
        """Return length bytes from start on, None when the object is absent."""
        return read_range(os.path.join(self.root, name), start, length)

    def put(self, name: str, data: bytes, *, compressible: bool) -> int:
        """Store an object as it is, whether compressible or not, and return its bytes."""
        write_file(os.path.join(self.root, name), data)
        return len(data)

    def exists(self, name: str) -> bool:
        """Tell whether the object is there."""
        return (self.root / name).is_file()

    def locate(self, name: str) -> str:
        """Return the path that the viewer's name would have."""
        return str(self.root / name)

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the names of the objects in the folder prefix."""
        folder = self.root / prefix
        for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
            if not name.startswith(".") and (folder / name).is_file():
                yield f"{prefix}/{name}" if prefix else name
