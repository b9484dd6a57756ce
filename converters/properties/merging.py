"""Tables of segment properties put together; pure."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from formats.segment_properties import LABEL, Property, SegmentProperties, label_property

_NOTHING: dict[str, Any] = {"number": 0, "tags": []}
"""The value of a segment of which nothing is known, by type; text is empty. JSON has no NaN."""


def merged(there: SegmentProperties, added: SegmentProperties) -> SegmentProperties:
    """Return the properties of the segments of both; for a segment of added the values of added stand.

    Properties are the same when their ids are; labels always are, because the viewer shows one.
    """
    ids = tuple(sorted({*there.ids, *added.ids}))
    new = {_key(one): one for one in added.properties}
    found = [_joined((there, one), (added, new.pop(_key(one), None)), ids) for one in there.properties]
    found += [_joined((there, None), (added, one), ids) for one in new.values()]
    return SegmentProperties(ids, tuple(found), there.extra)


def without(properties: SegmentProperties, names: Collection[str]) -> SegmentProperties:
    """Return the properties without those of these ids, and without segments of which nothing else is known."""
    kept = tuple(one for one in properties.properties if one.id not in names)
    known = {place for one in kept for place, value in enumerate(one.values) if value != _nothing(one)}
    places = [place for place in range(len(properties.ids)) if place in known]
    return SegmentProperties(
        tuple(properties.ids[place] for place in places),
        tuple(replace(one, values=tuple(one.values[place] for place in places)) for one in kept),
        properties.extra,
    )


def with_columns(there: SegmentProperties, added: SegmentProperties) -> SegmentProperties:
    """Return the properties with those of added in the place of the ones of the same ids, whichever segments they were of."""
    return merged(without(there, [one.id for one in added.properties]), added)


def names_of(properties: SegmentProperties) -> dict[int, str]:
    """Return the names of the segments that have one."""
    for one in properties.properties:
        if one.type == LABEL:
            return {segment: name for segment, name in zip(properties.ids, one.values, strict=True) if name}
    return {}


def named(names: Mapping[int, str]) -> SegmentProperties:
    """Return properties that are names alone."""
    ids = tuple(sorted(names))
    return SegmentProperties(ids, (label_property([names[segment] for segment in ids]),) if ids else ())


def _key(one: Property) -> str:
    return LABEL if one.type == LABEL else f"id {one.id}"


def _joined(
    there: tuple[SegmentProperties, Property | None], added: tuple[SegmentProperties, Property | None], ids: tuple[int, ...]
) -> Property:
    """Return a property of two tables, or of one, for the ids of both.

    The added one says what it is, so that its numbers fit; a property of another type that is there under its id goes.
    """
    (old_table, old), (new_table, new) = there, added
    shown = new if new is not None and (old is None or old.type != LABEL) else old
    assert shown is not None
    values: dict[int, Any] = {}
    if old is not None and old.type == shown.type:
        values.update(zip(old_table.ids, old.values, strict=True))
    if new is not None:
        values.update(zip(new_table.ids, new.values, strict=True))
    nothing = _nothing(shown)
    return replace(shown, values=tuple(values.get(segment, nothing) for segment in ids))


def _nothing(one: Property) -> Any:
    return _NOTHING.get(one.type, "")
