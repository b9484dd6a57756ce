"""The info of segment properties: what is written, what is taken, what is refused by name."""

import json
from typing import Any

import pytest

from formats.errors import EncodeError, InfoError
from formats.segment_properties import (
    Property,
    SegmentProperties,
    encode_labels,
    encode_segment_properties,
    label_property,
    number_property,
    parse_segment_properties,
)

LARGEST = 2**64 - 1
LABEL = {"id": "name", "type": "label", "values": ["b", "a"]}


def info(**inline: Any) -> bytes:
    members = {"ids": ["7", "3"], "properties": [], **inline}
    return json.dumps({"@type": "neuroglancer_segment_properties", "inline": members}).encode()


def told(data: bytes, segment: int) -> dict[str, Any]:
    """Return the values of a segment as any reader of JSON has them."""
    inline = json.loads(data)["inline"]
    place = inline["ids"].index(str(segment))
    return {one["id"]: one["values"][place] for one in inline["properties"]}


def test_the_text_of_properties() -> None:
    properties = SegmentProperties(
        (3, LARGEST),
        (
            label_property(["Größe", ""]),
            number_property("cable_length", "float32", [1.5, 2000], "nm"),
            Property("kind", "tags", ([0, 1], []), tags=("axon", "glia"), extra={"tag_descriptions": ["a", "g"]}),
        ),
        {"made_by": "hand"},
    )
    assert encode_segment_properties(properties).decode() == (
        '{\n "@type": "neuroglancer_segment_properties",\n "inline": {\n'
        '  "ids": ["3", "18446744073709551615"],\n  "properties": [\n'
        '   {"id": "name", "type": "label", "values": ["Größe", ""]},\n'
        '   {"id": "cable_length", "type": "number", "description": "nm", "data_type": "float32", "values": [1.5, 2000.0]},\n'
        '   {"id": "kind", "type": "tags", "tags": ["axon", "glia"], "tag_descriptions": ["a", "g"], "values": [[0, 1], []]}\n'
        '  ]\n },\n "made_by": "hand"\n}\n'
    )
    assert parse_segment_properties(encode_segment_properties(properties)) == properties


def test_names_alone() -> None:
    assert told(encode_labels({LARGEST: "last", 2**53 + 1: "first"}), 2**53 + 1) == {"name": "first"}
    assert parse_segment_properties(encode_labels({9: "b", 10: "c", 1: "a"})).ids == (1, 9, 10)


def test_ids_of_others_are_put_in_order_with_their_values() -> None:
    tags = {"id": "t", "type": "tags", "tags": ["x"], "values": [[0], []]}
    number = {"id": "n", "type": "NUMBER".lower(), "data_type": "UINT8", "values": [70, 30], "unit": "nm"}
    found = parse_segment_properties(info(properties=[LABEL, tags, number]))
    assert found.ids == (3, 7)
    assert [one.values for one in found.properties] == [("a", "b"), ([], [0]), (30, 70)]
    assert (found.properties[2].data_type, found.properties[2].extra) == ("uint8", {"unit": "nm"})


def test_an_info_without_inline_properties() -> None:
    assert parse_segment_properties(b'{"@type": "neuroglancer_segment_properties", "other": 1}').extra == {"other": 1}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"{", "info: not JSON in UTF-8"),
        (b'{"@type": "neuroglancer_skeletons"}', "info: @type is 'neuroglancer_skeletons', expected 'neuroglancer_segment_prop"),
        (b'{"@type": "neuroglancer_segment_properties", "inline": null}', "info: inline: found null, expected an object"),
        (info(ids=[7, 3]), "info: inline: ids is [7, 3], expected a list of ids, whole numbers from 0 to 18446744073709551615"),
        (info(ids=["7", "-3"]), "expected a list of ids, whole numbers"),
        (info(ids=["7", str(2**64)]), "expected a list of ids, whole numbers"),
        (info(ids=["7", "07"]), "expected each id once"),
        (info(properties={}), "info: inline: properties is {}, expected a list of properties"),
        (info(properties=[{"id": "a"}]), "info: property a: has no member type"),
        (info(properties=[{**LABEL, "type": "colour"}]), 'info: property name: type is "colour", expected one of label, '),
        (info(properties=[{**LABEL, "values": ["a"]}]), 'info: property name: values is ["a"], expected a list of 2, one for'),
        (info(properties=[{**LABEL, "values": ["a", 1]}]), "expected text for each id"),
        (info(properties=[{**LABEL, "type": "number"}]), "info: property name: has no member data_type"),
        (
            info(properties=[{**LABEL, "type": "number", "data_type": "uint64"}]),
            'info: property name: data_type is "uint64", expected one of uint8, int8, uint16, int16, uint32, int32, float32',
        ),
        (info(properties=[{**LABEL, "type": "tags"}]), "values is [\"b\", \"a\"], expected a list of whole numbers for each id"),
        (info(properties=[{"id": "t", "type": "tags", "values": [[], []]}]), "info: property t: has no member tags"),
        (info(properties=[{"id": "t", "type": "tags", "tags": [1], "values": [[], []]}]), "is [1], expected a list of texts"),
        (
            info(properties=[{"id": "t", "type": "tags", "tags": ["a"], "values": [[1], []]}]),
            "info: property t: a segment has the tags [1], expected ascending places below 1",
        ),
        (
            info(properties=[{"id": "t", "type": "tags", "tags": ["a"], "tag_descriptions": [], "values": [[0], []]}]),
            "info: property t: not as many tag_descriptions as tags, expected 1",
        ),
        (
            info(properties=[{"id": "t", "type": "tags", "tags": ["a"], "tag_descriptions": 1, "values": [[0], []]}]),
            "info: property t: not as many tag_descriptions as tags, expected 1",
        ),
        (
            info(properties=[{"id": "t", "type": "tags", "tags": ["a"] * 65537, "values": [[0], []]}]),
            "info: property t: 65537 tags, expected at most 65536",
        ),
    ],
)  # fmt: skip
def test_what_the_viewer_would_refuse(data: bytes, sentence: str) -> None:
    with pytest.raises(InfoError) as refused:
        parse_segment_properties(data)
    assert sentence in str(refused.value)


def test_ids_that_do_not_ascend_are_not_written() -> None:
    with pytest.raises(EncodeError, match="ids of segments that do not ascend"):
        encode_segment_properties(SegmentProperties((7, 3), ()))


@pytest.mark.parametrize(
    ("data_type", "value", "sentence"),
    [
        ("float32", float("nan"), "x of a segment is nan, expected a finite number that float32 holds"),
        ("float32", 1e39, "x of a segment is 1e+39, expected a finite number that float32 holds"),
        ("uint32", -1, "x of a segment is -1, expected a finite number that uint32 holds"),
        ("uint8", 256, "x of a segment is 256, expected"),
        ("int16", 0.5, "x of a segment is 0.5, expected"),
    ],
)
def test_numbers_that_do_not_fit(data_type: str, value: float, sentence: str) -> None:
    with pytest.raises(EncodeError, match="x of a segment") as refused:
        number_property("x", data_type, [0, value], "")
    assert str(refused.value).startswith(sentence)
