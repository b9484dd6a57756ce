"""Reading a body without holding up the event loop: at once from the page cache, else in a thread, in pieces if it is large."""

import asyncio
import errno
import os
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from app.data.linux import cache_inspector
from app.data.ranges import Part, Span, total_bytes
from formats.errors import DecodeError

Bytes = bytes | bytearray


class Body(NamedTuple):
    """A body, or its first piece and what is read while that is being sent."""

    first: Bytes
    rest: AsyncGenerator[Bytes, None] | None = None


WHOLE_BYTES = 1 << 20
"""Up to this size a body is read and sent at once."""
PIECE_BYTES = 1 << 18
"""Of larger files; a client that takes little at a time has two of them in memory."""
_WHOLE_DECODED_BYTES = 8 << 20
_LEAST_SENDFILE_BYTES = 1 << 15
"""Below this a copy costs less than sendfile(2) and the asking whether it would wait."""

_NO_WAIT = getattr(os, "RWF_NOWAIT", None)
# EAGAIN: the page cache has nothing of it. The others: this file system or kernel knows no reading without waiting.
_WOULD_WAIT = (errno.EAGAIN, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)

_is_cached = cache_inspector()


def cached_span(descriptor: int, parts: Sequence[Part]) -> Span | None:
    """Return the span that is the whole body if the page cache has all of it and it is of a size that suits sendfile(2)."""
    if len(parts) != 1 or isinstance(parts[0], bytes):
        return None
    start, end = parts[0]
    return (start, end) if _LEAST_SENDFILE_BYTES <= end - start <= WHOLE_BYTES and _is_cached(descriptor, start, end) else None


def read_cached(descriptor: int, parts: Sequence[Part]) -> Bytes:
    """Return a body. Raises BlockingIOError when it is large or the page cache does not have all of it, OSError on failure."""
    if total_bytes(parts) > WHOLE_BYTES:
        raise BlockingIOError(errno.EAGAIN, "a large body is read piece by piece")
    read = [part if isinstance(part, bytes) else _span_cached(descriptor, part) for part in parts]
    return read[0] if len(read) == 1 else b"".join(read)


async def read_body(descriptor: int, parts: Sequence[Part]) -> Body:
    """Return a body, waiting in a thread if need be. Raises OSError when it cannot be read or the file has become shorter."""
    if total_bytes(parts) <= WHOLE_BYTES:
        return Body(b"".join([part if isinstance(part, bytes) else await read_span(descriptor, part) for part in parts]))
    pieces = read_pieces(descriptor, parts)
    return Body(await anext(pieces), pieces)


async def decode_body(descriptor: int, span: Span, coding: bytes) -> Body:
    """Return what a packed span of a file holds: whole, so that no corrupt one is begun to be sent, unless it is large.

    coding: of Stored. Raises DecodeError when it is corrupt, cut off or has bytes behind its end, OSError when it cannot
    be read.
    """
    pieces = decoded_pieces(descriptor, span, coding)
    first, is_whole = await asyncio.to_thread(_take, pieces)
    return Body(first) if is_whole else Body(first, _decode_rest(pieces))


async def read_pieces(descriptor: int, parts: Sequence[Part]) -> AsyncGenerator[Bytes, None]:
    """Yield the parts of a body, spans of the file in pieces.

    Raises OSError when they cannot be read or the file has become shorter.
    """
    for part in parts:
        if isinstance(part, bytes):
            yield part
        else:
            for start in range(part[0], part[1], PIECE_BYTES):
                yield await read_span(descriptor, (start, min(start + PIECE_BYTES, part[1])))


async def read_span(descriptor: int, span: Span) -> bytearray:
    """Return the bytes of a span. Raises OSError when they cannot be read or the file has become shorter."""
    buffer = bytearray(span[1] - span[0])
    read = _read_without_waiting(descriptor, buffer, span[0])
    if read < len(buffer):
        await asyncio.to_thread(_fill, descriptor, memoryview(buffer)[read:], span[0] + read)
    return buffer


def decoded_pieces(descriptor: int, span: Span, coding: bytes) -> Iterator[bytes]:
    """Yield what a packed span of a file holds, about 1 MiB at most at once.

    coding: of Stored. Raises DecodeError when it is corrupt, cut off or has bytes behind its end, OSError when it cannot
    be read.
    """
    return _DECODERS[coding](_packed_pieces(descriptor, span), span[1] - span[0])


def _packed_pieces(descriptor: int, span: Span) -> Iterator[bytes]:
    for start in range(*span, WHOLE_BYTES):
        packed = bytearray(min(WHOLE_BYTES, span[1] - start))
        _fill(descriptor, memoryview(packed), start)
        yield bytes(packed)


def _inflated(name: str, window: int, pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Yield what size bytes of gzip or zlib hold. window: zlib's wbits."""
    from isal import isal_zlib

    corrupt: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # isal's stub calls the class an instance
    reader = isal_zlib.decompressobj(window)
    for packed in pieces:
        while packed:
            try:
                piece: bytes = reader.decompress(packed, WHOLE_BYTES)
            except corrupt as error:
                raise DecodeError(f"{name} data is corrupt: {error}") from error
            if piece:
                yield piece
            if reader.unused_data:
                raise DecodeError(f"{name} data has bytes behind its end, expected one {name} stream and no more")
            packed = reader.unconsumed_tail
    if not reader.eof:
        raise DecodeError(f"{name} data is cut off after {size} bytes")


def _unbrotlied(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Yield what size bytes of brotli hold."""
    import brotli

    reader = brotli.Decompressor()
    for packed in pieces:
        try:
            piece = reader.process(packed, output_buffer_limit=WHOLE_BYTES)
            while piece:
                yield piece
                piece = b"" if reader.is_finished() else reader.process(b"", output_buffer_limit=WHOLE_BYTES)
        except brotli.error as error:
            raise DecodeError("brotli data is corrupt or has bytes behind its end") from error
    if not reader.is_finished():
        raise DecodeError(f"brotli data is cut off after {size} bytes")


def _as_stored(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    return pieces


_DECODERS: dict[bytes, Callable[[Iterator[bytes], int], Iterator[bytes]]] = {
    b"": _as_stored,
    b"gzip": partial(_inflated, "gzip", 31),
    b"zlib": partial(_inflated, "zlib", 15),
    b"br": _unbrotlied,
}


async def _decode_rest(pieces: Iterator[bytes]) -> AsyncGenerator[Bytes, None]:
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece


def _take(pieces: Iterator[bytes]) -> tuple[bytes, bool]:
    """Return what pieces give, and whether that is all; when not, it is the first 8 MiB or a little more."""
    taken = bytearray()
    for piece in pieces:
        taken += piece
        if len(taken) > _WHOLE_DECODED_BYTES:
            return bytes(taken), False
    return bytes(taken), True


def _span_cached(descriptor: int, span: Span) -> bytearray:
    buffer = bytearray(span[1] - span[0])
    if _read_without_waiting(descriptor, buffer, span[0]) < len(buffer):
        raise BlockingIOError(errno.EAGAIN, "the page cache does not have all of it")
    return buffer


def _read_without_waiting(descriptor: int, buffer: bytearray, offset: int) -> int:
    """Read what the page cache has and return its bytes, 0 when reading would wait."""
    if _NO_WAIT is None:
        return 0
    try:
        return os.preadv(descriptor, [buffer], offset, _NO_WAIT)
    except OSError as error:
        if error.errno in _WOULD_WAIT:
            return 0
        raise


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
