"""The info of meshes."""

import json
from typing import Any

import pytest

from formats.errors import InfoError
from formats.info import Sharding
from formats.members import IDENTITY
from formats.meshes.info import LegacyMeshInfo, MultiresMeshInfo, encode_mesh_info, parse_mesh_info

SHARDING = {
    "@type": "neuroglancer_uint64_sharded_v1", "hash": "murmurhash3_x86_128", "preshift_bits": 0, "minishard_bits": 3,
    "shard_bits": 2, "minishard_index_encoding": "gzip", "data_encoding": "raw",
}  # fmt: skip
MULTIRES = {
    "@type": "neuroglancer_multilod_draco", "vertex_quantization_bits": 10, "lod_scale_multiplier": 1.5,
    "transform": [1, 0, 0, 0.5, 0, 2, 0, 0, 0, 0, 1, -7], "sharding": SHARDING, "segment_properties": "properties",
    "spatial_index": {"chunk_size": [1, 2, 3]},
}  # fmt: skip


def parsed(members: dict[str, Any]) -> LegacyMeshInfo | MultiresMeshInfo:
    return parse_mesh_info(json.dumps(members).encode())


def test_multires() -> None:
    sharding = Sharding(0, 3, 2, "murmurhash3_x86_128", "gzip", "raw")
    expected = MultiresMeshInfo(
        10, 1.5, (1, 0, 0, 0.5, 0, 2, 0, 0, 0, 0, 1, -7), sharding, "properties", {"spatial_index": {"chunk_size": [1, 2, 3]}}
    )
    assert parsed(MULTIRES) == expected
    assert json.loads(encode_mesh_info(expected)) == MULTIRES


def test_what_is_left_out() -> None:
    info = parsed({"@type": "neuroglancer_multilod_draco", "vertex_quantization_bits": 16, "lod_scale_multiplier": 1})
    assert info == MultiresMeshInfo(16, 1.0, IDENTITY, None, None)
    assert "sharding" not in json.loads(encode_mesh_info(info))
    assert json.loads(encode_mesh_info(info))["transform"] == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]


def test_legacy() -> None:
    members = {"@type": "neuroglancer_legacy_mesh", "segment_properties": "p", "mip": 2}
    assert parsed(members) == LegacyMeshInfo("p", {"mip": 2})
    assert json.loads(encode_mesh_info(LegacyMeshInfo("p", {"mip": 2}))) == members
    assert json.loads(encode_mesh_info(LegacyMeshInfo())) == {"@type": "neuroglancer_legacy_mesh"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"@type": "neuroglancer_skeletons"}, '@type is "neuroglancer_skeletons", expected one of neuroglancer_legacy_mesh, '),
        ({"vertex_quantization_bits": 12}, "vertex_quantization_bits is 12, expected 10 or 16"),
        ({"vertex_quantization_bits": True}, "vertex_quantization_bits is true, expected 10 or 16"),
        ({"lod_scale_multiplier": 0}, "lod_scale_multiplier is 0, expected a finite number above 0"),
        ({"transform": [1, 2, 3]}, r"transform is \[1, 2, 3\], expected 12 numbers"),
        ({"transform": None}, "transform is null, which the viewer refuses"),
        ({"sharding": None}, "sharding is null, which the viewer refuses"),
        ({"sharding": {**SHARDING, "hash": "md5"}}, 'info: sharding: hash is "md5", expected one of'),
        ({"segment_properties": None}, "segment_properties is null, which the viewer refuses"),
    ],
)
def test_what_the_viewer_would_refuse(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InfoError, match=message):
        parsed({**MULTIRES, **change})


@pytest.mark.parametrize("member", ["@type", "vertex_quantization_bits", "lod_scale_multiplier"])
def test_what_must_be_there(member: str) -> None:
    with pytest.raises(InfoError, match=f"info: has no member {member}"):
        parsed({name: value for name, value in MULTIRES.items() if name != member})


def test_what_cannot_be_written() -> None:
    with pytest.raises(InfoError, match="expected 10 or 16"):
        encode_mesh_info(MultiresMeshInfo(11))
