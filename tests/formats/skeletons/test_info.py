"""The info of skeletons: what is written, what is taken, what is refused by name."""

import json
from typing import Any

import pytest
from cloudvolume.datasource.precomputed.skeleton.metadata import PrecomputedSkeletonMetadata

from formats.errors import InfoError
from formats.info import Sharding
from formats.skeletons.info import SkeletonInfo, VertexAttribute, encode_skeleton_info, parse_skeleton_info

MEMBERS: dict[str, Any] = {
    "@type": "neuroglancer_skeletons",
    "transform": [1, 0, 0, 0.5, 0, 1, 0, 0, 0, 0, 1, 0],
    "vertex_attributes": [{"id": "radius", "data_type": "float32", "num_components": 1, "unit": "nm"}],
    "sharding": {
        "@type": "neuroglancer_uint64_sharded_v1", "hash": "murmurhash3_x86_128", "preshift_bits": 0, "minishard_bits": 4,
        "shard_bits": 0, "minishard_index_encoding": "gzip", "data_encoding": "gzip",
    },
    "segment_properties": "properties",
    "mip": 2,
}  # fmt: skip
INFO = SkeletonInfo(
    (VertexAttribute("radius", "float32", 1, {"unit": "nm"}),),
    (1, 0, 0, 0.5, 0, 1, 0, 0, 0, 0, 1, 0),
    Sharding(0, 4, 0, "murmurhash3_x86_128", "gzip", "gzip"),
    "properties",
    {"mip": 2},
)


def encoded(**changes: Any) -> bytes:
    members = {**MEMBERS, **changes}
    return json.dumps({name: value for name, value in members.items() if value is not ...}).encode()


def test_an_info_is_read() -> None:
    assert parse_skeleton_info(encoded()) == INFO


def test_an_info_is_written() -> None:
    assert json.loads(encode_skeleton_info(INFO)) == MEMBERS


def test_what_the_viewer_can_do_without_is_always_written() -> None:
    assert json.loads(encode_skeleton_info(SkeletonInfo())) == {
        "@type": "neuroglancer_skeletons",
        "transform": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0],
        "vertex_attributes": [],
    }


def test_what_is_left_out_is_taken_for_its_default() -> None:
    assert parse_skeleton_info(b'{"@type": "neuroglancer_skeletons"}') == SkeletonInfo()


def test_cloud_volumes_own_info_is_read() -> None:
    # It writes null for what is not there, which the viewer refuses.
    info = {name: value for name, value in PrecomputedSkeletonMetadata.default_info(None).items() if value is not None}
    parsed = parse_skeleton_info(json.dumps(info).encode())
    assert [(a.id, a.data_type, a.num_components) for a in parsed.vertex_attributes] == [
        ("radius", "float32", 1),
        ("vertex_types", "uint8", 1),
    ]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"@type": "neuroglancer_legacy_mesh"}, "info: @type is 'neuroglancer_legacy_mesh', expected 'neuroglancer_skeletons'"),
        ({"@type": ...}, "info: has no member @type"),
        ({"sharding": None}, "info: sharding is null, which the viewer refuses; leave the member out or give it a value"),
        ({"transform": [1] * 11}, "expected 12 numbers, the rows of a 3 x 4 matrix"),
        ({"transform": [True] * 12}, "expected 12 numbers, the rows of a 3 x 4 matrix"),
        ({"vertex_attributes": {}}, "info: vertex_attributes is {}, expected a list of vertex attributes"),
        ({"vertex_attributes": [{"id": ""}]}, 'info: vertex attribute 0: id is "", expected a name that is not empty'),
        (
            {"vertex_attributes": [{"id": "r", "data_type": "float64", "num_components": 1}]},
            'info: vertex attribute 0: data_type is "float64", expected one of float32',
        ),
        (
            {"vertex_attributes": [{"id": "r", "data_type": "int8", "num_components": 5}]},
            "info: vertex attribute 0: num_components is 5, expected a whole number from 1 to 4",
        ),
        (
            {"vertex_attributes": [{"id": "r", "data_type": "int8", "num_components": 1}] * 2},
            "info: vertex attribute 'r' is there 2 times, expected once",
        ),
    ],
)
def test_what_the_viewer_refuses_is_refused_by_name(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InfoError) as refused:
        parse_skeleton_info(encoded(**changes))
    assert sentence in str(refused.value)


def test_an_info_that_the_viewer_would_refuse_is_not_written() -> None:
    with pytest.raises(InfoError, match="num_components is 0"):
        encode_skeleton_info(SkeletonInfo((VertexAttribute("r", "int8", 0),)))
