"""Multi-resolution meshes (meshes.md, "Multi-resolution mesh format"): manifests and Draco fragments of one object.

A manifest tells an octree: at level of detail 0 its nodes are boxes of `chunk_shape`, at each next level twice as large. A
node's fragment holds whole numbers from 0 to 2**bits - 1 along each axis of its box, both ends included: the upper end of one
node is the lower end of the next.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from formats.errors import DecodeError, EncodeError
from formats.meshes.draco_counts import check_counts

Floats = tuple[float, float, float]

QUANTIZATION_BITS = (10, 16)
"""The two that the viewer has."""

_FIXED_WORDS = 7
_LOD_WORDS = 5
_FRAGMENT_WORDS = 4
_SOME_TRIANGLES = 64
_MOST_POSITION_BITS = 21
"""Bits of a position along one axis, so that a Z-curve code fits into 64; the viewer shifts 32-bit numbers."""


@dataclass(frozen=True)
class LevelOfDetail:
    """The nodes of one level.

    scale: nm that a detail of this level measures; 0 for a level that is not there. vertex_offset: nm, x, y, z.
    positions: uint32 [n, 3], x, y, z, of the nodes, in Z-curve order. sizes: uint32 [n], bytes of each node's fragment, 0 for
    one without triangles.
    """

    scale: float
    vertex_offset: Floats
    positions: NDArray[np.uint32]
    sizes: NDArray[np.uint32]


@dataclass(frozen=True)
class Manifest:
    """The octree of one object; lengths in nm, x, y, z (the "stored model" space of the info's transform).

    chunk_shape: of a node of the finest level. grid_origin: the lowest corner of node 0, 0, 0. levels: finest first.
    """

    chunk_shape: Floats
    grid_origin: Floats
    levels: tuple[LevelOfDetail, ...]

    @property
    def fragment_bytes(self) -> int:
        """Bytes of all fragments together, which lie one behind the other, the finest level's first."""
        return sum(int(level.sizes.sum(dtype=np.int64)) for level in self.levels)

    def fragment_offsets(self, lod: int) -> NDArray[np.int64]:
        """Return where each fragment of a level begins in the data of all, and where the last one ends, int64 [n + 1]."""
        before = sum(int(level.sizes.sum(dtype=np.int64)) for level in self.levels[:lod])
        return before + np.concatenate([np.zeros(1, np.int64), np.cumsum(self.levels[lod].sizes, dtype=np.int64)])


def manifest_name(segment_id: int) -> str:
    """Return the name of an object's manifest where meshes are not sharded."""
    return f"{segment_id}.index"


def fragments_name(segment_id: int) -> str:
    """Return the name of the file with an object's fragments where meshes are not sharded."""
    return str(segment_id)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of a manifest. Raises EncodeError for one that the viewer would refuse or draw with holes."""
    _check(manifest)
    levels = manifest.levels
    parts = [
        np.array([*manifest.chunk_shape, *manifest.grid_origin], "<f4"),
        np.array([len(levels)], "<u4"),
        np.array([level.scale for level in levels], "<f4"),
        np.array([level.vertex_offset for level in levels], "<f4"),
        np.array([len(level.sizes) for level in levels], "<u4"),
    ]
    for level in levels:
        parts += [level.positions.T.astype("<u4"), level.sizes.astype("<u4")]
    return b"".join(part.tobytes() for part in parts)


def decode_manifest(data: bytes) -> Manifest:
    """Return what the bytes of a manifest tell. Raises DecodeError for those that are cut short, too long or not finite."""
    words, floats = _words(data), np.frombuffer(data, "<f4", len(data) // 4)
    lods = int(words[_FIXED_WORDS - 1])
    start = _FIXED_WORDS + _LOD_WORDS * lods
    if not 1 <= lods <= len(words) or len(words) < start:
        raise DecodeError(f"a manifest of {len(data)} bytes tells {lods} levels of detail")
    counts = words[start - lods : start].astype(np.int64)
    expected = 4 * (start + _FRAGMENT_WORDS * int(counts.sum()))
    if len(data) != expected:
        raise DecodeError(f"a manifest of {len(data)} bytes, expected {expected} for {counts.sum()} fragments in {lods} levels")
    if not np.isfinite(floats[: _FIXED_WORDS - 1]).all() or not np.isfinite(floats[_FIXED_WORDS : start - lods]).all():
        raise DecodeError("a manifest with lengths that are not finite")
    levels = []
    for lod, count in enumerate(counts.tolist()):
        numbers = words[start : start + _FRAGMENT_WORDS * count].reshape(_FRAGMENT_WORDS, count)
        offset = floats[_FIXED_WORDS + lods + 3 * lod :][:3]
        levels.append(LevelOfDetail(float(floats[_FIXED_WORDS + lod]), _triple(offset), numbers[:3].T, numbers[3]))
        start += _FRAGMENT_WORDS * count
    return Manifest(_triple(floats[:3]), _triple(floats[3:6]), tuple(levels))


def vertex_positions(
    manifest: Manifest, lod: int, fragment: tuple[int, int, int], positions: NDArray[np.integer[Any]], bits: int
) -> NDArray[np.float64]:
    """Return where the vertices of a fragment lie, nm, float64 [n, 3], before the info's transform.

    fragment: the node's position, x, y, z. positions: [n, 3], as stored, from 0 to 2**bits - 1.
    """
    inside = np.asarray(fragment) + positions / (2**bits - 1)
    first = np.add(manifest.grid_origin, manifest.levels[lod].vertex_offset)
    vertices: NDArray[np.float64] = first + np.multiply(manifest.chunk_shape, 2.0**lod) * inside
    return vertices


def z_curve_codes(positions: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Return the place of each position on the Z curve, x the least significant.

    positions: [n, 3], x, y, z. Raises ValueError for one that has more than 21 bits.
    """
    if positions.size and int(positions.max()) >> _MOST_POSITION_BITS:
        raise ValueError(f"position {positions.max()}, expected less than {1 << _MOST_POSITION_BITS}")
    spread = positions.astype(np.uint64)
    for shift, mask in _SPREADING:
        spread = (spread | spread << np.uint64(shift)) & np.uint64(mask)
    codes: NDArray[np.uint64] = spread[:, 0] | spread[:, 1] << np.uint64(1) | spread[:, 2] << np.uint64(2)
    return codes


def z_curve_positions(codes: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Return the positions, uint32 [n, 3], x, y, z, at these places on the Z curve."""
    gathered = codes[:, None] >> np.arange(3, dtype=np.uint64) & np.uint64(_SPREADING[-1][1])
    for (shift, _), (_, mask) in zip(reversed(_SPREADING), [*reversed(_SPREADING[:-1]), (0, _LOW_BITS)], strict=True):
        gathered = (gathered | gathered >> np.uint64(shift)) & np.uint64(mask)
    return gathered.astype(np.uint32)


_LOW_BITS = (1 << _MOST_POSITION_BITS) - 1
_SPREADING = (
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)
"""Shifts and masks that put two empty bits between any two of a number's 21."""


def encode_draco(positions: NDArray[np.int32], triangles: NDArray[np.uint32]) -> bytes:
    """Return a fragment: whole numbers without Draco's own quantization, positions the only attribute.

    positions: int32 [n, 3], from 0 to 2**bits - 1. triangles: uint32 [m, 3]. Equal vertices are joined; vertices that no
    triangle uses and triangles with two equal corners are left out. Raises EncodeError when no triangle is left.
    """
    import DracoPy

    # Some are nearly always enough to tell; Draco writes to the terminal when there is none.
    if not any(_has_corners(positions, some) for some in (triangles[:_SOME_TRIANGLES], triangles)):
        raise EncodeError(f"{len(triangles)} triangles, none with three different corners")
    data: bytes = DracoPy.encode(positions.astype(np.int32, copy=False), triangles)
    return data


def decode_draco(data: bytes) -> tuple[NDArray[np.int32], NDArray[np.uint32]]:
    """Return the positions, int32 [n, 3], and the triangles, uint32 [m, 3], of a fragment, as stored.

    Raises DecodeError for bytes that are no Draco mesh, or one of millions of triangles, and for positions that are no whole
    numbers or of more than 16 bits.
    """
    import DracoPy

    check_counts(data)
    try:
        mesh = DracoPy.decode(data)
    except (ValueError, RuntimeError, MemoryError, DracoPy.FileTypeException) as error:
        raise DecodeError(f"a fragment of {len(data)} bytes that is no Draco mesh ({error})") from error
    if not isinstance(mesh, DracoPy.DracoMesh):
        raise DecodeError(f"a fragment of {len(data)} bytes with points and no triangles")
    points, triangles = np.asarray(mesh.points), np.asarray(mesh.faces).astype(np.uint32)
    if points.ndim != 2 or points.shape[1] != 3 or (triangles.size and int(triangles.max()) >= len(points)):
        raise DecodeError(f"a fragment whose triangles and positions {points.shape} do not fit")
    if not ((points >= 0) & (points < 1 << max(QUANTIZATION_BITS)) & (points == np.rint(points))).all():
        raise DecodeError(f"a fragment with positions that are no whole numbers from 0 to {(1 << max(QUANTIZATION_BITS)) - 1}")
    return points.astype(np.int32), triangles


def _has_corners(positions: NDArray[np.int32], triangles: NDArray[np.uint32]) -> bool:
    """Tell whether any triangle has three different corners."""
    a, b, c = (positions[triangles[:, corner]] for corner in range(3))
    return bool(((a != b).any(axis=1) & (b != c).any(axis=1) & (c != a).any(axis=1)).any())


def _words(data: bytes) -> NDArray[np.uint32]:
    if len(data) < 4 * _FIXED_WORDS or len(data) % 4:
        raise DecodeError(f"a manifest of {len(data)} bytes, expected at least {4 * _FIXED_WORDS} and a multiple of 4")
    return np.frombuffer(data, "<u4").astype(np.uint32)


def _triple(numbers: NDArray[np.float32]) -> Floats:
    x, y, z = (float(number) for number in numbers)
    return x, y, z


def _check(manifest: Manifest) -> None:
    shape, scales = np.asarray(manifest.chunk_shape), [level.scale for level in manifest.levels]
    if not np.isfinite(shape).all() or shape.min() <= 0 or not np.isfinite(manifest.grid_origin).all():
        raise EncodeError(f"chunk_shape {manifest.chunk_shape} from {manifest.grid_origin}, expected finite lengths above 0")
    if not scales or scales != sorted(scales) or not np.isfinite(scales).all() or scales[0] <= 0:
        raise EncodeError(f"lod_scales {scales}, expected at least one, above 0 and none below the one before")
    if not len(manifest.levels[0].sizes):
        raise EncodeError("a manifest without fragments at level of detail 0")
    codes = [_codes(level, lod) for lod, level in enumerate(manifest.levels)]
    for lod, (finer, coarser) in enumerate(pairwise(codes)):
        if not np.isin(finer >> np.uint64(3), coarser).all():
            raise EncodeError(f"level of detail {lod + 1} lacks a parent of a node at level {lod}")


def _codes(level: LevelOfDetail, lod: int) -> NDArray[np.uint64]:
    """Return the Z-curve codes of a level's nodes, checked."""
    if level.positions.shape != (len(level.sizes), 3):
        raise EncodeError(f"level of detail {lod}: positions {level.positions.shape} and {len(level.sizes)} sizes do not fit")
    codes = z_curve_codes(level.positions)
    if (codes[1:] <= codes[:-1]).any():
        raise EncodeError(f"level of detail {lod}: its nodes are not in Z-curve order")
    return codes
