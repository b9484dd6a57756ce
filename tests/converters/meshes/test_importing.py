"""Mesh files in datasets: meshes alone, segmentations, places in the world, what is there already."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import nilearn.datasets
import numpy as np
import pytest
import trimesh
from cloudvolume import CloudVolume

from converters import shards
from converters.claim import locked
from converters.errors import BusyError, ConverterError, DamagedError, DatasetExistsError, DiskFullError, OptionError
from converters.imports import absent
from converters.meshes.conversion import make_meshes
from converters.meshes.importing import import_meshes
from converters.meshes.reading import open_meshes
from converters.meshes.record import read_mesh_record
from converters.options import ConvertOptions, ImportMeshOptions, MeshOptions
from converters.steps import Progress
from converters.volumes.conversion import convert
from formats.meshes.multires import decode_manifest

BALL = trimesh.creation.icosphere(subdivisions=3, radius=400.0)


def ball(path: Path, at: tuple[float, float, float] = (0, 0, 0), factor: float = 1.0) -> Path:
    moved = BALL.copy().apply_translation(at).apply_scale(factor)
    moved.export(path, encoding="binary") if path.suffix == ".ply" else moved.export(path)
    return path


def silent(progress: Progress) -> None:
    """Show no progress."""


@pytest.fixture
def segmentation(tmp_path: Path) -> Path:
    """Labels of 20 x 30 x 25 voxels of 100 x 100 x 200 nm at -3, 5, 7, without a place in the world: 1, and some of one voxel."""
    labels = np.ones((25, 30, 20), np.uint32)
    labels[3, 7, [2, 5, 8]] = 3, 4, 20
    np.save(tmp_path / "labels.npy", labels)
    options = ConvertOptions(resolution=(100, 100, 200), voxel_offset=(-3, 5, 7), executor="serial", layout="flat")
    convert(tmp_path / "labels.npy", tmp_path / "labels", options, silent)
    return tmp_path / "labels"


def info(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "info").read_bytes())
    return found


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("form", ["multires", "legacy"])
def test_meshes_alone(form: Any, tmp_path: Path):
    files = [
        ball(tmp_path / "7.stl", (5000, 0, 0)),
        ball(tmp_path / "12.ply", (0, 5000, 0)),
        ball(tmp_path / "18446744073709551615.obj"),
    ]
    given = import_meshes(files, tmp_path / "out" / "meshes", ImportMeshOptions(format=form, unit="nm"))
    assert (given.files, given.segments, given.triangles, given.format, given.notes) == (3, 3, 3 * len(BALL.faces), form, ())
    reader = open_meshes(tmp_path / "out" / "meshes")
    assert reader.segments().tolist() == [7, 12, (1 << 64) - 1]
    for segment, middle in ((7, (5000, 0, 0)), (12, (0, 5000, 0)), ((1 << 64) - 1, (0, 0, 0))):
        mesh = reader.read(segment)
        np.testing.assert_allclose(sum(mesh.box) / 2, middle, atol=0.02)
        assert mesh.volume == pytest.approx(BALL.volume, rel=1e-3)
        assert trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False).is_watertight
    assert given.stored_bytes == sum(len(data) for name, data in tree(given.folder).items() if name != "info")
    assert not (given.folder / ".glassine").exists()


@pytest.mark.parametrize("form", ["multires", "legacy"])
def test_cloud_volume_reads_what_is_imported(form: Any, segmentation: Path, tmp_path: Path):
    at = (700.0, 1900.0, 3800.0)
    import_meshes([ball(tmp_path / "9007199254740993.stl", at)], segmentation, ImportMeshOptions(format=form))
    found = CloudVolume(f"file://{segmentation}").mesh.get(9007199254740993)
    mesh = found[9007199254740993] if isinstance(found, dict) else found
    expected = BALL.vertices + at
    assert len(mesh.vertices) >= len(expected)
    distances, _ = trimesh.proximity.ProximityQuery(trimesh.Trimesh(expected, BALL.faces)).vertex(mesh.vertices)
    np.testing.assert_allclose(np.min(mesh.vertices, axis=0), expected.min(axis=0), atol=0.05)
    assert distances.max() < 0.5 * BALL.edges_unique_length.max()
    assert mesh.faces.shape[1] == 3


@pytest.mark.parametrize("form", ["multires", "legacy"])
def test_a_segmentation_gets_a_mesh_member_and_keeps_its_others(form: Any, segmentation: Path, tmp_path: Path):
    members = info(segmentation)
    members["rois"] = [[1, 2, 3]]
    (segmentation / "info").write_text(json.dumps(members))
    given = import_meshes([ball(tmp_path / "1.ply", (700, 1900, 3800))], segmentation, ImportMeshOptions(format=form, unit="nm"))
    assert given.folder == segmentation / "mesh"
    assert info(segmentation) == {**members, "mesh": "mesh"}
    assert given.notes == ()
    again = import_meshes([ball(tmp_path / "1.ply", (700, 1900, 3800))], segmentation, ImportMeshOptions(format=form))
    assert info(segmentation) == {**members, "mesh": "mesh"}
    assert again.notes == (f"{tmp_path / '1.ply'}: no unit is told, taken for nm; add --unit um or --unit mm if that is wrong",)
    import_meshes([ball(tmp_path / "2.stl", (700, 1900, 3800))], segmentation, ImportMeshOptions(format=form))
    assert open_meshes(segmentation).segments().tolist() == [1, 2]


def test_several_files_of_a_segment_are_one_mesh(tmp_path: Path):
    above = BALL.triangles_center[:, 2] > 0
    upper, lower = (BALL.submesh([np.flatnonzero(part)], append=True) for part in (above, ~above))
    upper.export(tmp_path / "upper.stl")
    lower.export(tmp_path / "lower.ply")
    given = import_meshes([tmp_path / "upper.stl", tmp_path / "lower.ply"], tmp_path / "out", ImportMeshOptions(id=5))
    assert (given.files, given.segments) == (2, 1)
    mesh = open_meshes(tmp_path / "out").read(5)
    assert trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False).is_watertight
    assert mesh.volume == pytest.approx(BALL.volume, rel=1e-3)


def names_of(folder: Path) -> dict[str, str]:
    inline = info(folder / "segment_properties")["inline"]
    (label,) = inline["properties"]
    assert (label["type"], label["id"]) == ("label", "name")
    return dict(zip(inline["ids"], label["values"], strict=True))


def test_names_of_a_table_are_segment_properties(segmentation: Path, tmp_path: Path):
    ball(tmp_path / "a.stl", (700, 1900, 3800))
    ball(tmp_path / "b.stl", (700, 1900, 3800))
    ball(tmp_path / "c.stl", (700, 1900, 3800))
    (tmp_path / "table.csv").write_text("file,id,name\na.stl,20,Größe\nb.stl,3,second one\nc.stl,4,\n", encoding="utf-8")
    options = ImportMeshOptions(table=str(tmp_path / "table.csv"), unit="nm")
    for dataset in (segmentation, tmp_path / "alone"):
        assert import_meshes([], dataset, options).notes == ()
        assert info(dataset)["segment_properties"] == "segment_properties"
        assert names_of(dataset) == {"3": "second one", "20": "Größe"}
        before = tree(dataset)
        assert import_meshes([], dataset, options).notes == ()
        assert tree(dataset) == before
    (tmp_path / "table.csv").write_text("file,id,name\na.stl,20,other\n")
    (note,) = import_meshes([], segmentation, options).notes
    assert note == (f"{segmentation}: 1 segments have other names already (20), which were kept; add --overwrite to replace them")
    assert names_of(segmentation)["20"] == "Größe"


def test_ids_that_are_not_in_the_volume_are_told(segmentation: Path, tmp_path: Path):
    for name in "abc":
        ball(tmp_path / f"{name}.stl", (700, 1900, 3800))
    (tmp_path / "table.csv").write_text("file,id\na.stl,20\nb.stl,21\nc.stl,18446744073709551615\n")
    (note,) = import_meshes([], segmentation, ImportMeshOptions(table=str(tmp_path / "table.csv"), unit="nm")).notes
    assert note == (
        f"{segmentation}: 2 of 3 segments are not in its voxels (21, 18446744073709551615), so that none of them can be clicked "
        "on; check the ids, in the table, with --id or in the files' names"
    )
    assert open_meshes(segmentation).segments().tolist() == [20, 21, 2**64 - 1]


def test_ids_are_not_looked_for_in_a_volume_that_is_too_large(
    segmentation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(absent, "_MOST_VOXELS", 14_999)
    options = ImportMeshOptions(unit="nm")
    assert import_meshes([ball(tmp_path / "21.ply", (700, 1900, 3800))], segmentation, options).notes == ()


def test_half_a_voxel_is_added_where_0_is_a_voxels_centre(segmentation: Path, tmp_path: Path):
    import_meshes([ball(tmp_path / "1.ply", (700, 1900, 3800))], segmentation, ImportMeshOptions(voxel_centres=True))
    np.testing.assert_allclose(sum(open_meshes(segmentation).read(1).box) / 2, (750, 1950, 3900), atol=0.02)


@pytest.mark.parametrize(
    ("at", "outside"),
    [
        ((700, 1900, 3800), False),
        ((2000, 1900, 3800), False),
        ((2101, 1900, 3800), True),
        ((700, 99, 3800), True),
        ((0, 0, 0), True),
    ],
)
def test_a_surface_outside_the_volume_is_told(at: tuple[float, float, float], outside: bool, segmentation: Path, tmp_path: Path):
    """The volume goes from -300, 500, 1400 to 1700, 3500, 6400 nm; the ball's radius is 400."""
    given = import_meshes([ball(tmp_path / "1.ply", at)], segmentation, ImportMeshOptions(unit="nm"))
    assert bool(given.notes) is outside
    if outside:
        assert "1 of 1 files lie outside the volume, which goes from -300, 500, 1400 to 1700, 3500, 6400 nm" in given.notes[0]
        assert "check --unit, --space and --affine" in given.notes[0]


MNI = np.array([[-2.0, 0, 0, 90], [0, 2.0, 0, -126], [0, 0, 2.0, -72], [0, 0, 0, 1]])
OBLIQUE = np.array([[1.9, -0.3, 0.2, -85], [0.4, 2.1, -0.1, -130], [-0.1, 0.3, 2.4, -75], [0, 0, 0, 1]])


@pytest.fixture(params=[MNI, OBLIQUE], ids=["mni", "oblique"])
def brain(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, np.ndarray[Any, Any]]:
    """A small segmentation with an affine as brains have it, and the affine."""
    labels = np.ones((91, 109, 91), np.uint8)
    labels[45, 50, 40] = 2
    image = nibabel.Nifti1Image(labels, request.param)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "brain.nii.gz")
    convert(
        tmp_path / "brain.nii.gz",
        tmp_path / "brain",
        ConvertOptions(type="segmentation", executor="serial", layout="flat"),
        silent,
    )
    return tmp_path / "brain", nibabel.load(tmp_path / "brain.nii.gz").affine


@pytest.fixture(scope="module")
def fsaverage() -> Path:
    """The folder of the fsaverage5 surfaces that come with nilearn."""
    return Path(nilearn.datasets.__file__).parent / "data" / "fsaverage5"


@pytest.mark.parametrize("hemisphere", ["left", "right"])
def test_the_surfaces_of_fsaverage_lie_where_nibabel_says(hemisphere: str, brain: Any, fsaverage: Path):
    dataset, affine = brain
    path = fsaverage / f"pial_{hemisphere}.gii.gz"
    given = import_meshes([path], dataset, ImportMeshOptions(id=1, format="legacy"))
    assert given.notes == ()
    points, triangles = (array.data for array in nibabel.load(path).darrays)
    # A voxel's index is its centre, and lies half a voxel from its corner, where the dataset counts from.
    resolution = 1e6 * np.linalg.norm(affine[:3, :3], axis=0)
    expected = (nibabel.affines.apply_affine(np.linalg.inv(affine), points) + 0.5) * resolution
    mesh = open_meshes(dataset).read(1)
    wound = triangles[:, ::-1] if np.linalg.det(affine[:3, :3]) < 0 else triangles
    # Float32 holds 0.2 m to 16 nm.
    np.testing.assert_allclose(mesh.vertices[mesh.triangles], expected[wound], rtol=0, atol=8)
    assert mesh.volume > 0


def test_surfaces_of_fsaverage_as_multires_lie_within_a_quantum(brain: Any, fsaverage: Path):
    dataset, affine = brain
    path = fsaverage / "white_left.gii.gz"
    import_meshes([path], dataset, ImportMeshOptions(id=1))
    points = nibabel.load(path).darrays[0].data
    resolution = 1e6 * np.linalg.norm(affine[:3, :3], axis=0)
    expected = (nibabel.affines.apply_affine(np.linalg.inv(affine), points) + 0.5) * resolution
    mesh = open_meshes(dataset).read(1)
    np.testing.assert_allclose([mesh.box[0], mesh.box[1]], [expected.min(axis=0), expected.max(axis=0)], atol=4000)
    assert mesh.volume > 0
    assert trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False).is_watertight


def test_a_surface_in_lps_from_slicer_comes_to_the_same_place(brain: Any, tmp_path: Path):
    dataset, _ = brain
    ras = ball(tmp_path / "1.ply", (10e3, -20e3, 30e3), 1e-3)
    lps = BALL.copy().apply_translation((10e3, -20e3, 30e3)).apply_scale(1e-3)
    lps.apply_transform(np.diag([-1.0, -1, 1, 1]))
    text = lps.export(file_type="ply", encoding="ascii").replace(
        b"\ncomment", b"\ncomment 3D Slicer output. SPACE=LPS\ncomment", 1
    )
    (tmp_path / "2.ply").write_bytes(text)
    import_meshes([ras], dataset, ImportMeshOptions(format="legacy", unit="mm", space="ras"))
    assert import_meshes([tmp_path / "2.ply"], dataset, ImportMeshOptions(format="legacy")).notes == ()
    reader = open_meshes(dataset)
    np.testing.assert_allclose(reader.read(1).box, reader.read(2).box, atol=60)
    assert reader.read(1).volume == pytest.approx(reader.read(2).volume, rel=1e-4)
    assert reader.read(1).volume > 0


def test_a_gifti_file_beside_a_volume_without_a_place_in_the_world(segmentation: Path, fsaverage: Path):
    before = tree(segmentation)
    with pytest.raises(OptionError) as caught:
        import_meshes([fsaverage / "pial_left.gii.gz"], segmentation, ImportMeshOptions(id=1))
    assert "pial_left.gii.gz: its coordinates are in RAS, and the dataset does not tell where it lies in RAS; add --space" in str(
        caught.value
    )
    assert {name: data for name, data in tree(segmentation).items() if not name.endswith("lock")} == {
        name: data for name, data in before.items() if not name.endswith("lock")
    }


def image(tmp_path: Path) -> Path:
    np.save(tmp_path / "image.npy", np.ones((4, 4, 4), np.uint8))
    convert(tmp_path / "image.npy", tmp_path / "image", ConvertOptions(resolution=(1, 1, 1), executor="serial"), silent)
    return tmp_path / "image"


def test_an_image_has_no_segments(tmp_path: Path):
    dataset = image(tmp_path)
    with pytest.raises(OptionError, match="is an image, and meshes belong to segments; choose a segmentation, or a new folder"):
        import_meshes([ball(tmp_path / "1.ply")], dataset, ImportMeshOptions())


def test_where_other_things_are(tmp_path: Path):
    source = [ball(tmp_path / "1.ply")]
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("x")
    (tmp_path / "begun" / ".glassine").mkdir(parents=True)
    (tmp_path / "skeletons").mkdir()
    (tmp_path / "skeletons" / "info").write_text('{"@type": "neuroglancer_skeletons"}')
    for name, said in (
        ("file", "a file is there, expected a folder for the dataset"),
        ("folder", "the folder holds other files and no dataset; choose a new or an empty folder"),
        ("begun", "a conversion was begun there and not finished; finish it first"),
        ("skeletons", "info: @type is 'neuroglancer_skeletons'"),
    ):
        with pytest.raises(ConverterError) as caught:
            import_meshes(source, tmp_path / name, ImportMeshOptions())
        assert str(caught.value).startswith(f"{tmp_path / name}: {said}")


@pytest.mark.parametrize("form", ["multires", "legacy"])
def test_meshes_that_are_there_are_kept(form: Any, segmentation: Path, tmp_path: Path):
    import_meshes([ball(tmp_path / "1.ply"), ball(tmp_path / "2.ply")], segmentation, ImportMeshOptions(format=form, lods=1))
    before = tree(segmentation)
    ball(tmp_path / "1.ply", (9, 9, 9))
    with pytest.raises(DatasetExistsError) as caught:
        import_meshes([tmp_path / "1.ply", ball(tmp_path / "3.ply")], segmentation, ImportMeshOptions(format=form, lods=1))
    assert "mesh: 1 of 2 segments have other meshes there (1); add --overwrite to replace them" in str(caught.value)
    assert tree(segmentation) == before
    import_meshes([tmp_path / "1.ply"], segmentation, ImportMeshOptions(format=form, lods=1, overwrite=True))
    changed = {name for name, data in tree(segmentation).items() if before[name] != data}
    # A ball that is moved differs in its manifest alone where that tells where the fragments lie.
    assert changed == ({"mesh/1.index"} if form == "multires" else {"mesh/1:0:0"})


def test_what_cannot_be_added_to(segmentation: Path, tmp_path: Path):
    source = [ball(tmp_path / "1.ply")]
    import_meshes(source, segmentation, ImportMeshOptions(format="legacy"))
    with pytest.raises(
        OptionError, match="mesh: holds legacy meshes; add --format legacy to add to them, or import into a new folder"
    ):
        import_meshes(source, segmentation, ImportMeshOptions(format="multires"))
    import_meshes(source, tmp_path / "alone", ImportMeshOptions())
    members = info(tmp_path / "alone")
    sharding = {
        "@type": "neuroglancer_uint64_sharded_v1",
        "preshift_bits": 0,
        "minishard_bits": 0,
        "shard_bits": 0,
        "hash": "identity",
    }
    for told, said in (
        ({"sharding": sharding}, "alone: its meshes lie in shards, which nothing is added to; import into a new folder"),
        ({"transform": [2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]}, "alone: its meshes are moved by a transform, so none is added"),
    ):
        (tmp_path / "alone" / "info").write_text(json.dumps({**members, **told}))
        with pytest.raises(OptionError) as caught:
            import_meshes(source, tmp_path / "alone", ImportMeshOptions())
        assert said in str(caught.value)


def test_a_folder_of_meshes_that_the_volume_does_not_name(segmentation: Path, tmp_path: Path):
    (segmentation / "mesh").mkdir()
    (segmentation / "mesh" / "5.index").write_bytes(b"of an older segmentation")
    with pytest.raises(DatasetExistsError) as caught:
        import_meshes([ball(tmp_path / "1.ply")], segmentation, ImportMeshOptions())
    assert "mesh: is there with 1 files (5.index, ...), and the volume's info does not name it" in str(caught.value)
    assert "mesh" not in info(segmentation)


def test_meshes_that_lie_outside_the_dataset(segmentation: Path, tmp_path: Path):
    for member in ("../other", "gs://bucket/meshes"):
        (segmentation / "info").write_text(json.dumps({**info(segmentation), "mesh": member}))
        with pytest.raises(OptionError, match=r"its meshes lie elsewhere \(.*\); import into that folder"):
            import_meshes([ball(tmp_path / "1.ply")], segmentation, ImportMeshOptions())


def test_a_file_that_cannot_be_read_changes_nothing(segmentation: Path, tmp_path: Path):
    before = {name: data for name, data in tree(segmentation).items() if not name.endswith("lock")}
    (tmp_path / "2.ply").write_bytes(b"ply\n")
    (tmp_path / "3.stl").write_bytes(b"")
    for name in ("2.ply", "3.stl"):
        with pytest.raises(ConverterError, match=name):
            import_meshes([ball(tmp_path / "1.ply"), tmp_path / name], segmentation, ImportMeshOptions())
        with pytest.raises(ConverterError, match=name):
            import_meshes([ball(tmp_path / "1.ply"), tmp_path / name], tmp_path / "new" / "out", ImportMeshOptions())
    assert {name: data for name, data in tree(segmentation).items() if not name.endswith("lock")} == before
    assert not (tmp_path / "new").exists()


def test_a_dataset_that_is_being_written_is_left_alone(segmentation: Path, tmp_path: Path):
    with locked(segmentation), pytest.raises(BusyError, match="another run is writing this dataset"):
        import_meshes([ball(tmp_path / "1.ply")], segmentation, ImportMeshOptions())
    assert "mesh" not in info(segmentation)


@pytest.mark.parametrize("target", ["volume", "alone"])
@pytest.mark.parametrize("form", ["multires", "legacy"])
def test_an_import_that_was_killed_is_done_again_with_the_same_bytes(
    form: Any, target: str, segmentation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    files = [ball(tmp_path / "1.ply"), ball(tmp_path / "2.stl", (700, 1900, 3800))]
    dataset = segmentation if target == "volume" else tmp_path / "alone"
    given = import_meshes(files, tmp_path / "undisturbed", ImportMeshOptions(format=form))
    expected = tree(given.folder)
    moves = allowed = 0
    move, remove = os.replace, shutil.rmtree

    class Killed(BaseException):
        """Ends the run where it is; a run that is killed cleans nothing."""

    def count(source: Any, place: Any) -> None:
        nonlocal moves
        if str(place).startswith(str(dataset)) and ".glassine" not in str(place):
            moves += 1
            if moves > allowed:
                raise Killed
        move(source, place)

    monkeypatch.setattr(os, "replace", count)
    monkeypatch.setattr("shutil.rmtree", lambda *given, **told: None if moves > allowed else remove(*given, **told))
    for more in range(7):
        moves, allowed = 0, more
        try:
            import_meshes(files, dataset, ImportMeshOptions(format=form))
        except Killed:
            assert "mesh" not in (info(dataset) if target == "volume" else {})
    monkeypatch.undo()
    import_meshes(files, dataset, ImportMeshOptions(format=form))
    found = tree(dataset / "mesh" if target == "volume" else dataset)
    assert {name: data for name, data in found.items() if not name.startswith(".glassine")} == expected


def test_a_full_disk_is_told(segmentation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*given: Any, **told: Any) -> int:
        raise OSError(28, "No space left on device")

    source = [ball(tmp_path / "1.ply")]
    monkeypatch.setattr("converters.storage.files.os.write", full)
    with pytest.raises(DiskFullError, match="no room is left on the disk"):
        import_meshes(source, segmentation, ImportMeshOptions())
    monkeypatch.undo()
    assert "mesh" not in info(segmentation)
    assert not (segmentation / "mesh").exists()


def test_points_that_are_no_numbers_are_refused(tmp_path: Path):
    (tmp_path / "1.obj").write_text("v 0 0 0\nv 1 0 0\nv nan 1 0\nf 1 2 3\n")
    with pytest.raises(DamagedError, match=r"1\.obj: point 2 is at nan, 1, 0 and 1 of 3 points are no finite numbers"):
        import_meshes([tmp_path / "1.obj"], tmp_path / "out", ImportMeshOptions())
    assert not (tmp_path / "out").exists()


def test_a_first_look_shows_what_was_imported_last(segmentation: Path, tmp_path: Path):
    files = [ball(tmp_path / f"{segment}.ply", (700, 1900, 3800)) for segment in range(20, 32)]
    trimesh.creation.icosphere(subdivisions=4, radius=400).apply_translation((700, 1900, 3800)).export(tmp_path / "31.ply")
    import_meshes(files, segmentation, ImportMeshOptions())
    record = read_mesh_record(segmentation)
    assert record is not None
    assert (record.meshes, record.largest) == (12, (31, *range(20, 29)))
    assert record.stored_bytes == sum(len(data) for name, data in tree(segmentation / "mesh").items() if name != "info")
    import_meshes([ball(tmp_path / "7.ply", (700, 1900, 3800)), files[2]], segmentation, ImportMeshOptions())
    record = read_mesh_record(segmentation)
    assert record is not None
    assert (record.meshes, record.largest) == (13, (7, 22, 31, 20, 21, *range(23, 28)))


def test_what_is_known_of_other_meshes_stays_known(segmentation: Path, tmp_path: Path):
    make_meshes(segmentation, MeshOptions(executor="serial", memory="300MB"), silent)
    before = read_mesh_record(segmentation)
    assert before is not None
    import_meshes([ball(tmp_path / "7.ply", (700, 1900, 3800))], segmentation, ImportMeshOptions())
    assert read_mesh_record(segmentation) == replace(before, largest=(7, *before.largest))
    assert open_meshes(segmentation).segments().tolist() == [1, 3, 4, 7, 20]
    assert make_meshes(segmentation, MeshOptions(executor="serial", memory="300MB"), silent).already


FINE = trimesh.creation.icosphere(subdivisions=5, radius=400.0)
"""20,480 triangles."""


def fine_ball(path: Path, at: tuple[float, float, float] = (700, 1900, 3800)) -> Path:
    FINE.copy().apply_translation(at).export(path)
    return path


def test_a_large_surface_has_levels_of_detail(segmentation: Path, tmp_path: Path):
    files = [fine_ball(tmp_path / "1.ply"), ball(tmp_path / "2.ply", (700, 1900, 3800))]
    given = import_meshes(files, segmentation, ImportMeshOptions())
    assert given.triangles == len(FINE.faces) + len(BALL.faces)
    reader = open_meshes(segmentation)
    counts = [len(reader.read(1, lod).triangles) for lod in range(reader.levels(1))]
    assert len(counts) > 2
    assert all(counts[lod + 1] <= counts[lod] for lod in range(len(counts) - 1))
    assert counts[-1] < 1000
    whole = reader.read(1)
    assert trimesh.Trimesh(whole.vertices, whole.triangles, process=False).is_watertight
    np.testing.assert_allclose(whole.box, FINE.bounds + np.array([700, 1900, 3800]), atol=0.05)
    found = CloudVolume(f"file://{segmentation}").mesh.get(1, lod=len(counts) - 1)
    assert len((found[1] if isinstance(found, dict) else found).faces) == counts[-1]


@pytest.mark.parametrize(("options", "levels"), [({"lods": 1}, 1), ({"lods": 2}, 2), ({"format": "legacy"}, 1)])
def test_as_many_levels_as_are_asked_for(options: dict[str, Any], levels: int, tmp_path: Path):
    import_meshes([fine_ball(tmp_path / "1.ply")], tmp_path / "out", ImportMeshOptions(**options))
    assert open_meshes(tmp_path / "out").levels(1) == levels


@pytest.mark.parametrize("target", ["volume", "alone"])
def test_many_segments_go_into_shards_by_themselves(
    target: str, segmentation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    dataset = segmentation if target == "volume" else tmp_path / "alone"
    ids = [1, 5, 2**53 + 1, 2**64 - 1]
    files = [ball(tmp_path / f"{segment}.ply", (700, 1900, 3800 + n)) for n, segment in enumerate(ids)]
    import_meshes(files, tmp_path / "files", ImportMeshOptions())
    monkeypatch.setattr(shards, "MOST_FILES", 3)
    given = import_meshes(files, dataset, ImportMeshOptions())
    assert sorted(path.name for path in given.folder.iterdir() if not path.name.startswith(".")) == ["0.shard", "info"]
    assert given.stored_bytes == (given.folder / "0.shard").stat().st_size
    reader, expected = open_meshes(dataset), open_meshes(tmp_path / "files")
    assert reader.segments().tolist() == ids
    for segment in ids:
        np.testing.assert_array_equal(reader.read(segment).vertices, expected.read(segment).vertices)
    if target == "volume":
        found = CloudVolume(f"file://{segmentation}").mesh.get(ids[2])[ids[2]]
        np.testing.assert_allclose(np.min(found.vertices, axis=0), BALL.bounds[0] + (700, 1900, 3802), atol=0.05)
        record = read_mesh_record(segmentation)
        assert record is not None
        assert (record.meshes, record.stored_bytes) == (4, given.stored_bytes)
    assert not list(given.folder.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (None, {"format": "legacy", "lods": 3}, "--lods 3: the legacy format has one level of detail; leave --lods or"),
        (None, {"format": "legacy", "layout": "sharded"}, "--layout sharded: the legacy format has no shards; leave one of"),
        ({}, {"layout": "sharded"}, "mesh: its meshes are files of their own; leave --layout out to add to them, or import into"),
        ({"layout": "sharded"}, {}, "mesh: its meshes lie in shards, which nothing is added to; import into a new folder"),
    ],
)
def test_shards_and_files_do_not_mix(first: Any, then: Any, message: str, segmentation: Path, tmp_path: Path):
    files = [ball(tmp_path / "1.ply", (700, 1900, 3800))]
    if first is not None:
        import_meshes(files, segmentation, ImportMeshOptions(**first))
    before = tree(segmentation)
    with pytest.raises(OptionError, match=message):
        import_meshes(files, segmentation, ImportMeshOptions(**then))
    assert tree(segmentation) == before


def test_a_folder_of_files_that_is_not_named_gets_no_shards(segmentation: Path, tmp_path: Path):
    (segmentation / "mesh").mkdir()
    (segmentation / "mesh/7.index").write_bytes(b"")
    with pytest.raises(OptionError, match="mesh: is there with meshes in files of their own; leave --layout out, or remove the"):
        import_meshes([ball(tmp_path / "1.ply")], segmentation, ImportMeshOptions(layout="sharded", overwrite=True))


@pytest.mark.parametrize("options", [{"format": "legacy"}, {"layout": "files"}, {"layout": "sharded"}], ids=str)
def test_killed_with_minus_nine_and_started_again(options: dict[str, str], segmentation: Path, tmp_path: Path):
    files = [fine_ball(tmp_path / "1.ply"), ball(tmp_path / "2.stl", (700, 1900, 3800))]
    shutil.copytree(segmentation, tmp_path / "other")
    whole = import_meshes(files, tmp_path / "other", ImportMeshOptions.model_validate(options))
    command = [sys.executable, "-m", "tests.converters.killed_child", "imported"]
    # While objects are made, and while they come into the dataset.
    for count in (1, 3 if "layout" in options and options["layout"] == "sharded" else 6):
        words = map(str, (count, segmentation, json.dumps(options), *files))
        killed = subprocess.run([*command, *words], check=False, capture_output=True)
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
        assert "mesh" not in info(segmentation)
        assert (segmentation / "mesh").exists() == (count > 1)
    again = import_meshes(files, segmentation, ImportMeshOptions.model_validate(options))
    assert (again.segments, again.stored_bytes) == (whole.segments, whole.stored_bytes)
    assert tree(segmentation) == tree(tmp_path / "other")


def test_a_volume_that_cannot_be_read_keeps_no_import_away(segmentation: Path, tmp_path: Path):
    for chunk in segmentation.rglob("*-*_*"):
        if chunk.is_file():
            chunk.write_bytes(b"no chunk")
    assert import_meshes([ball(tmp_path / "21.ply", (700, 1900, 3800))], segmentation, ImportMeshOptions(unit="nm")).notes == ()


def test_details_are_told_in_the_units_of_the_meshes_that_are_there(tmp_path: Path):
    scales = []
    for name, multiplier in (("one", 1), ("four", 4)):
        (tmp_path / name).mkdir()
        members = {"@type": "neuroglancer_multilod_draco", "vertex_quantization_bits": 10, "lod_scale_multiplier": multiplier}
        (tmp_path / name / "info").write_text(json.dumps(members))
        import_meshes([fine_ball(tmp_path / "1.ply")], tmp_path / name, ImportMeshOptions())
        scales.append([level.scale for level in decode_manifest((tmp_path / name / "1.index").read_bytes()).levels])
    assert len(scales[0]) > 2
    np.testing.assert_allclose(np.array(scales[1]) * 4, scales[0])
