"""Arrays in a stream packed by gzip (RFC 1952), bzip2 or deflate (RFC 1951): unpacked once into a spool, or as far as needed."""

import bz2
import errno
import gzip
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

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


@dataclass(frozen=True)
class Packing:
    """How and where a file holds a packed stream.

    begin: bytes of the file before it. For deflate, of which the stream itself tells neither: packed: its bytes in the file;
    crc: the CRC-32 of all that it unpacks to.
    """

    method: Literal["gzip", "bzip2", "deflate"]
    begin: int = 0
    packed: int = 0
    crc: int = 0


GZIP_FILE = Packing("gzip")
"""A file that is one gzip stream."""


def is_gzip(path: Path) -> bool:
    """Return whether the file begins as gzip does, whatever its name says."""
    with path.open("rb") as file:
        return file.read(2) == _MAGIC


def first_bytes(path: Path, count: int) -> bytes:
    """Return the first bytes of a file, unpacked where it is gzip; fewer where it has no more. Raises SourceError."""
    if is_gzip(path):
        return first_unpacked_bytes(path, GZIP_FILE, count)
    with path.open("rb") as file:
        return file.read(count)


def first_unpacked_bytes(path: Path, packing: Packing, count: int) -> bytes:
    """Return the first bytes of a packed stream; fewer where it has no more. Raises SourceError."""
    pieces = _up_to(count, _pieces(path, packing, 0, _silent))
    return bytes(_collected(pieces)[:count])


def unpacked_array(array: StoredArray, packing: Packing) -> NDArray[Any]:
    """Return an array of a packed stream, its offset counted in what that unpacks to, in Fortran order.

    Raises DamagedError for a stream that is cut short or corrupt anywhere.
    """
    end = array.offset + array.nbytes
    return _array_of(array, _pieces(array.file, packing, end, _silent))


@dataclass(frozen=True)
class PackedSource:
    """A source inside a packed stream; see converters.sources.source.Source.

    unpacked: the source as if its file were the stream unpacked.
    """

    unpacked: MappedSource
    packing: Packing = GZIP_FILE

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
        end = part.offset + part.nbytes
        stored = _cut_from(part, index, _up_to(end, _pieces(part.file, self.packing, end, _silent)))
        return self.unpacked.scaled(self.unpacked.arrangement.view(stored))

    def spooled(self, directory: Path, report: Report) -> MappedSource:
        """Return a source over the unpacked voxels, written into directory unless the same version of them is there already.

        Raises SourceError for a file that is cut short or corrupt anywhere, DiskFullError where no room is left.
        """
        whole = self.unpacked
        part, _ = whole.array.stretch(whole.arrangement.index(whole.arrangement.box()))
        try:
            directory.mkdir(parents=True, exist_ok=True)
            # The array's own place is in the name, because a file may hold several.
            version = f"{whole.array.modified_ns:x}.{part.offset}"
            spool = directory / f"{self.unpacked.path.name}.{version}.spool"
            if not spool.exists():
                self._write_whole(spool, part, report)
            array = replace(part, file=spool, offset=0, modified_ns=spool.stat().st_mtime_ns)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise DiskFullError(
                    f"{directory}: no room left to unpack {self.name} ({part.nbytes} bytes are needed): free some and start again"
                ) from error
            raise SourceError(f"{self.name}: cannot be unpacked into {directory} ({error.strerror or error})") from error
        return replace(whole, array=array, arrangement=whole.arrangement.cut(part.shape))

    def _write_whole(self, spool: Path, part: StoredArray, report: Report) -> None:
        """Write the part's bytes to spool, which appears when it is complete and the whole stream has proved sound."""
        whole = self.unpacked.array
        descriptor, name = tempfile.mkstemp(dir=spool.parent, prefix=f".{spool.name}.", suffix=".tmp")
        try:
            with open(descriptor, "wb") as file:
                pieces = _pieces(part.file, self.packing, whole.offset + whole.nbytes, report)
                for piece in _within(pieces, part.offset, part.offset + part.nbytes):
                    file.write(piece)
            os.replace(name, spool)
        except BaseException:
            os.unlink(name)
            raise


def _array_of(array: StoredArray, pieces: Iterator[memoryview]) -> NDArray[Any]:
    """Return the array that lies in a stream. Raises DamagedError where the stream does."""
    try:
        data = _collected(_within(pieces, array.offset, array.offset + array.nbytes))
    except SourceError as error:
        raise DamagedError(str(error)) from error
    return np.frombuffer(data, array.dtype).reshape(array.shape, order="F")


def _cut_from(array: StoredArray, index: tuple[slice, ...], pieces: Iterator[memoryview]) -> NDArray[Any]:
    """Return array[index] of an array that lies in a stream, of which little more than a plane across its last axis is held.

    index: takes the whole of the last axis that is longer than 1. Raises DamagedError where the stream is damaged.
    """
    last = max((axis for axis, length in enumerate(array.shape) if length > 1), default=0)
    plane = replace(array, shape=array.shape[:last]).nbytes
    found, held = [], bytearray()
    try:
        for piece in _within(pieces, array.offset, array.offset + array.nbytes):
            held += piece
            planes = len(held) // plane
            if planes:
                stored = np.frombuffer(bytes(held[: planes * plane]), array.dtype)
                found.append(stored.reshape((*array.shape[:last], planes), order="F")[index[:last]].copy(order="F"))
                del held[: planes * plane]
    except SourceError as error:
        raise DamagedError(str(error)) from error
    return np.concatenate(found, axis=last, dtype=array.dtype)[(..., *(None,) * (len(array.shape) - last - 1))]


def _collected(pieces: Iterator[memoryview]) -> bytearray:
    data = bytearray()
    for piece in pieces:
        data += piece
    return data


def _up_to(end: int, pieces: Iterator[memoryview]) -> Iterator[memoryview]:
    """Yield a stream's pieces up to the one that holds its byte before end."""
    found = 0
    while found < end and (piece := next(pieces, None)) is not None:
        yield piece
        found += len(piece)


def _within(pieces: Iterator[memoryview], begin: int, end: int) -> Iterator[memoryview]:
    """Yield of a stream's pieces what lies at begin <= byte < end."""
    position = 0
    for piece in pieces:
        yield piece[max(0, begin - position) : max(0, end - position)]
        position += len(piece)


def _pieces(path: Path, packing: Packing, expected: int, report: Report) -> Iterator[memoryview]:
    """Yield a stream's unpacked bytes, each piece valid until the next one, and report packed bytes.

    expected: how many there should be at least. Raises SourceError where there are fewer or the stream is corrupt.
    """
    found = 0
    try:
        with path.open("rb") as file:
            total = os.fstat(file.fileno()).st_size
            file.seek(packing.begin)
            for piece in _STREAMS[packing.method](file, packing):
                found += len(piece)
                report(file.tell(), total)
                yield piece
    except EOFError as error:
        raise SourceError(_damage(path, packing, found, expected, "is cut short")) from error
    except (gzip.BadGzipFile, _UNPACKING_ERROR, _CorruptError) as error:
        raise SourceError(_damage(path, packing, found, expected, "is corrupt")) from error
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror or error})") from error
    if found < expected:
        raise SourceError(_damage(path, packing, found, expected, "holds too little"))


class _CorruptError(Exception):
    """A stream that is not what its method writes."""


class _Stream(Protocol):
    def readinto(self, buffer: memoryview, /) -> int: ...


def _gunzipped(file: BinaryIO, packing: Packing) -> Iterator[memoryview]:
    with igzip.GzipFile(fileobj=file) as stream:  # type: ignore[no-untyped-call]
        yield from _all_of(stream)


def _bunzipped(file: BinaryIO, packing: Packing) -> Iterator[memoryview]:
    with bz2.BZ2File(file) as stream:
        try:
            yield from _all_of(stream)
        except OSError as error:
            if error.errno is not None:
                raise
            raise _CorruptError from error


def _all_of(stream: _Stream) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(_PIECE))
    while count := stream.readinto(buffer):
        yield buffer[:count]


def _inflated(file: BinaryIO, packing: Packing) -> Iterator[memoryview]:
    stream, left, crc = isal_zlib.decompressobj(wbits=-15), packing.packed, 0
    while not stream.eof:
        data = stream.unconsumed_tail
        if not data:
            data = file.read(min(_PIECE, left))
            left -= len(data)
        piece = stream.decompress(data, _PIECE)
        if not data and not piece and not stream.eof:
            raise EOFError
        crc = isal_zlib.crc32(piece, crc)
        yield memoryview(piece)
    if crc != packing.crc:
        raise _CorruptError


_STREAMS: dict[str, Callable[[BinaryIO, Packing], Iterator[memoryview]]] = {
    "gzip": _gunzipped,
    "bzip2": _bunzipped,
    "deflate": _inflated,
}


def _damage(path: Path, packing: Packing, found: int, expected: int, what: str) -> str:
    expectation = f", {expected} expected" if expected else ""
    kind = "gzip file" if packing == GZIP_FILE else f"{packing.method} stream in it"
    return f"{path}: the {kind} {what} ({found} bytes unpacked{expectation}): copy it again"


def _silent(done: int, total: int) -> None:
    """Report nothing."""
