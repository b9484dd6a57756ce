"""Reading without holding up the event loop, and gzip that is not trusted."""

import asyncio
import errno
import gzip
import os
import random
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.data import body
from app.data.body import PIECE_BYTES, WHOLE_BYTES, cached_span, decoded_pieces, read_cached, read_pieces, read_span
from app.data.ranges import Part, Span
from formats.errors import DecodeError

CONTENT = random.Random(1).randbytes(300_000)
Preadv = Callable[..., int]


@pytest.fixture
def descriptor(tmp_path: Path) -> Any:
    (tmp_path / "file").write_bytes(CONTENT)
    with (tmp_path / "file").open("rb") as file:
        yield file.fileno()


def cold(error: int | None, cached: int = 0) -> Preadv:
    """Return a preadv that has only so many bytes without waiting, and then fails with error."""
    real = os.preadv

    def preadv(descriptor: int, buffers: Sequence[Any], offset: int, flags: int = 0) -> int:
        if not flags:
            assert threading.current_thread() is not threading.main_thread(), "the event loop waits for the disk"
            return real(descriptor, buffers, offset)
        if error is not None:
            raise OSError(error, os.strerror(error))
        return real(descriptor, [memoryview(buffers[0])[:cached]], offset)

    return preadv


@pytest.mark.parametrize(
    "preadv",
    [cold(errno.EAGAIN), cold(errno.EOPNOTSUPP), cold(errno.ENOSYS), cold(None, 1), cold(None, 299_999), cold(None, 300_000)],
)
def test_what_is_not_cached_is_read_in_a_thread(descriptor: int, monkeypatch: pytest.MonkeyPatch, preadv: Preadv) -> None:
    monkeypatch.setattr(os, "preadv", preadv)
    assert asyncio.run(read_span(descriptor, (0, 300_000))) == CONTENT
    assert asyncio.run(read_span(descriptor, (17, 4_096))) == CONTENT[17:4_096]


def test_it_is_read_in_a_thread_where_the_system_cannot_read_without_waiting(
    descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "_NO_WAIT", None)
    monkeypatch.setattr(os, "preadv", cold(errno.EIO))
    assert asyncio.run(read_span(descriptor, (5, 300_000))) == CONTENT[5:]


def test_it_is_read_where_the_system_has_no_preadv(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "_NO_WAIT", None)
    monkeypatch.delattr(os, "preadv")
    assert asyncio.run(read_span(descriptor, (5, 300_000))) == CONTENT[5:]


def test_an_error_of_the_disk_is_an_error(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "preadv", cold(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        asyncio.run(read_span(descriptor, (0, 10)))


def test_a_file_that_became_shorter_is_an_error_and_no_zeros(descriptor: int) -> None:
    with pytest.raises(OSError, match="became shorter"):
        asyncio.run(read_span(descriptor, (299_000, 301_000)))


def test_what_is_in_memory_is_read_at_once(descriptor: int) -> None:
    os.pread(descriptor, 300_000, 0)
    assert read_cached(descriptor, [(0, 300_000)]) == CONTENT
    assert read_cached(descriptor, [b"head", (7, 9), b"tail"]) == b"head" + CONTENT[7:9] + b"tail"
    assert read_cached(descriptor, []) == b""


@pytest.mark.parametrize("preadv", [cold(errno.EAGAIN), cold(errno.EOPNOTSUPP), cold(None, 299_999)])
def test_what_is_not_in_memory_would_wait(descriptor: int, monkeypatch: pytest.MonkeyPatch, preadv: Preadv) -> None:
    monkeypatch.setattr(os, "preadv", preadv)
    with pytest.raises(BlockingIOError):
        read_cached(descriptor, [(0, 300_000)])


def test_what_is_large_would_wait(descriptor: int) -> None:
    with pytest.raises(BlockingIOError):
        read_cached(descriptor, [(0, WHOLE_BYTES), b"x"])


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(0, 32_768)], (0, 32_768)),
        ([(5, 5 + WHOLE_BYTES)], (5, 5 + WHOLE_BYTES)),
        ([(0, 32_767)], None),
        ([(0, WHOLE_BYTES + 1)], None),
        ([(0, 100_000), (100_000, 200_000)], None),
        ([b"x" * 100_000], None),
        ([], None),
    ],
)
def test_one_span_of_a_suitable_size_goes_by_sendfile(
    monkeypatch: pytest.MonkeyPatch, parts: list[Part], expected: Span | None
) -> None:
    monkeypatch.setattr(body, "_is_cached", lambda *arguments: True)
    assert cached_span(-1, parts) == expected
    monkeypatch.setattr(body, "_is_cached", lambda *arguments: False)
    assert cached_span(-1, parts) is None


def test_pieces_are_the_parts_in_order_and_none_is_large(tmp_path: Path) -> None:
    content = random.Random(2).randbytes(2 * WHOLE_BYTES + 77)
    path = tmp_path / "large"
    path.write_bytes(content)

    async def read() -> list[bytes]:
        with path.open("rb") as file:
            return [bytes(piece) async for piece in read_pieces(file.fileno(), [b"head", (3, len(content)), b"tail", (0, 2)])]

    pieces = asyncio.run(read())
    assert b"".join(pieces) == b"head" + content[3:] + b"tail" + content[:2]
    assert max(map(len, pieces)) == PIECE_BYTES


def decoded(folder: Path, packed: bytes, coding: bytes = b"gzip") -> list[bytes]:
    """Decode a span in the middle of a file."""
    path = folder / "packed"
    path.write_bytes(b"before" + packed + b"behind")
    with path.open("rb") as file:
        return list(decoded_pieces(file.fileno(), (6, 6 + len(packed)), coding))


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("size", [0, 1, 1_000, WHOLE_BYTES - 1, WHOLE_BYTES, WHOLE_BYTES + 1, 3_500_000])
def test_gzip_is_decoded_in_pieces(tmp_path: Path, size: int, level: int) -> None:
    for content in (bytes(size), random.Random(size).randbytes(size)):
        pieces = decoded(tmp_path, gzip.compress(content, level))
        assert b"".join(pieces) == content
        assert all(len(piece) <= WHOLE_BYTES for piece in pieces)


GOOD = gzip.compress(CONTENT, 1)


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (b"", "cut off after 0 bytes"),
        (GOOD[:5], "cut off"),
        (GOOD[:-1], "cut off"),
        (GOOD[: len(GOOD) // 2], "cut off"),
        (GOOD[:-6] + bytes([GOOD[-6] ^ 1]) + GOOD[-5:], "corrupt"),
        (GOOD[:-1] + b"\xff", "corrupt"),
        (CONTENT, "corrupt"),
        (GOOD + b"x", "bytes behind its end"),
        (GOOD + GOOD, "bytes behind its end"),
    ],
    ids=["empty", "header", "trailer", "half", "checksum", "length", "none", "more", "twice"],
)
def test_bad_gzip_is_an_error(tmp_path: Path, packed: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decoded(tmp_path, packed)


def test_bytes_behind_the_end_are_seen_where_a_piece_ends(tmp_path: Path) -> None:
    content = bytes(WHOLE_BYTES)
    stored = next(
        packed for cut in range(80, 200) if len(packed := gzip.compress(content[cut:], 0)) == WHOLE_BYTES
    )  # stored blocks: every length occurs
    with pytest.raises(DecodeError, match="bytes behind its end"):
        decoded(tmp_path, stored + b"x")


@pytest.mark.parametrize("size", [0, 1, 1_000, WHOLE_BYTES - 1, WHOLE_BYTES, WHOLE_BYTES + 1, 3_500_000])
def test_brotli_is_decoded_in_pieces(tmp_path: Path, size: int) -> None:
    for content in (bytes(size), random.Random(size).randbytes(size)):
        pieces = decoded(tmp_path, brotli.compress(content, quality=1), b"br")
        assert b"".join(pieces) == content
        # Its buffers are powers of two that grow, so that a limit is overstepped by a part of the last.
        assert all(len(piece) <= 2 * WHOLE_BYTES for piece in pieces)


GOOD_BROTLI = brotli.compress(CONTENT)


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (b"", "cut off after 0 bytes"),
        (GOOD_BROTLI[:-1], "cut off"),
        (GOOD_BROTLI[: len(GOOD_BROTLI) // 2], "cut off"),
        (b"\xff" * 100, "corrupt"),
        (GOOD_BROTLI + b"x", "bytes behind its end"),
    ],
    ids=["empty", "last byte", "half", "none", "more"],
)
def test_bad_brotli_is_an_error(tmp_path: Path, packed: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decoded(tmp_path, packed, b"br")


@given(st.binary(max_size=300), st.integers(0, 200), st.integers(1, 255))
def test_a_changed_byte_is_an_error_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, position: int, change: int
) -> None:
    packed = bytearray(gzip.compress(content, 6, mtime=0))
    packed[position % len(packed)] ^= change
    try:
        pieces = decoded(tmp_path_factory.getbasetemp(), bytes(packed))
    except DecodeError:
        return
    assert b"".join(pieces) == content
