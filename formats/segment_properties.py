"""The `info` of segment properties (docs/datasource/precomputed/segment_properties.md): what is known of each segment, inline.

Unknown members are kept and written again. Ids stand in ascending order, because the viewer takes a list whose first id is the
smallest for a sorted one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from formats.errors import EncodeError, InfoError
from formats.members import Members, UnexpectedError, one_of, present, read_json, string

SEGMENT_PROPERTIES = "neuroglancer_segment_properties"

NUMBERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32")
"""Data types of numbers; the viewer refuses uint64."""

LABEL = "label"
_TAGS, _NUMBER = "tags", "number"
_TEXTS = (LABEL, "description", "string")
_LARGEST_ID = (1 << 64) - 1
_MOST_TAGS = 1 << 16


@dataclass(frozen=True)
class Property:
    """One thing that is known of segments.

    type: label, description or string (a value is text), tags (a list of places in tags, ascending), or number (of data_type, as
    in NUMBERS). values: one for each id. description: of the property itself. extra: members that stand for all segments and are
    kept as they are.
    """

    id: str
    type: str
    values: tuple[Any, ...]
    description: str | None = None
    data_type: str | None = None
    tags: tuple[str, ...] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class SegmentProperties:
    """What is known of segments. ids: ascending. extra: members of the info that the format does not name."""

    ids: tuple[int, ...] = ()
    properties: tuple[Property, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


def label_property(names: Sequence[str]) -> Property:
    """Return the names of segments as the property that the viewer shows beside their ids."""
    return Property("name", LABEL, tuple(names))


def number_property(name: str, data_type: str, values: ArrayLike, description: str) -> Property:
    """Return numbers of segments, one for each, as a property that the viewer lists, sorts and filters by.

    data_type: as in NUMBERS. Raises EncodeError for numbers that it cannot hold, or that JSON cannot.
    """
    found = np.asarray(values, np.float64).reshape(-1)
    kind = np.dtype(data_type)
    limits = np.finfo(np.float32) if kind.kind == "f" else np.iinfo(kind)
    with np.errstate(invalid="ignore"):
        wrong = ~((found >= float(limits.min)) & (found <= float(limits.max)))
        wrong |= (found != np.trunc(found)) & (kind.kind != "f")
    if wrong.any():
        raise EncodeError(f"{name} of a segment is {found[wrong][0]:g}, expected a finite number that {data_type} holds")
    numbers = tuple(found.tolist() if kind.kind == "f" else found.astype(np.int64).tolist())
    return Property(name, _NUMBER, numbers, description, data_type)


def parse_segment_properties(data: bytes) -> SegmentProperties:
    """Return what the info of segment properties tells, ids in ascending order.

    Raises InfoError, naming the member, for one that the viewer would refuse.
    """
    members = Members("info", read_json(data))
    kind = members.take("@type", string)
    if kind != SEGMENT_PROPERTIES:
        raise InfoError(f"info: @type is {kind!r}, expected {SEGMENT_PROPERTIES!r}")
    if "inline" not in members.left:
        return SegmentProperties(extra=members.left)
    inline = Members("info: inline", members.left.pop("inline"))
    ids = inline.take("ids", _ids)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    listed = inline.take("properties", _list)
    found = tuple(_property(value, place, order) for place, value in enumerate(listed))
    return SegmentProperties(tuple(ids[place] for place in order), found, members.left)


def encode_segment_properties(properties: SegmentProperties) -> bytes:
    """Return the info as JSON, the same bytes for the same properties.

    Raises EncodeError for ids that do not ascend, InfoError for what the viewer would refuse.
    """
    if any(before >= after for before, after in pairwise(properties.ids)):
        raise EncodeError("ids of segments that do not ascend")
    rows = ",\n".join("   " + json.dumps(_members(one), ensure_ascii=False) for one in properties.properties)
    listed = f"[\n{rows}\n  ]" if rows else "[]"
    ids = json.dumps([str(segment) for segment in properties.ids])
    extra = "".join(f",\n {json.dumps(name)}: {json.dumps(value)}" for name, value in properties.extra.items())
    inline = f'{{\n  "ids": {ids},\n  "properties": {listed}\n }}'
    data = f'{{\n "@type": {json.dumps(SEGMENT_PROPERTIES)},\n "inline": {inline}{extra}\n}}\n'.encode()
    parse_segment_properties(data)
    return data


def encode_labels(names: Mapping[int, str]) -> bytes:
    """Return the info that gives segments their names and nothing else, the same bytes for the same names. names: by id."""
    ids = tuple(sorted(names))
    return encode_segment_properties(SegmentProperties(ids, (label_property([names[segment] for segment in ids]),)))


def _property(value: Any, place: int, order: Sequence[int]) -> Property:
    """Return a property with its values in the order of the ids."""
    members = Members(f"info: property {place}", value)
    name = members.take("id", string)
    members.where = f"info: property {name}"
    kind = members.take("type", one_of((*_TEXTS, _TAGS, _NUMBER)))
    values = members.take("values", _values(kind, len(order)))
    tags = members.take("tags", _texts) if kind == _TAGS else None
    _check_tags(members, values, tags)
    return Property(
        name,
        kind,
        tuple(values[place] for place in order),
        members.optional("description", string, None),
        members.take("data_type", one_of(NUMBERS)) if kind == _NUMBER else None,
        tags,
        members.left,
    )


def _members(one: Property) -> dict[str, Any]:
    optional = {"description": one.description, "data_type": one.data_type, "tags": one.tags}
    return {"id": one.id, "type": one.type, **present(optional), **one.extra, "values": one.values}


def _check_tags(members: Members, values: list[Any], tags: tuple[str, ...] | None) -> None:
    if tags is None:
        return
    if len(tags) > _MOST_TAGS:
        raise InfoError(f"{members.where}: {len(tags)} tags, expected at most {_MOST_TAGS}")
    told = members.left.get("tag_descriptions", tags)
    if not isinstance(told, list | tuple) or len(told) != len(tags):
        raise InfoError(f"{members.where}: not as many tag_descriptions as tags, expected {len(tags)}")
    for value in values:
        if not all(before < after for before, after in pairwise((-1, *value, len(tags)))):
            raise InfoError(f"{members.where}: a segment has the tags {value}, expected ascending places below {len(tags)}")


def _ids(value: Any) -> list[int]:
    if not isinstance(value, list) or not all(isinstance(one, str) and _is_id(one) for one in value):
        raise UnexpectedError(f"a list of ids, whole numbers from 0 to {_LARGEST_ID} as text")
    found = [int(one) for one in value]
    if len(set(found)) != len(found):
        raise UnexpectedError("each id once")
    return found


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 20 and int(text) <= _LARGEST_ID


def _values(kind: str, count: int) -> Any:
    """Return what takes the values of so many segments. Numbers are left as the viewer takes them: as anything."""

    def parse(value: Any) -> list[Any]:
        if not isinstance(value, list) or len(value) != count:
            raise UnexpectedError(f"a list of {count}, one for each id")
        if kind in _TEXTS and not all(isinstance(one, str) for one in value):
            raise UnexpectedError("text for each id")
        if kind == _TAGS and not all(isinstance(one, list) and all(type(n) is int for n in one) for one in value):
            raise UnexpectedError("a list of whole numbers for each id")
        return value

    return parse


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise UnexpectedError("a list of properties")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise UnexpectedError("a list of texts")
    return tuple(value)
