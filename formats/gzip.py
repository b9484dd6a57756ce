"""Real gzip (RFC 1952), as the viewer's DecompressionStream("gzip") wants it: never a bare zlib or deflate stream."""

from isal import igzip_lib, isal_zlib

from formats.errors import DecodeError

_LEVEL = 2
_GZIP_WINDOW = 31
"""zlib's wbits for a 32 KiB window inside a gzip header and trailer."""
_SHORTEST_WINDOW = 1
"""Bits of the distance over which repetitions are looked for. Noise has none: with the shortest window it takes half the time."""
_BEGIN = 4
"""Bytes that are packed before the others. ISA-L's loop for levels 1 and 2 files the third byte of a fresh stream under a hash of
the stream's address (igzip_icf_body_h1_gr_bt.asm, .write_first_byte): another process would pack the same data into other bytes.
After a flush of more than three bytes the stream is not fresh any more; that costs about ten bytes."""
_SAMPLE = 1 << 13
_SAMPLED_FROM = 8 * _SAMPLE
_WORTH_IT = 1.005
"""How much larger a sample may become with the shortest window for it to be taken."""
_Corrupt: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # isal's stub calls the class an instance


def compress(data: bytes | memoryview) -> bytes:
    """Return data as one gzip member without time or name: the same bytes for the same data on the same kind of processor."""
    view = memoryview(data)
    return _pack_noise(view) if _is_noise(view) else _pack(view)


def _is_noise(data: memoryview) -> bool:
    """Tell from 8 KiB of the middle whether looking for repetitions makes data any smaller."""
    # What repeats at the very begin is left to _pack, whose result depends on the data alone (see _BEGIN).
    if len(data) < _SAMPLED_FROM or data[1:3] == data[3:5]:
        return False
    begin = len(data) // 2
    sample = data[begin : begin + _SAMPLE]
    return len(_pack_noise(sample)) <= _WORTH_IT * len(_pack(sample))


def _pack(data: memoryview) -> bytes:
    packer = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP_WINDOW)
    begin = packer.compress(data[:_BEGIN]), packer.flush(isal_zlib.Z_SYNC_FLUSH)
    return b"".join((*begin, packer.compress(data[_BEGIN:]), packer.flush()))


def _pack_noise(data: memoryview) -> bytes:
    packed: bytes = igzip_lib.compress(data, _LEVEL, igzip_lib.COMP_GZIP, igzip_lib.MEM_LEVEL_EXTRA_LARGE, _SHORTEST_WINDOW)
    return packed


def decompress(data: bytes, limit: int) -> bytes:
    """Return what one gzip member holds.

    limit: bytes; never more than one byte beyond it is unpacked.
    Raises DecodeError for what is no gzip, is corrupt or cut off, has bytes behind its end, or unpacks to more than limit.
    """
    reader = isal_zlib.decompressobj(_GZIP_WINDOW)
    try:
        unpacked: bytes = reader.decompress(data, limit + 1)
    except _Corrupt as error:
        raise DecodeError(f"gzip data of {len(data)} bytes is corrupt: {error}") from error
    if len(unpacked) > limit:
        raise DecodeError(f"gzip data of {len(data)} bytes unpacks to more than the {limit} bytes expected")
    if not reader.eof:
        raise DecodeError(f"gzip data of {len(data)} bytes is cut off after {len(unpacked)} unpacked bytes")
    if reader.unused_data:
        raise DecodeError(f"gzip data has {len(reader.unused_data)} bytes behind its end, expected one gzip member and no more")
    return unpacked
