import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from converters.errors import BusyError, DatasetError, DatasetExistsError, OptionError
from converters.meshes.conversion import make_meshes
from converters.meshes.multires_object import decode_level
from converters.meshes.record import read_mesh_record
from converters.options import ConvertOptions, MeshOptions
from converters.volumes.conversion import convert
from formats.info import parse_volume_info
from formats.meshes import legacy, multires
from formats.meshes.mesh import boundary_edges, joined, welded
from tests.converters.meshes.measuring import blobs

RESOLUTION = (11.24, 11.24, 28.0)
OFFSET = (-37, 5, 101)


def quiet(progress: object) -> None:
    pass


def dataset_of(tmp_path: Path, voxels: np.ndarray, **options) -> Path:
    np.save(tmp_path / "labels.npy", voxels)
    told = {"axes": "xyz", "type": "segmentation", "resolution": RESOLUTION, "voxel_offset": OFFSET, "executor": "serial"}
    convert(tmp_path / "labels.npy", tmp_path / "d", ConvertOptions(**{**told, **options}), quiet)
    return tmp_path / "d"


def mesh_options(**options) -> MeshOptions:
    return MeshOptions(**{"executor": "serial", "memory": "300MB", **options})


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return dataset_of(tmp_path, blobs((60, 50, 40), 1), layout="flat", chunk_size=(16, 16, 16))


def box_of(voxels: np.ndarray, segment: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the voxels of a label lie in the dataset's nm."""
    places = np.argwhere(voxels == segment) + OFFSET
    return places.min(axis=0) * RESOLUTION, (places.max(axis=0) + 1) * RESOLUTION


def assert_in_place(mesh, voxels: np.ndarray, segment: int) -> None:
    low, high = box_of(voxels, segment)
    assert boundary_edges(mesh) == 0
    assert mesh.volume > 0
    assert np.abs((mesh.box[0] + mesh.box[1]) / 2 - (low + high) / 2).max() <= max(RESOLUTION) / 2
    assert (mesh.box[0] >= low - np.array(RESOLUTION)).all()
    assert (mesh.box[1] <= high + np.array(RESOLUTION)).all()


def test_legacy_meshes_lie_where_their_voxels_lie(labels):
    voxels = blobs((60, 50, 40), 1)
    summary = make_meshes(labels, mesh_options(format="legacy", scale="11.24_11.24_28"), quiet)
    ids = sorted(set(np.unique(voxels).tolist()) - {0})
    assert summary.record.meshes == len(ids)
    assert json.loads((labels / "mesh/info").read_bytes()) == {"@type": "neuroglancer_legacy_mesh"}
    assert parse_volume_info((labels / "info").read_bytes()).mesh == "mesh"
    triangles = 0
    for segment in ids:
        names = legacy.decode_manifest((labels / "mesh" / f"{segment}:0").read_bytes())
        mesh = welded(joined([legacy.decode_fragment((labels / "mesh" / name).read_bytes()) for name in names]))
        assert_in_place(mesh, voxels, segment)
        triangles += len(mesh.triangles)
    assert summary.record.triangles == (triangles,)


def test_multires_meshes_lie_where_their_voxels_lie(labels):
    voxels = blobs((60, 50, 40), 1)
    make_meshes(labels, mesh_options(scale="11.24_11.24_28", lods=2), quiet)
    for segment in sorted(set(np.unique(voxels).tolist()) - {0}):
        manifest = multires.decode_manifest((labels / "mesh" / f"{segment}.index").read_bytes())
        data = (labels / "mesh" / str(segment)).read_bytes()
        assert len(data) == manifest.fragment_bytes
        assert len(manifest.levels) == 2
        assert_in_place(decode_level(manifest, data, 0, 16), voxels, segment)
        assert boundary_edges(decode_level(manifest, data, 1, 16)) == 0


def test_cloud_volume_reads_the_same_meshes_from_shards_as_from_files(labels):
    cloudvolume = pytest.importorskip("cloudvolume")
    make_meshes(labels, mesh_options(scale="11.24_11.24_28", lods=2), quiet)
    segments = [7, 8, 2**31, 2**32 - 1]
    files = cloudvolume.CloudVolume(f"file://{labels}", progress=False).mesh.get(segments)
    summary = make_meshes(labels, mesh_options(scale="11.24_11.24_28", lods=2, layout="sharded", overwrite=True), quiet)
    shards = cloudvolume.CloudVolume(f"file://{labels}", progress=False).mesh.get(segments)
    assert summary.record.stored_bytes == sum(path.stat().st_size for path in (labels / "mesh").glob("*.shard"))
    for segment in segments:
        assert np.array_equal(files[segment].vertices, shards[segment].vertices)
        assert np.array_equal(files[segment].faces, shards[segment].faces)
        low, high = box_of(blobs((60, 50, 40), 1), segment)
        assert (files[segment].vertices >= low - np.array(RESOLUTION)).all()
        assert (files[segment].vertices <= high + np.array(RESOLUTION)).all()


def test_processes_give_the_same_bytes(labels, tmp_path):
    make_meshes(labels, mesh_options(), quiet)
    serial = bytes_below(labels / "mesh")
    (tmp_path / "other").mkdir()
    other = dataset_of(tmp_path / "other", blobs((60, 50, 40), 1), layout="flat", chunk_size=(16, 16, 16))
    make_meshes(other, MeshOptions(executor="processes:2", memory="600MB"), quiet)
    assert bytes_below(other / "mesh") == serial


def test_the_same_command_again_does_nothing(labels):
    first = make_meshes(labels, mesh_options(), quiet)
    before = bytes_below(labels)
    again = make_meshes(labels, mesh_options(memory="1GB"), quiet)
    assert (first.already, again.already, again.record) == (False, True, first.record)
    assert bytes_below(labels) == before


def test_other_meshes_are_replaced_only_when_that_is_asked_for(labels):
    make_meshes(labels, mesh_options(), quiet)
    with pytest.raises(DatasetExistsError, match=r"it has other meshes already, in mesh .* add --overwrite to replace them"):
        make_meshes(labels, mesh_options(max_error=99), quiet)
    summary = make_meshes(labels, mesh_options(max_error=99, format="legacy", overwrite=True), quiet)
    assert read_mesh_record(labels) == summary.record
    assert not list((labels / "mesh").glob("*.index"))
    assert not (labels / ".glassine/mesh-run").exists()


def test_unknown_members_of_the_info_are_kept(labels):
    members = json.loads((labels / "info").read_bytes())
    (labels / "info").write_text(json.dumps({**members, "ours": [1]}))
    make_meshes(labels, mesh_options(), quiet)
    assert json.loads((labels / "info").read_bytes())["ours"] == [1]


def test_an_image_is_refused(tmp_path):
    image = dataset_of(tmp_path, blobs((9, 9, 9), 1).astype(np.uint8), type="image")
    with pytest.raises(DatasetError, match="its type is image, uint8 with 1 channels; meshes are made of a segmentation"):
        make_meshes(image, mesh_options(), quiet)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segments": "7,5,6"}, "--segments: there is no segment 5 and 1 more in scale"),
        ({"scale": "1_1_1"}, "--scale 1_1_1: .* has the scales 11.24_11.24_28, 22.48_22.48_28"),
        ({"format": "legacy", "lods": 2}, "--lods 2: the legacy format has one level of detail"),
        ({"format": "legacy", "layout": "sharded"}, "--layout sharded: the legacy format has no shards"),
        ({"memory": "1MB"}, r"1 MB of memory for 1 workers are too few, meshes need \d+ MB"),
    ],
)
def test_options_that_do_not_fit_are_told_and_leave_nothing(labels, options, message):
    before = bytes_below(labels)
    with pytest.raises(OptionError, match=message):
        make_meshes(labels, mesh_options(**options), quiet)
    assert not (labels / "mesh").exists()
    assert bytes_below(labels) == before


def test_a_volume_without_labels_is_told(tmp_path):
    empty = dataset_of(tmp_path, np.zeros((9, 9, 9), np.uint32))
    with pytest.raises(DatasetError, match="holds no segment, all its voxels are 0"):
        make_meshes(empty, mesh_options(), quiet)


def test_what_is_no_dataset_is_told(tmp_path):
    with pytest.raises(DatasetError, match="no dataset, there is no file `info` in it"):
        make_meshes(tmp_path, mesh_options(), quiet)


def test_a_dataset_that_is_being_written_is_left_alone(labels):
    import fcntl

    with open(labels / ".glassine/lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match="another run is writing this dataset"):
            make_meshes(labels, mesh_options(), quiet)


def test_the_scale_is_the_coarsest_within_the_error_and_else_the_finest_that_is_nearly_isotropic(labels):
    assert make_meshes(labels, mesh_options(), quiet).record.scale == "22.48_22.48_28"
    told = {"overwrite": True}
    assert make_meshes(labels, mesh_options(max_error=28, **told), quiet).record.scale == "22.48_22.48_28"
    assert make_meshes(labels, mesh_options(max_error=27, **told), quiet).record.scale == "11.24_11.24_28"


@pytest.mark.parametrize("given", [{"layout": "files"}, {"layout": "sharded"}, {"format": "legacy"}], ids=str)
def test_killed_anywhere_and_started_again_it_ends_with_the_same_bytes(labels, tmp_path, given):
    told = mesh_options(memory="220MB", scale="11.24_11.24_28", **given).model_dump_json(exclude_none=True)
    (tmp_path / "other").mkdir()
    other = dataset_of(tmp_path / "other", blobs((60, 50, 40), 1), layout="flat", chunk_size=(16, 16, 16))
    make_meshes(other, MeshOptions.model_validate_json(told), quiet)
    kept, kills = 0, 0
    for count in (1, 3, 2, 4, 1, 2, 3):
        killed = subprocess.run(
            [sys.executable, "-m", "tests.converters.killed_child", "meshes", str(count), str(labels), told],
            cwd=Path(__file__).parents[3], capture_output=True, check=False, env={**os.environ, "PYTHONWARNINGS": "error"},
        )  # fmt: skip
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        info = parse_volume_info((labels / "info").read_bytes())
        assert info.mesh is None or (labels / "mesh/info").is_file()
        kills += 1
    summary = make_meshes(labels, MeshOptions.model_validate_json(told), quiet)
    kept = summary.kept
    assert kills > 3
    assert kept > 0 or summary.already
    assert bytes_below(labels / "mesh") == bytes_below(other / "mesh")
    assert (labels / "info").read_bytes() == (other / "info").read_bytes()
    assert not (labels / ".glassine/mesh-run").exists()
