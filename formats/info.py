"""The `info` of a volume (docs/datasource/precomputed/volume.md), as strict as the viewer reads it.

Unknown members are kept and written again. `null` is refused: the viewer does not take it for a member left out.
Names of encodings, types and hashes may come in any case, as in the viewer, and are written in lower case.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from formats.chunks.chunk_format import DATA_TYPES, ENCODINGS, ChunkFormat
from formats.errors import InfoError
from formats.grid import Grid, Triple

VOLUME = "neuroglancer_multiscale_volume"
SHARDED = "neuroglancer_uint64_sharded_v1"

_TYPES = ("image", "segmentation", "unknown")
_HASHES = ("identity", "murmurhash3_x86_128")
_SHARD_ENCODINGS = ("raw", "gzip")

_LARGEST = (1 << 53) - 1
"""The largest whole number that every JSON reader, JavaScript's too, takes exactly."""

_T = TypeVar("_T")


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
    members = _Members("info", _json(data))
    if "redirect" in members.left:
        raise InfoError(f"info: redirects to {members.left['redirect']!r}; open that instead")
    kind = members.optional("@type", _string, VOLUME)
    if kind != VOLUME:
        raise InfoError(f"info: @type is {kind!r}, expected {VOLUME!r}")
    return VolumeInfo(
        type=members.take("type", _one_of(_TYPES)),
        data_type=members.take("data_type", _one_of(DATA_TYPES)),
        num_channels=members.take("num_channels", _whole(1)),
        scales=tuple(_scale(scale, n) for n, scale in enumerate(members.take("scales", _list("scale")))),
        mesh=members.optional("mesh", _string, None),
        skeletons=members.optional("skeletons", _string, None),
        segment_properties=members.optional("segment_properties", _string, None),
        extra=members.left,
    )


def encode_volume_info(info: VolumeInfo) -> bytes:
    """Return the info as JSON, the same bytes for the same info. Raises InfoError for one that the viewer would refuse."""
    members = {"@type": VOLUME, "type": info.type, "data_type": info.data_type, "num_channels": info.num_channels}
    children = {"mesh": info.mesh, "skeletons": info.skeletons, "segment_properties": info.segment_properties}
    top = _object({**members, **_present(children), **info.extra}, " ")
    scales = ",\n".join("  " + _object(_scale_members(scale), "   ") for scale in info.scales)
    data = (top.removesuffix("\n}") + f',\n "scales": [\n{scales}\n ]\n}}\n').encode()
    parse_volume_info(data)
    return data


class _Members:
    """The members of one JSON object; those not taken stay in `left`."""

    def __init__(self, where: str, value: Any) -> None:
        if not isinstance(value, dict):
            raise InfoError(f"{where}: found {_shown(value)}, expected an object")
        self.where = where
        self.left: dict[str, Any] = dict(value)

    def take(self, name: str, parse: Callable[[Any], _T]) -> _T:
        if name not in self.left:
            raise InfoError(f"{self.where}: has no member {name}")
        value = self.left.pop(name)
        if value is None:
            raise InfoError(f"{self.where}: {name} is null, which the viewer refuses; leave the member out or give it a value")
        try:
            return parse(value)
        except _UnexpectedError as expected:
            raise InfoError(f"{self.where}: {name} is {_shown(value)}, expected {expected}") from None

    def optional(self, name: str, parse: Callable[[Any], _T], default: _T) -> _T:
        return self.take(name, parse) if name in self.left else default


class _UnexpectedError(Exception):
    """A member's value is not what the message says."""


def _scale(value: Any, number: int) -> Scale:
    members = _Members(f"info: scale {number}", value)
    key = members.take("key", _string)
    members.where = f"info: scale {key}"
    scale = Scale(
        key=key,
        size=members.take("size", _triple(1)),
        resolution=members.take("resolution", _resolution),
        chunk_sizes=members.take("chunk_sizes", _chunk_sizes),
        encoding=members.take("encoding", _one_of(ENCODINGS)),
        voxel_offset=members.optional("voxel_offset", _triple(-_LARGEST), (0, 0, 0)),
        compressed_segmentation_block_size=members.optional("compressed_segmentation_block_size", _triple(1), None),
        sharding=_sharding(members),
        hidden=members.optional("hidden", _boolean, False),
        jpeg_quality=members.optional("jpeg_quality", _whole(0, 100), None),
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


def _sharding(scale: _Members) -> Sharding | None:
    if "sharding" not in scale.left:
        return None
    members = _Members(f"{scale.where}: sharding", scale.take("sharding", _mapping))
    kind = members.take("@type", _string)
    if kind != SHARDED:
        raise InfoError(f"{members.where}: @type is {kind!r}, expected {SHARDED!r}")
    minishard_bits = members.take("minishard_bits", _whole(0, 32))
    return Sharding(
        preshift_bits=members.take("preshift_bits", _whole(0, 64)),
        minishard_bits=minishard_bits,
        shard_bits=members.take("shard_bits", _whole(0, 64 - minishard_bits)),
        hash=members.take("hash", _one_of(_HASHES)),
        minishard_index_encoding=members.optional("minishard_index_encoding", _one_of(_SHARD_ENCODINGS), "raw"),
        data_encoding=members.optional("data_encoding", _one_of(_SHARD_ENCODINGS), "raw"),
        extra=members.left,
    )


def _json(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InfoError(f"info: not JSON in UTF-8 ({error})") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise _UnexpectedError("a string")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _UnexpectedError("true or false")
    return value


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _UnexpectedError("an object, or no such member")
    return value


def _one_of(names: tuple[str, ...]) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if not isinstance(value, str) or value.lower() not in names:
            raise _UnexpectedError("one of " + ", ".join(names))
        return value.lower()

    return parse


def _whole(least: int, most: int = _LARGEST) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        number = _number(value)
        if number is None or number != int(number) or not least <= number <= most:
            raise _UnexpectedError(f"a whole number from {least} to {most}")
        return int(number)

    return parse


def _triple(least: int) -> Callable[[Any], Triple]:
    parse_one = _whole(least)

    def parse(value: Any) -> Triple:
        try:
            x, y, z = (parse_one(number) for number in _exactly_three(value))
        except _UnexpectedError:
            raise _UnexpectedError(f"three whole numbers x, y, z from {least} to {_LARGEST}") from None
        return x, y, z

    return parse


def _resolution(value: Any) -> tuple[float, float, float]:
    x, y, z = (_number(number) for number in _exactly_three(value))
    if x is None or y is None or z is None or min(x, y, z) <= 0:
        raise _UnexpectedError("three finite numbers x, y, z above 0, in nm")
    return float(x), float(y), float(z)


def _chunk_sizes(value: Any) -> tuple[Triple, ...]:
    sizes = _list("chunk size")(value)
    try:
        return tuple(_triple(1)(size) for size in sizes)
    except _UnexpectedError as expected:
        raise _UnexpectedError(f"a list of chunk sizes, each {expected}") from None


def _list(what: str) -> Callable[[Any], list[Any]]:
    def parse(value: Any) -> list[Any]:
        if not isinstance(value, list) or not value:
            raise _UnexpectedError(f"a list of at least one {what}")
        return value

    return parse


def _exactly_three(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) != 3:
        raise _UnexpectedError("three numbers x, y, z")
    return value


def _number(value: Any) -> float | None:
    """Return a finite JSON number, None for anything else; Python would count true and false as numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= sys.float_info.max else None


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _present(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _scale_members(scale: Scale) -> dict[str, Any]:
    return {
        "key": scale.key,
        "size": scale.size,
        "resolution": [_plain(length) for length in scale.resolution],
        "voxel_offset": scale.voxel_offset,
        "chunk_sizes": scale.chunk_sizes,
        "encoding": scale.encoding,
        **_present({"compressed_segmentation_block_size": scale.compressed_segmentation_block_size}),
        **_present({"jpeg_quality": scale.jpeg_quality}),
        **({"hidden": True} if scale.hidden else {}),
        **({"sharding": _sharding_members(scale.sharding)} if scale.sharding else {}),
        **scale.extra,
    }


def _sharding_members(sharding: Sharding) -> dict[str, Any]:
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


def _plain(length: float) -> float:
    """Return a whole number as an int, so that 8.0 is written 8."""
    return int(length) if float(length).is_integer() and length <= _LARGEST else length


def _object(members: Mapping[str, Any], indent: str) -> str:
    """Return a JSON object with each member on a line of its own."""
    lines = (f"{indent}{json.dumps(name)}: {json.dumps(value)}" for name, value in members.items())
    return "{\n" + ",\n".join(lines) + f"\n{indent[:-1]}}}"
