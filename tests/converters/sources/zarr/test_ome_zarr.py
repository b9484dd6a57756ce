"""Stores whose metadata is written by hand as NGFF 0.4 and 0.5 have it (ngff.openmicroscopy.org, "multiscales metadata")."""

import json
import shutil

import numpy as np
import pytest
import zarr

from converters.errors import OptionError, SourceError
from converters.sources.opening import open_source
from converters.sources.source import SourceOptions
from tests.converters.sources.reading import whole

NM = SourceOptions(resolution=(8.0, 9.0, 40.0))
SHAPE = (2, 3, 5, 6, 7)
TCZYX = np.arange(2 * 3 * 5 * 6 * 7, dtype=np.uint16).reshape(SHAPE)
VERSIONS = ["0.4", "0.5"]


def axes(letters="tczyx", **units):
    kinds = {"t": "time", "c": "channel"}
    told = []
    for letter in letters:
        axis = {"name": letter, "type": kinds.get(letter, "space")}
        unit = units.get(letter, "micrometer" if letter in "zyx" else None)
        told.append(axis | ({"unit": unit} if unit else {}))
    return told


def scale(*values):
    return {"type": "scale", "scale": list(values)}


def translation(*values):
    return {"type": "translation", "translation": list(values)}


def dataset(path, *transformations):
    return {"path": path, "coordinateTransformations": list(transformations)}


LEVELS = [dataset("0", scale(1.0, 1.0, 0.5, 0.1, 0.1)), dataset("1", scale(1.0, 1.0, 1.0, 0.2, 0.2))]


def multiscale(datasets=LEVELS, letters="tczyx", **more):
    return {"axes": axes(letters), "datasets": datasets} | more


def tell(folder, version, **ome):
    """Write a group's metadata, without any library."""
    folder.mkdir(parents=True, exist_ok=True)
    if version == "0.5":
        attributes = {"ome": {"version": "0.5"} | ome}
        (folder / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}))
    else:
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps({key: _versioned(key, value) for key, value in ome.items()}))


def _versioned(key, value):
    return [image | {"version": "0.4"} for image in value] if key == "multiscales" and value else value


def array(folder, voxels, version, letters="tczyx"):
    options = {"dimension_names": list(letters)} if version == "0.5" else {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    chunks = voxels.shape[:-3] + (2, 3, 4)[-voxels.ndim :]
    stored = zarr.create_array(
        folder, shape=voxels.shape, chunks=chunks, dtype=voxels.dtype, zarr_format=3 if version == "0.5" else 2, **options
    )
    stored[...] = voxels


def image(folder, version, voxels=TCZYX, letters="tczyx", datasets=LEVELS, more=(), **multi):
    tell(folder, version, multiscales=[multiscale(datasets, letters, **multi)], **dict(more))
    for n, level in enumerate(datasets):
        step = 2**n
        spatial = (slice(None, None, step),) * min(3, voxels.ndim)
        array(folder / level["path"], voxels[(..., *spatial)], version, letters)
    return folder


def xyzc(voxels):
    return voxels.transpose(3, 2, 1, 0)


def refusal(path, options, kind=OptionError):
    with pytest.raises(kind) as refused:
        open_source(path, options)
    return str(refused.value)


def options(**values):
    return SourceOptions(**values)


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


def test_the_finest_level_with_its_axes_and_voxel_size(tmp_path, version):
    path = image(tmp_path / "a.ome.zarr", version)
    source = open_source(path, options(time=1))
    assert (source.shape, source.num_channels, source.block, source.notes) == ((7, 6, 5), 3, (4, 3, 2), ())
    assert source.geometry.resolution == (100, 100, 500)
    assert (source.geometry.affine, source.geometry.world, source.label) == (None, "", False)
    voxels = whole(source)
    np.testing.assert_array_equal(voxels, xyzc(TCZYX[1]))
    assert voxels.flags.f_contiguous
    channel = open_source(path, options(time=0, channel=2))
    np.testing.assert_array_equal(whole(channel), xyzc(TCZYX[0, 2:]))
    assert "its axis t has 2 points of time" in refusal(path, options())


def test_a_level_by_name_and_by_its_own_path(tmp_path, version):
    path = image(tmp_path / "a.ome.zarr", version)
    for source in (open_source(path, options(time=1, array="1")), open_source(path / "1", options(time=1))):
        assert source.geometry.resolution == (200, 200, 1000)
        np.testing.assert_array_equal(whole(source), xyzc(TCZYX[1, :, ::2, ::2, ::2]))


def test_a_path_from_inside_the_store(tmp_path, version, monkeypatch):
    path = image(tmp_path / "a.ome.zarr", version)
    for folder, place in ((path, "."), (path, "0"), (path / "0", "."), (tmp_path, "a.ome.zarr")):
        monkeypatch.chdir(folder)
        source = open_source(place, options(time=1))
        assert (source.name, source.geometry.resolution) == (place, (100, 100, 500))
        np.testing.assert_array_equal(whole(source), xyzc(TCZYX[1]))


def test_a_level_in_a_folder_of_its_own(tmp_path, version):
    datasets = [dataset("scale0/image", scale(0.5, 0.1, 0.1)), dataset("scale1/image", scale(1.0, 0.2, 0.2))]
    path = image(tmp_path / "a.zarr", version, TCZYX[0, 0], "zyx", datasets)
    assert open_source(path, options()).geometry.resolution == (100, 100, 500)
    assert open_source(path, options(array="scale1/image")).geometry.resolution == (200, 200, 1000)
    assert open_source(path / "scale1" / "image", options()).geometry.resolution == (200, 200, 1000)


@pytest.mark.parametrize(
    ("of_level", "of_image", "resolution", "place"),
    [
        ([scale(0.5, 0.1, 0.2)], [], (200, 100, 500), None),
        ([scale(0.5, 0.1, 0.2), translation(0, 0, 0)], [], (200, 100, 500), None),
        ([scale(0.5, 0.1, 0.2), translation(5, -1, 0.25)], [], (200, 100, 500), (250, -1000, 5000)),
        ([scale(1, 1, 1)], [scale(0.5, 0.1, 0.2)], (200, 100, 500), None),
        ([scale(2, 2, 2), translation(0.5, 0.5, 0.5)], [scale(0.5, 0.1, 0.2)], (400, 200, 1000), (100, 50, 250)),
        ([scale(0.5, 0.1, 0.2)], [scale(2, 2, 2), translation(3, 2, 1)], (400, 200, 1000), (1000, 2000, 3000)),
        ([scale(2, 2, 2), translation(1, 1, 1)], [scale(2, 2, 2), translation(3, 2, 1)], (4000, 4000, 4000), (3000, 4000, 5000)),
        ([{"type": "identity"}, scale(0.5, 0.1, 0.2)], [{"type": "identity"}], (200, 100, 500), None),
    ],
)
def test_scales_and_translations(tmp_path, version, of_level, of_image, resolution, place):
    more = {"coordinateTransformations": of_image} if of_image else {}
    path = image(tmp_path / "a.zarr", version, TCZYX[0, 0], "zyx", [dataset("0", *of_level)], **more)
    geometry = open_source(path, options()).geometry
    assert geometry.resolution == resolution
    if place is None:
        assert geometry.affine is None
    else:
        np.testing.assert_allclose(geometry.affine, np.column_stack([np.diag(resolution), place]))


def test_the_place_is_that_of_the_first_voxels_centre(tmp_path, version):
    levels = [dataset("0", scale(0.5, 0.1, 0.2), translation(5, -1, 0.25))]
    path = image(tmp_path / "a.zarr", version, TCZYX[0, 0], "zyx", levels)
    geometry = open_source(path, options(voxel_offset=(10, 20, 30))).geometry
    # The dataset's coordinate, in nm, of the first voxel's centre.
    centre = np.array([10.5 * 200, 20.5 * 100, 30.5 * 500, 1])
    np.testing.assert_allclose(np.array(geometry.transform()) @ centre, (250, -1000, 5000))


def test_a_given_resolution_keeps_the_place(tmp_path, version):
    levels = [dataset("0", scale(0.5, 0.1, 0.2), translation(5, -1, 0.25))]
    path = image(tmp_path / "a.zarr", version, TCZYX[0, 0], "zyx", levels)
    geometry = open_source(path, NM).geometry
    assert geometry.resolution == (8, 9, 40)
    assert geometry.affine == ((8, 0, 0, 250), (0, 9, 0, -1000), (0, 0, 40, 5000))


UNTOLD = "expected three lengths above 0 with their units: add --resolution X,Y,Z in nm, e.g. --resolution 8,8,40"


@pytest.mark.parametrize(
    ("unit", "values", "told"),
    [
        (None, (0.5, 0.1, 0.2), "0.2 micrometer, 0.1 micrometer, 0.5 without a unit"),
        ("pixel", (0.5, 0.1, 0.2), "0.2 micrometer, 0.1 micrometer, 0.5 pixel"),
        ("micrometer", (0.5, 0.1, 0.0), "0 micrometer, 0.1 micrometer, 0.5 micrometer"),
        ("micrometer", (-0.5, 0.1, 0.2), "0.2 micrometer, 0.1 micrometer, -0.5 micrometer"),
    ],
)
def test_what_is_no_voxel_size(tmp_path, version, unit, values, told):
    path = image(tmp_path / "a.zarr", version, TCZYX[0, 0], "zyx", [dataset("0", scale(*values))])
    units = [{"name": "z", "type": "space", "unit": unit}, *axes("yx")]
    tell(path, version, multiscales=[multiscale([dataset("0", scale(*values))]) | {"axes": units}])
    assert refusal(path, options()) == f"{path}: its metadata tells a voxel size x, y, z of {told}, {UNTOLD}"
    assert open_source(path, NM).geometry.resolution == (8, 9, 40)


def test_a_level_without_transformations(tmp_path, version):
    path = image(tmp_path / "a.zarr", version, TCZYX[0, 0], "zyx", [{"path": "0"}])
    assert refusal(path, options()) == f"{path}: its metadata tells no voxel size, {UNTOLD}"


def test_a_plane(tmp_path, version):
    path = image(tmp_path / "a.zarr", version, TCZYX[0, :, 0], "cyx", [dataset("0", scale(1, 0.2, 0.1), translation(0, 2, 1))])
    source = open_source(path, options())
    assert (source.shape, source.num_channels) == ((7, 6, 1), 3)
    assert source.geometry.affine == ((100, 0, 0, 1000), (0, 200, 0, 2000), (0, 0, 100, 0))
    assert source.notes == ("the array has no axis z: its one slice is taken to be as thick as a voxel along x",)


@pytest.mark.parametrize(
    ("names", "letters"),
    [
        ([{"name": "Z", "type": "space"}, {"name": "Y", "type": "space"}, {"name": "X", "type": "space"}], "zyx"),
        ([{"name": "x", "type": "space"}, {"name": "y", "type": "space"}, {"name": "z", "type": "space"}], "xyz"),
        ([{"name": "lambda", "type": "channel"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}], "cyx"),
        ([{"name": "frames", "type": "time"}, {"name": "y"}, {"name": "x"}], "tyx"),
        (["z", "y", "x"], "zyx"),
    ],
)
def test_axes_by_type_and_name(tmp_path, version, names, letters):
    path = image(tmp_path / "a.zarr", version, TCZYX[0, 0], "zyx", [dataset("0", scale(1, 1, 1))])
    tell(path, version, multiscales=[multiscale([dataset("0", scale(1, 1, 1))]) | {"axes": names}])
    source = open_source(path, SourceOptions(resolution=(1, 1, 1), time=0 if "t" in letters else None))
    assert source.arrangement.axes == letters
    assert [note for note in source.notes if "axis z" not in note] == [] or "z" in letters


def test_an_axis_of_a_type_of_its_own(tmp_path, version):
    path = image(tmp_path / "a.zarr", version, TCZYX[0], "czyx", [dataset("0", scale(1, 1, 1, 1))])
    custom = [{"name": "angle", "type": "angle"}, *axes("zyx")]
    tell(path, version, multiscales=[multiscale([dataset("0", scale(1, 1, 1, 1))]) | {"axes": custom}])
    source = open_source(path, NM)
    assert source.num_channels == 3
    assert source.notes == ("the axis angle is taken for channels; --axes says otherwise",)
    assert open_source(path, SourceOptions(axes="tzyx", time=0, resolution=(1, 1, 1))).notes == source.notes


def test_axes_that_mean_nothing_here(tmp_path, version):
    path = image(tmp_path / "a.zarr", version, TCZYX[0, 0], "zyx", [dataset("0", scale(1, 1, 1))])
    names = [{"name": name, "type": "space"} for name in ("i", "j", "k")]
    tell(path, version, multiscales=[multiscale([dataset("0", scale(1, 1, 1))]) | {"axes": names}])
    assert refusal(path, NM) == (
        f"{path}: the array has 3 axes (5 x 6 x 7) and its axes are named i, j, k: add --axes with one letter an axis out of "
        "x, y, z, c (channels), t (time), e.g. --axes czyx"
    )


def test_given_axes_take_the_sizes_along(tmp_path, version):
    path = image(tmp_path / "a.zarr", version, TCZYX[0, 0], "zyx", [dataset("0", scale(0.5, 0.1, 0.2), translation(1, 2, 3))])
    geometry = open_source(path, options(axes="xzy")).geometry
    assert geometry.resolution == (500, 200, 100)
    assert [row[3] for row in geometry.affine] == [1000, 3000, 2000]


def test_images_before_axes_had_names(tmp_path):
    path = image(tmp_path / "a.zarr", "0.4", TCZYX)
    tell(path, "0.4", multiscales=[{"datasets": [{"path": "0"}]}])
    source = open_source(path, SourceOptions(time=1, resolution=(1, 1, 1)))
    assert (source.shape, source.num_channels, source.notes) == ((7, 6, 5), 3, ())


def test_several_images_in_a_group(tmp_path, version):
    path = image(tmp_path / "a.zarr", version)
    array(path / "raw", TCZYX[0, 0], version, "zyx")
    second = multiscale([dataset("raw", scale(2, 2, 2))], "zyx")
    tell(path, version, multiscales=[multiscale(), second])
    source = open_source(path, options(time=0))
    assert source.geometry.resolution == (100, 100, 500)
    assert source.notes == (f"{path} tells 2 images: the first, 0, is taken; --array takes another",)
    assert open_source(path, options(array="raw")).geometry.resolution == (2000, 2000, 2000)


def labelled(tmp_path, version, *names):
    path = image(tmp_path / "a.ome.zarr", version)
    tell(path / "labels", version, labels=list(names))
    for name in names:
        levels = [dataset("0", scale(0.5, 0.1, 0.1))]
        more = {"image-label": {"version": "0.4"}}
        image(path / "labels" / name, version, TCZYX[0, 0].astype("u1") % 5, "zyx", levels, more)
    return path


def test_a_label_image(tmp_path, version):
    path = labelled(tmp_path, version, "nuclei", "cells")
    for source in (
        open_source(path / "labels" / "nuclei", options()),
        open_source(path, options(array="labels/nuclei")),
        open_source(path, options(array="labels/nuclei/0")),
        open_source(path / "labels" / "nuclei" / "0", options()),
    ):
        assert source.label
        assert source.geometry.resolution == (100, 100, 500)
        np.testing.assert_array_equal(whole(source), xyzc(TCZYX[0, :1].astype("u1") % 5))
    assert not open_source(path, options(time=0)).label
    assert refusal(path / "labels", options()) == (
        f"{path}/labels: holds 2 label images, nuclei, cells: add --array NAME, e.g. --array nuclei"
    )
    assert refusal(path, options(array="labels")).endswith("labels/cells: add --array NAME, e.g. --array labels/nuclei")


def test_the_only_label_image(tmp_path, version):
    path = labelled(tmp_path, version, "nuclei")
    assert open_source(path / "labels", options()).label


def test_a_plate_and_a_well(tmp_path, version):
    path = tmp_path / "plate.zarr"
    wells = [{"path": well, "rowIndex": 0, "columnIndex": n} for n, well in enumerate(("A/1", "A/2"))]
    tell(path, version, plate={"wells": wells, "rows": [{"name": "A"}], "columns": [{"name": "1"}, {"name": "2"}]})
    tell(path / "A", version)
    tell(path / "A" / "1", version, well={"images": [{"path": "f0"}, {"path": "f1"}]})
    tell(path / "A" / "2", version, well={"images": [{"path": "f0"}]})
    for field in ("A/1/f0", "A/1/f1", "A/2/f0"):
        image(path / field, version)
    assert refusal(path, options()) == f"{path}: a plate of 2 wells, A/1, A/2: add --array WELL/FIELD, e.g. --array A/1/f0"
    assert refusal(path, options(array="A/1")) == (
        f"{path}: holds 2 fields of a well, A/1/f0, A/1/f1: add --array NAME, e.g. --array A/1/f0"
    )
    assert refusal(path / "A" / "1", options()).endswith("e.g. --array f0")
    for source in (
        open_source(path, options(array="A/1/f0", time=0)),
        open_source(path / "A" / "2", options(time=0)),
        open_source(path / "A" / "1" / "f1", options(time=0)),
    ):
        assert source.geometry.resolution == (100, 100, 500)


@pytest.mark.parametrize("series", [["0", "1"], None])
def test_what_bioformats2raw_writes(tmp_path, version, series):
    path = tmp_path / "a.zarr"
    tell(path, version, **{"bioformats2raw.layout": 3})
    tell(path / "OME", version, **({} if series is None else {"series": series}))
    image(path / "0", version)
    assert open_source(path, options(time=0)).geometry.resolution == (100, 100, 500)
    image(path / "1", version)
    assert refusal(path, options()) == f"{path}: holds 2 images, 0, 1: add --array NAME, e.g. --array 0"
    assert open_source(path, options(array="1", time=0)).shape == (7, 6, 5)
    assert open_source(path, options(array="1/1", time=0)).shape == (4, 3, 3)


def test_a_group_of_images(tmp_path, version):
    tell(tmp_path / "g.zarr", version)
    image(tmp_path / "g.zarr" / "raw", version)
    image(tmp_path / "g.zarr" / "seg", version)
    assert refusal(tmp_path / "g.zarr", options()) == (
        f"{tmp_path}/g.zarr: holds 2 arrays, raw (image), seg (image): add --array NAME, e.g. --array raw"
    )


def test_a_level_that_was_not_copied(tmp_path, version):
    path = image(tmp_path / "a.zarr", version)
    shutil.rmtree(path / "0")
    assert refusal(path, options(), SourceError) == (
        f"{path}/0: the array of the image's finest level has no metadata there; copy it again, or take another of its levels "
        "with --array: 1"
    )
    assert open_source(path, options(array="1", time=0)).geometry.resolution == (200, 200, 1000)


@pytest.mark.parametrize(
    ("multiscales", "sentence"),
    [
        ({}, "tells {} as multiscales, and a list of objects is expected"),
        ([], "tells [] as multiscales, and a list of objects is expected"),
        ([{}], "tells null as datasets, and a list of objects is expected"),
        ([{"datasets": [{}]}], "tells null as path, and the path of an array below the group is expected"),
        ([{"datasets": [{"path": "../b"}]}], 'tells "../b" as path, and the path of an array below the group is expected'),
        ([{"datasets": [{"path": "/etc"}]}], 'tells "/etc" as path, and the path of an array below the group is expected'),
        ([{"datasets": [{"path": "0"}], "axes": "zyx"}], 'tells "zyx" as axes, and a list of objects is expected'),
        ([{"datasets": [{"path": "0"}], "axes": [{}]}], "tells {} as axes, and an object with a name is expected"),
        (
            [multiscale([dataset("0", {"type": "affine", "affine": [[1]]})])],
            'tells {"type": "affine", "affine": [[1]]} as coordinateTransformations, and a scale or translation with a list of '
            "numbers is expected",
        ),
        (
            [multiscale([dataset("0", scale(1, "a"))])],
            'tells {"type": "scale", "scale": [1, "a"]} as coordinateTransformations, and a scale or translation with a list of '
            "numbers is expected",
        ),
        (
            [multiscale([dataset("0", scale(1, 2), translation(1, 2, 3), translation(1, 2))])],
            "tells [1.0, 2.0] as coordinateTransformations, and 3 numbers, as many as before is expected",
        ),
        (
            [multiscale([{"path": "0", "coordinateTransformations": 5}])],
            "tells 5 as coordinateTransformations, and a list of objects is expected",
        ),
        (
            [{"datasets": [{"path": "0"}], "axes": [{"name": "x" * 100, "unit": 5}, {"name": 3, "unit": "y" * 100}]}],
            'tells {"name": 3, "unit": "' + "y" * 59 + " ... as axes, and an object with a name is expected",
        ),
    ],
)
def test_metadata_that_is_not_sound(tmp_path, version, multiscales, sentence):
    path = tmp_path / "a.zarr"
    tell(path, version, multiscales=multiscales)
    assert refusal(path, NM, SourceError) == f"{path}: its OME metadata {sentence}; write it again"


@pytest.mark.parametrize(
    ("letters", "values", "name", "length"), [("zyx", (1, 1), "scale", 2), ("czyx", (1, 1, 1, 1), "axes", 4)]
)
def test_metadata_for_another_number_of_axes(tmp_path, version, letters, values, name, length):
    path = image(tmp_path / "a.zarr", version, TCZYX[0, 0], "zyx", [dataset("0", scale(1, 1, 1))])
    tell(path, version, multiscales=[multiscale([dataset("0", scale(*values))], letters)])
    assert refusal(path, NM, SourceError) == (
        f"{path}: its OME metadata has {length} values in {name} for level 0, whose array has 3 axes; write it again"
    )
