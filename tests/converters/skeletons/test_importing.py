"""SWC files in datasets: skeletons alone, segmentations, places in the world, what is there already."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from cloudvolume import CloudVolume
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters import shards
from converters.claim import locked
from converters.errors import (
    BusyError,
    ConverterError,
    DamagedError,
    DatasetError,
    DatasetExistsError,
    DiskFullError,
    OptionError,
)
from converters.options import ConvertOptions, ImportSkeletonOptions
from converters.skeletons.conversion import make_skeletons
from converters.skeletons.importing import import_skeletons
from converters.skeletons.reading import open_skeletons
from converters.skeletons.record import read_skeleton_record
from converters.skeletons.swc_files import write_swc_files
from converters.volumes.conversion import convert
from formats.skeletons.skeleton import Skeleton
from tests.converters.skeletons.datasets import options as tracing
from tests.converters.skeletons.datasets import quiet, segmentation
from tests.converters.skeletons.phantoms import y_shape

LARGEST = 2**64 - 1
Y = "1 1 0 0 0 5 -1\n2 3 10 0 0 1 1\n3 3 20 5 0 1 2\n4 3 20 -5 0 NA 2\n"
TWO_ROOTS = "# two of them\n1 0 0 0 0 1 -1\n2 0 1 0 0 1 1\n5 2 0 9 0 1 -1\n6 2 0 8 0 1 5\n"


def swc(path: Path, text: str = Y) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def options(**given: Any) -> ImportSkeletonOptions:
    return ImportSkeletonOptions(**given)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """A segmentation of 40 x 30 x 25 voxels of 1000 x 1000 x 2000 nm at -3, -10, 0, without a place in the world."""
    return segmentation(
        tmp_path / "labels", np.ones((40, 30, 25), np.uint32), resolution=(1000, 1000, 2000), voxel_offset=(-3, -10, 0)
    )


def info(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "info").read_bytes())
    return found


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def read(folder: Path, segment: int) -> Skeleton:
    found = open_skeletons(folder).read(segment)
    assert found is not None
    return found


def properties(dataset: Path) -> dict[str, dict[str, Any]]:
    inline = info(dataset / "segment_properties")["inline"]
    told: dict[str, dict[str, Any]] = {segment: {} for segment in inline["ids"]}
    for one in inline["properties"]:
        for segment, value in zip(inline["ids"], one["values"], strict=True):
            told[segment][one["id"]] = value
    return told


@pytest.mark.parametrize("layout", ["files", "sharded"])
def test_skeletons_alone(layout: Any, tmp_path: Path) -> None:
    files = [swc(tmp_path / "7.swc"), swc(tmp_path / f"{LARGEST}.swc", TWO_ROOTS)]
    dataset = tmp_path / "out" / "skeletons"
    given = import_skeletons(files, dataset, options(unit="um", layout=layout))
    assert (given.files, given.segments, given.vertices, given.trees, given.notes) == (2, 2, 8, 3, ())
    assert given.cable_length == pytest.approx(10_000 + 2 * np.hypot(10_000, 5_000) + 2000)
    reader = open_skeletons(dataset)
    assert reader.segments() == [7, LARGEST]
    skeleton = read(dataset, 7)
    assert skeleton.vertices.tolist() == [[0, 0, 0], [10_000, 0, 0], [20_000, 5000, 0], [20_000, -5000, 0]]
    assert skeleton.edges.tolist() == [[0, 1], [1, 2], [1, 3]]
    assert skeleton.attributes["radius"].tolist() == [5000, 1000, 1000, 0]
    assert skeleton.attributes["vertex_types"].tolist() == [1, 3, 3, 3]
    assert len(read(dataset, LARGEST).edges) == 2
    told = properties(dataset)
    assert told["7"] == {"cable_length": pytest.approx(32360.68), "branch_points": 1, "end_points": 3}
    assert told[str(LARGEST)]["end_points"] == 4
    assert info(dataset)["segment_properties"] == "segment_properties"
    stored = {name: data for name, data in tree(dataset).items() if "/" not in name and name != "info"}
    assert given.stored_bytes == sum(map(len, stored.values()))
    assert set(stored) == ({"7", str(LARGEST)} if layout == "files" else {"0.shard"})
    assert not (dataset / ".glassine").exists()


def test_many_segments_go_into_shards_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MOST_FILES", 2)
    files = [swc(tmp_path / f"{n}.swc") for n in (1, 2, 3)]
    assert not import_skeletons(files[:2], tmp_path / "files", options()).sharded
    assert import_skeletons(files, tmp_path / "shards", options()).sharded
    assert open_skeletons(tmp_path / "shards").segments() == [1, 2, 3]


def test_a_segmentation_gets_a_skeletons_member_and_keeps_its_others(labels: Path, tmp_path: Path) -> None:
    members = {**info(labels), "rois": [[1, 2, 3]]}
    (labels / "info").write_text(json.dumps(members))
    given = import_skeletons([swc(tmp_path / "1.swc")], labels, options(unit="um"))
    assert given.folder == labels / "skeletons"
    assert info(labels) == {**members, "skeletons": "skeletons", "segment_properties": "segment_properties"}
    assert given.notes == ()
    import_skeletons([swc(tmp_path / "2.swc")], labels, options(unit="um"))
    assert open_skeletons(labels / "skeletons").segments() == [1, 2]
    assert list(properties(labels)) == ["1", "2"]


@pytest.mark.parametrize("layout", ["files", "sharded"])
def test_cloud_volume_reads_what_is_imported(layout: Any, labels: Path, tmp_path: Path) -> None:
    segment = 2**53 + 1
    import_skeletons([swc(tmp_path / f"{segment}.swc")], labels, options(unit="um", layout=layout))
    found = CloudVolume(f"file://{labels}", progress=False).skeleton.get(segment)
    ours = read(labels / "skeletons", segment)
    np.testing.assert_array_equal(found.vertices, ours.vertices)
    np.testing.assert_array_equal(found.edges, ours.edges)
    np.testing.assert_array_equal(found.radius, [5000, 1000, 1000, 0])
    np.testing.assert_array_equal(found.vertex_types, [1, 3, 3, 3])


@pytest.mark.parametrize(
    ("given", "head", "factor"),
    [
        ({}, "# unit: nm\n", 1),
        ({}, '# Meta: {"units": "8 nanometer"}\n', 8),
        ({}, "", 1000),
        ({"unit": "nm"}, "# unit: um\n", 1),
        ({"unit": "mm"}, "", 1e6),
        ({"unit": "nm", "affine": "4,0,0,0,0,4,0,0,0,0,4,0"}, "", 4),
    ],
)
def test_the_unit(given: Any, head: str, factor: float, tmp_path: Path) -> None:
    imported = import_skeletons([swc(tmp_path / "1.swc", head + Y)], tmp_path / "out", options(**given))
    skeleton = read(tmp_path / "out", 1)
    assert skeleton.vertices[1].tolist() == [10 * factor, 0, 0]
    assert skeleton.attributes["radius"][0] == pytest.approx(5 * factor)
    note = f"{tmp_path / '1.swc'}: no unit is told, taken for um; add --unit nm or --unit mm if that is wrong"
    assert imported.notes == ((note,) if not head and not given else ())


def test_half_a_voxel_is_added_where_0_is_a_voxels_centre(labels: Path, tmp_path: Path) -> None:
    import_skeletons([swc(tmp_path / "1.swc")], labels, options(voxel_centres=True))
    assert read(labels / "skeletons", 1).vertices[0].tolist() == [500, 500, 1000]


OBLIQUE = np.array([[1.9, -0.3, 0.2, -85], [0.4, 2.1, -0.1, -130], [-0.1, 0.3, 2.4, -75], [0, 0, 0, 1]])


def test_a_tree_in_ras_lies_on_the_voxels_that_nibabel_says(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.ones((20, 24, 28), np.uint8), OBLIQUE)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "brain.nii")
    dataset = tmp_path / "brain"
    convert(tmp_path / "brain.nii", dataset, ConvertOptions(type="segmentation", executor="serial"), quiet)
    voxels = np.array([[3, 4, 5], [18, 20, 7]])
    places = nibabel.affines.apply_affine(nibabel.load(tmp_path / "brain.nii").affine, voxels)
    text = "".join(f"{n} 0 {x} {y} {z} 1 {n - 1}\n" for n, (x, y, z) in enumerate(places.tolist(), 1))
    assert import_skeletons([swc(tmp_path / "1.swc", text)], dataset, options(unit="mm", space="ras")).notes == ()
    resolution = np.array(info(dataset)["scales"][0]["resolution"])
    np.testing.assert_allclose(read(dataset / "skeletons", 1).vertices / resolution, voxels + 0.5, atol=1e-4)


def test_several_files_of_a_segment_are_one_skeleton(tmp_path: Path) -> None:
    given = import_skeletons(
        [swc(tmp_path / "a.swc"), swc(tmp_path / "b.swc", TWO_ROOTS)], tmp_path / "out", options(id=5, unit="um")
    )
    assert (given.files, given.segments, given.trees) == (2, 1, 3)
    skeleton = read(tmp_path / "out", 5)
    assert skeleton.edges.tolist() == [[0, 1], [1, 2], [1, 3], [4, 5], [6, 7]]
    assert skeleton.vertices[6].tolist() == [0, 9000, 0]


def test_names_of_a_table_are_segment_properties(labels: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        swc(tmp_path / f"{name}.swc", "# unit: um\n" + Y)
    table = tmp_path / "table.csv"
    table.write_text("file,id,name\na.swc,20,Größe\nb.swc,3,second one\nc.swc,4,\n", encoding="utf-8")
    for dataset in (labels, tmp_path / "alone"):
        assert import_skeletons([], dataset, options(table=str(table))).notes == ()
        told = properties(dataset)
        assert {segment: values["name"] for segment, values in told.items()} == {"3": "second one", "4": "", "20": "Größe"}
        assert {values["end_points"] for values in told.values()} == {3}
        before = tree(dataset)
        assert import_skeletons([], dataset, options(table=str(table))).notes == ()
        assert tree(dataset) == before
        table.write_text("file,id,name\na.swc,20,other\nb.swc,3,\n")
        (note,) = import_skeletons([], dataset, options(table=str(table))).notes
        assert note == (f"{dataset}: 1 segments have other names already (20), which were kept; add --overwrite to replace them")
        assert properties(dataset)["20"]["name"] == "Größe"
        assert import_skeletons([], dataset, options(table=str(table), overwrite=True)).notes == ()
        assert (properties(dataset)["20"]["name"], properties(dataset)["3"]["name"]) == ("other", "second one")
        table.write_text("file,id,name\na.swc,20,Größe\nb.swc,3,second one\nc.swc,4,\n", encoding="utf-8")


def test_properties_at_a_url_are_left_alone(labels: Path, tmp_path: Path) -> None:
    (labels / "info").write_text(json.dumps({**info(labels), "segment_properties": "gs://bucket/names"}))
    (note,) = import_skeletons([swc(tmp_path / "1.swc")], labels, options(unit="um")).notes
    assert note == f"{labels}: its segment properties lie at gs://bucket/names, so nothing was added to them"
    assert info(labels)["segment_properties"] == "gs://bucket/names"


def test_a_tree_outside_the_volume_is_told(labels: Path, tmp_path: Path) -> None:
    (note,) = import_skeletons([swc(tmp_path / "1.swc")], labels, options(unit="mm", affine="1,0,0,1,0,1,0,0,0,0,1,0")).notes
    assert note == (
        "1 of 1 files lie outside the volume, which goes from -3000, -10000, 0 to 37000, 20000, 50000 nm "
        f"(such as {tmp_path / '1.swc'} from 1e+06, -5e+06, 0 to 2.1e+07, 5e+06, 0); check --unit, --space and --affine"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no vertex in it, expected lines of 7 columns: id type x y z radius parent"),
        ("1 0 0 0 0 1 -1\n2 0 nan 0 0 1 1\n", "line 2: found 'nan', expected a number"),
        ("1 0 0 0 0 1 -1\n2 0 0 0 0 1 7\n", "line 2: vertex 2 hangs on 7, which is not there"),
        ("1 0 0 0 0 1 2\n2 0 0 0 0 1 1\n", "line 1: vertex 1 hangs on itself, by way of its parents; expected a tree"),
        ("1 0 1e36 0 0 1 -1\n", "line 1: a place farther away than a float32 of nm can say; is the unit right?"),
        ("1 0 0 0 0 1e36 -1\n", "line 1: a place farther away than a float32 of nm can say; is the unit right?"),
        ("\x00\xff\n", "line 1: 1 columns, expected 7: id type x y z radius parent"),
    ],
)
def test_files_that_are_no_trees(text: str, said: str, labels: Path, tmp_path: Path) -> None:
    before = tree(labels)
    files = [swc(tmp_path / "1.swc"), swc(tmp_path / "2.swc", text)]
    for dataset in (labels, tmp_path / "new" / "out"):
        with pytest.raises(DamagedError) as refused:
            import_skeletons(files, dataset, options())
        assert str(refused.value) == f"{tmp_path / '2.swc'}: {said}"
    assert tree(labels) == before
    assert not (tmp_path / "new").exists()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "1.swc").mkdir()
    for name, said in (("1.swc", "1.swc: cannot be read (Is a directory)"), ("2.swc", "2.swc: there is no such file")):
        with pytest.raises(ConverterError) as refused:
            import_skeletons([tmp_path / name], tmp_path / "out", options())
        assert str(refused.value) == f"{tmp_path}/{said}"


def test_where_other_things_are(labels: Path, tmp_path: Path) -> None:
    source = [swc(tmp_path / "1.swc")]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("x")
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh" / "info").write_text('{"@type": "neuroglancer_legacy_mesh"}')
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "info").write_text('{"@type": "neuroglancer_skeletons", "sharding": null}')
    image = segmentation(tmp_path / "image", np.ones((4, 4, 4), np.uint8), type="image")
    for dataset, said in (
        (tmp_path / "1.swc", "a file is there, expected a folder for the dataset"),
        (tmp_path / "folder", "the folder holds other files and no dataset; choose a new or an empty folder"),
        (tmp_path / "mesh", "info: @type is 'neuroglancer_legacy_mesh'"),
        (tmp_path / "broken", "info: sharding is null, which the viewer refuses"),
        (image, "is an image, and skeletons belong to segments; choose a segmentation, or a new folder for skeletons alone"),
    ):
        with pytest.raises(ConverterError) as refused:
            import_skeletons(source, dataset, options())
        assert str(refused.value).startswith(f"{dataset}: {said}")
    (labels / "info").write_text(json.dumps({**info(labels), "skeletons": "skeletons"}))
    with pytest.raises(DatasetError, match="info: names skeletons, skeletons, that are not there; take the member skeletons out"):
        import_skeletons(source, labels, options())
    (labels / "info").write_text(json.dumps({**info(labels), "skeletons": "../other"}))
    with pytest.raises(OptionError, match=r"its skeletons lie elsewhere \(\.\./other\); import into that folder"):
        import_skeletons(source, labels, options())


def test_skeletons_that_are_there_are_kept(labels: Path, tmp_path: Path) -> None:
    import_skeletons([swc(tmp_path / "1.swc"), swc(tmp_path / "2.swc")], labels, options())
    before = tree(labels)
    swc(tmp_path / "1.swc", TWO_ROOTS)
    with pytest.raises(DatasetExistsError) as refused:
        import_skeletons([tmp_path / "1.swc", swc(tmp_path / "3.swc")], labels, options())
    assert "skeletons: 1 of 2 segments have other skeletons there (1); add --overwrite to replace them" in str(refused.value)
    assert tree(labels) == before
    import_skeletons([tmp_path / "1.swc"], labels, options(overwrite=True))
    changed = {name for name, data in tree(labels).items() if before.get(name) != data}
    assert changed - {".glassine/skeletons.json"} == {"skeletons/1", "segment_properties/info"}
    assert properties(labels)["1"]["end_points"] == 4


def test_what_cannot_be_added_to(labels: Path, tmp_path: Path) -> None:
    source = [swc(tmp_path / "1.swc")]
    import_skeletons(source, tmp_path / "shards", options(layout="sharded"))
    with pytest.raises(
        OptionError, match="shards: its skeletons lie in shards, which nothing is added to; import into a new fold"
    ):
        import_skeletons(source, tmp_path / "shards", options())
    import_skeletons(source, labels, options(layout="sharded"))
    with pytest.raises(OptionError) as in_volume:
        import_skeletons(source, labels, options(overwrite=True))
    assert str(in_volume.value) == (
        f"{labels / 'skeletons'}: its skeletons lie in shards, which nothing is added to; import into a new folder, or remove "
        "this one, and the member skeletons of the volume's info, to begin anew"
    )
    shutil.rmtree(labels / "skeletons")
    (labels / "info").write_text(json.dumps({name: value for name, value in info(labels).items() if name != "skeletons"}))
    import_skeletons(source, labels, options(layout="sharded"))
    import_skeletons(source, tmp_path / "alone", options())
    with pytest.raises(OptionError, match="its skeletons are files of their own; leave out --layout sharded to add to them"):
        import_skeletons(source, tmp_path / "alone", options(layout="sharded"))
    members = info(tmp_path / "alone")
    area = {"id": "area", "data_type": "float32", "num_components": 1}
    types = {"id": "vertex_types", "data_type": "uint8", "num_components": 1}
    for told, said in (
        ({"transform": [2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]}, "its skeletons are moved by a transform, so none is added"),
        (
            {"vertex_attributes": [types]},
            "its skeletons have the attribute vertex_types of uint8, and the viewer refuses any that is not float32; import into",
        ),
        ({"vertex_attributes": [area]}, "its skeletons have the attribute area (1 x float32), which SWC files do not tell"),
    ):
        (tmp_path / "alone" / "info").write_text(json.dumps({**members, **told}))
        with pytest.raises(OptionError) as refused:
            import_skeletons(source, tmp_path / "alone", options())
        assert said in str(refused.value)


def test_attributes_are_stored_as_the_dataset_has_them(tmp_path: Path) -> None:
    import_skeletons([swc(tmp_path / "1.swc")], tmp_path / "out", options())
    attributes = [{"id": "vertex_types", "data_type": "float32", "num_components": 1}]
    assert info(tmp_path / "out")["vertex_attributes"][1:] == attributes
    (tmp_path / "out" / "info").write_text(json.dumps({**info(tmp_path / "out"), "vertex_attributes": attributes}))
    import_skeletons([swc(tmp_path / "2.swc")], tmp_path / "out", options())
    assert read(tmp_path / "out", 2).attributes["vertex_types"].tolist() == [1, 3, 3, 3]


def test_a_folder_of_skeletons_that_the_volume_does_not_name(labels: Path, tmp_path: Path) -> None:
    (labels / "skeletons").mkdir()
    (labels / "skeletons" / "5").write_bytes(b"of an older segmentation")
    with pytest.raises(
        DatasetExistsError, match=r"skeletons: is there with 1 files \(5, \.\.\.\), and the volume's info does not"
    ):
        import_skeletons([swc(tmp_path / "1.swc")], labels, options())
    assert "skeletons" not in info(labels)


def test_a_dataset_that_is_being_written_is_left_alone(labels: Path, tmp_path: Path) -> None:
    with locked(labels), pytest.raises(BusyError, match="another run is writing this dataset"):
        import_skeletons([swc(tmp_path / "1.swc")], labels, options())
    assert "skeletons" not in info(labels)


def test_a_full_disk_is_told(labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any, **told: Any) -> int:
        raise OSError(28, "No space left on device")

    source = [swc(tmp_path / "1.swc")]
    monkeypatch.setattr("converters.storage.files.os.write", full)
    with pytest.raises(DiskFullError, match="no room is left on the disk"):
        import_skeletons(source, labels, options())
    monkeypatch.undo()
    assert not (labels / "skeletons").exists()


@pytest.mark.parametrize("target", ["volume", "alone", "shards"])
def test_an_import_that_was_killed_is_done_again_with_the_same_bytes(
    target: str, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [swc(tmp_path / "1.swc"), swc(tmp_path / "2.swc", TWO_ROOTS)]
    dataset = labels if target == "volume" else tmp_path / "alone"
    chosen = options(layout="sharded" if target == "shards" else "auto", unit="um")
    expected = tree(import_skeletons(files, tmp_path / "undisturbed", chosen).folder)
    moves = allowed = 0
    move, remove = os.replace, shutil.rmtree

    class Killed(BaseException):
        """Ends the run where it is; a run that is killed cleans nothing."""

    def count(source: Any, place: Any) -> None:
        nonlocal moves
        if str(place).startswith(str(dataset)) and f".glassine{os.sep}importing" not in str(place):
            moves += 1
            if moves > allowed:
                raise Killed
        move(source, place)

    monkeypatch.setattr(os, "replace", count)
    monkeypatch.setattr("shutil.rmtree", lambda *given, **told: None if moves > allowed else remove(*given, **told))
    for more in range(3 if target == "shards" else 4 if target == "alone" else 6):
        moves, allowed = 0, more
        with pytest.raises(Killed):
            import_skeletons(files, dataset, chosen)
        if target == "volume":
            assert "skeletons" not in info(dataset)
    monkeypatch.undo()
    import_skeletons(files, dataset, chosen)
    found = tree(dataset)
    assert not [name for name in found if name.startswith(".glassine/importing")]
    ours = ("skeletons/", "segment_properties/")
    if target == "volume":
        found = {name.removeprefix("skeletons/"): data for name, data in found.items() if name.startswith(ours)}
        expected["info"] = found["info"]
    assert found == expected


def test_a_first_look_shows_what_was_imported_last(labels: Path, tmp_path: Path) -> None:
    make_skeletons(segmentation(tmp_path / "y", y_shape().labels), tracing(), quiet)
    dataset = tmp_path / "y" / "dataset"
    before = read_skeleton_record(dataset)
    assert before is not None
    import_skeletons([swc(tmp_path / "9.swc")], dataset, options(unit="nm", affine="1,0,0,900,0,1,0,900,0,0,1,900"))
    assert read_skeleton_record(dataset) == replace(before, largest=(9, 3))
    assert list(properties(dataset)) == ["3", "9"]
    assert make_skeletons(dataset, tracing(), quiet).already
    import_skeletons([swc(tmp_path / f"{n}.swc") for n in range(1, 13)], labels, options())
    record = read_skeleton_record(labels)
    assert record is not None
    assert (record.largest, record.counts["skeletons"]) == (tuple(range(1, 11)), 12)
    assert record.counts["stored_bytes"] == sum(len(data) for name, data in tree(labels / "skeletons").items() if name != "info")


def nodes(skeleton: Skeleton) -> list[tuple[float, ...]]:
    columns = (*skeleton.vertices.T, skeleton.attributes["radius"], skeleton.attributes["vertex_types"])
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def lines(skeleton: Skeleton) -> list[Any]:
    return sorted(sorted(map(tuple, ends)) for ends in skeleton.vertices[skeleton.edges].tolist())


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Return an SWC text in microns, its lines in any order, its ids any numbers."""
    count = draw(st.integers(1, 10))
    ids = draw(st.lists(st.integers(1, 2**40), min_size=count, max_size=count, unique=True))
    parents = [draw(st.integers(-1, n - 1)) for n in range(count)]
    lengths = st.floats(-(10.0**6), 10.0**6)
    rows = [
        f"{ids[n]} {draw(st.integers(0, 255))} {draw(lengths)!r} {draw(lengths)!r} {draw(lengths)!r} "
        f"{draw(st.floats(0, 1000))!r} {ids[parent] if parent >= 0 else -1}"
        for n, parent in enumerate(parents)
    ]
    return "\n".join(draw(st.permutations(rows)))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts(), unit=st.sampled_from(["nm", "um"]), layout=st.sampled_from(["files", "sharded"]))
def test_swc_to_precomputed_and_back_keeps_nodes_within_float32(text: str, unit: Any, layout: Any, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    import_skeletons([swc(tmp_path / "5.swc", text)], tmp_path / "out", options(unit="um", layout=layout))
    first = read(tmp_path / "out", 5)
    given = np.array([[float(word) for word in line.split()] for line in text.splitlines()])
    np.testing.assert_allclose(first.vertices, given[:, 2:5] * 1000, rtol=2**-23, atol=1e-30)
    np.testing.assert_allclose(first.attributes["radius"], given[:, 5] * 1000, rtol=2**-23, atol=1e-30)
    np.testing.assert_array_equal(first.attributes["vertex_types"], given[:, 1])
    write_swc_files(open_skeletons(tmp_path / "out"), tmp_path / "swc", unit, lambda done, total: None)
    shutil.rmtree(tmp_path / "again", ignore_errors=True)
    assert import_skeletons([tmp_path / "swc" / "5.swc"], tmp_path / "again", options()).notes == ()
    second = read(tmp_path / "again", 5)
    assert nodes(second) == nodes(first)
    assert lines(second) == lines(first)
