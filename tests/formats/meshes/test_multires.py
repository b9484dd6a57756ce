"""Manifests and fragments of multi-resolution meshes."""

import re
import struct
from typing import Any

import DracoPy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.errors import DecodeError, EncodeError
from formats.meshes.multires import (
    LevelOfDetail,
    Manifest,
    decode_draco,
    decode_manifest,
    encode_draco,
    encode_manifest,
    fragments_name,
    manifest_name,
    vertex_positions,
    z_curve_codes,
    z_curve_positions,
)
from tests.formats.meshes.viewer import decoded_by_viewer

CORNERS = np.array([[0, 0, 0], [65535, 0, 0], [0, 65535, 0], [0, 0, 1], [7, 7, 7], [9, 1, 1]], np.int32)


def level(scale: float, positions: list[list[int]], sizes: list[int]) -> LevelOfDetail:
    return LevelOfDetail(scale, (0.0, 0.0, 0.0), np.array(positions, np.uint32).reshape(-1, 3), np.array(sizes, np.uint32))


MANIFEST = Manifest(
    (8.0, 16.0, 24.5),
    (-4.0, 0.0, 1000.0),
    (
        LevelOfDetail(2.0, (0.5, 0.25, -1.0), np.array([[0, 0, 0], [1, 2, 3]], np.uint32), np.array([70, 0], np.uint32)),
        LevelOfDetail(4.0, (0.0, 0.0, 0.0), np.array([[0, 0, 0], [0, 1, 1]], np.uint32), np.array([80, 90], np.uint32)),
    ),
)
# By hand: lengths, levels, lod_scales, vertex_offsets, numbers of fragments; for each level all x, all y, all z, sizes.
MANIFEST_BYTES = (
    struct.pack("<6fI", 8, 16, 24.5, -4, 0, 1000, 2)
    + struct.pack("<2f6f2I", 2, 4, 0.5, 0.25, -1, 0, 0, 0, 2, 2)
    + struct.pack("<6I2I", 0, 1, 0, 2, 0, 3, 70, 0)
    + struct.pack("<6I2I", 0, 0, 0, 1, 0, 1, 80, 90)
)


def test_a_manifest_by_hand() -> None:
    assert encode_manifest(MANIFEST) == MANIFEST_BYTES
    found = decode_manifest(MANIFEST_BYTES)
    assert (found.chunk_shape, found.grid_origin) == (MANIFEST.chunk_shape, MANIFEST.grid_origin)
    for one, other in zip(found.levels, MANIFEST.levels, strict=True):
        assert (one.scale, one.vertex_offset) == (other.scale, other.vertex_offset)
        assert one.positions.tolist() == other.positions.tolist()
        assert one.sizes.tolist() == other.sizes.tolist()


def test_names() -> None:
    assert (manifest_name(2**64 - 1), fragments_name(7)) == ("18446744073709551615.index", "7")


def test_fragments_lie_one_behind_the_other() -> None:
    assert MANIFEST.fragment_bytes == 240
    assert MANIFEST.fragment_offsets(0).tolist() == [0, 70, 70]
    assert MANIFEST.fragment_offsets(1).tolist() == [70, 150, 240]


@pytest.mark.parametrize("length", range(0, len(MANIFEST_BYTES), 3))
def test_a_manifest_cut_short_is_refused(length: int) -> None:
    with pytest.raises(DecodeError, match=f"^a manifest of {length} bytes"):
        decode_manifest(MANIFEST_BYTES[:length])


def test_what_is_no_manifest_is_refused() -> None:
    with pytest.raises(DecodeError, match=r"a manifest of 136 bytes, expected 132 for 4 fragments in 2 levels"):
        decode_manifest(MANIFEST_BYTES + bytes(4))
    with pytest.raises(DecodeError, match="tells 0 levels"):
        decode_manifest(bytes(28))
    with pytest.raises(DecodeError, match="tells 4294967295 levels"):
        decode_manifest(struct.pack("<6fI", 1, 1, 1, 0, 0, 0, 2**32 - 1))
    with pytest.raises(DecodeError, match=r"for 17179869180 fragments"):
        decode_manifest(struct.pack("<6fI", 1, 1, 1, 0, 0, 0, 4) + bytes(64) + b"\xff" * 16)
    with pytest.raises(DecodeError, match="not finite"):
        decode_manifest(struct.pack("<f", np.nan) + MANIFEST_BYTES[4:])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_manifest_or_an_error(data: bytes) -> None:
    try:
        decode_manifest(data)
    except DecodeError:
        return


ONE = level(1, [[0, 0, 0]], [9])


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (Manifest((1.0, 1.0, 0.0), (0.0, 0.0, 0.0), (ONE,)), "chunk_shape"),
        (Manifest((1.0, 1.0, 1.0), (np.inf, 0.0, 0.0), (ONE,)), "finite"),
        (Manifest((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), ()), r"lod_scales \[\]"),
        (Manifest((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (level(2, [[0, 0, 0]], [9]), ONE)), r"lod_scales \[2, 1\]"),
        (Manifest((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (level(0, [[0, 0, 0]], [9]),)), r"lod_scales \[0\]"),
        (Manifest((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (level(1, [], []),)), "without fragments"),
        (Manifest((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (level(1, [[0, 0, 0]], [9, 9]),)), "do not fit"),
        (Manifest((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (level(1, [[0, 1, 0], [1, 0, 0]], [9, 9]),)), "Z-curve order"),
        (Manifest((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (level(1, [[2, 0, 0]], [9]), level(1, [[0, 0, 0]], [9]))), "lacks a parent"),
    ],
)
def test_what_the_viewer_would_not_draw_is_refused(manifest: Manifest, message: str) -> None:
    with pytest.raises(EncodeError, match=message):
        encode_manifest(manifest)


def test_vertex_positions_by_the_formula() -> None:
    """grid_origin + vertex_offset + chunk_shape * 2**lod * (fragment + v / (2**bits - 1)), along each axis."""
    found = vertex_positions(MANIFEST, 0, (1, 2, 3), np.array([[0, 1023, 0], [0, 0, 1023]], np.int32), 10)
    assert found.tolist() == [[-4 + 0.5 + 8, 0.25 + 16 * 3, 999 + 24.5 * 3], [4.5, 32.25, 999 + 24.5 * 4]]
    coarse = vertex_positions(MANIFEST, 1, (0, 1, 1), np.array([[65535, 0, 13107]], np.int32), 16)
    np.testing.assert_allclose(coarse, [[-4 + 16, 32, 1000 + 49 * 1.2]])


def test_z_curve_by_hand() -> None:
    """x is the least significant: 0 0 0, 1 0 0, 0 1 0, 1 1 0, 0 0 1 and so on."""
    cube = [[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)]
    assert z_curve_codes(np.array(cube, np.uint32)).tolist() == list(range(8))
    assert z_curve_codes(np.array([[2, 0, 0], [0, 2, 0], [0, 0, 2], [3, 3, 3]], np.uint32)).tolist() == [8, 16, 32, 63]
    with pytest.raises(ValueError, match="position 2097152, expected less than 2097152"):
        z_curve_codes(np.array([[0, 1 << 21, 0]], np.uint32))


@given(st.lists(st.tuples(*[st.integers(0, 2**21 - 1)] * 3), min_size=1, max_size=9))
def test_z_curve_there_and_back(positions: list[tuple[int, int, int]]) -> None:
    codes = z_curve_codes(np.array(positions, np.uint32))
    expected = [sum((p[axis] >> bit & 1) << 3 * bit + axis for bit in range(21) for axis in range(3)) for p in positions]
    assert codes.tolist() == expected
    assert z_curve_positions(codes).tolist() == [list(position) for position in positions]


SURFACES = {
    "closed": [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]],
    "one triangle": [[0, 2, 1]],
    "an edge of four triangles": [[0, 1, 2], [1, 0, 3], [0, 1, 4], [1, 0, 5]],
    "two triangles that share a corner": [[0, 1, 2], [0, 3, 4]],
    "both sides of a sheet": [[0, 1, 2], [2, 1, 0]],
}


def triangles_of(positions: np.ndarray, triangles: np.ndarray) -> list[list[tuple[int, ...]]]:
    """Return the corners of each triangle, from the lowest on in its own direction, sorted."""
    turned = []
    for corners in positions[triangles].astype(int).tolist():
        first = corners.index(min(corners))
        turned.append([tuple(corner) for corner in corners[first:] + corners[:first]])
    return sorted(turned)


@pytest.mark.parametrize("name", SURFACES)
def test_a_fragment_is_what_the_viewer_and_draco_decode(name: str) -> None:
    triangles = np.array(SURFACES[name], np.uint32)
    data, expected = encode_draco(CORNERS, triangles), triangles_of(CORNERS, triangles)
    assert triangles_of(*decode_draco(data)) == expected
    (seen,) = decoded_by_viewer([data], 16, partition=False)
    assert triangles_of(seen.positions, seen.triangles) == expected
    other = DracoPy.decode(data)
    assert triangles_of(other.points, other.faces) == expected


def test_triangles_with_equal_corners_are_left_out() -> None:
    triangles = np.array([[0, 1, 1], [0, 1, 2]], np.uint32)
    assert triangles_of(*decode_draco(encode_draco(CORNERS, triangles))) == triangles_of(CORNERS, triangles[1:])
    with pytest.raises(EncodeError, match="1 triangles, none with three different corners"):
        encode_draco(CORNERS, triangles[:1])


@pytest.mark.parametrize("how", [{}, {"create_metadata": True}, {"compression_level": 0}, {"compression_level": 10}], ids=str)
def test_fragments_of_other_settings_are_read(how: dict[str, Any]) -> None:
    triangles = np.array(SURFACES["closed"], np.uint32)
    points, found = decode_draco(DracoPy.encode(CORNERS, triangles, **how))
    assert set(map(tuple, points[found.ravel()].tolist())) == set(map(tuple, CORNERS[triangles.ravel()].tolist()))
    assert len(found) == len(triangles)


def test_only_positions_are_stored() -> None:
    mesh = DracoPy.decode(encode_draco(CORNERS, np.array(SURFACES["closed"], np.uint32)))
    assert [(a["num_components"], a["attribute_type"]) for a in mesh.attributes] == [(3, DracoPy.AttributeType.POSITION)]


def test_what_is_no_fragment_is_refused() -> None:
    data = encode_draco(CORNERS, np.array(SURFACES["closed"], np.uint32))
    for length in range(len(data)):
        with pytest.raises(DecodeError, match=f"a fragment of {length} bytes that is no Draco mesh"):
            decode_draco(data[:length])
    with pytest.raises(DecodeError, match="with points and no triangles"):
        decode_draco(DracoPy.encode(CORNERS))
    # Few bytes that tell of many points, triangles, vertices: decoders make room for them first.
    for told, said in (
        ("445241434f0202000000000000003501010101", "with points and no triangles"),
        ("445241434f020201000000ffffff7f03", "a fragment of 268435455 triangles or vertices, expected no more than 8388608"),
        ("445241434f02020101000002ffffff7f03", "a fragment of 268435455 triangles or vertices"),
        ("445241434f0202010100000203ffffff7f", "a fragment of 268435455 triangles or vertices"),
        ("445241434f02020101000002" + "ff" * 20, "no Draco mesh (it has a number of more than 64 bits)"),
        ("445241434f020201000080" + "00" + "00010161" * 40, "no Draco mesh (its metadata is too deep)"),
        ("445241434f02010101000002", "a fragment of Draco's bitstream 2.1, expected 2.2"),
    ):
        with pytest.raises(DecodeError, match=re.escape(said)):
            decode_draco(bytes.fromhex(told))
    # A mesh without any attribute.
    with pytest.raises(DecodeError, match=r"a fragment whose triangles and positions \(\) do not fit"):
        decode_draco(bytes.fromhex("445241434f02020101000000040400030000002f010000"))
    triangles = np.array(SURFACES["closed"], np.uint32)
    for wrong in CORNERS + np.int32(1), CORNERS - np.int32(1), CORNERS * np.float32(0.3):
        with pytest.raises(DecodeError, match="no whole numbers from 0 to 65535"):
            decode_draco(DracoPy.encode(wrong, triangles))
