"""What a Draco stream tells of its size (google.github.io/draco/spec, bitstream 2.2), looked at before it is decoded.

The library makes room for all that the stream tells first: 30 bytes could ask for all memory that there is.
"""

from formats.errors import DecodeError

_MOST = 1 << 23
"""Triangles, or vertices, of a fragment: several times what the viewer's own decoder has room for."""

_MAGIC = b"DRACO"
_VERSION = (2, 2)
"""What has been written since 2018; before, counts stood otherwise."""
_MESH = 1
_EDGEBREAKER = 1
_HAS_METADATA = 0x80
"""In the second byte of the flags."""
_HEADER_BYTES = 11
_DEEPEST = 32


def check_counts(data: bytes) -> None:
    """Raise DecodeError for what is no Draco mesh of this bitstream, and for one of more triangles or vertices than are taken."""
    if not data.startswith(_MAGIC) or len(data) < _HEADER_BYTES:
        raise DecodeError(f"a fragment of {len(data)} bytes that is no Draco mesh (it has no header of one)")
    if data[7] != _MESH:
        raise DecodeError(f"a fragment of {len(data)} bytes with points and no triangles")
    if (data[5], data[6]) != _VERSION:
        raise DecodeError(f"a fragment of Draco's bitstream {data[5]}.{data[6]}, expected 2.2")
    try:
        place = _after_metadata(data, _HEADER_BYTES) if data[10] & _HAS_METADATA else _HEADER_BYTES
        # Before the counts of the two ways to tell triangles, one has the kind of its own coding.
        first, place = _number(data, place + 1 if data[8] == _EDGEBREAKER else place)
        second, _ = _number(data, place)
    except IndexError:
        raise DecodeError(f"a fragment of {len(data)} bytes that is no Draco mesh (it is cut off)") from None
    if max(first, second) > _MOST:
        raise DecodeError(f"a fragment of {max(first, second)} triangles or vertices, expected no more than {_MOST}")


def _number(data: bytes, place: int) -> tuple[int, int]:
    """Return a number of 7 bits a byte, the lowest first, and where it ends. Raises IndexError, DecodeError."""
    number = shift = 0
    while data[place] & 0x80:
        number |= (data[place] & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if shift > 63:
            raise DecodeError("a fragment that is no Draco mesh (it has a number of more than 64 bits)")
    return number | data[place] << shift, place + 1


def _after_metadata(data: bytes, place: int) -> int:
    attributes, place = _number(data, place)
    for _ in range(attributes):
        _, place = _number(data, place)
        place = _after_element(data, place, 0)
    return _after_element(data, place, 0)


def _after_element(data: bytes, place: int, depth: int) -> int:
    """Return where an element of metadata ends: entries, each a name and bytes, then elements with a name. Raises IndexError."""
    if depth > _DEEPEST:
        raise DecodeError("a fragment that is no Draco mesh (its metadata is too deep)")
    entries, place = _number(data, place)
    for _ in range(entries):
        length, place = _number(data, place + 1 + data[place])
        place += length
    elements, place = _number(data, place)
    for _ in range(elements):
        place = _after_element(data, place + 1 + data[place], depth + 1)
    return place
