"""One object as a manifest and fragments, read back by other implementations and by the format's formula."""

import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise, product
from pathlib import Path

import DracoPy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from converters.meshes.multires_object import EncodedObject, cut_levels, decode_level, encode_object, encode_surfaces
from converters.meshes.octree import OctreeGrid, choose_grid
from formats.errors import DecodeError
from formats.info import Sharding
from formats.meshes import legacy
from formats.meshes.info import LegacyMeshInfo, MultiresMeshInfo, encode_mesh_info
from formats.meshes.mesh import Mesh, boundary_edges, joined
from formats.meshes.multires import Manifest, decode_manifest
from formats.sharding.frame import shard_frame
from formats.sharding.ids import places, shard_name
from tests.converters.meshes.solids import FLOAT_RESOLUTION, ball, blobs, box, marching_cubes, octahedron, outward, ring
from tests.formats.meshes.viewer import Decoded, decoded_by_viewer

Node = tuple[int, int, int]


def fragments_of(encoded: EncodedObject) -> list[dict[Node, bytes]]:
    """Return for each level the bytes of each node's fragment, by the numbers in the manifest alone."""
    manifest, begin, levels = decode_manifest(encoded.manifest), 0, []
    for level in manifest.levels:
        nodes = {}
        for (x, y, z), size in zip(level.positions.tolist(), level.sizes.tolist(), strict=True):
            nodes[x, y, z] = encoded.fragments[begin : begin + size]
            begin += size
        levels.append(nodes)
    assert begin == len(encoded.fragments)
    return levels


def rejoined(nodes: dict[Node, bytes], bits: int) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Return the vertices of a level, steps over the whole object, joined where equal, and its triangles: by DracoPy."""
    vertices, triangles, count = [], [], 0
    for node, data in nodes.items():
        if data:
            mesh = DracoPy.decode(data)
            points = mesh.points.astype(np.int64)
            assert points.min() >= 0
            assert points.max() < 1 << bits
            vertices.append(points + np.array(node) * (2**bits - 1))
            triangles.append(mesh.faces.astype(np.int64) + count)
            count += len(points)
    distinct, numbers = np.unique(np.concatenate(vertices), axis=0, return_inverse=True)
    return distinct, numbers.ravel()[np.concatenate(triangles)].astype(np.uint32)


def before_on_z_curve(one: Node, other: Node) -> bool:
    """Tell whether one comes before other: the axis with the highest differing bit decides, z before y before x."""
    differences = [a ^ b for a, b in zip(one, other, strict=True)]
    axis = max(range(3), key=lambda n: (differences[n].bit_length(), n))
    return one[axis] < other[axis]


def check_octree(levels: list[dict[Node, bytes]]) -> None:
    """Each level is in Z-curve order, and each node has its parent."""
    for nodes in levels:
        assert all(before_on_z_curve(one, other) for one, other in pairwise(nodes))
    for finer, coarser in pairwise(levels):
        assert {(x // 2, y // 2, z // 2) for x, y, z in finer} <= set(coarser)


def check_octants(finer: dict[Node, bytes], nodes: dict[Node, bytes], bits: int) -> None:
    """No triangle crosses the middle of its fragment, and each octant that the viewer draws has a node in the finer level."""
    held = {node: data for node, data in nodes.items() if data}
    half = 1 << bits - 1
    for (x, y, z), seen in zip(held, decoded_by_viewer(list(held.values()), bits, partition=True), strict=True):
        assert len(seen.parts) == 8
        for octant, triangles in enumerate(seen.parts):
            corners = seen.positions[triangles].reshape(-1, 3)
            for axis in range(3):
                beyond = corners[:, axis] < half if octant >> axis & 1 else corners[:, axis] > half
                assert not beyond.any()
            assert not len(triangles) or (2 * x + (octant & 1), 2 * y + (octant >> 1 & 1), 2 * z + (octant >> 2)) in finer


def encode_deep(surfaces: Sequence[Mesh], bits: int, depth: int) -> EncodedObject:
    """Encode an object with 2**depth fragments along its longest axis, however large its triangles are."""
    whole = choose_grid(surfaces, bits, 1 << 30)
    grid = OctreeGrid(whole.origin, whole.extent, depth, bits)
    return encode_surfaces(cut_levels(surfaces, grid), [2.0 * 3**lod for lod in range(len(surfaces))], grid)


def check(encoded: EncodedObject, surfaces: Sequence[Mesh], bits: int) -> EncodedObject:
    """Check all that the format promises of an object and return it."""
    manifest, levels = decode_manifest(encoded.manifest), fragments_of(encoded)
    check_octree(levels)
    for lod, (surface, nodes) in enumerate(zip(surfaces, levels, strict=True)):
        vertices, triangles = rejoined(nodes, bits)
        step = np.array(manifest.chunk_shape) * 2**lod / (2**bits - 1)
        found = Mesh((vertices * step + manifest.grid_origin).astype(np.float32), triangles)
        assert boundary_edges(found) == 0
        check_vertices(surface, vertices, step, manifest)
        area = np.linalg.norm(np.ptp(surface.vertices, axis=0)) * step.max() * len(surface.triangles)
        assert found.volume == pytest.approx(surface.volume, abs=max(area * step.max(), 0.02 * surface.volume))
        ours = decode_level(manifest, encoded.fragments, lod, bits)
        assert (len(ours.vertices), boundary_edges(ours)) == (len(vertices), 0)
        assert ours.volume == pytest.approx(found.volume, rel=1e-4)
        if lod:
            check_octants(levels[lod - 1], nodes, bits)
    return encoded


def check_vertices(surface: Mesh, vertices: NDArray[np.int64], step: NDArray[np.float64], manifest: Manifest) -> None:
    """Each vertex of the surface is there, at the step nearest to it, or at one of two where it lies halfway."""
    places = (surface.vertices - np.array(manifest.grid_origin)) / step
    corners = places[surface.triangles]
    folded = (np.abs(corners - np.roll(corners, 1, axis=1)) < 1.01).all(axis=2).any(axis=1)
    kept = places[np.setdiff1d(surface.triangles, surface.triangles[folded])]
    found = np.zeros(len(kept), bool)
    for ways in product((-1e-3, 1e-3), repeat=3):
        found |= np.isin(_codes(np.rint(kept + ways).astype(np.int64)), _codes(vertices))
    assert found.all()


def _codes(places: NDArray[np.int64]) -> NDArray[np.int64]:
    return places @ np.array([1, 1 << 21, 1 << 42])


SURFACES = {
    "ball": marching_cubes(ball(9), FLOAT_RESOLUTION, (-1124.7, 0.3, -28)),
    "ring": marching_cubes(ring(10, 3.5), (4, 4, 40), (1e6, -1e6, 12)),
    "blobs": marching_cubes(blobs(3, (14, 18, 16)), (8, 8, 8), (-56, -8, 0)),
    "box": box((-1.5, 2, 3), (1001.25, 900, 55)),
    "one voxel": octahedron((100, 100, 100), (4, 4, 20)),
    "line": marching_cubes(np.ones((1, 60, 1), bool), FLOAT_RESOLUTION, (0, -1124, 0)),
    "plane": marching_cubes(np.ones((40, 1, 50), bool), FLOAT_RESOLUTION, (0, 0, 0)),
    "two pieces": joined([box((0, 0, 0), (9, 9, 9)), octahedron((1000, 40, 3), (5, 5, 5))]),
}


@pytest.mark.parametrize("bits", [10, 16])
@pytest.mark.parametrize("name", SURFACES)
def test_whole_in_one_fragment_a_level(name: str, bits: int) -> None:
    surfaces = [SURFACES[name]] * 2
    encoded = check(encode_object(surfaces, [1.0, 2.0], bits), surfaces, bits)
    assert [list(nodes) for nodes in fragments_of(encoded)] == [[(0, 0, 0)], [(0, 0, 0)]]


@pytest.mark.parametrize("bits", [10, 16])
@pytest.mark.parametrize("name", SURFACES)
def test_cut_into_many_fragments(name: str, bits: int) -> None:
    surfaces = [SURFACES[name]] * 3
    encoded = check(encode_deep(surfaces, bits, 3), surfaces, bits)
    assert len(fragments_of(encoded)[0]) > 1


@pytest.mark.parametrize("solid", [ball(20), ring(20, 9), blobs(5, (30, 30, 30)), np.ones((60, 70, 1), bool)])
def test_no_fragment_has_more_triangles_than_told(solid: NDArray[np.bool_]) -> None:
    surface = marching_cubes(solid, (4, 4, 4), (0, 0, 0))
    most = len(surface.triangles) // 10
    (nodes,) = fragments_of(check(encode_object([surface], [1.0], 16, most), [surface], 16))
    counts = [len(DracoPy.decode(data).faces) for data in nodes.values() if data]
    assert max(counts) <= most
    assert sum(counts) < 1.5 * len(surface.triangles)


def test_large_triangles_are_not_shredded() -> None:
    """Many small triangles in one place would need fragments that cut two large ones into many thousands."""
    small = marching_cubes(ball(9), (0.01, 0.01, 0.01), (0, 0, 0))
    surface = joined([small, box((0, 0, 0), (1000, 1000, 1000))])
    (nodes,) = fragments_of(encode_object([surface], [1.0], 16, len(small.triangles) // 4))
    assert sum(len(DracoPy.decode(data).faces) for data in nodes.values() if data) < 2 * len(small.triangles)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(*[st.integers(2, 12)] * 3),
    resolution=st.tuples(*[st.floats(0.5, 60)] * 3),
    offset=st.tuples(*[st.floats(-1e5, 1e5)] * 3),
    bits=st.sampled_from([10, 16]),
    depth=st.integers(0, 3),
)
def test_labels_of_any_shape_and_place(
    seed: int, shape: Node, resolution: tuple[float, ...], offset: tuple[float, ...], bits: int, depth: int
) -> None:
    """Levels made of the voxels and of those twice and four times as large, which reach beyond the finest level's."""
    solid = blobs(seed, shape)
    solid[0, 0, 0] = True
    levels = []
    for factor in (1, 2, 4):
        coarse = np.pad(solid, [(0, -n % factor) for n in solid.shape])
        parts = coarse.reshape([n for size in coarse.shape for n in (size // factor, factor)])
        x, y, z = (factor * length for length in resolution)
        levels.append(marching_cubes(parts.any(axis=(1, 3, 5)), (x, y, z), offset))  # type: ignore[arg-type]
    check(encode_deep(levels, bits, depth), levels, bits)


def test_the_viewer_decodes_every_fragment() -> None:
    encoded = encode_object([SURFACES["blobs"]], [8.0], 16, 300)
    (nodes,) = fragments_of(encoded)
    held = {node: data for node, data in nodes.items() if data}
    seen = dict(zip(held, decoded_by_viewer(list(held.values()), 16, partition=False), strict=True))
    assert len(seen) > 8
    for node, data in held.items():
        other = DracoPy.decode(data)
        assert soup(seen[node]) == sorted(other.points[other.faces].astype(int).tolist())


def soup(decoded: Decoded) -> list[list[list[int]]]:
    return sorted(decoded.positions[decoded.triangles].tolist())


def test_an_octant_that_only_a_coarse_level_reaches_has_an_empty_node() -> None:
    """Else the viewer would draw the coarse surface there beside the fine one for good."""
    fine = joined([box((0, 0, 0), (40, 40, 40)), box((100, 0, 0), (100.5, 0.5, 0.5))])
    coarse = joined([fine, box((80, 80, 80), (90, 90, 90))])
    encoded = check(encode_deep([fine, coarse], 10, 2), [fine, coarse], 10)
    finest = fragments_of(encoded)[0]
    manifest = decode_manifest(encoded.manifest)
    last = tuple(int(n) for n in (85 - np.array(manifest.grid_origin)) // np.array(manifest.chunk_shape))
    assert finest[last[0], last[1], last[2]] == b""


def test_a_level_that_has_no_triangle_where_a_finer_one_has() -> None:
    fine = joined([box((0, 0, 0), (9, 9, 9)), box((91, 91, 91), (100, 100, 100))])
    levels = [fine, box((0, 0, 0), (9, 9, 9)), box((0, 0, 0), (9, 9, 9))]
    finest, middle, coarsest = fragments_of(check(encode_deep(levels, 16, 3), levels, 16))
    assert all(finest.values())
    assert [node for node, data in middle.items() if not data] == [(3, 3, 3)]
    assert [node for node, data in coarsest.items() if not data] == [(1, 1, 1)]


def test_an_open_surface_is_kept_as_it_is() -> None:
    whole = SURFACES["ball"]
    some = Mesh(whole.vertices, whole.triangles[: len(whole.triangles) // 2])
    encoded = encode_object([some], [1.0], 16, 100)
    vertices, triangles = rejoined(fragments_of(encoded)[0], 16)
    found = boundary_edges(Mesh(vertices.astype(np.float32), triangles))
    assert found >= boundary_edges(some) > 0


def test_a_sheet_without_thickness_is_kept() -> None:
    sheet = Mesh(
        np.array([[0, 0, 5], [100, 0, 5], [100, 50, 5], [0, 50, 5]], np.float32), np.array([[0, 1, 2], [0, 2, 3]], np.uint32)
    )
    encoded = encode_object([sheet, sheet], [1.0, 2.0], 10)
    for lod in range(2):
        found = decode_level(decode_manifest(encoded.manifest), encoded.fragments, lod, 10)
        # An eighth of the steps, at the second level, is what the first level has.
        np.testing.assert_allclose(sorted(found.vertices.tolist()), sorted(sheet.vertices.tolist()), atol=0.2)


def test_the_same_object_gives_the_same_bytes() -> None:
    surface = SURFACES["ring"]
    assert encode_object([surface], [1.0], 10, 500) == encode_object([surface], [1.0], 10, 500)


def test_what_is_no_object_is_refused() -> None:
    nothing = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint32))
    for levels, scales in (([], []), ([SURFACES["box"]], []), ([SURFACES["box"], nothing], [1.0, 2.0])):
        with pytest.raises(ValueError, match="expected as many, and triangles in each level"):
            encode_object(levels, scales, 10)


def test_a_corrupt_fragment_is_refused() -> None:
    encoded = encode_object([SURFACES["box"]], [1.0], 10)
    with pytest.raises(DecodeError, match="no Draco mesh"):
        decode_level(decode_manifest(encoded.manifest), bytes(len(encoded.fragments)), 0, 10)


_CLOUD_VOLUME = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from cloudvolume import CloudVolume
volume = CloudVolume("file://" + sys.argv[1], progress=False, cache=False)
found = {}
for segment in map(int, sys.argv[3].split(",")):
    for lod in map(int, sys.argv[4].split(",")):
        meshes = volume.mesh.get(segment, lod=lod) if lod >= 0 else volume.mesh.get(segment)
        mesh = meshes[segment] if isinstance(meshes, dict) else meshes
        found[f"vertices {segment} {lod}"], found[f"triangles {segment} {lod}"] = mesh.vertices, mesh.faces
np.savez(sys.argv[2], **found)
"""

_VOLUME = {
    "@type": "neuroglancer_multiscale_volume", "type": "segmentation", "data_type": "uint64", "num_channels": 1, "mesh": "mesh",
    "scales": [{"key": "s", "size": [9, 9, 9], "resolution": [4, 4, 4], "chunk_sizes": [[9, 9, 9]], "encoding": "raw"}],
}  # fmt: skip


def by_cloud_volume(folder: Path, segments: Sequence[int], lods: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    """Read in a process of its own: cloud-volume warns, and patches what other tests use."""
    (folder / "info").write_text(json.dumps(_VOLUME))
    target = folder / "read.npz"
    listed = (",".join(map(str, numbers)) for numbers in (segments, lods))
    subprocess.run([sys.executable, "-c", _CLOUD_VOLUME, str(folder), str(target), *listed], check=True, timeout=120)
    return dict(np.load(target))


OBJECTS = {7: ["ball", "ball"], 2**63 + 5: ["blobs", "box"], 12: ["ring", "one voxel"], 13: ["one voxel", "one voxel"]}


def assert_read(found: dict[str, NDArray[np.float64]], encoded: dict[int, EncodedObject], bits: int) -> None:
    """Compare with the format's formula on what DracoPy decodes."""
    for segment, stored in encoded.items():
        manifest = decode_manifest(stored.manifest)
        for lod, nodes in enumerate(fragments_of(stored)):
            vertices, triangles = rejoined(nodes, bits)
            expected = np.array(manifest.grid_origin) + np.array(manifest.chunk_shape) * 2**lod * vertices / (2**bits - 1)
            read = found[f"vertices {segment} {lod}"][found[f"triangles {segment} {lod}"]]
            assert read.shape == (len(triangles), 3, 3)
            scale = np.abs(expected).max()
            np.testing.assert_allclose(
                np.sort(read.reshape(-1, 3), axis=0), np.sort(expected[triangles].reshape(-1, 3), axis=0), atol=1e-6 * scale
            )


@pytest.mark.parametrize("bits", [10, 16])
def test_cloud_volume_reads_files(tmp_path: Path, bits: int) -> None:
    folder = tmp_path / "mesh"
    folder.mkdir()
    (folder / "info").write_bytes(encode_mesh_info(MultiresMeshInfo(bits)))
    encoded = {n: encode_object([SURFACES[name] for name in names], [1.0, 2.0], bits, 500) for n, names in OBJECTS.items()}
    for segment, stored in encoded.items():
        (folder / f"{segment}.index").write_bytes(stored.manifest)
        (folder / str(segment)).write_bytes(stored.fragments)
    assert_read(by_cloud_volume(tmp_path, list(OBJECTS), [0, 1]), encoded, bits)


def test_cloud_volume_reads_shards(tmp_path: Path) -> None:
    """Each object's fragments lie right before its manifest, which alone is in the index."""
    folder = tmp_path / "mesh"
    folder.mkdir()
    sharding = Sharding(0, 1, 1, "murmurhash3_x86_128", "gzip", "raw")
    (folder / "info").write_bytes(encode_mesh_info(MultiresMeshInfo(16, sharding=sharding)))
    encoded = {n: encode_object([SURFACES[name] for name in names], [1.0, 2.0], 16, 500) for n, names in OBJECTS.items()}
    shards, _ = places(np.array(list(OBJECTS), np.uint64), sharding)
    for shard in set(shards.tolist()):
        ids = [segment for segment, place in zip(OBJECTS, shards, strict=True) if place == shard]
        sizes = np.array([(len(encoded[n].manifest), len(encoded[n].fragments)) for n in ids], np.int64)
        frame = shard_frame(np.array(ids, np.uint64), sizes[:, 0], sharding, sizes[:, 1])
        data = b"".join(encoded[ids[n]].fragments + encoded[ids[n]].manifest for n in frame.order)
        (folder / shard_name(shard, sharding)).write_bytes(frame.head + data + frame.tail)
    assert len(list(folder.iterdir())) == 3
    assert_read(by_cloud_volume(tmp_path, list(OBJECTS), [0, 1]), encoded, 16)


def test_cloud_volume_reads_legacy_meshes(tmp_path: Path) -> None:
    folder = tmp_path / "mesh"
    folder.mkdir()
    (folder / "info").write_bytes(encode_mesh_info(LegacyMeshInfo()))
    name = legacy.fragment_name(7, 0)
    (folder / name).write_bytes(legacy.encode_fragment(SURFACES["ring"]))
    (folder / legacy.manifest_name(7)).write_bytes(legacy.encode_manifest([name]))
    found = by_cloud_volume(tmp_path, [7], [-1])
    assert soup_of(found["vertices 7 -1"], found["triangles 7 -1"]) == soup_of(
        SURFACES["ring"].vertices, SURFACES["ring"].triangles
    )


def soup_of(
    vertices: NDArray[np.float64] | NDArray[np.float32], triangles: NDArray[np.float64] | NDArray[np.uint32]
) -> list[object]:
    return sorted(np.asarray(vertices, np.float32)[np.asarray(triangles, np.int64)].tolist())


def test_solids_of_these_tests_are_closed() -> None:
    for surface in SURFACES.values():
        assert (boundary_edges(surface), outward(surface) is surface) == (0, True)


def test_a_grid_of_all_levels_holds_the_coarse_ones() -> None:
    grid = choose_grid([box((0, 0, 0), (1, 1, 1)), box((-1, 0, 0), (1, 2, 1))], 10, 100)
    assert (grid.origin, grid.extent) == ((-1, 0, 0), (2, 2, 1))
