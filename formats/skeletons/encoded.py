"""The bytes of one skeleton (docs/datasource/precomputed/skeletons.md, "encoded skeleton file format").

Counts of vertices and edges, positions, edges, then the attributes in the order of the info with no padding between. The viewer
draws attributes of float32 alone, and refuses a layer with any other, whatever the format allows: writing demands float32.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from formats.errors import DecodeError, EncodeError
from formats.skeletons.info import ATTRIBUTE_BYTES, DRAWN, VertexAttribute
from formats.skeletons.skeleton import Skeleton

_HEAD_BYTES = 8
_VERTEX_BYTES = 12
_EDGE_BYTES = 8
_MOST = (1 << 32) - 1


def encode_skeleton(skeleton: Skeleton, attributes: Sequence[VertexAttribute]) -> bytes:
    """Return the bytes of a skeleton with these attributes, in this order.

    Raises EncodeError for what the viewer would refuse or draw wrongly.
    """
    _check_types(attributes)
    _check(skeleton)
    parts = [
        np.array([len(skeleton.vertices), len(skeleton.edges)], "<u4"),
        skeleton.vertices.astype("<f4"),
        skeleton.edges.astype("<u4"),
        *(_values(skeleton, attribute) for attribute in attributes),
    ]
    return b"".join(part.tobytes() for part in parts)


def decode_skeleton(data: bytes, attributes: Sequence[VertexAttribute]) -> Skeleton:
    """Return the skeleton that bytes hold; attributes: those of the info. Attributes of one component come as [n].

    Raises DecodeError for bytes that are cut short or too long, edges that name no vertex, and places that are not finite.
    """
    if len(data) < _HEAD_BYTES:
        raise DecodeError(f"a skeleton of {len(data)} bytes, expected at least {_HEAD_BYTES}")
    vertex_count, edge_count = (int(count) for count in np.frombuffer(data, "<u4", 2))
    sizes = [vertex_count * attribute.num_components * ATTRIBUTE_BYTES[attribute.data_type] for attribute in attributes]
    expected = _HEAD_BYTES + _VERTEX_BYTES * vertex_count + _EDGE_BYTES * edge_count + sum(sizes)
    if len(data) != expected:
        raise DecodeError(f"a skeleton of {len(data)} bytes, expected {expected} for {vertex_count} vertices, {edge_count} edges")
    vertices = np.frombuffer(data, "<f4", 3 * vertex_count, _HEAD_BYTES).reshape(-1, 3)
    position = _HEAD_BYTES + _VERTEX_BYTES * vertex_count
    edges = np.frombuffer(data, "<u4", 2 * edge_count, position).reshape(-1, 2)
    _check_places(vertices, edges)
    position += _EDGE_BYTES * edge_count
    found = {}
    for attribute, size in zip(attributes, sizes, strict=True):
        dtype = np.dtype(attribute.data_type).newbyteorder("<")
        values = np.frombuffer(data, dtype, size // dtype.itemsize, position)
        found[attribute.id] = values if attribute.num_components == 1 else values.reshape(-1, attribute.num_components)
        position += size
    return Skeleton(vertices, edges, found)


def _check_places(vertices: NDArray[np.float32], edges: NDArray[np.uint32]) -> None:
    if edges.size and int(edges.max()) >= len(vertices):
        raise DecodeError(f"an edge to vertex {edges.max()} of a skeleton with {len(vertices)} vertices")
    if not np.isfinite(vertices).all():
        raise DecodeError("a skeleton with vertices at places that are not finite")


def _check_types(attributes: Sequence[VertexAttribute]) -> None:
    other = next((attribute for attribute in attributes if attribute.data_type != DRAWN), None)
    if other is not None:
        raise EncodeError(f"attribute {other.id} of {other.data_type}, expected {DRAWN}, the only type that the viewer draws")


def _check(skeleton: Skeleton) -> None:
    vertices, edges = skeleton.vertices, skeleton.edges
    if vertices.ndim != 2 or vertices.shape[1] != 3 or edges.ndim != 2 or edges.shape[1] != 2:
        raise EncodeError(f"vertices {vertices.shape} and edges {edges.shape}, expected [n, 3] and [m, 2]")
    if max(len(vertices), len(edges)) > _MOST:
        raise EncodeError(f"{len(vertices)} vertices and {len(edges)} edges, expected at most {_MOST} each")
    if not np.isfinite(vertices).all():
        raise EncodeError("vertices at places that are not finite")
    if edges.size and not 0 <= int(edges.min()) <= int(edges.max()) < len(vertices):
        raise EncodeError(f"edges to vertices {edges.min()} to {edges.max()} of a skeleton with {len(vertices)} vertices")


def _values(skeleton: Skeleton, attribute: VertexAttribute) -> NDArray[np.generic]:
    if attribute.id not in skeleton.attributes:
        raise EncodeError(f"no attribute {attribute.id}, expected {', '.join(skeleton.attributes) or 'none'} and nothing else")
    values = skeleton.attributes[attribute.id]
    count = len(skeleton.vertices)
    shape = (count,) if attribute.num_components == 1 else (count, attribute.num_components)
    if values.shape not in (shape, (count, attribute.num_components)):
        raise EncodeError(f"attribute {attribute.id} of shape {values.shape}, expected {shape}")
    if values.dtype != np.dtype(attribute.data_type):
        raise EncodeError(f"attribute {attribute.id} of {values.dtype}, expected {attribute.data_type}")
    return values.astype(values.dtype.newbyteorder("<"))
