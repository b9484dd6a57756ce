"""Decompression bombs as targets: each is refused, or is read within the memory that any small file may take."""

import gzip
import io
import json
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from app.data.body import decoded_pieces
from converters.errors import ConverterError
from converters.sources.opening import open_source
from converters.sources.source import SourceOptions
from formats import gzip as packing
from formats.chunks import ChunkFormat, decode_chunk
from formats.errors import FormatError
from formats.grid import Box
from formats.sharding.lookup import parse_minishard_index
from tests.security import packed
from tests.security.amount import cases
from tests.security.decoders import SHAPE, SHARDING
from tests.security.mutations import Mutation
from tests.security.target import Target

_PIECES = cases(700, 2000)
"""MiB of zeros: more than the memory that is left."""
_WIDTH, _HEIGHT = SHAPE[0], SHAPE[1] * SHAPE[2]
_PIXELS = bytes((_WIDTH + 1) * _HEIGHT)


def _always(make: Callable[[], bytes]) -> Mutation:
    return lambda samples, random: make()


def _chunk(encoding: str) -> Callable[[bytes], object]:
    return lambda data: decode_chunk(data, SHAPE, ChunkFormat(encoding, "uint8"))


def _png_of(*chunks: tuple[bytes, bytes], width: int = _WIDTH, height: int = _HEIGHT) -> bytes:
    return packed.png(width, height, 0, *chunks)


def _text(name: bytes) -> tuple[bytes, bytes]:
    """Return a chunk of a PNG with packed text, or a colour profile, of 2 GiB."""
    begin = b"x\0\0\0\0\0" if name == b"iTXt" else b"x\0\0"
    if name == b"iTXt":
        begin = b"x\0\1\0\0\0"
    return name, begin + packed.zlib_of_zeros(_PIECES)


def _jpeg_of_scans() -> bytes:
    """Return a progressive JPEG with its last scan ten thousand times."""
    file = io.BytesIO()
    Image.new("L", (_WIDTH, _HEIGHT), 99).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * 10_000 + data[-2:]


def _jpeg_of_size(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (_WIDTH, _HEIGHT)).save(file, "JPEG")
    data = bytearray(file.getvalue())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _jxl_of_size() -> bytes:
    # SizeHeader: not small, 30 bits of height and of width, all set.
    bits = 0 | 3 << 1 | ((1 << 30) - 1) << 3 | 0 << 33 | 3 << 36 | ((1 << 30) - 1) << 38
    return b"\xff\x0a" + bits.to_bytes(9, "little") + bytes(64)


def _jxl_in_parts() -> bytes:
    """Return a container whose first part of the codestream ends before its size does."""

    def box(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", 8 + len(data)) + kind + data

    stream = _jxl_of_size()
    parts = box(b"jxlp", struct.pack(">I", 0) + stream[:2]) + box(b"jxlp", struct.pack(">I", 1 | 1 << 31) + stream[2:])
    return b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"ftyp", b"jxl \0\0\0\0jxl ") + parts


def _server(coding: bytes) -> Callable[[bytes], object]:
    def read(data: bytes) -> None:
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            total = sum(len(piece) for piece in decoded_pieces(file.fileno(), (0, len(data)), coding))
        assert total == _PIECES << 20

    return read


def _npy_header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": True, "shape": shape})
    return file.getvalue()


def _npz() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive, archive.open("raw.npy", "w") as member:
        member.write(_npy_header((_PIECES, 1024, 1024)))
        for _ in range(_PIECES):
            member.write(bytes(1 << 20))
    return file.getvalue()


def _nrrd() -> bytes:
    head = f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: {_PIECES} 1024 1024\nencoding: gzip\nspacings: 1 1 1\n\n"
    return head.encode() + packed.gzip_of_zeros(_PIECES)


def _nifti() -> bytes:
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((_PIECES, 1024, 1024))
    header.set_xyzt_units("mm")
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    packer = gzip.compress(header.binaryblock + bytes(4), mtime=0)
    return packer + packed.gzip_of_zeros(_PIECES)


def _source(name: str) -> Callable[[bytes], object]:
    def read(data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.write_bytes(data)
            source = open_source(path, SourceOptions(resolution=(1.0, 1.0, 1.0)))
            assert source.shape == (_PIECES, 1024, 1024)
            assert not source.read(Box((0, 0, 0), (64, 64, 64))).any()

    return read


def _chunk_of_too_much(folder: Path, kind: str) -> Path:
    """Write an array of 64 x 64 x 64 bytes of which a chunk unpacks to far more, for the library that reads it to decide."""
    path = folder / f"a.{kind}"
    if kind == "zarr":
        path.mkdir()
        told = {"zarr_format": 2, "shape": [64] * 3, "chunks": [64] * 3, "dtype": "|u1", "compressor": {"id": "gzip", "level": 5}}
        (path / ".zarray").write_text(json.dumps({**told, "fill_value": 0, "order": "C", "filters": None}))
        (path / "0.0.0").write_bytes(packed.gzip_of_zeros(_PIECES))
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            stored = file.create_dataset("raw", shape=(64, 64, 64), chunks=(64, 64, 64), dtype="u1", compression="gzip")
            stored.id.write_direct_chunk((0, 0, 0), packed.zlib_of_zeros(_PIECES))
    else:
        strip = packed.zlib_of_zeros(_PIECES)
        # Tags: width, height, bits, deflate, black is zero, begin, rows and bytes of the only strip.
        tags = ((256, 64), (257, 64), (258, 8), (259, 8), (262, 1), (273, 8), (278, 64), (279, len(strip)))
        directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + directory + bytes(4))
    return path


def _read_chunk_of_too_much(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = open_source(_chunk_of_too_much(Path(folder), data.decode()), SourceOptions(resolution=(1.0, 1.0, 1.0)))
        source.read(Box((0, 0, 0), source.shape))
    raise AssertionError("it was read")


_FORMATS, _SOURCES = (FormatError,), (ConverterError,)
_KINDS: tuple[tuple[str, Callable[[bytes], object], Callable[[], bytes], tuple[type[Exception], ...]], ...] = (
    (
        "png of more pixels",
        _chunk("png"),
        lambda: _png_of((b"IDAT", packed.zlib_of_zeros(64)), width=1 << 30, height=1 << 30),
        _FORMATS,
    ),
    ("png of more data", _chunk("png"), lambda: _png_of((b"IDAT", packed.zlib_of_zeros(_PIECES))), _FORMATS),
    *(
        (
            f"png of much {name.decode()}",
            _chunk("png"),
            lambda name=name: _png_of(_text(name), (b"IDAT", packed.zlib_of_zeros(1))),
            _FORMATS,
        )
        for name in (b"zTXt", b"iTXt", b"iCCP")
    ),
    ("jpeg of more pixels", _chunk("jpeg"), lambda: _jpeg_of_size(65500, 65500), _FORMATS),
    ("jpeg of scans", _chunk("jpeg"), _jpeg_of_scans, _FORMATS),
    ("jxl of more pixels", _chunk("jxl"), _jxl_of_size, _FORMATS),
    ("jxl in parts", _chunk("jxl"), _jxl_in_parts, _FORMATS),
    ("gzip of a limit", lambda data: packing.decompress(data, 1 << 20), lambda: packed.gzip_of_zeros(_PIECES), _FORMATS),
    ("minishard index", lambda data: parse_minishard_index(data, SHARDING), lambda: packed.gzip_of_zeros(_PIECES), _FORMATS),
    ("gzip of the server", _server(b"gzip"), lambda: packed.gzip_of_zeros(_PIECES), ()),
    ("zlib of the server", _server(b"zlib"), lambda: packed.zlib_of_zeros(_PIECES), ()),
    ("brotli of the server", _server(b"br"), lambda: packed.brotli_of_zeros(_PIECES), ()),
    ("chunk of a zarr", _read_chunk_of_too_much, lambda: b"zarr", _SOURCES),
    ("chunk of hdf5", _read_chunk_of_too_much, lambda: b"h5", _SOURCES),
    ("strip of a tiff", _read_chunk_of_too_much, lambda: b"tif", _SOURCES),
    ("npz", _source("a.npz"), _npz, _SOURCES),
    ("nrrd", _source("a.nrrd"), _nrrd, _SOURCES),
    ("nifti", _source("a.nii.gz"), _nifti, _SOURCES),
)

TARGETS = tuple(Target(name, lambda: [], read, _always(make), refuses) for name, read, make, refuses in _KINDS)
