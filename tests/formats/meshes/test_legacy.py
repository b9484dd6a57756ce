"""Single-resolution meshes."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.errors import DecodeError, EncodeError
from formats.meshes.legacy import (
    decode_fragment,
    decode_manifest,
    encode_fragment,
    encode_manifest,
    fragment_name,
    manifest_name,
)
from formats.meshes.mesh import Mesh

MESH = Mesh(np.array([[0.5, -1, 2], [3, 4, 5], [6, 7, 8]], np.float32), np.array([[0, 1, 2], [2, 1, 0]], np.uint32))
BYTES = struct.pack("<I9f6I", 3, 0.5, -1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 2, 2, 1, 0)


def test_a_fragment_by_hand() -> None:
    assert encode_fragment(MESH) == BYTES
    found = decode_fragment(BYTES)
    assert (found.vertices.dtype, found.triangles.dtype) == (np.float32, np.uint32)
    np.testing.assert_array_equal(found.vertices, MESH.vertices)
    np.testing.assert_array_equal(found.triangles, MESH.triangles)


def test_a_manifest_by_hand() -> None:
    assert json.loads(encode_manifest(["7:0:0", "x"])) == {"fragments": ["7:0:0", "x"]}
    assert decode_manifest(b'{"fragments": ["a", "b"], "more": 1}') == ["a", "b"]
    assert decode_manifest(encode_manifest([])) == []


def test_names() -> None:
    assert (manifest_name(2**64 - 1), fragment_name(7, 2)) == ("18446744073709551615:0", "7:0:2")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"fragments": null}', b'{"fragments": [1]}', b"\xff", b"[" * 100_000])
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError, match="a mesh manifest"):
        decode_manifest(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "of 0 bytes, expected at least 4"),
        (BYTES[:-1], f"of {len(BYTES) - 1} bytes, expected 40 for 3 vertices and 12 for each triangle"),
        (BYTES[:39], "of 39 bytes, expected 40"),
        (b"\xff\xff\xff\xff" + BYTES, "expected 51539607544 for 4294967295 vertices"),
        (struct.pack("<I3f3I", 1, 0, 0, 0, 0, 0, 1), "with vertex 1 of 1 in a triangle"),
        (struct.pack("<I3f", 1, 0, np.inf, 0), "not finite"),
    ],
)
def test_what_is_no_fragment_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decode_fragment(data)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_fragment_or_an_error(data: bytes) -> None:
    try:
        found = decode_fragment(data)
    except DecodeError:
        return
    assert len(data) == 4 + 12 * len(found.vertices) + 12 * len(found.triangles)


def test_what_the_viewer_cannot_draw_is_refused() -> None:
    with pytest.raises(EncodeError, match="not finite"):
        encode_fragment(Mesh(MESH.vertices * np.float32(np.nan), MESH.triangles))
    with pytest.raises(EncodeError, match="vertex 2 of 2"):
        encode_fragment(Mesh(MESH.vertices[:2], MESH.triangles))
