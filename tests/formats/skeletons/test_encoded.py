"""The bytes of a skeleton: by hand, both ways with osteoid (cloud-volume and neuroglancer read by it), and hostile."""

import struct
from typing import Any

import numpy as np
import osteoid
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from formats.errors import DecodeError, EncodeError
from formats.skeletons.encoded import decode_skeleton, encode_skeleton
from formats.skeletons.info import VertexAttribute
from formats.skeletons.skeleton import Skeleton

RADIUS, KIND, PLACE = VertexAttribute("radius", "float32"), VertexAttribute("kind", "uint8"), VertexAttribute("at", "int16", 2)
VERTICES = np.array([[0, 0, 0], [8, 0, 0], [8, 0.5, -40]], np.float32)
EDGES = np.array([[0, 1], [1, 2]], np.uint32)
VALUES: dict[str, NDArray[Any]] = {
    "radius": np.array([1.5, 2, 3], np.float32),
    "at": np.array([[1, -1], [2, -2], [3, -3]], np.int16),
    "kind": np.array([1, 0, 255], np.uint8),
}
BY_HAND = (
    struct.pack("<2I", 3, 2)
    + struct.pack("<9f", 0, 0, 0, 8, 0, 0, 8, 0.5, -40)
    + struct.pack("<4I", 0, 1, 1, 2)
    + struct.pack("<3f", 1.5, 2, 3)
    + struct.pack("<6h", 1, -1, 2, -2, 3, -3)
    + bytes([1, 0, 255])
)
SKELETON = Skeleton(VERTICES, EDGES, VALUES)


GIRTH = VertexAttribute("girth", "float32", 2)
DRAWN = Skeleton(VERTICES, EDGES, {"radius": VALUES["radius"], "girth": np.array([[1, 2], [3, 4], [5, 6]], np.float32)})


def test_the_bytes_of_a_skeleton_by_hand() -> None:
    head = BY_HAND[: 8 + 36 + 16]
    assert encode_skeleton(SKELETON, [RADIUS]) == head + struct.pack("<3f", 1.5, 2, 3)
    assert encode_skeleton(DRAWN, [GIRTH, RADIUS]) == head + struct.pack("<9f", 1, 2, 3, 4, 5, 6, 1.5, 2, 3)


def test_bytes_made_by_hand_are_read() -> None:
    found = decode_skeleton(BY_HAND, [RADIUS, PLACE, KIND])
    np.testing.assert_array_equal(found.vertices, VERTICES)
    np.testing.assert_array_equal(found.edges, EDGES)
    assert list(found.attributes) == ["radius", "at", "kind"]
    for name, values in VALUES.items():
        np.testing.assert_array_equal(found.attributes[name], values)
        assert found.attributes[name].dtype == values.dtype


def test_a_skeleton_of_nothing() -> None:
    empty = Skeleton(np.zeros((0, 3), np.float32), np.zeros((0, 2), np.uint32))
    assert encode_skeleton(empty, []) == bytes(8)
    assert len(decode_skeleton(bytes(8), []).vertices) == 0


def test_a_skeleton_without_vertices_has_attributes_of_several_numbers() -> None:
    found = decode_skeleton(bytes(8), [RADIUS, PLACE])
    assert {name: values.shape for name, values in found.attributes.items()} == {"radius": (0,), "at": (0, 2)}


def listed(attributes: list[VertexAttribute]) -> list[dict[str, Any]]:
    return [{"id": a.id, "data_type": a.data_type, "num_components": a.num_components} for a in attributes]


def test_osteoid_reads_ours() -> None:
    read = osteoid.Skeleton.from_precomputed(encode_skeleton(DRAWN, [RADIUS, GIRTH]), vertex_attributes=listed([RADIUS, GIRTH]))
    np.testing.assert_array_equal(read.vertices, VERTICES)
    np.testing.assert_array_equal(read.edges, EDGES)
    for name, values in DRAWN.attributes.items():
        np.testing.assert_array_equal(getattr(read, name), values)


def test_we_read_osteoids() -> None:
    theirs = osteoid.Skeleton(VERTICES, EDGES, radii=VALUES["radius"], vertex_types=VALUES["kind"])
    found = decode_skeleton(theirs.to_precomputed(), [RADIUS, VertexAttribute("vertex_types", "uint8")])
    np.testing.assert_array_equal(found.vertices, VERTICES)
    np.testing.assert_array_equal(found.edges, EDGES)
    np.testing.assert_array_equal(found.attributes["radius"], VALUES["radius"])
    np.testing.assert_array_equal(found.attributes["vertex_types"], VALUES["kind"])


@pytest.mark.parametrize("length", range(len(BY_HAND)))
def test_bytes_that_are_cut_short_are_refused(length: int) -> None:
    with pytest.raises(DecodeError, match="a skeleton of"):
        decode_skeleton(BY_HAND[:length], [RADIUS, PLACE, KIND])


def test_bytes_that_tell_more_than_there_is_take_no_memory() -> None:
    with pytest.raises(
        DecodeError, match="a skeleton of 8 bytes, expected 85899345908 for 4294967295 vertices, 4294967295 edges"
    ):
        decode_skeleton(b"\xff" * 8, [])


def test_bytes_behind_the_end_are_refused() -> None:
    with pytest.raises(DecodeError, match="a skeleton of 88 bytes, expected 87 for 3 vertices, 2 edges"):
        decode_skeleton(BY_HAND + b"\0", [RADIUS, PLACE, KIND])


def test_an_edge_to_nowhere_is_refused() -> None:
    with pytest.raises(DecodeError, match="an edge to vertex 1 of a skeleton with 1 vertices"):
        decode_skeleton(struct.pack("<2I3f2I", 1, 1, 0, 0, 0, 0, 1), [])


def test_places_that_are_not_finite_are_refused() -> None:
    with pytest.raises(DecodeError, match="not finite"):
        decode_skeleton(struct.pack("<2I3f", 1, 0, 0, float("nan"), 0), [])


@given(st.binary(max_size=120))
def test_any_bytes_are_a_skeleton_or_an_error(data: bytes) -> None:
    try:
        found = decode_skeleton(data, [RADIUS])
    except DecodeError:
        return
    assert encode_skeleton(found, [RADIUS]) == data


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ([RADIUS, KIND], "attribute kind of uint8, expected float32, the only type that the viewer draws"),
        ([VertexAttribute("id", "uint64")], "attribute id of uint64, expected float32, the only type that the viewer draws"),
        ([VertexAttribute("girth", "float32")], "no attribute girth, expected radius, at, kind and nothing else"),
        ([VertexAttribute("at", "float32")], r"attribute at of shape \(3, 2\), expected \(3,\)"),
        ([VertexAttribute("kind", "float32")], "attribute kind of uint8, expected float32"),
    ],
)
def test_attributes_that_the_viewer_would_draw_wrongly(attributes: list[VertexAttribute], sentence: str) -> None:
    with pytest.raises(EncodeError, match=sentence):
        encode_skeleton(SKELETON, attributes)


@pytest.mark.parametrize(
    ("vertices", "edges", "sentence"),
    [
        (VERTICES[:2], EDGES, "edges to vertices 0 to 2 of a skeleton with 2 vertices"),
        (VERTICES[:, :2], EDGES, r"vertices \(3, 2\) and edges \(2, 2\), expected \[n, 3\] and \[m, 2\]"),
        (np.full((3, 3), np.inf, np.float32), EDGES, "vertices at places that are not finite"),
    ],
)
def test_skeletons_that_cannot_be_stored(vertices: NDArray[Any], edges: NDArray[Any], sentence: str) -> None:
    with pytest.raises(EncodeError, match=sentence):
        encode_skeleton(Skeleton(vertices, edges), [])


def test_cable_length_and_degrees() -> None:
    assert SKELETON.cable_length == pytest.approx(8 + np.hypot(0.5, 40))
    assert SKELETON.degrees.tolist() == [1, 2, 1]
