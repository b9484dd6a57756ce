"""Objects that are gzip without a mark: copied out of a bucket whose Content-Encoding said so, the mark left behind."""

from formats.errors import DecodeError
from formats.gzip import decompress

_GZIP = b"\x1f\x8b\x08"


def unpacked(data: bytes, limit: int) -> bytes:
    """Return what data holds where the whole of it is one sound gzip member of at most limit bytes, else data itself.

    No encoding of chunks begins like gzip but raw, and no voxels end in a gzip checksum of themselves.
    """
    if not data.startswith(_GZIP):
        return data
    try:
        return decompress(data, limit)
    except DecodeError:
        return data
