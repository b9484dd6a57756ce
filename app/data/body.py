"""Reading a file for a response without holding up the event loop, whole when it is small and else piece by piece."""

import asyncio
import errno
import os
from collections.abc import AsyncGenerator, Iterable, Iterator

from app.data.ranges import Part, Span
from formats.errors import DecodeError

WHOLE_BYTES = 1 << 20
"""Up to this size a body is read and sent at once; it is the size of a piece, too."""
_WHOLE_DECODED_BYTES = 8 << 20

_NO_WAIT = getattr(os, "RWF_NOWAIT", None)
# EAGAIN: the page cache has nothing of it. The others: this file system or kernel knows no reading without waiting.
_WOULD_WAIT = (errno.EAGAIN, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def total_bytes(parts: Iterable[Part]) -> int:
    """Return how long a body is."""
    return sum(len(part) if isinstance(part, bytes) else part[1] - part[0] for part in parts)


async def read_span(descriptor: int, span: Span) -> bytearray:
    """Return the bytes of a span: from the page cache at once, from the disk in a thread.

    Raises OSError when they cannot be read or the file has become shorter.
    """
    start, end = span
    buffer = bytearray(end - start)
    try:
        read = 0 if _NO_WAIT is None else os.preadv(descriptor, [buffer], start, _NO_WAIT)
    except OSError as error:
        if error.errno not in _WOULD_WAIT:
            raise
        read = 0
    if read < len(buffer):
        await asyncio.to_thread(_fill, descriptor, memoryview(buffer)[read:], start + read)
    return buffer


async def read_pieces(descriptor: int, parts: Iterable[Part]) -> AsyncGenerator[bytes | bytearray, None]:
    """Yield the parts of a body, spans of the file in pieces. Raises OSError as read_span does."""
    for part in parts:
        if isinstance(part, bytes):
            yield part
        else:
            for start in range(part[0], part[1], WHOLE_BYTES):
                yield await read_span(descriptor, (start, min(start + WHOLE_BYTES, part[1])))


async def decode_whole(pieces: Iterator[bytes]) -> tuple[bytes, bool]:
    """Return what pieces give, and whether that is all; when not, it is the first 8 MiB or a little more."""
    return await asyncio.to_thread(_take, pieces)


async def decode_rest(pieces: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield what pieces still give, each made in a thread."""
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece


def decoded_pieces(descriptor: int, size: int) -> Iterator[bytes]:
    """Yield what a gzip file of size bytes holds, at most 1 MiB at once.

    Raises DecodeError when it is corrupt, cut off or has bytes behind its end, OSError when it cannot be read.
    """
    from isal import isal_zlib

    corrupt: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # isal's stub calls the class an instance
    reader = isal_zlib.decompressobj(31)
    for start in range(0, size, WHOLE_BYTES):
        packed = bytearray(min(WHOLE_BYTES, size - start))
        _fill(descriptor, memoryview(packed), start)
        while packed:
            try:
                piece: bytes = reader.decompress(bytes(packed), WHOLE_BYTES)
            except corrupt as error:
                raise DecodeError(f"gzip data is corrupt: {error}") from error
            if piece:
                yield piece
            if reader.unused_data:
                raise DecodeError("gzip data has bytes behind its end, expected one gzip member and no more")
            packed = bytearray(reader.unconsumed_tail)
    if not reader.eof:
        raise DecodeError(f"gzip data is cut off after {size} bytes")


def _take(pieces: Iterator[bytes]) -> tuple[bytes, bool]:
    taken = bytearray()
    for piece in pieces:
        taken += piece
        if len(taken) > _WHOLE_DECODED_BYTES:
            return bytes(taken), False
    return bytes(taken), True


def _fill(descriptor: int, view: memoryview, offset: int) -> None:
    """Fill view from offset on, however long the disk takes."""
    while view:
        read = _read_into(descriptor, view, offset)
        if not read:
            raise OSError(errno.EIO, "the file became shorter while it was being read")
        view, offset = view[read:], offset + read


def _read_into(descriptor: int, view: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [view], offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    data = os.read(descriptor, len(view))
    view[: len(data)] = data
    return len(data)
