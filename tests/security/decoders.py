"""The decoders of formats, and what the server unpacks, as targets."""

import asyncio
import gzip
import io
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import brotli
import numpy as np
from PIL import Image

from app.data.body import decoded_pieces
from app.data.lookup import DiskFiles, Stored
from app.flat.files import FlatFiles
from app.flat.unsharded import unsharded
from converters.errors import ConverterError
from converters.meshes.reading import open_meshes
from converters.skeletons.reading import open_skeletons
from formats import gzip as packing
from formats.chunks import ChunkFormat, decode_chunk, encode_chunk
from formats.errors import DecodeError, FormatError, InfoError
from formats.grid import Grid, chunk_name, compressed_morton_code
from formats.info import Scale, Sharding, VolumeInfo, encode_volume_info, parse_volume_info
from formats.meshes import legacy, multires
from formats.meshes.info import LegacyMeshInfo, MultiresMeshInfo, encode_mesh_info, parse_mesh_info
from formats.meshes.mesh import Mesh
from formats.segment_properties import parse_segment_properties
from formats.sharding.frame import shard_frame
from formats.sharding.ids import places, shard_name
from formats.sharding.lookup import parse_minishard_index, read_data, read_minishard_index
from formats.skeletons.encoded import decode_skeleton, encode_skeleton
from formats.skeletons.info import SkeletonInfo, VertexAttribute, encode_skeleton_info, parse_skeleton_info
from formats.skeletons.skeleton import Skeleton
from formats.skeletons.swc import parse_swc
from tests.security.mutations import any_of, of_bytes, of_json, of_png, of_text, of_words, packed_by_gzip
from tests.security.target import Target

SHAPE = (6, 5, 7)
_BINARY = any_of(of_bytes, of_words)
_FORMAT_ERRORS = (FormatError,)


def _rng() -> np.random.Generator:
    return np.random.default_rng(7)


# Chunks.

CHUNK_FORMATS = {
    "raw uint16": ChunkFormat("raw", "uint16", 2),
    "jpeg grey": ChunkFormat("jpeg", "uint8"),
    "jpeg colour": ChunkFormat("jpeg", "uint8", 3),
    "png grey": ChunkFormat("png", "uint8"),
    "png 16 bits": ChunkFormat("png", "uint16"),
    "png colour": ChunkFormat("png", "uint8", 3),
    "png colour, alpha": ChunkFormat("png", "uint8", 4),
    "jxl": ChunkFormat("jxl", "uint8"),
    "compressed_segmentation uint32": ChunkFormat("compressed_segmentation", "uint32", 1, (4, 4, 4)),
    "compressed_segmentation uint64": ChunkFormat("compressed_segmentation", "uint64", 2, (3, 2, 8)),
    "compresso uint8": ChunkFormat("compresso", "uint8"),
    "compresso uint64": ChunkFormat("compresso", "uint64"),
}


def _chunks(chunk_format: ChunkFormat) -> list[bytes]:
    """Return chunks of noise, of few values and of one, and where a picture can be otherwise than ours, such a one."""
    largest = min(np.iinfo(chunk_format.dtype).max, 1 << 40)
    shape = (*SHAPE, chunk_format.num_channels)
    contents = [
        _rng().integers(0, largest, shape).astype(chunk_format.dtype),
        _rng().integers(0, 3, (2, 2, 2, 1)).repeat(4, 0).repeat(4, 1).repeat(4, 2)[:6, :5, :7].astype(chunk_format.dtype)
        * np.ones(chunk_format.num_channels, chunk_format.dtype),
        np.zeros(shape, chunk_format.dtype),
    ]
    return [encode_chunk(voxels, chunk_format) for voxels in contents] + _by_pillow(chunk_format)


def _by_pillow(chunk_format: ChunkFormat) -> list[bytes]:
    """Return pictures with what our encoders never write: interlaced, with a palette, progressive."""
    size = (SHAPE[0], SHAPE[1] * SHAPE[2])
    made: list[bytes] = []
    if chunk_format.encoding == "jpeg":
        kind = "L" if chunk_format.num_channels == 1 else "RGB"
        made += [_saved(Image.new(kind, size, 90 if kind == "L" else (9, 90, 200)), "JPEG", progressive=True, optimize=True)]
    if chunk_format == CHUNK_FORMATS["png colour"]:
        made += [_saved(Image.new("P", size, 3), "PNG"), _saved(Image.linear_gradient("L").convert("RGB").resize(size), "PNG")]
    return made


def _saved(image: Image.Image, kind: str, **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def _chunk_reader(chunk_format: ChunkFormat) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        voxels = decode_chunk(data, SHAPE, chunk_format)
        assert voxels.shape == (*SHAPE, chunk_format.num_channels), voxels.shape
        assert voxels.dtype == chunk_format.dtype, voxels.dtype

    return read


def _chunk_targets() -> list[Target]:
    return [
        Target(
            name,
            lambda chunk_format=chunk_format: _chunks(chunk_format),  # type: ignore[misc]
            _chunk_reader(chunk_format),
            any_of(of_png, of_png, _BINARY) if chunk_format.encoding == "png" else _BINARY,
            _FORMAT_ERRORS,
        )
        for name, chunk_format in CHUNK_FORMATS.items()
    ]


# Packed streams.

_TEXT = b"".join(b"%d voxels, " % n for n in range(3000))
_LIMIT = 1 << 16


def _unpack(data: bytes) -> None:
    assert len(packing.decompress(data, _LIMIT)) <= _LIMIT


def _server_reader(coding: bytes) -> Callable[[bytes], None]:
    """Return what unpacks a stored file as the server does for a client that takes no packed ones."""

    def read(data: bytes) -> None:
        descriptor = os.memfd_create("stored")
        try:
            os.write(descriptor, data)
            total = 0
            for piece in decoded_pieces(descriptor, (0, len(data)), coding):
                assert 0 < len(piece) <= 2 << 20, len(piece)
                total += len(piece)
                if total > 64 << 20:
                    break
        finally:
            os.close(descriptor)

    return read


_PACKED: Mapping[bytes, Callable[[], list[bytes]]] = {
    b"gzip": lambda: [
        gzip.compress(_TEXT, mtime=0),
        packing.compress(_TEXT),
        packing.compress(b""),
        gzip.compress(bytes(1 << 20)),
    ],
    b"zlib": lambda: [zlib.compress(_TEXT), zlib.compress(b""), zlib.compress(bytes(1 << 20))],
    b"br": lambda: [brotli.compress(_TEXT), brotli.compress(b""), brotli.compress(bytes(1 << 20))],
}

# JSON.

SHARDING = Sharding(1, 2, 1, "identity", "gzip", "gzip")
HASHED = Sharding(1, 2, 1, "murmurhash3_x86_128", "raw", "raw")
GRID = Grid((-7, 5, 64), (30, 33, 17), (8, 16, 8))
PROPERTIES = json.dumps(
    {
        "@type": "neuroglancer_segment_properties",
        "inline": {
            "ids": ["2", "17", "18446744073709551615"],
            "properties": [
                {"id": "name", "type": "label", "values": ["a", "b", "c"]},
                {"id": "kinds", "type": "tags", "tags": ["x", "y"], "tag_descriptions": ["1", "2"], "values": [[0], [0, 1], []]},
                {"id": "size", "type": "number", "data_type": "float32", "values": [1, 2.5, 3], "description": "of it"},
            ],
        },
    }
).encode()
ATTRIBUTES = (VertexAttribute("radius", "float32"), VertexAttribute("colour", "uint8", 3))


@cache
def volume_info(sharding: Sharding | None = SHARDING) -> bytes:
    """Return the info of a volume with two scales."""
    first = Scale("8_8_8", GRID.size, (8.0, 8.0, 8.5), (GRID.chunk_size,), "raw", GRID.voxel_offset, sharding=sharding)
    second = Scale(
        "s/16", (15, 17, 17), (16.0, 16.0, 8.5), ((8, 8, 8), (4, 4, 4)), "compressed_segmentation", (0, 0, 0), (8, 8, 8)
    )
    return encode_volume_info(
        VolumeInfo("segmentation", "uint32", 1, (first, second), "mesh", "skeletons", "names", {"rois": [3]})
    )


@cache
def mesh_infos() -> list[bytes]:
    return [
        encode_mesh_info(LegacyMeshInfo()),
        encode_mesh_info(MultiresMeshInfo(16)),
        encode_mesh_info(MultiresMeshInfo(10, sharding=HASHED)),
    ]


@cache
def skeleton_infos() -> list[bytes]:
    drawn = (VertexAttribute("radius", "float32"),)
    return [encode_skeleton_info(SkeletonInfo(ATTRIBUTES[:1])), encode_skeleton_info(SkeletonInfo(drawn, sharding=HASHED))]


def _read_volume_info(data: bytes) -> None:
    info = parse_volume_info(data)
    again = parse_volume_info(encode_volume_info(info))
    assert repr(again.scales) == repr(info.scales)
    for scale in info.scales:
        info.chunk_format(scale)
        scale.grid().cell_of("0-64_0-64_0-64")


def _read_unsharded(data: bytes) -> None:
    told = unsharded(data)
    if told.info is not None:
        json.loads(told.info, parse_constant=_refuse)
    for scale in filter(None, told.scales.values()):
        scale.chunk_id("0-64_0-64_0-64")
        scale.chunk_id(chunk_name(scale.grid.chunk_box((0, 0, 0))))


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


# Shards.


def shards(entries: Mapping[int, bytes], sharding: Sharding) -> dict[str, bytes]:
    """Return the files of shards that hold entries."""
    if sharding.data_encoding == "gzip":
        entries = {number: gzip.compress(data, mtime=0) for number, data in entries.items()}
    return framed(entries, sharding)


def framed(stored: Mapping[int, bytes], sharding: Sharding) -> dict[str, bytes]:
    """Return the files of shards that hold entries which are packed already."""
    numbers = np.array(list(stored), np.uint64)
    found, files = places(numbers, sharding)[0], {}
    for shard in np.unique(found).tolist():
        ids = numbers[found == shard]
        data = [stored[number] for number in ids.tolist()]
        frame = shard_frame(ids, np.array([len(one) for one in data]), sharding)
        files[shard_name(shard, sharding)] = frame.head + b"".join(data[place] for place in frame.order) + frame.tail
    return files


@cache
def chunk_shards() -> dict[str, bytes]:
    codes = [compressed_morton_code(cell, GRID.shape) for cell in GRID.cells()]
    return shards({code: b"chunk %d " % code * 20 for code in codes}, SHARDING)


def _minishard_indices() -> list[bytes]:
    rows = np.array([[1, 2, 5], [0, 0, 7], [10, 20, 0]], "<u8").tobytes()
    return [gzip.compress(rows, mtime=0), gzip.compress(b"", mtime=0)]


def _read_minishard_index(data: bytes) -> None:
    index = parse_minishard_index(data, SHARDING)
    for number in (0, 1, 8, (1 << 64) - 1):
        stretch = index.find(number)
        assert stretch is None or (stretch.start >= 0 and stretch.length >= 0)


def _read_shard(data: bytes) -> None:
    def get_range(name: str, start: int, length: int) -> bytes | None:
        assert start >= 0
        assert 0 <= length <= 1 << 25
        return data[start : start + length]

    for minishard in range(4):
        index = read_minishard_index(get_range, (0, minishard), SHARDING)
        for number in [] if index is None else index.ids[:8].tolist():
            stretch = index.find(number)
            read_data(get_range, 0, stretch, SHARDING, 1 << 16)


# What lies in a folder.


class _Folder:
    """A folder in which one file is a wrong one; the others are valid."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="glassine-fuzz-"))
        for name, data in files.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_bytes(data)


def _flat_reader(name: str) -> Callable[[bytes], None]:
    """Return what reads all chunks below /flat, a file of the dataset being a wrong one."""
    folder = cache(
        lambda: _Folder({"a/info": volume_info(), **{f"a/8_8_8/{shard}": data for shard, data in chunk_shards().items()}})
    )
    names = [f"/a/8_8_8/{chunk_name(GRID.chunk_box(cell))}" for cell in list(GRID.cells())[:6]]

    def read(data: bytes) -> None:
        place = folder().path / name
        place.write_bytes(data)
        files = FlatFiles(DiskFiles(str(folder().path)))
        asyncio.run(_read_all(files, ["/a/info", *names]))

    return read


async def _read_all(files: FlatFiles, paths: list[str]) -> None:
    for path in paths:
        try:
            found = await files.find(path)
            if isinstance(found, Stored):
                try:
                    assert found.span[1] <= found.status.st_size
                    for piece in decoded_pieces(found.descriptor, found.span, found.coding):
                        assert len(piece) <= 2 << 20
                finally:
                    os.close(found.descriptor)
        except (OSError, DecodeError):
            continue


def _mesh() -> Mesh:
    corners = np.array([[0, 0, 0], [900, 0, 0], [0, 900, 0], [0, 0, 900]], np.float32)
    return Mesh(corners, np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.uint32))


@cache
def draco_fragments() -> list[bytes]:
    mesh = _mesh()
    numbers = _rng().integers(0, 1 << 16, (60, 3)).astype(np.int32)
    faces = _rng().integers(0, 60, (90, 3)).astype(np.uint32)
    return [multires.encode_draco(mesh.vertices.astype(np.int32), mesh.triangles), multires.encode_draco(numbers, faces)]


@cache
def multires_files() -> dict[str, bytes]:
    fine, coarse = draco_fragments()[0], draco_fragments()[0]
    levels = (
        multires.LevelOfDetail(
            1.0, (0.0, 0.0, 0.0), np.array([[0, 0, 0], [1, 0, 0]], np.uint32), np.array([len(fine)] * 2, np.uint32)
        ),
        multires.LevelOfDetail(2.0, (0.0, 0.0, 0.0), np.array([[0, 0, 0]], np.uint32), np.array([len(coarse)], np.uint32)),
    )
    manifest = multires.encode_manifest(multires.Manifest((100.0, 100.0, 100.0), (0.0, 0.0, 0.0), levels))
    return {"7.index": manifest, "7": fine * 2 + coarse}


def _meshes_reader(files: Callable[[], Mapping[str, bytes]], name: str) -> Callable[[bytes], None]:
    folder = cache(lambda: _Folder(files()))

    def read(data: bytes) -> None:
        (folder().path / name).write_bytes(data)
        reader = open_meshes(folder().path)
        for segment in reader.segments().tolist()[:20]:
            for lod in range(min(4, reader.levels(segment))):
                mesh = reader.read(segment, lod)
                assert not mesh.triangles.size or int(mesh.triangles.max()) < len(mesh.vertices)

    return read


@cache
def legacy_files() -> dict[str, bytes]:
    return {
        "info": mesh_infos()[0],
        "7:0": legacy.encode_manifest(["7:0:0", "7:0:1"]),
        "7:0:0": legacy.encode_fragment(_mesh()),
        "7:0:1": legacy.encode_fragment(_mesh()),
    }


@cache
def skeleton_files() -> dict[str, bytes]:
    skeleton = _skeleton(ATTRIBUTES[:1])
    return {"info": skeleton_infos()[1], **shards({3: skeleton, 1000: skeleton}, HASHED)}


def _skeleton(attributes: tuple[VertexAttribute, ...]) -> bytes:
    numbers = {"radius": np.arange(9, dtype=np.float32)}
    skeleton = Skeleton(_rng().random((9, 3), np.float32), np.array([[n, n + 1] for n in range(8)], np.uint32), numbers)
    encoded = encode_skeleton(skeleton, ATTRIBUTES[:1])
    return encoded + bytes(27) if len(attributes) > 1 else encoded


def _skeletons_reader(name: str) -> Callable[[bytes], None]:
    folder = cache(lambda: _Folder(skeleton_files()))

    def read(data: bytes) -> None:
        (folder().path / name).write_bytes(data)
        reader = open_skeletons(folder().path)
        for segment in reader.segments()[:20]:
            reader.read(segment)

    return read


SWC = """# unit: um
# Meta: {"units": "8 nanometer"}
1 1 0.0 0.0 0.0 3.5 -1
2 3 1.0 2.0 3.0 1.0 1
3 3 2.0 2.5 3.0 NA 2
4 2 5e-1 2.5 3.0 0.5 1
"""


def _read_swc(data: bytes) -> None:
    tracing = parse_swc(data.decode("utf-8", "replace"))
    assert len(tracing.points) == len(tracing.radii) == len(tracing.kinds) == len(tracing.lines)
    tracing.placed(np.eye(4))


def _first_shard() -> str:
    return next(iter(skeleton_files()["info"] and [name for name in skeleton_files() if name != "info"]))


TARGETS: tuple[Target, ...] = (
    *_chunk_targets(),
    Target("gzip of a limit", _PACKED[b"gzip"], _unpack, any_of(of_bytes, packed_by_gzip(of_bytes)), _FORMAT_ERRORS),
    *(
        Target(f"{coding.decode()} of the server", samples, _server_reader(coding), _BINARY, _FORMAT_ERRORS)
        for coding, samples in _PACKED.items()
    ),
    Target("info", lambda: [volume_info(), volume_info(None)], _read_volume_info, of_json, (InfoError,)),
    Target("info without shards", lambda: [volume_info(), *mesh_infos(), *skeleton_infos()], _read_unsharded, of_json, ()),
    Target("info of meshes", mesh_infos, lambda data: encode_mesh_info(parse_mesh_info(data)), of_json, (InfoError,)),
    Target(
        "info of skeletons", skeleton_infos, lambda data: encode_skeleton_info(parse_skeleton_info(data)), of_json, (InfoError,)
    ),
    Target("segment properties", lambda: [PROPERTIES], parse_segment_properties, of_json, (InfoError,)),
    Target("minishard index", _minishard_indices, _read_minishard_index, packed_by_gzip(_BINARY), _FORMAT_ERRORS),
    Target("shard", lambda: list(chunk_shards().values())[:1], _read_shard, _BINARY, _FORMAT_ERRORS),
    Target("flat, its info", lambda: [volume_info()], _flat_reader("a/info"), of_json, ()),
    Target("flat, its shard", lambda: list(chunk_shards().values()), _flat_reader("a/8_8_8/0.shard"), _BINARY, ()),
    Target("legacy manifest", lambda: [legacy_files()["7:0"]], legacy.decode_manifest, of_json, _FORMAT_ERRORS),
    Target("legacy fragment", lambda: [legacy_files()["7:0:0"]], legacy.decode_fragment, _BINARY, _FORMAT_ERRORS),
    Target("multires manifest", lambda: [multires_files()["7.index"]], multires.decode_manifest, _BINARY, _FORMAT_ERRORS),
    Target("draco", draco_fragments, multires.decode_draco, _BINARY, _FORMAT_ERRORS),
    Target(
        "meshes, legacy manifest",
        lambda: [legacy_files()["7:0"]],
        _meshes_reader(legacy_files, "7:0"),
        of_json,
        (ConverterError,),
    ),
    *(
        Target(
            f"meshes, multires {name}",
            lambda name=name: [multires_files()[name]],  # type: ignore[misc]
            _meshes_reader(lambda: {"info": mesh_infos()[1], **multires_files()}, name),
            _BINARY,
            (ConverterError,),
        )
        for name in ("7", "7.index")
    ),
    Target(
        "meshes, info",
        mesh_infos,
        _meshes_reader(lambda: {"info": mesh_infos()[1], **multires_files()}, "info"),
        of_json,
        (ConverterError,),
    ),
    Target("skeleton", lambda: [_skeleton(ATTRIBUTES)], lambda data: decode_skeleton(data, ATTRIBUTES), _BINARY, _FORMAT_ERRORS),
    Target("skeletons, info", skeleton_infos, _skeletons_reader("info"), of_json, (ConverterError,)),
    Target(
        "skeletons, shard",
        lambda: [skeleton_files()[_first_shard()]],
        _skeletons_reader(_first_shard()),
        _BINARY,
        (ConverterError,),
    ),
    Target("swc", lambda: [SWC.encode()], _read_swc, of_text, _FORMAT_ERRORS),
)
