"""Single-resolution meshes (meshes.md, "Legacy single-resolution mesh format"): an object's manifest and its fragments."""

import json
import struct
from collections.abc import Sequence

import numpy as np

from formats.errors import DecodeError, EncodeError
from formats.meshes.mesh import Mesh

_COUNT_BYTES = 4
_VERTEX_BYTES = _TRIANGLE_BYTES = 12


def manifest_name(segment_id: int) -> str:
    """Return the name of an object's manifest; the 0 is the only level of detail that the viewer asks for."""
    return f"{segment_id}:0"


def fragment_name(segment_id: int, number: int) -> str:
    """Return a name for one of an object's fragments; the format leaves it open."""
    return f"{segment_id}:0:{number}"


def encode_manifest(fragments: Sequence[str]) -> bytes:
    """Return the manifest of an object whose surface lies in fragments of these names, relative to the mesh folder."""
    return json.dumps({"fragments": list(fragments)}).encode()


def decode_manifest(data: bytes) -> list[str]:
    """Return the names of an object's fragments. Raises DecodeError for what is no manifest."""
    try:
        members = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"a mesh manifest that is not JSON in UTF-8 ({error})") from error
    names = members.get("fragments") if isinstance(members, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DecodeError('a mesh manifest without a list of names "fragments"')
    return names


def encode_fragment(mesh: Mesh) -> bytes:
    """Return the bytes of a fragment. Raises EncodeError for vertices that are not finite or not there."""
    if not np.isfinite(mesh.vertices).all():
        raise EncodeError("a mesh with vertices that are not finite")
    if mesh.triangles.size and int(mesh.triangles.max()) >= len(mesh.vertices):
        raise EncodeError(f"a triangle with vertex {mesh.triangles.max()} of {len(mesh.vertices)}")
    count = struct.pack("<I", len(mesh.vertices))
    return count + mesh.vertices.astype("<f4").tobytes() + mesh.triangles.astype("<u4").tobytes()


def decode_fragment(data: bytes) -> Mesh:
    """Return the surface in a fragment.

    Raises DecodeError for bytes that are cut short, vertices that are not finite and triangles with a vertex that is not there.
    """
    if len(data) < _COUNT_BYTES:
        raise DecodeError(f"a mesh fragment of {len(data)} bytes, expected at least {_COUNT_BYTES}")
    (count,) = struct.unpack_from("<I", data)
    begin = _COUNT_BYTES + count * _VERTEX_BYTES
    if len(data) < begin or (len(data) - begin) % _TRIANGLE_BYTES:
        raise DecodeError(
            f"a mesh fragment of {len(data)} bytes, expected {begin} for {count} vertices and {_TRIANGLE_BYTES} for each triangle"
        )
    vertices = np.frombuffer(data, "<f4", 3 * count, _COUNT_BYTES).astype(np.float32).reshape(-1, 3)
    triangles = np.frombuffer(data, "<u4", offset=begin).astype(np.uint32).reshape(-1, 3)
    if not np.isfinite(vertices).all():
        raise DecodeError("a mesh fragment with vertices that are not finite")
    if triangles.size and int(triangles.max()) >= count:
        raise DecodeError(f"a mesh fragment with vertex {triangles.max()} of {count} in a triangle")
    return Mesh(vertices, triangles)
