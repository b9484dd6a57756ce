"""The `info` of a volume (docs/datasource/precomputed/volume.md), as strict as the viewer reads it.

Unknown members are kept and written again. `null` is refused: the viewer does not take it for a member left out.
Names of encodings, types and hashes may come in any case, as in the viewer, and are written in lower case.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from formats.chunks.chunk_format import DATA_TYPES, ENCODINGS, ChunkFormat
from formats.errors import InfoError
from formats.grid import Grid, Triple
from formats.members import (
    LARGEST,
    Members,
    UnexpectedError,
    boolean,
    list_of,
    mapping,
    number,
    object_text,
    one_of,
    plain,
    present,
    read_json,
    string,
    whole,
)

VOLUME = "neuroglancer_multiscale_volume"
SHARDED = "neuroglancer_uint64_sharded_v1"

_TYPES = ("image", "segmentation", "unknown")
_HASHES = ("identity", "murmurhash3_x86_128")
_SHARD_ENCODINGS = ("raw", "gzip")


@dataclass(frozen=True)
class Sharding:
    """How a scale's chunks lie in shards (sharded.md, "sharding specification")."""

    preshift_bits: int
    minishard_bits: int
    shard_bits: int
    hash: str = "identity"
    minishard_index_encoding: str = "raw"
    data_encoding: str = "raw"
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Scale:
    """One scale of a volume.

    size, voxel_offset, chunk_sizes: voxels, x, y, z. resolution: nm a voxel, x, y, z.
    extra: members that the format does not name.
    """

    key: str
    size: Triple
    resolution: tuple[float, float, float]
    chunk_sizes: tuple[Triple, ...]
    encoding: str
    voxel_offset: Triple = (0, 0, 0)
    compressed_segmentation_block_size: Triple | None = None
    sharding: Sharding | None = None
    hidden: bool = False
    jpeg_quality: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def grid(self, chunk_size: Triple | None = None) -> Grid:
        """Return the chunks of this scale, of its first chunk size when none is given."""
        return Grid(self.voxel_offset, self.size, chunk_size or self.chunk_sizes[0])


@dataclass(frozen=True)
class VolumeInfo:
    """The info of a volume; type is image, segmentation or unknown.

    mesh, skeletons, segment_properties: folders relative to the info. extra: members that the format does not name.
    """

    type: str
    data_type: str
    num_channels: int
    scales: tuple[Scale, ...]
    mesh: str | None = None
    skeletons: str | None = None
    segment_properties: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def chunk_format(self, scale: Scale) -> ChunkFormat:
        """Return how the chunks of one of the scales are encoded."""
        told = {"block_size": scale.compressed_segmentation_block_size, "jpeg_quality": scale.jpeg_quality}
        given: dict[str, Any] = {name: value for name, value in told.items() if value is not None}
        return ChunkFormat(scale.encoding, self.data_type, self.num_channels, **given)


def parse_volume_info(data: bytes) -> VolumeInfo:
    """Return what the info of a volume tells. Raises InfoError, naming scale and member, for one that the viewer would refuse."""
    members = Members("info", read_json(data))
    if "redirect" in members.left:
        raise InfoError(f"info: redirects to {members.left['redirect']!r}; open that instead")
    kind = members.optional("@type", string, VOLUME)
    if kind != VOLUME:
        raise InfoError(f"info: @type is {kind!r}, expected {VOLUME!r}")
    return VolumeInfo(
        type=members.take("type", one_of(_TYPES)),
        data_type=members.take("data_type", one_of(DATA_TYPES)),
        num_channels=members.take("num_channels", whole(1)),
        scales=tuple(_scale(scale, n) for n, scale in enumerate(members.take("scales", list_of("scale")))),
        mesh=members.optional("mesh", string, None),
        skeletons=members.optional("skeletons", string, None),
        segment_properties=members.optional("segment_properties", string, None),
        extra=members.left,
    )


def encode_volume_info(info: VolumeInfo) -> bytes:
    """Return the info as JSON, the same bytes for the same info. Raises InfoError for one that the viewer would refuse."""
    members = {"@type": VOLUME, "type": info.type, "data_type": info.data_type, "num_channels": info.num_channels}
    children = {"mesh": info.mesh, "skeletons": info.skeletons, "segment_properties": info.segment_properties}
    top = object_text({**members, **present(children), **info.extra}, " ")
    scales = ",\n".join("  " + object_text(_scale_members(scale), "   ") for scale in info.scales)
    data = (top.removesuffix("\n}") + f',\n "scales": [\n{scales}\n ]\n}}\n').encode()
    parse_volume_info(data)
    return data


def _scale(value: Any, position: int) -> Scale:
    members = Members(f"info: scale {position}", value)
    key = members.take("key", string)
    members.where = f"info: scale {key}"
    scale = Scale(
        key=key,
        size=members.take("size", _triple(1)),
        resolution=members.take("resolution", _resolution),
        chunk_sizes=members.take("chunk_sizes", _chunk_sizes),
        encoding=members.take("encoding", one_of(ENCODINGS)),
        voxel_offset=members.optional("voxel_offset", _triple(-LARGEST), (0, 0, 0)),
        compressed_segmentation_block_size=members.optional("compressed_segmentation_block_size", _triple(1), None),
        sharding=take_sharding(members),
        hidden=members.optional("hidden", boolean, False),
        jpeg_quality=members.optional("jpeg_quality", whole(0, 100), None),
        extra=members.left,
    )
    _check_scale(scale, members.where)
    return scale


def _check_scale(scale: Scale, where: str) -> None:
    block_size, labels = scale.compressed_segmentation_block_size, scale.encoding == "compressed_segmentation"
    if labels and block_size is None:
        raise InfoError(f"{where}: has no member compressed_segmentation_block_size, which its encoding needs")
    if block_size is not None and not labels:
        raise InfoError(f"{where}: has compressed_segmentation_block_size, which encoding {scale.encoding} does not take")
    if scale.sharding is not None and len(scale.chunk_sizes) != 1:
        raise InfoError(f"{where}: has {len(scale.chunk_sizes)} chunk_sizes, expected exactly one, because it is sharded")


def take_sharding(parent: Members) -> Sharding | None:
    """Return what the member `sharding` of a scale, or of an info of meshes or skeletons, tells; None where there is none.

    Raises InfoError.
    """
    if "sharding" not in parent.left:
        return None
    members = Members(f"{parent.where}: sharding", parent.take("sharding", mapping))
    kind = members.take("@type", string)
    if kind != SHARDED:
        raise InfoError(f"{members.where}: @type is {kind!r}, expected {SHARDED!r}")
    minishard_bits = members.take("minishard_bits", whole(0, 32))
    return Sharding(
        preshift_bits=members.take("preshift_bits", whole(0, 64)),
        minishard_bits=minishard_bits,
        shard_bits=members.take("shard_bits", whole(0, 64 - minishard_bits)),
        hash=members.take("hash", one_of(_HASHES)),
        minishard_index_encoding=members.optional("minishard_index_encoding", one_of(_SHARD_ENCODINGS), "raw"),
        data_encoding=members.optional("data_encoding", one_of(_SHARD_ENCODINGS), "raw"),
        extra=members.left,
    )


def _triple(least: int) -> Callable[[Any], Triple]:
    parse_one = whole(least)

    def parse(value: Any) -> Triple:
        try:
            x, y, z = (parse_one(item) for item in _exactly_three(value))
        except UnexpectedError:
            raise UnexpectedError(f"three whole numbers x, y, z from {least} to {LARGEST}") from None
        return x, y, z

    return parse


def _resolution(value: Any) -> tuple[float, float, float]:
    x, y, z = (number(item) for item in _exactly_three(value))
    if x is None or y is None or z is None or min(x, y, z) <= 0:
        raise UnexpectedError("three finite numbers x, y, z above 0, in nm")
    return float(x), float(y), float(z)


def _chunk_sizes(value: Any) -> tuple[Triple, ...]:
    sizes = list_of("chunk size")(value)
    try:
        return tuple(_triple(1)(size) for size in sizes)
    except UnexpectedError as expected:
        raise UnexpectedError(f"a list of chunk sizes, each {expected}") from None


def _exactly_three(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) != 3:
        raise UnexpectedError("three numbers x, y, z")
    return value


def _scale_members(scale: Scale) -> dict[str, Any]:
    return {
        "key": scale.key,
        "size": scale.size,
        "resolution": [plain(length) for length in scale.resolution],
        "voxel_offset": scale.voxel_offset,
        "chunk_sizes": scale.chunk_sizes,
        "encoding": scale.encoding,
        **present({"compressed_segmentation_block_size": scale.compressed_segmentation_block_size}),
        **present({"jpeg_quality": scale.jpeg_quality}),
        **({"hidden": True} if scale.hidden else {}),
        **({"sharding": sharding_members(scale.sharding)} if scale.sharding else {}),
        **scale.extra,
    }


def sharding_members(sharding: Sharding) -> dict[str, Any]:
    """Return the member `sharding` to be written as JSON."""
    return {
        "@type": SHARDED,
        "hash": sharding.hash,
        "preshift_bits": sharding.preshift_bits,
        "minishard_bits": sharding.minishard_bits,
        "shard_bits": sharding.shard_bits,
        "minishard_index_encoding": sharding.minishard_index_encoding,
        "data_encoding": sharding.data_encoding,
        **sharding.extra,
    }
