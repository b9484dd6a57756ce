"""The nested layout: `KEY/X/Y/Z.gz` for the chunk that the viewer calls `KEY/X_Y_Z`, so no folder grows to millions of entries.

What compresses is stored as gzip under the name with `.gz`; a plain file wins over its `.gz` neighbour.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from converters.storage.files import LARGEST_OBJECT, read_file, read_range, write_file
from formats.grid import is_chunk_name
from formats.gzip import compress, decompress

_PACKED = ".gz"


@dataclass(frozen=True)
class NestedStorage:
    """Objects below root, chunks in a folder each for x and y."""

    root: Path

    def get(self, name: str) -> bytes | None:
        """Return an object decompressed, None when it is absent. Raises DecodeError for a corrupt `.gz`."""
        path = self._path(name)
        data = read_file(path)
        if data is not None:
            return data
        packed = read_file(path + _PACKED)
        return None if packed is None else decompress(packed, LARGEST_OBJECT)

    def get_range(self, name: str, start: int, length: int) -> bytes | None:
        """Return length bytes of an object from start on, None when it is absent."""
        found = read_range(self._path(name), start, length)
        if found is not None:
            return found
        data = self.get(name)
        return None if data is None else data[start : start + length]

    def put(self, name: str, data: bytes, *, compressible: bool) -> int:
        """Store an object, as gzip when it is compressible, and return the bytes it takes."""
        path = self._path(name)
        other = path + _PACKED
        if compressible:
            path, other, data = other, path, compress(data)
        write_file(path, data)
        # What was stored the other way before would be found in its place: the plain file by glassine, the packed one by nginx.
        with suppress(FileNotFoundError):
            os.unlink(other)
        return len(data)

    def exists(self, name: str) -> bool:
        """Tell whether the object is there."""
        path = self._path(name)
        return os.path.isfile(path) or os.path.isfile(path + _PACKED)

    def locate(self, name: str) -> str:
        """Return the path that the viewer's name would have."""
        return str(self.root / name)

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the viewer's names of the objects in the folder prefix."""
        folder = self.root / prefix
        seen = set()
        for parts in _files(folder, ()):
            name = "_".join(parts).removesuffix(_PACKED)
            if name not in seen and (len(parts) == 1 or is_chunk_name(name)):
                seen.add(name)
                yield f"{prefix}/{name}" if prefix else name

    def _path(self, name: str) -> str:
        folder, _, last = name.rpartition("/")
        if is_chunk_name(last):
            return os.path.join(self.root, folder, *last.split("_"))
        return os.path.join(self.root, name)


def _files(folder: Path, parts: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the parts below folder of each file that is no deeper than a chunk is."""
    if not folder.is_dir():
        return
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if name.startswith("."):
            continue
        if path.is_file() and len(parts) in (0, 2):
            yield (*parts, name)
        elif path.is_dir() and len(parts) < 2:
            yield from _files(path, (*parts, name))
