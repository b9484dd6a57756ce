import contextlib
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import zlib

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.errors import DamagedError, OptionError, SourceError
from converters.geometry import Geometry
from converters.sources.mapped import MappedSource
from converters.sources.opening import open_source
from converters.sources.source import SourceOptions
from formats.grid import Box
from tests.converters.sources.reading import whole

NM = (8.0, 9.0, 40.0)
SHAPE = (7, 30, 41)
"""z, y, x."""


def voxels(dtype, shape=SHAPE):
    rng = np.random.default_rng(3)
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind == "f":
        return rng.normal(0, 1000, shape).astype(dtype)
    return rng.integers(0, 256, (*shape, dtype.itemsize), np.uint8).view(dtype)[..., 0]


def written(folder, name="a.h5", **datasets):
    """Write arrays, or (array, attributes, how), by their names."""
    path = folder / name
    with h5py.File(path, "w") as file:
        for dataset, what in datasets.items():
            array, attributes, how = what if isinstance(what, tuple) else (what, {}, {})
            file.create_dataset(dataset.replace("__", "/"), data=array, **how).attrs.update(attributes)
    return path


def opened(path, **options):
    return open_source(path, SourceOptions(**{"resolution": NM, **options}))


def error_of(path, **options):
    with pytest.raises((SourceError, OptionError)) as refused:
        open_source(path, SourceOptions(**options))
    return str(refused.value).replace(str(path.parent) + os.sep, "")


LAYOUTS = {
    "plain": {},
    "chunks": {"chunks": (3, 8, 16)},
    "gzip": {"chunks": (3, 8, 16), "compression": "gzip"},
    "large gzip chunks": {"chunks": (7, 30, 41), "compression": "gzip"},
    "shuffle and gzip": {"chunks": (6, 29, 40), "compression": "gzip", "shuffle": True},
    "gzip and fletcher32": {"chunks": (6, 29, 40), "compression": "gzip", "fletcher32": True},
    "lzf": {"chunks": (3, 8, 16), "compression": "lzf"},
    "szip": {"chunks": (4, 8, 16), "compression": "szip"},
    "scaleoffset": {"chunks": (3, 8, 16), "scaleoffset": 0},
    "blosc": {"chunks": (3, 8, 16), **hdf5plugin.Blosc(cname="lz4")},
    "blosc2": {"chunks": (3, 8, 16), **hdf5plugin.Blosc2()},
    "zstd": {"chunks": (3, 8, 16), **hdf5plugin.Zstd()},
    "lz4": {"chunks": (3, 8, 16), **hdf5plugin.LZ4()},
    "bitshuffle": {"chunks": (3, 8, 16), **hdf5plugin.Bitshuffle(cname="lz4")},
    "bzip2": {"chunks": (3, 8, 16), **hdf5plugin.BZip2()},
    "chunks larger than the dataset": {"chunks": (16, 64, 64), "maxshape": (None, None, None), "compression": "gzip"},
}


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request, tmp_path_factory):
    array = voxels("<u4")
    folder = tmp_path_factory.mktemp("layouts")
    return opened(written(folder, data=(array, {}, LAYOUTS[request.param]))), array.T[..., np.newaxis]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_box_of_any_layout_equals_slicing(layout, data):
    source, expected = layout
    edges = [sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in source.shape]
    box = Box(tuple(a for a, _ in edges), tuple(b for _, b in edges))
    np.testing.assert_array_equal(source.read(box), expected[box.slices()])


def test_a_layout_pickles_and_tells_its_block(layout):
    source, expected = layout
    again = pickle.loads(pickle.dumps(source))
    assert again == source
    np.testing.assert_array_equal(whole(again), expected)
    assert (again.dtype, again.num_channels, again.shape) == (np.dtype("<u4"), 1, (41, 30, 7))
    assert all(1 <= b <= n for b, n in zip(again.block, again.shape, strict=True))
    assert again.fingerprint() == source.fingerprint()


@pytest.mark.parametrize(("how", "block"), [("plain", (1, 1, 1)), ("chunks", (16, 8, 3)), ("lzf", (16, 8, 3))])
def test_the_block_is_the_chunk(tmp_path, how, block):
    source = opened(written(tmp_path, data=(voxels("u1"), {}, LAYOUTS[how])))
    assert source.block == block


def test_a_plain_dataset_is_mapped_whatever_lies_before_it(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["first"] = np.zeros(99, "u1")
        file["data"] = voxels(">u2")
    source = opened(path)
    assert isinstance(source, MappedSource)
    assert whole(source).base is not None
    np.testing.assert_array_equal(whole(source)[..., 0], voxels(">u2").T)


def test_a_compact_dataset(tmp_path):
    path = tmp_path / "a.h5"
    array = voxels("u2", (2, 3, 4))
    with h5py.File(path, "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple(array.shape)
        h5py.h5d.create(file.id, b"data", h5py.h5t.NATIVE_UINT16, space, plist).write(h5py.h5s.ALL, h5py.h5s.ALL, array)
    np.testing.assert_array_equal(whole(opened(path))[..., 0], array.T)


@pytest.mark.parametrize(
    "dtype",
    ["?", "u1", "i1", *(f"{order}{kind}" for kind in ("u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8") for order in "<>")],
)
@pytest.mark.parametrize("how", [{}, {"chunks": (6, 29, 41), "compression": "gzip", "shuffle": True}])
def test_every_data_type(tmp_path, dtype, how):
    array = voxels(dtype)
    source = opened(written(tmp_path, data=(array, {}, how)))
    assert source.dtype == np.dtype(dtype)
    read = whole(source)
    assert read.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read[..., 0], array.T)


def test_numbers_of_twelve_bits_are_read_through_the_library(tmp_path):
    path = tmp_path / "a.h5"
    array = voxels("u2") >> 4
    with h5py.File(path, "w") as file:
        kind = h5py.h5t.STD_U16LE.copy()
        kind.set_precision(12)
        kind.set_offset(2)
        dataset = h5py.h5d.create(file.id, b"data", kind, h5py.h5s.create_simple(array.shape))
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, array)
    np.testing.assert_array_equal(whole(opened(path))[..., 0], array.T)


def test_an_enumeration_is_its_numbers(tmp_path):
    array = voxels("u1", (2, 3, 4)) % 3
    kind = h5py.enum_dtype({"nothing": 0, "axon": 1, "dendrite": 2}, basetype="u1")
    source = opened(written(tmp_path, data=(array, {}, {"dtype": kind})))
    assert source.dtype == np.uint8
    np.testing.assert_array_equal(whole(source)[..., 0], array.T)


@pytest.mark.parametrize("how", [{}, {"chunks": (7, 30, 41), "compression": "gzip"}, {"chunks": (2, 8, 16)}])
def test_what_was_never_written_is_the_fill_value(tmp_path, how):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (14, 30, 41), "u2", fillvalue=7, **how)[:7] = 1 if how else 7
    read = whole(opened(path))[..., 0].T
    assert (read[7:] == 7).all()
    assert (read[:7] == (1 if how else 7)).all()


def test_a_contiguous_dataset_without_storage_is_the_fill_value(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", SHAPE, "f4", fillvalue=2.5)
    assert (whole(opened(path)) == 2.5).all()


def test_a_chunk_that_a_filter_was_skipped_for(tmp_path):
    array = voxels("u2")
    path = written(tmp_path, data=(array, {}, {"chunks": SHAPE, "compression": "gzip"}))
    with h5py.File(path, "r+") as file:
        file["data"].id.write_direct_chunk((0, 0, 0), array.tobytes(), filter_mask=1)
    np.testing.assert_array_equal(whole(opened(path))[..., 0], array.T)


# Which dataset


def test_several_datasets_are_listed(tmp_path):
    path = written(tmp_path, volumes__raw=voxels("u1"), volumes__labels__ids=voxels("u8"), annotations__ids=np.arange(5))
    assert error_of(path) == (
        "a.h5: holds 2 datasets, volumes/labels/ids (7 x 30 x 41, uint64), volumes/raw (7 x 30 x 41, uint8): choose one with "
        "--array NAME, e.g. --array volumes/labels/ids"
    )
    assert opened(path, array="volumes/raw").dtype == np.uint8
    assert opened(path, array="/volumes/labels/ids").dtype == np.uint64


def test_a_long_list_is_cut(tmp_path):
    path = written(tmp_path, **{f"d{i:03}": np.zeros((2, 3), "u1") for i in range(45)})
    told = error_of(path)
    assert "holds 45 datasets, d000 (2 x 3, uint8), d001" in told
    assert "d019 (2 x 3, uint8) and 25 more: choose" in told
    assert "d020" not in told


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "nope",
            "there is no such dataset; it holds raw (2 x 3 x 4, uint8)",
        ),
        ("row", "no volume: it is a row of 5; the others are raw (2 x 3 x 4, uint8)"),
        ("one", "no volume: it holds a single number; the others are raw (2 x 3 x 4, uint8)"),
        ("none", "no volume: it has no voxels (3 x 0 x 5); the others are raw (2 x 3 x 4, uint8)"),
        ("six", "no volume: it has 6 axes (1 x 1 x 1 x 1 x 1 x 1), and 2 to 5 are read; the others are raw (2 x 3 x 4, uint8)"),
        (
            "text",
            "no volume: it holds text, references or rows of unequal length; save numbers; the others are raw (2 x 3 x 4, uint8)",
        ),
        ("bytes", "no volume: it holds text; the others are raw (2 x 3 x 4, uint8)"),
        (
            "records",
            "no volume: it holds records, arrays or opaque bytes as its elements; save one field as a dataset of its own; "
            "the others are raw (2 x 3 x 4, uint8)",
        ),
        (
            "arrays",
            "no volume: it holds records, arrays or opaque bytes as its elements; save one field as a dataset of its own; "
            "the others are raw (2 x 3 x 4, uint8)",
        ),
        ("null", "no volume: it holds nothing; the others are raw (2 x 3 x 4, uint8)"),
    ],
)  # fmt: skip
def test_a_name_that_is_no_volume(tmp_path, name, sentence):
    path = written(
        tmp_path,
        raw=np.zeros((2, 3, 4), "u1"),
        row=np.zeros(5),
        one=5,
        none=np.zeros((3, 0, 5)),
        six=np.zeros((1,) * 6),
        bytes=np.array([[b"ab", b"c"]]),
        records=np.zeros((2, 3), [("a", "u1"), ("b", "f4")]),
        null=h5py.Empty("f4"),
    )
    with h5py.File(path, "r+") as file:
        file.create_dataset("text", data=[["a", "b"]], dtype=h5py.string_dtype())
        file.create_dataset("arrays", (3, 4), "(3,)u1")
    told = error_of(path, array=name)
    assert told.removeprefix(f"a.h5: --array {name}").removeprefix(": ").removeprefix(" is ") == sentence


def test_a_group_is_no_dataset(tmp_path):
    path = written(tmp_path, volumes__raw=voxels("u1"), volumes2__raw=voxels("u2"))
    assert error_of(path, array="volumes") == (
        "a.h5: --array volumes is a group; the datasets in it are volumes/raw (7 x 30 x 41, uint8)"
    )


def test_a_file_without_a_volume_says_what_it_holds(tmp_path):
    path = written(tmp_path, table=np.zeros(3, [("a", "u1")]), row=np.arange(5), note="hello")
    assert error_of(path) == (
        "a.h5: holds no dataset of numbers with 2 to 5 axes; its datasets are note (a single value, text), row (5, int64), "
        "table (3, void8)"
    )
    assert error_of(written(tmp_path, "b.h5")) == "b.h5: holds no dataset of numbers with 2 to 5 axes"


def test_a_type_that_numpy_has_not(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        h5py.h5d.create(file.id, b"times", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((3, 4)))
        file["raw"] = voxels("u1")
    assert opened(path).shape == (41, 30, 7)
    assert "--array times is no volume: it holds no numbers; the others are raw" in error_of(path, array="times")


def test_links_to_another_file(tmp_path):
    written(tmp_path, "plain.h5", data=voxels("u1"))
    written(tmp_path, "packed.h5", data=(voxels("u1"), {}, LAYOUTS["gzip"]))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["plain"] = h5py.ExternalLink("plain.h5", "/data")
        file["packed"] = h5py.ExternalLink("packed.h5", "/data")
        file["lost"] = h5py.ExternalLink("lost.h5", "/data")
        file["soft"] = h5py.SoftLink("/packed")
        file["dangling"] = h5py.SoftLink("/nothing")
    for name in ("plain", "packed", "soft"):
        source = opened(tmp_path / "a.h5", array=name)
        np.testing.assert_array_equal(whole(pickle.loads(pickle.dumps(source)))[..., 0], voxels("u1").T)
        assert source.fingerprint()
    for name, sentence in (
        ("lost", "leads to /data in the file lost.h5, which cannot be opened"),
        ("dangling", "leads to /nothing, which is not there"),
    ):
        told = error_of(tmp_path / "a.h5", array=name)
        assert told == f"a.h5: --array {name}: {sentence}; it holds none that can be a volume"


# Axes and voxel sizes


def axistags(axes, **resolution):
    """What vigra.AxisTags.toJSON gives."""
    flags = {"c": 1, "t": 8}
    tags = [{"key": a, "typeFlags": flags.get(a, 2), "resolution": resolution.get(a, 0), "description": ""} for a in axes]
    return json.dumps({"axes": tags}, indent=2)


def test_axes_of_ilastik(tmp_path):
    array = voxels("u1", (1, 3, 4, 5, 2))
    path = written(tmp_path, exported_data=(array, {"axistags": axistags("tzyxc")}, {"chunks": True}))
    source = opened(path)
    assert (source.shape, source.num_channels, source.notes) == ((5, 4, 3), 2, ())
    np.testing.assert_array_equal(whole(source), array[0].transpose(2, 1, 0, 3))
    assert error_of(path) == (
        "a.h5: its metadata tells no voxel size, expected three lengths above 0 with their "
        "units: add --resolution X,Y,Z in nm, e.g. --resolution 8,8,40"
    )


def test_resolution_of_ilastik_needs_its_units(tmp_path):
    tags = axistags("xyz", x=0.5, y=0.25, z=3)
    path = written(tmp_path, data=(voxels("u1"), {"axistags": tags, "axis_units": '{"x": "um", "y": "μm", "z": "mm"}'}, {}))
    source = open_source(path, SourceOptions())
    assert source.geometry == Geometry((500.0, 250.0, 3e6))
    assert source.shape == (7, 30, 41)
    path = written(tmp_path, "b.h5", data=(voxels("u1"), {"axistags": tags}, {}))
    assert "0.5 without a unit, 0.25 without a unit, 3 without a unit, expected" in error_of(path)
    path = written(tmp_path, "c.h5", data=(voxels("u1"), {"axistags": tags, "axis_units": '{"x": "pixel"}'}, {}))
    assert "0.5 pixel, 0.25 without a unit" in error_of(path)


def test_labels_of_ilastik(tmp_path):
    path = written(tmp_path, a=(voxels("u1"), {"display_mode": "random-colortable"}, {}))
    assert opened(path).label
    path = written(tmp_path, "b.h5", a=(voxels("u1"), {"display_mode": np.bytes_(b"grayscale")}, {}))
    assert not opened(path).label


@pytest.mark.parametrize(
    "tags",
    ["", "{}", "[]", "null", '{"axes": 5}', '{"axes": [5]}', "[" * 9999, axistags("?yx"), axistags("zyxc"), axistags("zzz")],
)
def test_axistags_that_tell_nothing(tmp_path, tags):
    source = opened(written(tmp_path, data=(voxels("u1"), {"axistags": tags, "axis_units": tags}, {})))
    assert source.shape == (41, 30, 7)
    assert source.notes == ("axes taken as zyx (z=7, y=30, x=41), as x varies fastest in HDF5; --axes says otherwise",)


def test_labels_of_dimensions(tmp_path):
    path = written(tmp_path, data=(voxels("u1", (2, 3, 4, 5)), {}, {}))
    with h5py.File(path, "r+") as file:
        for dimension, label in zip(file["data"].dims, "cXyZ", strict=True):
            dimension.label = label
    source = opened(path)
    assert (source.shape, source.num_channels, source.notes) == ((3, 4, 5), 2, ())


def test_axes_of_four_dimensions_are_asked_for(tmp_path):
    path = written(tmp_path, data=voxels("u1", (2, 3, 4, 5)))
    assert error_of(path, resolution=NM) == (
        "a.h5: the dataset has 4 axes (2 x 3 x 4 x 5) and its attributes do not tell which is which: add --axes with one letter "
        "an axis, e.g. --axes zyxc or --axes czyx (c channels, t time)"
    )
    assert opened(path, axes="czyx").shape == (5, 4, 3)
    assert opened(path, axes="xyzc", channel=4).shape == (2, 3, 4)
    assert "its axis t has 2 points of time and a volume holds one: add --time N" in error_of(path, axes="tzyx", resolution=NM)
    assert "--axes zyx names 3 axes, the array has 4" in error_of(path, axes="zyx")


def test_element_size_um(tmp_path):
    size = np.array([0.04, 0.004, 0.005], "f4")
    path = written(tmp_path, data=(voxels("u1"), {"element_size_um": size}, {}))
    assert open_source(path, SourceOptions()).geometry == Geometry((5.0, 4.0, 40.0))
    path = written(tmp_path, "b.h5", rgb=(voxels("u1", (4, 5, 6, 3)), {"element_size_um": size}, {}))
    assert open_source(path, SourceOptions(axes="zyxc")).geometry == Geometry((5.0, 4.0, 40.0))
    path = written(tmp_path, "c.h5", data=(voxels("u1"), {"element_size_um": size * 0}, {}))
    assert "x, y, z of 0 um, 0 um, 0 um, expected" in error_of(path)
    assert opened(path).geometry == Geometry(NM)


def test_resolution_and_offset_of_cremi(tmp_path):
    attributes = {"resolution": (40.0, 4.0, 5.0), "offset": (400.0, 80.0, 100.0)}
    path = written(tmp_path, volumes__raw=(voxels("u1"), attributes, {}))
    source = open_source(path, SourceOptions())
    affine = ((5.0, 0.0, 0.0, 102.5), (0.0, 4.0, 0.0, 82.0), (0.0, 0.0, 40.0, 420.0))
    assert source.geometry == Geometry((5.0, 4.0, 40.0), affine=affine)
    assert np.array(source.geometry.transform())[:, 3].tolist() == [100, 80, 400]
    assert source.notes[1:] == (
        "voxel size taken from the attribute resolution: z, y, x in nm, as CREMI has it; --resolution X,Y,Z (nm) says otherwise",
    )
    assert not source.label
    told = opened(path)
    assert told.geometry.resolution == NM
    assert np.array(told.geometry.transform())[:, 3].tolist() == [100, 80, 400]
    assert len(told.notes) == 1
    path = written(tmp_path, "b.h5", affinities=(voxels("f4", (3, 4, 5, 6)), {"resolution": (40, 4, 5)}, {}))
    assert open_source(path, SourceOptions(axes="czyx")).geometry == Geometry((5.0, 4.0, 40.0))


@pytest.mark.parametrize("value", [(4, 4), 7, "40,4,4", (np.nan, 4, 4), np.ones((3, 3)), h5py.Empty("f4")])
def test_a_resolution_that_is_none(tmp_path, value):
    path = written(tmp_path, data=(voxels("u1"), {"resolution": value, "element_size_um": value, "offset": value}, {}))
    assert "tells no voxel size" in error_of(path)
    assert opened(path).geometry == Geometry(NM)


def test_attributes_as_matlab_writes_them(tmp_path):
    attributes = {"element_size_um": np.array([[0.04, 0.009, 0.008]]), "axistags": np.array([[axistags("zyx").encode()]])}
    source = open_source(written(tmp_path, data=(voxels("u1"), attributes, {})), SourceOptions())
    assert (source.geometry, source.notes) == (Geometry(NM), ())


def test_a_huge_attribute_is_not_read(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["data"] = voxels("u1")
        file["data"].attrs["resolution"] = np.ones(1 << 17)
    assert opened(path).geometry == Geometry(NM)


def chimera_map(path, **attributes):
    array = voxels("u1")
    with h5py.File(path, "w") as file:
        group = file.create_group("Chimera/image1")
        group.attrs.update({"chimera_map_version": 1, **attributes})
        group["data_xyz"] = array
        group["data_zyx"] = array
        for step in (2, 4):
            group[f"data_zyx_{step}"] = array[::step, ::step, ::step]
            group[f"data_zyx_{step}"].attrs["subsample_spacing"] = np.array([step] * 3, "i4")
    return path


def test_a_chimera_map_is_read_at_its_finest(tmp_path):
    path = chimera_map(tmp_path / "a.cmap", step=np.array([1.2, 1.3, 1.4], "f4"), origin=np.array([-10, 20, 30.5], "f4"))
    source = open_source(path, SourceOptions())
    assert source.shape == (41, 30, 7)
    affine = ((0.12, 0.0, 0.0, -1.0), (0.0, 0.13, 0.0, 2.0), (0.0, 0.0, 0.14, 3.05))
    np.testing.assert_allclose(source.geometry.affine, affine, rtol=1e-12)
    assert source.geometry.resolution == (0.12, 0.13, 0.14)
    assert source.geometry.world == ""
    assert source.notes == (
        "voxel size taken from the attribute step, in ångström as ChimeraX has it; --resolution X,Y,Z (nm) says otherwise",
    )
    np.testing.assert_array_equal(whole(source)[..., 0], voxels("u1").T)
    coarse = open_source(path, SourceOptions(array="Chimera/image1/data_zyx_2"))
    assert coarse.shape == (21, 15, 4)
    np.testing.assert_allclose(coarse.geometry.resolution, (0.24, 0.26, 0.28), rtol=1e-12)
    np.testing.assert_allclose(np.array(coarse.geometry.affine)[:, 3], (-1, 2, 3.05), rtol=1e-12)


def test_a_chimera_map_is_turned_and_skewed(tmp_path):
    path = chimera_map(tmp_path / "a.cmap", step=(10, 20, 30), origin=(0, 0, 0), rotation_axis=(0, 0, 2), rotation_angle=90)
    affine = open_source(path, SourceOptions()).geometry.affine
    np.testing.assert_allclose(affine, ((0, -2, 0, 0), (1, 0, 0, 0), (0, 0, 3, 0)), atol=1e-12)
    path = chimera_map(tmp_path / "b.cmap", step=(10, 20, 30), origin=(0, 0, 0), cell_angles=(90, 90, 120))
    affine = open_source(path, SourceOptions()).geometry.affine
    np.testing.assert_allclose(affine, ((1, -1, 0, 0), (0, 3**0.5, 0, 0), (0, 0, 3, 0)), atol=1e-12)
    path = chimera_map(tmp_path / "c.cmap", step=(10, 20, 30), origin=(0, 0, 0), cell_angles=(10, 170, 20))
    assert open_source(path, SourceOptions()).geometry.affine is None


def test_a_chimera_map_without_a_step(tmp_path):
    path = chimera_map(tmp_path / "a.cmap")
    assert "tells no voxel size" in error_of(path)
    assert opened(path).geometry == Geometry(NM)


def test_images_of_a_chimera_map_are_listed(tmp_path):
    path = chimera_map(tmp_path / "a.cmap", step=(1, 1, 1))
    with h5py.File(path, "r+") as file:
        file.copy("Chimera/image1", "Chimera/image2")
    assert "holds 2 datasets, Chimera/image1/data_xyz (7 x 30 x 41, uint8), Chimera/image2/data_xyz (7" in error_of(path)


# Files that are put together from others


def virtual(folder, count=3, name="part{}.h5"):
    array = voxels("u2", (count, 5, 6))
    layout = h5py.VirtualLayout((count, 5, 6), "u2")
    for i in range(count):
        written(folder, name.format(i), data=(array[i : i + 1], {}, {"chunks": (1, 5, 3)}))
        layout[i : i + 1] = h5py.VirtualSource(name.format(i), "data", (1, 5, 6))
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_virtual_dataset("data", layout, fillvalue=9)
    return folder / "a.h5", array


def test_a_virtual_dataset(tmp_path):
    path, array = virtual(tmp_path)
    source = pickle.loads(pickle.dumps(opened(path)))
    np.testing.assert_array_equal(whole(source)[..., 0], array.T)
    assert source.block == (3, 5, 1)
    assert set(source.fingerprint()) == {"a.h5", "part0.h5", "part1.h5", "part2.h5"}
    os.utime(tmp_path / "part1.h5", (10, 10**10))
    with pytest.raises(DamagedError, match="the file was changed while it was being read; start again"):
        whole(source)


def test_a_virtual_dataset_whose_source_is_missing_is_refused(tmp_path):
    path, _ = virtual(tmp_path)
    (tmp_path / "part1.h5").unlink()
    assert error_of(path, resolution=NM) == (
        "a.h5: the virtual dataset data takes voxels from the file part1.h5, which is not there: copy it beside this one, "
        "without it they would be fill values"
    )
    written(tmp_path, "part1.h5", other=voxels("u2"))
    assert "takes voxels from the dataset data of part1.h5, which cannot be read (" in error_of(path, resolution=NM)


def test_a_virtual_dataset_of_numbered_files(tmp_path):
    path, array = virtual(tmp_path)
    with h5py.File(path, "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        space = h5py.h5s.create_simple((3, 5, 6), (h5py.h5s.UNLIMITED, 5, 6))
        space.select_hyperslab((0, 0, 0), (h5py.h5s.UNLIMITED, 1, 1), (1, 1, 1), (1, 5, 6))
        plist.set_virtual(space, b"part%b.h5", b"data", h5py.h5s.create_simple((1, 5, 6)))
        full = h5py.h5s.create_simple((3, 5, 6), (h5py.h5s.UNLIMITED, 5, 6))
        h5py.h5d.create(file.id, b"data", h5py.h5t.STD_U16LE, full, plist)
    np.testing.assert_array_equal(whole(opened(path))[..., 0], array.T)
    (tmp_path / "part1.h5").unlink()
    assert "from the file part1.h5, which is not there" in error_of(path, resolution=NM)


def test_a_raw_file_beside_the_file(tmp_path, monkeypatch):
    array = voxels("<u2")
    (tmp_path / "one.raw").write_bytes(b"head" + array.tobytes())
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", SHAPE, "<u2", external=[("one.raw", 4, h5py.h5f.UNLIMITED)])
    source = opened(path)
    np.testing.assert_array_equal(whole(source)[..., 0], array.T)
    assert set(source.fingerprint()) == {"a.h5", "one.raw"}
    monkeypatch.chdir(tmp_path)
    assert set(opened("a.h5").fingerprint()) == {"a.h5", "one.raw"}
    (tmp_path / "one.raw").write_bytes(array.tobytes())
    assert error_of(path, resolution=NM) == (
        f"one.raw: {array.nbytes} bytes found, {array.nbytes + 4} expected from its header: the file is cut short; copy it again"
    )
    (tmp_path / "one.raw").unlink()
    assert error_of(path, resolution=NM) == (
        "a.h5: dataset data lies in the file one.raw, which is not there: copy it beside this one"
    )


def test_several_raw_files_are_refused(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", SHAPE, "<u2", external=[("one.raw", 4, 1000), ("two.raw", 0, h5py.h5f.UNLIMITED)])
    assert error_of(path, resolution=NM) == (
        "a.h5: dataset data lies in 2 raw files, and one can be read: make it one with `h5repack -l CONTI`"
    )


# Files that are not sound


def test_another_kind_of_file(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"not at all" * 99)
    assert error_of(path) == (
        "a.h5: not an HDF5 file: its signature is not found; is it cut short at its beginning, or another kind?"
    )
    path.write_bytes(b"\x0e\x03\x13\x01" * 99)
    assert error_of(path) == "a.h5: an HDF4 file, and HDF5 ones are read: turn it into one with `h4toh5`"


def test_a_file_that_is_cut_short(tmp_path):
    path = written(tmp_path, data=voxels("u1"))
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    assert error_of(path).startswith("a.h5: the HDF5 file is cut short (")
    assert error_of(path).endswith("); copy it again")
    for length in (9, 60, 99, 500):
        path.write_bytes(data[:length])
        assert "cut short" in error_of(path) or "damaged" in error_of(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_never_end_in_another_error(tmp_path, data):
    path = written(tmp_path, data=(voxels("u1", (2, 3, 4)), {"resolution": (4, 4, 4), "axistags": axistags("zyx")}, {}))
    stored = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        stored[data.draw(st.integers(0, len(stored) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(stored)
    with contextlib.suppress(SourceError, OptionError):
        source = opened(path)
        if np.prod(source.shape) < 10**6:
            whole(source)


def test_a_file_that_is_still_being_written(tmp_path):
    code = (
        "import h5py, os, sys, numpy\n"
        "file = h5py.File(sys.argv[1], 'w', libver='latest')\n"
        "file['data'] = numpy.arange(24).reshape(2, 3, 4)\n"
        "if sys.argv[2] == 'swmr': file.swmr_mode = True\n"
        "file.flush()\n"
        "os._exit(0)\n"
    )
    for mode in ("swmr", "plain"):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / f"{mode}.h5"), mode], check=True)
    np.testing.assert_array_equal(whole(opened(tmp_path / "swmr.h5"))[..., 0], np.arange(24).reshape(2, 3, 4).T)
    assert error_of(tmp_path / "plain.h5") == (
        "plain.h5: a program is still writing the HDF5 file, or ended without closing it; in that case `h5clear -s` makes it "
        "readable"
    )


def test_a_locked_file_is_read(tmp_path):
    path = written(tmp_path, data=(voxels("u1"), {}, LAYOUTS["gzip"]))
    code = "import h5py, sys; file = h5py.File(sys.argv[1], 'r+', locking=True); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        with pytest.raises(OSError, match="unable to lock file"):
            h5py.File(path, "r", locking=True)
        np.testing.assert_array_equal(whole(opened(path))[..., 0], voxels("u1").T)
        holder.communicate()


@pytest.mark.parametrize("how", ["gzip", "large gzip chunks", "shuffle and gzip", "zstd", "gzip and fletcher32"])
def test_a_corrupt_chunk_is_named(tmp_path, how):
    path = written(tmp_path, data=(voxels("u2"), {}, LAYOUTS[how]))
    with h5py.File(path, "r") as file:
        chunk = file["data"].id.get_chunk_info(file["data"].id.get_num_chunks() - 1)
    stored = bytearray(path.read_bytes())
    stored[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(stored)
    source = opened(path)
    with pytest.raises(DamagedError) as refused:
        whole(source)
    position = ", ".join(str(n) for n in chunk.chunk_offset)
    assert str(refused.value).startswith(f"{path}: dataset data: its chunk at {position} cannot be read (")
    assert str(refused.value).endswith("); copy the file again")
    if any(chunk.chunk_offset):
        assert source.read(Box((0, 0, 0), (1, 1, 1)))[0, 0, 0, 0] == voxels("u2")[0, 0, 0]


@pytest.mark.parametrize(("count", "told"), [(99, "99 bytes"), (99999, "more than 17220 bytes")])
def test_a_gzip_chunk_of_another_size_is_damaged(tmp_path, count, told):
    path = written(tmp_path, data=(voxels("u2"), {}, LAYOUTS["large gzip chunks"]))
    with h5py.File(path, "r+") as file:
        file["data"].id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(count)))
    with pytest.raises(DamagedError, match=rf"chunk at 0, 0, 0 cannot be read \({told} unpacked, 17220 expected\)"):
        whole(opened(path))


def test_a_file_that_changes_or_goes(tmp_path):
    path = written(tmp_path, data=(voxels("u2"), {}, LAYOUTS["gzip"]))
    source = opened(path)
    path.unlink()
    with pytest.raises(DamagedError, match=r"a\.h5: dataset data cannot be read any more \("):
        whole(source)
    written(tmp_path, data=(voxels("u2") + 1, {}, LAYOUTS["gzip"]))
    with pytest.raises(DamagedError, match=r"a\.h5: the file was changed while it was being read; start again"):
        whole(source)


def test_a_filter_that_is_not_installed(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk(SHAPE)
        plist.set_filter(32767, h5py.h5z.FLAG_OPTIONAL)
        h5py.h5d.create(file.id, b"data", h5py.h5t.STD_U8LE, h5py.h5s.create_simple(SHAPE), plist)
    told = error_of(path, resolution=NM)
    assert told.startswith("a.h5: dataset data is packed with the filter ")
    assert told.endswith("(number 32767), which is not installed here: pack it anew with `h5repack -f GZIP=4` where it is")


def _sum(source):
    return int(whole(source).sum())


def test_worker_processes_read_it(tmp_path):
    source = opened(written(tmp_path, data=(voxels("u2"), {}, LAYOUTS["bitshuffle"])))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_sum, (source,)) == int(voxels("u2").sum())


def test_a_corrupt_source_of_a_virtual_dataset_is_no_fill_value(tmp_path):
    path, _ = virtual(tmp_path)
    written(tmp_path, "part1.h5", data=(voxels("u2", (1, 5, 6)), {}, {"chunks": (1, 5, 6), "compression": "gzip"}))
    with h5py.File(tmp_path / "part1.h5", "r") as file:
        chunk = file["data"].id.get_chunk_info(0)
    stored = bytearray((tmp_path / "part1.h5").read_bytes())
    stored[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    (tmp_path / "part1.h5").write_bytes(stored)
    with pytest.raises(DamagedError, match=r"a\.h5: dataset data: its chunk at 1, 0, 0 cannot be read \("):
        whole(opened(path))


def test_a_virtual_dataset_with_a_source_that_is_cut_short_is_refused(tmp_path):
    path, _ = virtual(tmp_path)
    stored = (tmp_path / "part1.h5").read_bytes()
    (tmp_path / "part1.h5").write_bytes(stored[:-1])
    assert "takes voxels from the dataset data of part1.h5, which cannot be read (" in error_of(path, resolution=NM)
