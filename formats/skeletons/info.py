"""The `info` of a folder of skeletons (docs/datasource/precomputed/skeletons.md, "info JSON file format").

Unknown members are kept and written again. The viewer can do without `transform` and `vertex_attributes`, neuroglancer's own
Python reader cannot: both are always written.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from formats.errors import InfoError
from formats.info import Sharding, sharding_members, take_sharding
from formats.members import (
    IDENTITY,
    Members,
    Transform,
    UnexpectedError,
    object_text,
    one_of,
    plain,
    present,
    read_json,
    string,
    transform,
    whole,
)

SKELETONS = "neuroglancer_skeletons"

ATTRIBUTE_BYTES = {
    "float32": 4, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "uint64": 8,
}  # fmt: skip
"""What each data type of an attribute takes."""
DRAWN = "float32"
"""The only data type of attributes that the viewer draws; it refuses a layer that has any other."""

_MOST_COMPONENTS = 4


@dataclass(frozen=True)
class VertexAttribute:
    """What is stored for each vertex beside its place: data_type as in ATTRIBUTE_BYTES, num_components 1 to 4."""

    id: str
    data_type: str
    num_components: int = 1
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class SkeletonInfo:
    """The info of skeletons. segment_properties: a folder relative to the info. extra: members that the format does not name."""

    vertex_attributes: tuple[VertexAttribute, ...] = ()
    transform: Transform = IDENTITY
    sharding: Sharding | None = None
    segment_properties: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


def parse_skeleton_info(data: bytes) -> SkeletonInfo:
    """Return what the info of skeletons tells. Raises InfoError, naming the member, for one that the viewer would refuse."""
    members = Members("info", read_json(data))
    kind = members.take("@type", string)
    if kind != SKELETONS:
        raise InfoError(f"info: @type is {kind!r}, expected {SKELETONS!r}")
    none: list[Any] = []
    attributes = members.optional("vertex_attributes", _list, none)
    info = SkeletonInfo(
        vertex_attributes=tuple(_attribute(value, position) for position, value in enumerate(attributes)),
        transform=members.optional("transform", transform, IDENTITY),
        sharding=take_sharding(members),
        segment_properties=members.optional("segment_properties", string, None),
        extra=members.left,
    )
    _check_ids(info.vertex_attributes)
    return info


def encode_skeleton_info(info: SkeletonInfo) -> bytes:
    """Return the info as JSON, the same bytes for the same info. Raises InfoError for one that the viewer would refuse."""
    members = {
        "@type": SKELETONS,
        "transform": [plain(value) for value in info.transform],
        "vertex_attributes": [_attribute_members(attribute) for attribute in info.vertex_attributes],
        **({"sharding": sharding_members(info.sharding)} if info.sharding else {}),
        **present({"segment_properties": info.segment_properties}),
        **info.extra,
    }
    data = (object_text(members, " ") + "\n").encode()
    parse_skeleton_info(data)
    return data


def _attribute(value: Any, position: int) -> VertexAttribute:
    members = Members(f"info: vertex attribute {position}", value)
    return VertexAttribute(
        id=members.take("id", _name),
        data_type=members.take("data_type", one_of(tuple(ATTRIBUTE_BYTES))),
        num_components=members.take("num_components", whole(1, _MOST_COMPONENTS)),
        extra=members.left,
    )


def _attribute_members(attribute: VertexAttribute) -> dict[str, Any]:
    named = {"id": attribute.id, "data_type": attribute.data_type, "num_components": attribute.num_components}
    return {**named, **attribute.extra}


def _check_ids(attributes: tuple[VertexAttribute, ...]) -> None:
    ids = [attribute.id for attribute in attributes]
    twice = next((name for name in ids if ids.count(name) > 1), None)
    if twice is not None:
        raise InfoError(f"info: vertex attribute {twice!r} is there {ids.count(twice)} times, expected once")


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise UnexpectedError("a list of vertex attributes")
    return value


def _name(value: Any) -> str:
    if not string(value):
        raise UnexpectedError("a name that is not empty")
    return string(value)
