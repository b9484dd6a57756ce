"""Tables of properties put together."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from converters.properties.merging import merged, named, names_of, with_columns, without
from converters.skeletons.properties import skeleton_numbers
from formats.segment_properties import (
    Property,
    SegmentProperties,
    encode_segment_properties,
    number_property,
    parse_segment_properties,
)
from tests.converters.properties.counting import Counts


def values(properties: SegmentProperties) -> dict[str, dict[int, Any]]:
    return {one.id: dict(zip(properties.ids, one.values, strict=True)) for one in properties.properties}


NAMES = named({3: "three", 2**64 - 1: "last"})
TAGGED = SegmentProperties((3, 8), (Property("kind", "tags", ([0], [1]), tags=("a", "b")),), {"kept": True})


def test_numbers_are_added_to_names() -> None:
    found = with_columns(NAMES, skeleton_numbers([Counts(9, 5.5, 1, 3), Counts(3, 100.25, 0, 2)]))
    assert found.ids == (3, 9, 2**64 - 1)
    assert values(found) == {
        "name": {3: "three", 9: "", 2**64 - 1: "last"},
        "cable_length": {3: 100.25, 9: 5.5, 2**64 - 1: 0},
        "branch_points": {3: 0, 9: 1, 2**64 - 1: 0},
        "end_points": {3: 2, 9: 3, 2**64 - 1: 0},
    }
    kinds = [(one.type, one.data_type) for one in found.properties]
    assert kinds == [("label", None), ("number", "float32"), ("number", "uint32"), ("number", "uint32")]


def test_numbers_of_other_skeletons_are_replaced() -> None:
    before = with_columns(NAMES, skeleton_numbers([Counts(9, 5.5, 1, 3), Counts(3, 100, 0, 2)]))
    after = with_columns(before, skeleton_numbers([Counts(4, 7, 0, 2)]))
    assert after == with_columns(NAMES, skeleton_numbers([Counts(4, 7, 0, 2)]))
    assert after.ids == (3, 4, 2**64 - 1)


def test_numbers_of_more_segments_are_added_to_those_that_are_there() -> None:
    before = skeleton_numbers([Counts(9, 5.5, 1, 3), Counts(3, 100, 0, 2)])
    found = merged(before, skeleton_numbers([Counts(4, 7, 0, 2), Counts(9, 6, 0, 2)]))
    assert values(found)["cable_length"] == {3: 100, 4: 7, 9: 6}
    assert values(found)["end_points"] == {3: 2, 4: 2, 9: 2}


def test_tags_and_what_is_not_known_are_kept() -> None:
    found = merged(TAGGED, NAMES)
    assert values(found) == {"kind": {3: [0], 8: [1], 2**64 - 1: []}, "name": {3: "three", 8: "", 2**64 - 1: "last"}}
    assert (found.properties[0].tags, found.extra) == (("a", "b"), {"kept": True})


def test_names_are_one_property_whatever_it_is_called() -> None:
    there = SegmentProperties((3, 4), (Property("label", "label", ("old", "four"), "what it is"),))
    found = merged(there, NAMES)
    assert [(one.id, one.description) for one in found.properties] == [("label", "what it is")]
    assert names_of(found) == {3: "three", 4: "four", 2**64 - 1: "last"}


def test_a_property_of_another_type_under_the_same_id_goes() -> None:
    there = SegmentProperties((1, 2), (Property("cable_length", "string", ("long", "short")),))
    found = merged(there, SegmentProperties((2,), (number_property("cable_length", "float32", [5], "nm"),)))
    assert values(found) == {"cable_length": {1: 0, 2: 5}}


def test_nothing_is_known_of_no_segment() -> None:
    assert named({}) == SegmentProperties()
    assert names_of(SegmentProperties()) == {}
    assert with_columns(SegmentProperties(), skeleton_numbers([])).ids == ()
    before = with_columns(NAMES, skeleton_numbers([Counts(9, 5.5, 1, 3)]))
    assert values(with_columns(before, skeleton_numbers([])))["cable_length"] == {3: 0, 2**64 - 1: 0}


def test_segments_of_which_nothing_else_is_known_go_with_a_property() -> None:
    found = without(merged(TAGGED, skeleton_numbers([Counts(8, 1, 0, 2), Counts(9, 1, 0, 2)])), ["cable_length"])
    assert found.ids == (8, 9) or found.ids == (3, 8, 9)
    assert without(found, ["branch_points", "end_points"]) == TAGGED


NUMBERED = st.dictionaries(st.integers(0, 2**64 - 1), st.integers(-(2**31), 2**31 - 1), max_size=8)


def table(name: str, numbers: dict[int, int]) -> SegmentProperties:
    ids = tuple(sorted(numbers))
    return SegmentProperties(ids, (number_property(name, "int32", [numbers[one] for one in ids], ""),) if ids else ())


@given(NUMBERED, NUMBERED, NUMBERED)
def test_merging_is_what_dictionaries_do(a: dict[int, int], b: dict[int, int], other: dict[int, int]) -> None:
    found = merged(merged(table("n", a), table("m", other)), table("n", b))
    known = values(found)
    everywhere = sorted({*a, *b, *other})
    assert found.ids == tuple(everywhere)
    expected = {"n": {**a, **b}, "m": other}
    for name, numbers in expected.items():
        if numbers:
            assert known[name] == {segment: numbers.get(segment, 0) for segment in everywhere}
    assert merged(found, table("n", b)) == found
    assert parse_segment_properties(encode_segment_properties(found)) == found
