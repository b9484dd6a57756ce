"""Small files that unpack to as much as one likes, made without unpacking them."""

import struct
import zlib

import brotli
from isal import isal_zlib

PIECE = 1 << 20
"""Bytes of zeros that are repeated."""


def gzip_of_zeros(pieces: int) -> bytes:
    """Return one gzip member that unpacks to pieces MiB of zeros; it is about a thousandth of that."""
    crc = 0
    for _ in range(pieces):
        crc = isal_zlib.crc32(bytes(PIECE), crc)
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + deflated(pieces) + struct.pack("<II", crc, pieces * PIECE & 0xFFFFFFFF)


def zlib_of_zeros(pieces: int) -> bytes:
    """Return the same as a zlib stream."""
    # Adler-32 of n zeros: the sum of bytes stays 1, the sum of sums is n.
    return b"\x78\x01" + deflated(pieces) + struct.pack(">HH", pieces * PIECE % 65521, 1)


def deflated(pieces: int) -> bytes:
    """Return the same as a deflate stream alone."""
    packer = zlib.compressobj(9, wbits=-15)
    # After a full flush nothing refers to what was before: the same bytes stand for the same zeros again.
    block = packer.compress(bytes(PIECE)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * pieces + b"\x03\x00"


def brotli_of_zeros(pieces: int) -> bytes:
    """Return the same as brotli."""
    packer = brotli.Compressor(quality=1)
    return b"".join(packer.process(bytes(PIECE)) for _ in range(pieces)) + packer.finish()


def png(width: int, height: int, kind: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of 8 bits a sample. kind: its colour type. chunks: names and contents, between the header and the end."""
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    made = ((b"IHDR", header), *chunks, (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in made
    )
