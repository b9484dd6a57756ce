"""The info of a volume: what the viewer takes is read, what it refuses is refused by name, what it ignores is kept."""

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorstore as ts
from hypothesis import given
from hypothesis import strategies as st

from formats.chunks import ChunkFormat
from formats.errors import InfoError
from formats.grid import Grid
from formats.info import Scale, Sharding, VolumeInfo, encode_volume_info, parse_volume_info

SHARDING = {
    "@type": "neuroglancer_uint64_sharded_v1", "hash": "identity", "preshift_bits": 3, "minishard_bits": 2, "shard_bits": 1,
    "minishard_index_encoding": "gzip", "data_encoding": "raw",
}  # fmt: skip
MEMBERS: dict[str, Any] = {
    "@type": "neuroglancer_multiscale_volume", "type": "segmentation", "data_type": "uint64", "num_channels": 1,
    "mesh": "mesh", "skeletons": "skeletons", "segment_properties": "properties",
    "scales": [
        {"key": "8_8_40", "size": [100, 90, 80], "resolution": [8, 8.5, 40], "voxel_offset": [-7, 0, 3],
         "chunk_sizes": [[64, 64, 64]], "encoding": "compressed_segmentation", "compressed_segmentation_block_size": [8, 8, 4],
         "sharding": SHARDING},
        {"key": "16_17_40", "size": [50, 45, 80], "resolution": [16, 17, 40],
         "chunk_sizes": [[64, 64, 64], [256, 256, 1]], "encoding": "raw", "hidden": True},
    ],
}  # fmt: skip
INFO = VolumeInfo(
    "segmentation",
    "uint64",
    1,
    (
        Scale(
            "8_8_40",
            (100, 90, 80),
            (8.0, 8.5, 40.0),
            ((64, 64, 64),),
            "compressed_segmentation",
            (-7, 0, 3),
            (8, 8, 4),
            Sharding(3, 2, 1, "identity", "gzip", "raw"),
        ),
        Scale("16_17_40", (50, 45, 80), (16.0, 17.0, 40.0), ((64, 64, 64), (256, 256, 1)), "raw", hidden=True),
    ),
    "mesh",
    "skeletons",
    "properties",
)


def encoded(members: Any) -> bytes:
    return json.dumps(members).encode()


def changed(change: Callable[[dict[str, Any], dict[str, Any]], Any]) -> bytes:
    """Return an info after change(info, its first scale)."""
    members = copy.deepcopy(MEMBERS)
    change(members, members["scales"][0])
    return encoded(members)


def test_an_info_is_read() -> None:
    assert parse_volume_info(encoded(MEMBERS)) == INFO


def test_an_info_is_written() -> None:
    written = json.loads(encode_volume_info(INFO))
    expected = copy.deepcopy(MEMBERS)
    expected["scales"][1]["voxel_offset"] = [0, 0, 0]
    assert written == expected


def test_the_text_of_an_info() -> None:
    info = VolumeInfo("image", "uint8", 3, (Scale("s", (3, 2, 1), (1.0, 0.5, 2.0), ((4, 4, 4),), "jpeg", jpeg_quality=90),))
    assert (
        encode_volume_info(info).decode()
        == """{
 "@type": "neuroglancer_multiscale_volume",
 "type": "image",
 "data_type": "uint8",
 "num_channels": 3,
 "scales": [
  {
   "key": "s",
   "size": [3, 2, 1],
   "resolution": [1, 0.5, 2],
   "voxel_offset": [0, 0, 0],
   "chunk_sizes": [[4, 4, 4]],
   "encoding": "jpeg",
   "jpeg_quality": 90
  }
 ]
}
"""
    )


def test_infos_travel_to_workers_and_key_caches() -> None:
    assert pickle.loads(pickle.dumps(INFO)) == INFO
    assert hash(parse_volume_info(encoded(MEMBERS))) == hash(INFO)


def test_what_may_be_left_out() -> None:
    def strip(info: dict[str, Any], scale: dict[str, Any]) -> None:
        for name in ("@type", "mesh", "skeletons", "segment_properties"):
            del info[name]
        for name in ("voxel_offset", "sharding"):
            del scale[name]

    info = parse_volume_info(changed(strip))
    assert (info.mesh, info.skeletons, info.segment_properties) == (None, None, None)
    assert (info.scales[0].voxel_offset, info.scales[0].sharding, info.scales[0].hidden) == ((0, 0, 0), None, False)
    assert b"mesh" not in encode_volume_info(info)
    assert b"null" not in encode_volume_info(info)


def test_encodings_of_shards_are_raw_when_left_out() -> None:
    def strip(info: dict[str, Any], scale: dict[str, Any]) -> None:
        del scale["sharding"]["minishard_index_encoding"], scale["sharding"]["data_encoding"]

    assert parse_volume_info(changed(strip)).scales[0].sharding == Sharding(3, 2, 1, "identity", "raw", "raw")


def test_names_are_read_in_any_case_and_written_in_lower_case() -> None:
    def shout(info: dict[str, Any], scale: dict[str, Any]) -> None:
        info.update(type="SEGMENTATION", data_type="UInt64")
        scale.update(encoding="Compressed_Segmentation")
        scale["sharding"].update(hash="IDENTITY", data_encoding="RAW", minishard_index_encoding="Gzip")

    assert parse_volume_info(changed(shout)) == INFO


def test_whole_numbers_may_be_written_with_a_point() -> None:
    info = parse_volume_info(changed(lambda info, scale: scale.update(size=[100.0, 90.0, 80], voxel_offset=[-7.0, 0, 3.0])))
    assert info == INFO
    assert all(isinstance(n, int) for n in (*info.scales[0].size, *info.scales[0].voxel_offset))


@given(
    st.dictionaries(
        st.text(min_size=1).map(lambda name: "x" + name),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**53), 2**53)
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=5,
        ),
        max_size=4,
    )
)
def test_unknown_members_are_kept(extra: dict[str, Any]) -> None:
    def add(info: dict[str, Any], scale: dict[str, Any]) -> None:
        info.update(extra)
        scale.update(extra)
        scale["sharding"].update(extra)

    info = parse_volume_info(changed(add))
    assert info.extra == info.scales[0].extra == extra
    assert info.scales[0].sharding is not None
    assert info.scales[0].sharding.extra == extra
    assert parse_volume_info(encode_volume_info(info)) == info


def test_the_grid_of_a_scale() -> None:
    assert INFO.scales[0].grid() == Grid((-7, 0, 3), (100, 90, 80), (64, 64, 64))
    assert INFO.scales[1].grid((256, 256, 1)) == Grid((0, 0, 0), (50, 45, 80), (256, 256, 1))


def test_the_chunk_format_of_a_scale() -> None:
    assert INFO.chunk_format(INFO.scales[0]) == ChunkFormat("compressed_segmentation", "uint64", 1, (8, 8, 4))
    assert INFO.chunk_format(INFO.scales[1]) == ChunkFormat("raw", "uint64")
    jpeg = Scale("s", (1, 1, 1), (1.0, 1.0, 1.0), ((1, 1, 1),), "jpeg", jpeg_quality=31)
    assert VolumeInfo("image", "uint8", 3, (jpeg,)).chunk_format(jpeg) == ChunkFormat("jpeg", "uint8", 3, jpeg_quality=31)


TOP = ("@type", "type", "data_type", "num_channels", "scales", "mesh", "skeletons", "segment_properties")
OF_SCALE = ("key", "size", "resolution", "voxel_offset", "chunk_sizes", "encoding", "compressed_segmentation_block_size",
            "sharding", "hidden", "jpeg_quality")  # fmt: skip


@pytest.mark.parametrize("name", TOP)
def test_null_is_refused_at_the_top(name: str) -> None:
    with pytest.raises(InfoError, match=f"^info: {name} is null, which the viewer refuses; leave the member out"):
        parse_volume_info(changed(lambda info, scale: info.update({name: None})))


@pytest.mark.parametrize("name", OF_SCALE)
def test_null_is_refused_in_a_scale(name: str) -> None:
    with pytest.raises(InfoError, match=rf"^info: scale (8_8_40|0): {name} is null, which the viewer refuses"):
        parse_volume_info(changed(lambda info, scale: scale.update({name: None})))


@pytest.mark.parametrize("name", SHARDING)
def test_null_is_refused_in_sharding(name: str) -> None:
    with pytest.raises(InfoError, match=f"^info: scale 8_8_40: sharding: {name} is null"):
        parse_volume_info(changed(lambda info, scale: scale["sharding"].update({name: None})))


@pytest.mark.parametrize("name", ["type", "data_type", "num_channels", "scales"])
def test_a_missing_member_is_named(name: str) -> None:
    with pytest.raises(InfoError, match=f"^info: has no member {name}$"):
        parse_volume_info(changed(lambda info, scale: info.pop(name)))


@pytest.mark.parametrize("name", ["size", "resolution", "chunk_sizes", "encoding", "compressed_segmentation_block_size"])
def test_a_missing_member_of_a_scale_is_named(name: str) -> None:
    with pytest.raises(InfoError, match=f"^info: scale 8_8_40: has no member {name}"):
        parse_volume_info(changed(lambda info, scale: scale.pop(name)))


def test_a_scale_without_key_is_counted() -> None:
    with pytest.raises(InfoError, match=r"^info: scale 0: has no member key$"):
        parse_volume_info(changed(lambda info, scale: scale.pop("key")))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("@type", "neuroglancer_skeletons", "expected 'neuroglancer_multiscale_volume'"),
        ("@type", 7, "@type is 7, expected a string"),
        ("type", "labels", 'type is "labels", expected one of image, segmentation'),
        ("data_type", "int64", 'data_type is "int64", expected one of uint8, int8, uint16'),
        ("data_type", "float64", "expected one of"),
        ("num_channels", 0, "num_channels is 0, expected a whole number from 1 to"),
        ("num_channels", True, "num_channels is true, expected a whole number"),
        ("num_channels", "1", 'num_channels is "1", expected a whole number'),
        ("num_channels", 1.5, "num_channels is 1.5, expected a whole number"),
        ("scales", [], r"scales is \[\], expected a list of at least one scale"),
        ("scales", {}, r"scales is \{\}, expected a list"),
        ("scales", [None], "info: scale 0: found null, expected an object"),
        ("scales", [[]], r"info: scale 0: found \[\], expected an object"),
        ("mesh", 3, "mesh is 3, expected a string"),
        ("skeletons", ["a"], r'skeletons is \["a"\], expected a string'),
        ("segment_properties", False, "segment_properties is false, expected a string"),
        ("redirect", "http://x/y", "redirects to 'http://x/y'; open that instead"),
    ],
)
def test_a_wrong_member_is_told(name: str, value: Any, expected: str) -> None:
    with pytest.raises(InfoError, match=expected):
        parse_volume_info(changed(lambda info, scale: info.update({name: value})))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("size", [1, 2], r"size is \[1, 2\], expected three whole numbers x, y, z from 1 to"),
        ("size", [1, 2, 0], r"size is \[1, 2, 0\], expected three whole numbers x, y, z from 1 to"),
        ("size", [1, 2, 2.5], "expected three whole numbers"),
        ("size", [1, 2, True], "expected three whole numbers"),
        ("size", [1, 2, 1 << 60], "from 1 to 9007199254740991"),
        ("size", "abc", 'size is "abc", expected three'),
        ("resolution", [1, 2, 0], r"resolution is \[1, 2, 0\], expected three finite numbers x, y, z above 0, in nm"),
        ("resolution", [1, 2, -4], "above 0"),
        ("resolution", [1, 2, "4"], "expected three finite numbers"),
        ("resolution", [1, 2, 10**400], "expected three finite numbers"),
        ("resolution", [1, 2], "expected three numbers"),
        ("voxel_offset", [0, 0], "voxel_offset is"),
        ("voxel_offset", [0, 0, 0.5], "expected three whole numbers x, y, z from -9007199254740991 to"),
        ("chunk_sizes", [], "expected a list of at least one chunk size"),
        ("chunk_sizes", [64, 64, 64], "expected a list of chunk sizes, each three whole numbers"),
        ("chunk_sizes", [[64, 64, 0]], "expected a list of chunk sizes, each three whole numbers x, y, z from 1"),
        ("chunk_sizes", [[64, 64, 64], [32, 32, 32]], "has 2 chunk_sizes, expected exactly one, because it is sharded"),
        ("encoding", "fpzip", 'encoding is "fpzip", expected one of raw, jpeg, png, jxl, compressed_segmentation, compresso'),
        ("encoding", "raw", "has compressed_segmentation_block_size, which encoding raw does not take"),
        ("compressed_segmentation_block_size", [8, 8, 0], "compressed_segmentation_block_size is"),
        ("hidden", "yes", 'hidden is "yes", expected true or false'),
        ("jpeg_quality", 101, "jpeg_quality is 101, expected a whole number from 0 to 100"),
        ("sharding", [], r"sharding is \[\], expected an object, or no such member"),
    ],
)
def test_a_wrong_member_of_a_scale_is_told(name: str, value: Any, expected: str) -> None:
    with pytest.raises(InfoError, match=f"^info: scale 8_8_40: .*{expected}"):
        parse_volume_info(changed(lambda info, scale: scale.update({name: value})))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("@type", "sharded", "@type is 'sharded', expected 'neuroglancer_uint64_sharded_v1'"),
        ("hash", "md5", 'hash is "md5", expected one of identity, murmurhash3_x86_128'),
        ("preshift_bits", 65, "preshift_bits is 65, expected a whole number from 0 to 64"),
        ("preshift_bits", -1, "preshift_bits is -1"),
        ("minishard_bits", 33, "minishard_bits is 33, expected a whole number from 0 to 32"),
        ("shard_bits", 63, "shard_bits is 63, expected a whole number from 0 to 62"),
        ("data_encoding", "zlib", 'data_encoding is "zlib", expected one of raw, gzip'),
        ("minishard_index_encoding", 1, "minishard_index_encoding is 1, expected one of raw, gzip"),
    ],
)
def test_a_wrong_member_of_sharding_is_told(name: str, value: Any, expected: str) -> None:
    with pytest.raises(InfoError, match=f"^info: scale 8_8_40: sharding: {expected}"):
        parse_volume_info(changed(lambda info, scale: scale["sharding"].update({name: value})))


@pytest.mark.parametrize("name", ["@type", "hash", "preshift_bits", "minishard_bits", "shard_bits"])
def test_a_missing_member_of_sharding_is_named(name: str) -> None:
    with pytest.raises(InfoError, match=f"^info: scale 8_8_40: sharding: has no member {name}$"):
        parse_volume_info(changed(lambda info, scale: scale["sharding"].pop(name)))


def test_a_long_value_is_shortened_in_the_message() -> None:
    with pytest.raises(InfoError) as caught:
        parse_volume_info(changed(lambda info, scale: info.update(num_channels=list(range(10000)))))
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe", b'{"num_channels": NaN}', b'{"rois": 1e999}', b"[" * 100_000, b"<html>",
     b'{"a": 1' + b"0" * 5000 + b"}", encoded(MEMBERS).decode().encode("utf-16")],
)  # fmt: skip
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(InfoError, match=r"^info: not JSON in UTF-8"):
        parse_volume_info(data)


@pytest.mark.parametrize("data", [b"[]", b"null", b"3", b'"info"'])
def test_json_that_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(InfoError, match=r"^info: found .*, expected an object"):
        parse_volume_info(data)


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse_volume_info(b"\xef\xbb\xbf" + encoded(MEMBERS)) == INFO


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (Scale("s", (0, 1, 1), (1.0, 1.0, 1.0), ((1, 1, 1),), "raw"), "scale s: size is"),
        (Scale("s", (1, 1, 1), (1.0, 1.0, float("inf")), ((1, 1, 1),), "raw"), "not JSON"),
        (Scale("s", (1, 1, 1), (1.0, 1.0, 1.0), (), "raw"), "scale s: chunk_sizes is"),
        (Scale("s", (1, 1, 1), (1.0, 1.0, 1.0), ((1, 1, 1),), "compressed_segmentation"), "has no member compressed_segm"),
    ],
)
def test_no_info_is_written_that_the_viewer_refuses(scale: Scale, expected: str) -> None:
    with pytest.raises(InfoError, match=expected):
        encode_volume_info(VolumeInfo("image", "uint32", 1, (scale,)))


def test_tensorstore_opens_what_we_write(tmp_path: Path) -> None:
    data = encode_volume_info(INFO)
    (tmp_path / "info").write_bytes(data)
    for index, scale in enumerate(INFO.scales):
        store = ts.open({"driver": "neuroglancer_precomputed", "kvstore": f"file://{tmp_path}", "scale_index": index}).result()
        assert store.domain.inclusive_min[:3] == scale.voxel_offset
        assert store.domain.shape[:3] == scale.size
        assert [unit.multiplier for unit in store.dimension_units[:3]] == list(scale.resolution)
        assert store.dtype.name == "uint64"


def test_we_read_what_tensorstore_writes() -> None:
    store = ts.open(
        {
            "driver": "neuroglancer_precomputed", "kvstore": "memory://", "create": True,
            "multiscale_metadata": {"type": "segmentation", "data_type": "uint32", "num_channels": 2},
            "scale_metadata": {"key": "k", "size": [10, 11, 12], "resolution": [4, 4, 40.5], "voxel_offset": [-1, 2, 3],
                               "chunk_size": [5, 6, 7], "encoding": "compressed_segmentation",
                               "compressed_segmentation_block_size": [8, 8, 8], "sharding": SHARDING},
        }
    ).result()  # fmt: skip
    sharding = Sharding(3, 2, 1, "identity", "gzip", "raw")
    scale = Scale("k", (10, 11, 12), (4.0, 4.0, 40.5), ((5, 6, 7),), "compressed_segmentation", (-1, 2, 3), (8, 8, 8), sharding)
    data = store.kvstore.read("info").result().value
    assert parse_volume_info(data) == VolumeInfo("segmentation", "uint32", 2, (scale,))
