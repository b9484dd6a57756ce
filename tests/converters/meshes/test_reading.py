"""Meshes of a dataset as cloud-volume and DracoPy wrote them, read back; and what cannot be read."""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import DracoPy
import numpy as np
import pytest
import trimesh
from cloudvolume import CloudVolume, Mesh
from cloudvolume.datasource.precomputed.sharding import ShardingSpecification

from converters.errors import DatasetError
from converters.meshes.conversion import make_meshes
from converters.meshes.reading import MeshReader, open_meshes
from converters.options import ConvertOptions, MeshOptions
from converters.volumes.conversion import convert
from formats.meshes.info import LegacyMeshInfo


def cube_ball() -> trimesh.Trimesh:
    """Return a ball of radius 500 that is a cube blown up, so that no triangle crosses the plane at 0."""
    found = trimesh.creation.box((2, 2, 2))
    for _ in range(4):
        found = found.subdivide()
    found.vertices *= 500 / np.linalg.norm(found.vertices, axis=1, keepdims=True)
    return found


BALL = cube_ball()
SEGMENTS = (7, 8, 300, (1 << 53) + 1, (1 << 64) - 1)


def centre(segment: int) -> tuple[float, float, float]:
    return (1000.0 + SEGMENTS.index(segment) * 2000, 5000.0, 700.0)


def ball(segment: int) -> trimesh.Trimesh:
    return BALL.copy().apply_translation(centre(segment))


@pytest.fixture
def volume(tmp_path: Path) -> CloudVolume:
    """An empty segmentation of cloud-volume's, its meshes to be in the folder `meshes`."""
    info = CloudVolume.create_new_info(
        num_channels=1, layer_type="segmentation", data_type="uint64", encoding="raw", resolution=(8, 8, 8),
        voxel_offset=(0, 0, 0), volume_size=(64, 64, 64), chunk_size=(64, 64, 64), mesh="meshes",
    )  # fmt: skip
    found = CloudVolume(f"file://{tmp_path}/volume", info=info)
    found.commit_info()
    return found


def folder(volume: CloudVolume) -> Path:
    found = Path(volume.cloudpath.removeprefix("file://")) / "meshes"
    found.mkdir(exist_ok=True)
    return found


def check(reader: MeshReader, segment: int, tolerance: float) -> None:
    mesh = reader.read(segment)
    low, high = mesh.box
    np.testing.assert_allclose((low + high) / 2, centre(segment), atol=tolerance)
    np.testing.assert_allclose(high - low, [1000] * 3, atol=2 * tolerance)
    assert mesh.volume == pytest.approx(BALL.volume, rel=0.01)


def test_legacy_meshes_that_cloud_volume_wrote(volume: CloudVolume):
    for segment in SEGMENTS:
        volume.mesh.put(Mesh(ball(segment).vertices.astype(np.float32), BALL.faces.astype(np.uint32), segid=segment))
    for info in (True, False):
        if not info:
            (folder(volume) / "info").unlink(missing_ok=True)
        reader = open_meshes(folder(volume).parent)
        assert reader.info == LegacyMeshInfo(extra=reader.info.extra)
        for segment in SEGMENTS:
            check(reader, segment, 0.01)
        assert reader.segments().tolist() == sorted(SEGMENTS)
        assert (reader.levels(7), reader.levels(9), reader.holds(9)) == (1, 0, False)


def fragment(at: float) -> bytes:
    """Return a triangle, its corners on the axes and all moved."""
    corners = (np.eye(3) + at).astype("<f4")
    return np.array([3], "<u4").tobytes() + corners.tobytes() + np.arange(3, dtype="<u4").tobytes()


def test_a_legacy_manifest_may_list_many_fragments_and_none(tmp_path: Path):
    (tmp_path / "info").write_text('{"@type": "neuroglancer_legacy_mesh"}')
    (tmp_path / "9:0").write_text('{"fragments": ["9:0:a", "other", "9:0:a"]}')
    (tmp_path / "5:0").write_text('{"fragments": []}')
    (tmp_path / "9:0:a").write_bytes(fragment(0))
    (tmp_path / "other").write_bytes(fragment(10))
    reader = open_meshes(tmp_path)
    mesh = reader.read(9)
    assert mesh.triangles.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert mesh.vertices[:, 0].tolist() == [1, 0, 0, 11, 10, 10, 1, 0, 0]
    assert not reader.holds(5)
    assert reader.segments().tolist() == [5, 9]


BITS = 16


def multires_object(segment: int) -> tuple[bytes, bytes]:
    """Return the manifest and the fragments of a ball: 2 x 1 x 1 fragments, and one at level 1, encoded by DracoPy."""
    edge, origin = 1000.0, np.array(centre(segment)) - (1000, 500, 500)
    left, right = (cut(ball(segment), side, centre(segment)[0]) for side in (-1, 1))
    most = (1 << BITS) - 1
    parts = [(left, 0, 0), (right, 1, 0), (ball(segment), 0, 1)]
    encoded = []
    for surface, x, lod in parts:
        steps = (surface.vertices - origin) / (edge * 2**lod) - (x, 0, 0)
        quantized = np.clip(np.rint(steps * most), 0, most).astype(np.int32)
        encoded.append(DracoPy.encode(quantized, np.asarray(surface.faces, np.uint32)))
    sizes = [len(data) for data in encoded]
    head = np.array([edge] * 3 + origin.tolist(), "<f4").tobytes() + np.array([2], "<u4").tobytes()
    levels = np.array([1, 2] + [0] * 6, "<f4").tobytes() + np.array([2, 1], "<u4").tobytes()
    numbers = np.array([0, 1, 0, 0, 0, 0, *sizes[:2], 0, 0, 0, sizes[2]], "<u4").tobytes()
    return head + levels + numbers, b"".join(encoded)


def cut(surface: trimesh.Trimesh, side: int, x: float) -> trimesh.Trimesh:
    """Return the triangles of a surface on one side of x."""
    middles = surface.triangles_center[:, 0]
    return surface.submesh([np.flatnonzero((middles - x) * side > 0)], append=True)


INFO = {
    "@type": "neuroglancer_multilod_draco",
    "vertex_quantization_bits": BITS,
    "transform": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0],
    "lod_scale_multiplier": 1,
}


def sharding(encoding: str) -> dict[str, Any]:
    return {
        "@type": "neuroglancer_uint64_sharded_v1", "preshift_bits": 0, "hash": "murmurhash3_x86_128", "minishard_bits": 1,
        "shard_bits": 2, "minishard_index_encoding": encoding, "data_encoding": "raw",
    }  # fmt: skip


@pytest.mark.parametrize("layout", ["files", "raw", "gzip"])
def test_multires_meshes_of_draco_and_cloud_volumes_shards(layout: str, volume: CloudVolume):
    """cloud-volume puts the shards together as igneous does: it knows that the index tells of the manifest alone."""
    objects = {segment: multires_object(segment) for segment in SEGMENTS}
    place = folder(volume)
    if layout == "files":
        (place / "info").write_text(json.dumps(INFO))
        for segment, (manifest, fragments) in objects.items():
            (place / f"{segment}.index").write_bytes(manifest)
            (place / str(segment)).write_bytes(fragments)
    else:
        (place / "info").write_text(json.dumps({**INFO, "sharding": sharding(layout)}))
        told = {name.removeprefix("@"): value for name, value in sharding(layout).items()}
        shards = ShardingSpecification(**told).synthesize_shards(
            {segment: fragments + manifest for segment, (manifest, fragments) in objects.items()},
            data_offset={segment: len(manifest) for segment, (manifest, _) in objects.items()},
        )
        for name, data in shards.items():
            (place / name).write_bytes(data)
    reader = open_meshes(place.parent)
    for segment in SEGMENTS:
        check(reader, segment, 0.02)
        assert reader.levels(segment) == 2
        assert reader.read(segment, 1).volume == pytest.approx(BALL.volume, rel=0.01)
        surface = reader.read(segment)
        assert trimesh.Trimesh(surface.vertices, surface.triangles, process=False).is_watertight
    assert reader.segments().tolist() == sorted(SEGMENTS)
    assert not reader.holds(9)
    with pytest.raises(DatasetError, match=r"meshes: segment 9: has no mesh$"):
        reader.read(9)
    with pytest.raises(DatasetError, match=r"meshes: segment 7: has no mesh at level of detail 2"):
        reader.read(7, 2)


def test_a_transform_moves_and_mirrors(volume: CloudVolume):
    place = folder(volume)
    rows = [-2, 0, 0, 100, 0, 1, 0, 0, 0, 0, 3, -50]
    (place / "info").write_text(json.dumps({**INFO, "transform": rows}))
    manifest, fragments = multires_object(7)
    (place / "7.index").write_bytes(manifest)
    (place / "7").write_bytes(fragments)
    mesh = open_meshes(place).read(7)
    expected = np.array(centre(7)) * (-2, 1, 3) + (100, 0, -50)
    np.testing.assert_allclose(sum(mesh.box) / 2, expected, atol=0.1)
    assert mesh.volume == pytest.approx(6 * BALL.volume, rel=0.01)


def legacy(tmp_path: Path, files: dict[str, bytes]) -> Path:
    for name, data in {"info": b'{"@type": "neuroglancer_legacy_mesh"}', **files}.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def multires(tmp_path: Path, files: dict[str, bytes], **members: Any) -> Path:
    for name, data in {"info": json.dumps({**INFO, **members}).encode(), **files}.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


MANIFEST, FRAGMENTS = multires_object(7)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"7:0": b"{"}, "segment 7: a mesh manifest that is not JSON"),
        ({"7:0": b'{"fragments": ["x"]}'}, "segment 7: its fragment 'x' is not there"),
        ({"7:0": b'{"fragments": ["../info"]}'}, "segment 7: its fragment '../info' lies outside the folder of the meshes"),
        ({"7:0": b'{"fragments": ["/etc/hostname"]}'}, "segment 7: its fragment '/etc/hostname' lies outside the folder"),
        (
            {"7:0": b'{"fragments": ["x"]}', "x": fragment(0)[:-1]},
            "segment 7: a mesh fragment of 51 bytes, expected 40 for 3 vertices",
        ),
        ({"7:0": b'{"fragments": ["a\\u0000b"]}'}, r"segment 7: its fragment 'a\x00b' is not there"),
        ({"7:0": b'{"fragments": ["\\ud800"]}'}, r"segment 7: its fragment '\ud800' is not there"),
        ({}, "segment 7: has no mesh"),
    ],
)
def test_legacy_meshes_that_are_refused(files: dict[str, bytes], said: str, tmp_path: Path):
    reader = open_meshes(legacy(tmp_path, files))
    with pytest.raises(DatasetError) as caught:
        reader.read(7)
    assert str(caught.value).startswith(f"{tmp_path}: {said}")


@pytest.mark.parametrize(
    ("files", "members", "said"),
    [
        ({"7.index": MANIFEST[:-4], "7": FRAGMENTS}, {}, f"a manifest of {len(MANIFEST) - 4} bytes, expected {len(MANIFEST)}"),
        ({"7.index": MANIFEST}, {}, "bytes of fragments are expected from byte 0 of 7 on, it is not there"),
        (
            {"7.index": MANIFEST, "7": FRAGMENTS[:99]},
            {},
            "bytes of fragments are expected from byte 0 of 7 on, it has 99 of them",
        ),
        ({"7.index": MANIFEST, "7": bytes(len(FRAGMENTS))}, {}, "that is no Draco mesh"),
        ({"0.shard": b""}, {"sharding": {**sharding("raw"), "shard_bits": 0}}, "0.shard: minishard"),
        ({}, {"sharding": sharding("raw")}, "has no mesh"),
    ],
)
def test_multires_meshes_that_are_refused(files: dict[str, bytes], members: dict[str, Any], said: str, tmp_path: Path):
    reader = open_meshes(multires(tmp_path, files, **members))
    with pytest.raises(DatasetError) as caught:
        reader.read(7)
    assert str(caught.value).startswith(f"{tmp_path}: segment 7: ")
    assert said in str(caught.value)


def test_no_memory_is_taken_for_what_a_manifest_only_tells(tmp_path: Path):
    nodes = 1 << 14
    positions = [(n, 0, 0) for n in range(nodes)]
    manifest = struct.pack("<6fI2f6f2I", 1, 1, 1, 0, 0, 0, 2, 1, 2, *[0] * 6, nodes, 1)
    manifest += np.array(positions, "<u4").T.tobytes() + b"\xff" * 4 * nodes + bytes(16)
    reader = open_meshes(multires(tmp_path, {"7.index": manifest, "7": b"short"}))
    assert len(reader.read(7, 1).vertices) == 0
    with pytest.raises(DatasetError, match=f"{nodes * 0xFFFFFFFF} bytes of fragments are expected from byte 0 of 7 on, it has 5"):
        reader.read(7, 0)


def test_a_name_of_more_than_64_bits_is_no_segments(tmp_path: Path):
    files = {f"{number}.index": MANIFEST for number in (7, (1 << 64) - 1, 1 << 64, 10**20 - 1)}
    assert open_meshes(multires(tmp_path, files)).segments().tolist() == [7, (1 << 64) - 1]


def test_a_manifest_of_a_shard_that_tells_of_bytes_before_the_file(tmp_path: Path):
    told = {name.removeprefix("@"): value for name, value in sharding("raw").items()}
    shards = ShardingSpecification(**told).synthesize_shards({7: MANIFEST})
    reader = open_meshes(multires(tmp_path, shards, sharding=sharding("raw")))
    with pytest.raises(DatasetError, match=r"segment 7: its manifest tells \d+ bytes of fragments before byte 32"):
        reader.read(7)


@pytest.mark.parametrize(
    ("info", "said"),
    [
        (None, "is no dataset, there is no file `info` in it"),
        (b"{", "info: not JSON in UTF-8"),
        (b'{"@type": "neuroglancer_skeletons"}', "info: @type is 'neuroglancer_skeletons'"),
        (
            b'{"@type": "neuroglancer_multilod_draco", "vertex_quantization_bits": 12}',
            "info: vertex_quantization_bits is 12, expected 10 or 16",
        ),
    ],
)
def test_folders_without_meshes(info: bytes | None, said: str, tmp_path: Path):
    if info is not None:
        (tmp_path / "info").write_bytes(info)
    with pytest.raises(DatasetError) as caught:
        open_meshes(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: {said}")


def test_meshes_on_a_server(volume: CloudVolume):
    volume.info["mesh"] = "gs://bucket/meshes"
    volume.commit_info()
    with pytest.raises(DatasetError, match="its meshes lie at gs://bucket/meshes, and only those in folders are read"):
        open_meshes(folder(volume).parent)


def test_a_volume_without_meshes(volume: CloudVolume):
    shutil.rmtree(folder(volume))
    volume.info.pop("mesh")
    volume.commit_info()
    with pytest.raises(DatasetError, match="has no meshes, its info has no member mesh; make them with glassine mesh"):
        open_meshes(folder(volume).parent)


@pytest.mark.parametrize(("form", "layout"), [("legacy", "auto"), ("multires", "files"), ("multires", "sharded")])
def test_meshes_that_are_made_here_are_read_in_every_layout(form: Any, layout: Any, tmp_path: Path):
    labels = np.zeros((20, 24, 28), np.uint32)
    labels[2:9, 3:11, 4:16], labels[10:19, 3:20, 5:25] = 7, 300
    np.save(tmp_path / "labels.npy", labels)
    told = ConvertOptions(resolution=(8, 8, 8), executor="serial", axes="xyz")
    convert(tmp_path / "labels.npy", tmp_path / "labels", told, lambda progress: None)
    options = MeshOptions(format=form, layout=layout, max_error=1, executor="serial", memory="300MB")
    make_meshes(tmp_path / "labels", options, lambda progress: None)
    reader = open_meshes(tmp_path / "labels")
    assert reader.segments().tolist() == [7, 300]
    for segment, low, high in ((7, (2, 3, 4), (9, 11, 16)), (300, (10, 3, 5), (19, 20, 25))):
        mesh = reader.read(segment)
        np.testing.assert_allclose(mesh.box, np.multiply([low, high], 8), atol=1)
        assert trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False).is_watertight
        assert mesh.volume == pytest.approx(512 * (labels == segment).sum(), rel=0.05)
