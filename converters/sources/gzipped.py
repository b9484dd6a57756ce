"""Arrays in a gzip file (RFC 1952): unpacked once into a spool, or as far as a box needs."""

import errno
import gzip
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from isal import igzip, isal_zlib
from numpy.typing import NDArray

from converters.errors import DamagedError, DiskFullError, SourceError
from converters.geometry import Geometry
from converters.sources.mapped import MappedSource, StoredArray
from converters.sources.source import Report
from formats.grid import Box, Triple

_MAGIC = b"\x1f\x8b"
_PIECE = 1 << 20
_UNPACKING_ERROR: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub makes an instance of the class
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def is_gzip(path: Path) -> bool:
    """Return whether the file begins as gzip does, whatever its name says."""
    with path.open("rb") as file:
        return file.read(2) == _MAGIC


def first_bytes(path: Path, count: int) -> bytes:
    """Return the first bytes of a file, unpacked where it is gzip; fewer where it has no more. Raises SourceError."""
    if not is_gzip(path):
        with path.open("rb") as file:
            return file.read(count)
    begin = bytearray()
    for piece in _pieces(path, 0, _silent):
        begin += piece
        if len(begin) >= count:
            break
    return bytes(begin[:count])


@dataclass(frozen=True)
class GzippedSource:
    """A source inside a gzip file; see converters.sources.source.Source.

    unpacked: the source as if it lay unpacked in the file that holds it packed.
    """

    unpacked: MappedSource

    @property
    def name(self) -> str:
        """The path as given."""
        return self.unpacked.name

    @property
    def block(self) -> Triple:
        """All voxels: none can be had before those in front of it are unpacked."""
        return self.shape

    def fingerprint(self) -> dict[str, Any]:
        """Return the size and time of change of each file."""
        return self.unpacked.fingerprint()

    @property
    def shape(self) -> Triple:
        """Voxels along x, y, z."""
        return self.unpacked.shape

    @property
    def num_channels(self) -> int:
        """How many channels read returns."""
        return self.unpacked.num_channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """The data type of what read returns."""
        return self.unpacked.dtype

    @property
    def geometry(self) -> Geometry:
        """Where the voxels lie."""
        return self.unpacked.geometry

    @property
    def label(self) -> bool:
        """Whether the file says that it holds labels."""
        return self.unpacked.label

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user."""
        return self.unpacked.notes

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of box, [x, y, z, channel], unpacking all that lies before them: slow, for a look at a few.

        Raises DamagedError for a file that is cut short or corrupt before the end of the box.
        """
        part, index = self.unpacked.array.stretch(self.unpacked.arrangement.index(box))
        try:
            stored = np.frombuffer(_unpacked(part), part.dtype).reshape(part.shape, order="F")
        except SourceError as error:
            raise DamagedError(str(error)) from error
        return self.unpacked.scaled(self.unpacked.arrangement.view(stored[index]))

    def spooled(self, directory: Path, report: Report) -> MappedSource:
        """Return a source over the unpacked voxels, which are written into directory.

        Raises SourceError for a file that is cut short or corrupt anywhere, DiskFullError where no room is left.
        """
        whole = self.unpacked
        part, _ = whole.array.stretch(whole.arrangement.index(whole.arrangement.box()))
        try:
            directory.mkdir(parents=True, exist_ok=True)
            spool = directory / f"{self.unpacked.path.name}.spool"
            _write_whole(spool, part, whole.array, report)
            array = replace(part, file=spool, offset=0, modified_ns=spool.stat().st_mtime_ns)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise DiskFullError(
                    f"{directory}: no room left to unpack {self.name} ({part.nbytes} bytes are needed): free some and start again"
                ) from error
            raise SourceError(f"{self.name}: cannot be unpacked into {directory} ({error.strerror or error})") from error
        return replace(whole, array=array, arrangement=whole.arrangement.cut(part.shape))


def _unpacked(part: StoredArray) -> bytearray:
    end = part.offset + part.nbytes
    data = bytearray()
    for piece in _within(_pieces(part.file, end, _silent), part.offset, end):
        data += piece
        if len(data) == part.nbytes:
            break
    return data


def _write_whole(spool: Path, part: StoredArray, whole: StoredArray, report: Report) -> None:
    """Write the part's bytes to spool, which appears when it is complete and the whole packed file has proved sound."""
    descriptor, name = tempfile.mkstemp(dir=spool.parent, prefix=f"{spool.name}.")
    try:
        with open(descriptor, "wb") as file:
            pieces = _pieces(part.file, whole.offset + whole.nbytes, report)
            for piece in _within(pieces, part.offset, part.offset + part.nbytes):
                file.write(piece)
        os.replace(name, spool)
    except BaseException:
        os.unlink(name)
        raise


def _within(pieces: Iterator[memoryview], begin: int, end: int) -> Iterator[memoryview]:
    """Yield of a stream's pieces what lies at begin <= byte < end."""
    position = 0
    for piece in pieces:
        yield piece[max(0, begin - position) : max(0, end - position)]
        position += len(piece)


def _pieces(path: Path, expected: int, report: Report) -> Iterator[memoryview]:
    """Yield a gzip file's unpacked bytes, in one buffer that is used again for the next piece, and report packed bytes.

    expected: how many there should be at least. Raises SourceError where there are fewer or the file is corrupt.
    """
    found, buffer = 0, memoryview(bytearray(_PIECE))
    try:
        with path.open("rb") as packed, _stream(packed) as stream:
            total = os.fstat(packed.fileno()).st_size
            while count := stream.readinto(buffer):
                found += count
                report(packed.tell(), total)
                yield buffer[:count]
    except EOFError as error:
        raise SourceError(_damage(path, found, expected, "is cut short")) from error
    except (gzip.BadGzipFile, _UNPACKING_ERROR) as error:
        raise SourceError(_damage(path, found, expected, "is corrupt")) from error
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror or error})") from error
    if found < expected:
        raise SourceError(_damage(path, found, expected, "holds too little"))


def _stream(packed: BinaryIO) -> gzip.GzipFile:
    stream: gzip.GzipFile = igzip.GzipFile(fileobj=packed)  # type: ignore[no-untyped-call]
    return stream


def _damage(path: Path, found: int, expected: int, what: str) -> str:
    expectation = f", {expected} expected" if expected else ""
    return f"{path}: the gzip file {what} ({found} bytes unpacked{expectation}): copy it again"


def _silent(done: int, total: int) -> None:
    """Report nothing."""
