"""One object's levels of detail as a manifest and its fragments (meshes.md, "Multi-resolution mesh format"), and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converters.meshes.octree import MOST_PIECES, CutSurface, OctreeGrid, choose_grid, cut, finer
from formats.meshes.mesh import Mesh, distinct_rows
from formats.meshes.multires import (
    LevelOfDetail,
    Manifest,
    decode_draco,
    encode_draco,
    encode_manifest,
    vertex_positions,
    z_curve_positions,
)

MOST_TRIANGLES = 1 << 16
"""Triangles in a fragment: some 50 KB, decoded by the viewer in about 20 ms."""


@dataclass(frozen=True)
class EncodedObject:
    """What is stored of an object: its manifest, and its fragments one behind the other."""

    manifest: bytes
    fragments: bytes


def encode_object(
    levels: Sequence[Mesh], lod_scales: Sequence[float], bits: int, most_triangles: int = MOST_TRIANGLES
) -> EncodedObject:
    """Return an object for the viewer.

    levels: levels of detail, finest first, vertices in nm. lod_scales: for each the nm that a detail of it measures, none below
    the one before. bits: 10 or 16, of a coordinate in a fragment. most_triangles: in a fragment, unless triangles are so large
    that cutting them would double their number. Raises ValueError for a level without triangles, EncodeError for what the
    format cannot hold.
    """
    if not levels or len(levels) != len(lod_scales) or not all(len(level.triangles) for level in levels):
        raise ValueError(f"{len(levels)} levels and {len(lod_scales)} lod_scales, expected as many, and triangles in each level")
    grid, surfaces = _cut_until_few(levels, bits, most_triangles)
    return encode_surfaces(surfaces, lod_scales, grid)


def encode_surfaces(surfaces: Sequence[CutSurface], lod_scales: Sequence[float], grid: OctreeGrid) -> EncodedObject:
    """Return an object whose levels of detail have been cut by a grid, finest first. Raises EncodeError."""
    levels: list[dict[int, bytes]] = [
        {fragment.code: encode_draco(fragment.vertices, fragment.triangles) for fragment in surface.fragments()}
        for surface in surfaces
    ]
    sizes = [{code: len(data) for code, data in level.items()} for level in levels]
    manifest = object_manifest(sizes, [surface.octant_codes() for surface in surfaces], lod_scales, grid)
    return EncodedObject(manifest, b"".join(data for level in levels for data in level.values()))


def object_manifest(
    sizes: Sequence[Mapping[int, int]], octants: Sequence[NDArray[np.uint64]], lod_scales: Sequence[float], grid: OctreeGrid
) -> bytes:
    """Return the manifest of an object whose fragments lie one behind the other, each level's in Z-curve order.

    sizes: for each level, the finest first, bytes of the fragment of each node's code. octants: of each level, as
    CutSurface.octant_codes. Raises EncodeError.
    """
    levels = []
    for lengths, nodes, scale in zip(sizes, _nodes(sizes, octants), lod_scales, strict=True):
        stored = np.array([lengths.get(code, 0) for code in nodes.tolist()], np.uint32)
        levels.append(LevelOfDetail(float(scale), (0.0, 0.0, 0.0), z_curve_positions(nodes), stored))
    return encode_manifest(Manifest(grid.chunk_shape, grid.origin, tuple(levels)))


def cut_levels(levels: Sequence[Mesh], grid: OctreeGrid) -> list[CutSurface]:
    """Return levels of detail, finest first, on the whole numbers of a grid and cut at its planes."""
    return [
        cut(grid.quantized(level.vertices, lod), level.triangles, grid.bits, octants=lod > 0) for lod, level in enumerate(levels)
    ]


def decode_level(manifest: Manifest, fragments: bytes, lod: int, bits: int) -> Mesh:
    """Return the surface of one level of detail, nm, its fragments rejoined where their whole numbers are the same.

    fragments: those of all levels. Raises DecodeError for a fragment that is corrupt.
    """
    level, steps = manifest.levels[lod], (1 << bits) - 1
    offsets = manifest.fragment_offsets(lod)
    vertices, triangles, count = [np.zeros((0, 3), np.int64)], [np.zeros((0, 3), np.uint32)], 0
    for node, begin, end in zip(level.positions.astype(np.int64), offsets[:-1], offsets[1:], strict=True):
        if begin < end:
            inside, corners = decode_draco(fragments[begin:end])
            vertices.append(inside + node * steps)
            triangles.append(corners + np.uint32(count))
            count += len(inside)
    joined, numbers = distinct_rows(np.concatenate(vertices))
    return Mesh(vertex_positions(manifest, lod, (0, 0, 0), joined, bits).astype(np.float32), numbers[np.concatenate(triangles)])


def _cut_until_few(levels: Sequence[Mesh], bits: int, most_triangles: int) -> tuple[OctreeGrid, list[CutSurface]]:
    """Return the octree of an object and its levels cut by it."""
    grid = choose_grid(levels, bits, most_triangles)
    surfaces = cut_levels(levels, grid)
    while max(surface.largest_fragment() for surface in surfaces) > most_triangles:
        other = finer(grid)
        cut_more = cut_levels(levels, other) if other is not None else []
        if other is None or any(_is_shredded(*pair) for pair in zip(levels, cut_more, strict=True)):
            break
        grid, surfaces = other, cut_more
    return grid, surfaces


def _is_shredded(level: Mesh, surface: CutSurface) -> bool:
    return len(surface.triangles) > MOST_PIECES * len(level.triangles)


def _nodes(sizes: Sequence[Mapping[int, int]], octants: Sequence[NDArray[np.uint64]]) -> list[NDArray[np.uint64]]:
    """Return the Z-curve codes of each level's nodes, in order: of those with triangles, and of those that others need.

    An octant that the next coarser level draws needs a node, without triangles if need be, or the viewer goes on drawing the
    coarser one beside the finer ones of its neighbours. A node needs its parent.
    """
    nodes: list[NDArray[np.uint64]] = []
    for lod, level in enumerate(sizes):
        drawn_above = [octants[lod + 1]] if lod + 1 < len(octants) else []
        parents = [nodes[-1] >> np.uint64(3)] if nodes else []
        nodes.append(np.unique(np.concatenate([np.array(list(level), np.uint64), *drawn_above, *parents])))
    return nodes
