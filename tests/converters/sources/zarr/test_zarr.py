import json
import os
import pickle
import shutil
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest
import tensorstore
import zarr
import zarr.codecs as codecs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.errors import DamagedError, OptionError, SourceError
from converters.sources.opening import open_source
from converters.sources.source import SourceOptions
from converters.sources.zarr import chunk_store
from formats.grid import Box
from tests.converters.sources.reading import boxes, whole

pytestmark = [
    # What the writing library says of its own data types and of the codecs that it finds installed.
    pytest.mark.filterwarnings("ignore:.*(does not have a Zarr V3 specification|not part in the Zarr format 3 specification)"),
    pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3 specification"),
]

NM = SourceOptions(resolution=(8.0, 9.0, 40.0))
SHAPE = (5, 6, 7)
ZYX = np.arange(5 * 6 * 7, dtype=np.uint16).reshape(SHAPE) * 251
DTYPES = ["bool", *(f"{kind}{size}" for kind in "ui" for size in (1, 2, 4, 8)), "f2", "f4", "f8"]


def write(path, array=ZYX, chunks=(2, 3, 4), **options):
    stored = zarr.create_array(path, shape=array.shape, chunks=chunks, dtype=array.dtype, **options)
    stored[...] = array
    return path


def xyz(array):
    return array.T[..., np.newaxis]


def edit(file, **members):
    file.write_text(json.dumps(json.loads(file.read_text()) | members))


def refusal(path, options=NM, kind=SourceError):
    with pytest.raises(kind) as refused:
        open_source(path, options)
    return str(refused.value)


SHARD = {"shards": (4, 6, 8)}
KINDS = {
    "v2": {"zarr_format": 2},
    "v2, nested": {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "v2, Fortran order": {"zarr_format": 2, "order": "F"},
    "v2, no compression": {"zarr_format": 2, "compressors": None},
    "v2, zlib": {"zarr_format": 2, "compressors": {"id": "zlib", "level": 1}},
    "v2, bz2": {"zarr_format": 2, "compressors": {"id": "bz2", "level": 1}},
    "v2, blosc": {"zarr_format": 2, "compressors": {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}},
    "v3": {},
    "v3, no compression": {"compressors": None},
    "v3, gzip": {"compressors": codecs.GzipCodec()},
    "v3, blosc": {"compressors": codecs.BloscCodec(cname="zstd", shuffle="bitshuffle")},
    "v3, zstd and crc32c": {"compressors": (codecs.ZstdCodec(), codecs.Crc32cCodec())},
    "v3, dots": {"chunk_key_encoding": {"name": "default", "separator": "."}},
    "v3, keys of v2": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
    "v3, big endian": {"serializer": codecs.BytesCodec(endian="big")},
    "v3, transposed": {"filters": codecs.TransposeCodec(order=(1, 0, 2))},
    "v3, shards": SHARD,
    "v3, shards of blosc": SHARD | {"compressors": codecs.BloscCodec()},
}


@pytest.fixture(scope="module", params=KINDS)
def store(request, tmp_path_factory):
    return write(tmp_path_factory.mktemp("zarr") / "a.zarr", **KINDS[request.param]), request.param


AXES = {"v2, Fortran order": "xyz", "v3, transposed": "yzx"}


def test_every_kind_of_store(store):
    path, kind = store
    source = open_source(path, NM)
    axes = AXES.get(kind, "zyx")
    expected = ZYX.transpose([axes.index(axis) for axis in "xyz"])[..., np.newaxis]
    assert source.name == str(path)
    assert (*source.shape, source.num_channels) == expected.shape
    assert source.dtype == np.uint16
    assert not source.label
    assert source.geometry.resolution == NM.resolution
    assert source.geometry.affine is None
    extents = ", ".join(f"{axis}={n}" for axis, n in zip(axes, SHAPE, strict=True))
    assert source.notes == (f"axes taken as {axes} ({extents}), as x varies fastest on disk; --axes says otherwise",)
    assert source.block == tuple((2, 3, 4)[axes.index(axis)] for axis in "xyz")
    voxels = whole(source)
    assert voxels.dtype == source.dtype
    np.testing.assert_array_equal(voxels, expected)
    assert voxels.strides[0] == voxels.itemsize
    np.testing.assert_array_equal(whole(open_source(path, replace(NM, axes="zyx"))), xyz(ZYX))


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), piece=st.sampled_from([1, 100, 1000, 1 << 23]))
def test_any_box_in_pieces_of_any_size(store, data, piece):
    source = open_source(store[0], replace(NM, axes="zyx"))
    box = data.draw(boxes(source.shape))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunk_store, "_PIECE_BYTES", piece)
        np.testing.assert_array_equal(source.read(box), xyz(ZYX)[box.slices()])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_every_type_of_numbers(tmp_path, dtype, order, zarr_format):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 256, (3, 4, 5, np.dtype(dtype).itemsize), np.uint8).view(dtype)[..., 0]
    if dtype == "bool":
        array = rng.random((3, 4, 5)) < 0.5
    if np.dtype(dtype).kind == "f":
        array = rng.normal(0, 1000, (3, 4, 5)).astype(dtype)
        array.flat[:3] = (np.nan, np.inf, -0.0)
    options = {"serializer": codecs.BytesCodec(endian={"<": "little", ">": "big"}[order])} if zarr_format == 3 else {}
    if np.dtype(dtype).itemsize == 1:
        options = {}
    swapped = array.astype(np.dtype(dtype).newbyteorder(order)) if zarr_format == 2 else array
    source = open_source(write(tmp_path / "a.zarr", swapped, zarr_format=zarr_format, **options), NM)
    assert source.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(whole(source), xyz(array))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_numbers_are_left_to_the_planner(tmp_path, zarr_format, dtype):
    source = open_source(write(tmp_path / "a.zarr", ZYX.astype(dtype), zarr_format=zarr_format), NM)
    assert source.dtype == dtype


@pytest.mark.parametrize(
    ("array", "zarr_format", "reason"),
    [
        (np.full(SHAPE, "a", "U2"), 2, r'dtype: Unsupported zarr dtype: "<U2"'),
        (np.full(SHAPE, 0, "M8[s]"), 2, r'dtype: Unsupported zarr dtype: "<M8\[s\]"'),
        (np.full(SHAPE, "a", "U2"), 3, "data_type: "),
    ],
)
def test_what_are_no_numbers(tmp_path, array, zarr_format, reason):
    write(tmp_path / "a.zarr", array, zarr_format=zarr_format)
    file = tmp_path / "a.zarr" / (".zarray" if zarr_format == 2 else "zarr.json")
    with pytest.raises(SourceError, match=rf"^{file}: an array that cannot be read: {reason}.*; save it again$"):
        open_source(tmp_path / "a.zarr", NM)


def test_records(tmp_path):
    write(tmp_path / "a.zarr", np.zeros(SHAPE, [("a", "u1"), ("b", "u2")]), zarr_format=2)
    assert "an array that cannot be read: " in refusal(tmp_path / "a.zarr")


def test_a_type_that_numpy_has_not(tmp_path):
    edit(write(tmp_path / "a.zarr") / "zarr.json", data_type="bfloat16", fill_value=0.0)
    assert refusal(tmp_path / "a.zarr") == (
        f"{tmp_path}/a.zarr: its data type bfloat16 is not read; save the array as integers or float32"
    )


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (
            {"compressor": {"id": "lz4"}},
            'compressor: id: "lz4" is not registered; save the array again with blosc, zstd, gzip or no compression',
        ),
        ({"filters": [{"id": "delta", "dtype": "<u2"}]}, "filters: filters are not supported; save it again"),
    ],
)
def test_a_codec_that_is_not_read(tmp_path, member, reason):
    edit(write(tmp_path / "a.zarr", zarr_format=2) / ".zarray", **member)
    assert refusal(tmp_path / "a.zarr") == f"{tmp_path}/a.zarr/.zarray: an array that cannot be read: {reason}"


def test_a_codec_of_v3_that_is_not_read(tmp_path):
    edit(write(tmp_path / "a.zarr") / "zarr.json", codecs=[{"name": "bytes"}, {"name": "numcodecs.zlib"}])
    assert refusal(tmp_path / "a.zarr") == (
        f'{tmp_path}/a.zarr/zarr.json: an array that cannot be read: codecs: 1: name: "numcodecs.zlib" is not registered; '
        "save the array again with blosc, zstd, gzip or no compression"
    )


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_chunks_that_are_not_there_hold_the_fill_value(tmp_path, zarr_format):
    path = tmp_path / "a.zarr"
    stored = zarr.create_array(path, shape=SHAPE, chunks=(2, 3, 4), dtype="u2", fill_value=7, zarr_format=zarr_format)
    stored[:2] = ZYX[:2]
    expected = np.full_like(ZYX, 7)
    expected[:2] = ZYX[:2]
    source = open_source(path, NM)
    np.testing.assert_array_equal(whole(source), xyz(expected))
    assert len(source.notes) == 1


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_no_chunk_at_all(tmp_path, zarr_format):
    path = tmp_path / "a.zarr"
    zarr.create_array(path, shape=SHAPE, chunks=(2, 3, 4), dtype="f4", fill_value=np.nan, zarr_format=zarr_format)
    source = open_source(path, NM)
    assert source.notes[0] == f"{path} holds no chunk: every voxel is the fill value"
    assert np.isnan(whole(source)).all()


@pytest.mark.parametrize(
    ("dtype", "told", "value"), [("|b1", 1, True), ("|b1", 0, False), ("<f4", float("nan"), np.nan), ("<i2", None, 0)]
)
def test_fill_values_that_writers_spell_their_own_way(tmp_path, dtype, told, value):
    path = tmp_path / "a.zarr"
    zarr.create_array(path, shape=SHAPE, chunks=SHAPE, dtype=dtype, zarr_format=2)
    edit(path / ".zarray", fill_value=told)
    np.testing.assert_array_equal(whole(open_source(path, NM)), np.full((7, 6, 5, 1), value, dtype))


def test_nested_chunks_without_a_separator_in_the_metadata(tmp_path):
    path = write(tmp_path / "a.zarr", **KINDS["v2, nested"])
    metadata = json.loads((path / ".zarray").read_text())
    assert metadata.pop("dimension_separator") == "/"
    (path / ".zarray").write_text(json.dumps(metadata))
    np.testing.assert_array_equal(whole(open_source(path, NM)), xyz(ZYX))


def test_links_to_chunks_that_were_not_fetched(tmp_path):
    path = write(tmp_path / "a.zarr")
    shutil.rmtree(path / "c")
    (path / "c" / "0" / "0").mkdir(parents=True)
    (path / "c" / "0" / "0" / "0").symlink_to("../../../.git/annex/objects/a")
    assert refusal(path) == (
        f"{path}/c/0/0/0: a link to a file that is not there: fetch the data (datalad get, git annex get) first"
    )


DAMAGE = {
    "cut short": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "something else": lambda data: b"<html>" + bytes(200),
    "one byte wrong": lambda data: data[:-9] + bytes([data[-9] ^ 255]) + data[-8:],
}


DAMAGED_FILES = {
    "v2, zlib": "0.1.1",
    "v3, gzip": "c/0/1/1",
    "v3, zstd and crc32c": "c/0/1/1",
    "v3, no compression": "c/0/1/1",
    "v3, shards": "c/0/0/0",
}
# Nothing in a store without compression tells that a byte is wrong.
DAMAGED = [
    (kind, damage) for kind in DAMAGED_FILES for damage in DAMAGE if (kind, damage) != ("v3, no compression", "one byte wrong")
]


@pytest.mark.parametrize(("kind", "damage"), DAMAGED)
def test_a_damaged_chunk_is_named_and_the_others_are_read(tmp_path, kind, damage):
    path = write(tmp_path / "a.zarr", **KINDS[kind])
    source = open_source(path, NM)
    chunk = path / DAMAGED_FILES[kind]
    chunk.write_bytes(DAMAGE[damage](chunk.read_bytes()))
    with pytest.raises(DamagedError) as refused:
        source.read(Box((4, 3, 0), (7, 6, 2)))
    assert str(refused.value).startswith(f"{path}: array[0:2, 3:6, 4:7] cannot be read: ")
    assert str(chunk) in str(refused.value)
    assert "tensorstore_spec" not in str(refused.value)
    if kind != "v3, shards":
        np.testing.assert_array_equal(source.read(Box((0, 0, 0), (4, 3, 5))), xyz(ZYX)[:4, :3])


def test_metadata_that_is_gone_or_new_while_the_array_is_read(tmp_path):
    path = write(tmp_path / "a.zarr")
    source = open_source(path, NM)
    os.utime(path / "zarr.json", ns=(1, 1))
    with pytest.raises(
        DamagedError, match=r"a\.zarr/zarr\.json: the file was changed while the array was being read; start again"
    ):
        whole(source)
    shutil.rmtree(path)
    with pytest.raises(DamagedError, match=r"a\.zarr/zarr\.json: cannot be read any more \(No such file or directory\)"):
        whole(source)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", r"not sound JSON \(.*\); copy it again"),
        ("[" * 100_000, r"not sound JSON \(.*\); copy it again"),
        ("[1]", "holds a JSON list, an object expected; copy it again"),
        ("{}", "tells zarr_format null and node_type null, expected 3 and array or group; copy it again"),
        (
            '{"zarr_format": 4, "node_type": "array"}',
            'tells zarr_format 4 and node_type "array", expected 3 and array or group; copy',
        ),
        ('{"zarr_format": 3, "node_type": "array"}', "an array that cannot be read: .*; save it again"),
    ],
)
def test_metadata_that_is_not_sound(tmp_path, text, sentence):
    path = tmp_path / "a.zarr"
    path.mkdir()
    (path / "zarr.json").write_text(text)
    with pytest.raises(SourceError, match=rf"^{path}/zarr\.json: {sentence}"):
        open_source(path, NM)


@pytest.mark.parametrize("file", ["zarr.json", ".zarray", ".zattrs"])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_in_any_member(tmp_path, file, data):
    path = tmp_path / "a.zarr"
    if not path.exists():
        write(path, zarr_format=3 if file == "zarr.json" else 2)
    sound = json.loads((path / file).read_text())
    values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(float("nan"))
    nested = st.recursive(
        values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    )
    keys = [*sound, "_ARRAY_DIMENSIONS", "multiscales", "plate", "ome", "labels", "transform", "resolution", "units", "offset"]
    edit(path / file, **{data.draw(st.sampled_from(keys)): data.draw(nested)})
    with suppress(SourceError, OptionError):
        whole(open_source(path, NM))
    (path / file).write_text(json.dumps(sound))


@pytest.mark.parametrize("shape", [(7,), (1, 2, 3, 4, 5, 6), (0, 3, 4)])
def test_what_is_no_volume(tmp_path, shape):
    write(tmp_path / "a.zarr", np.zeros(shape, "u1"), chunks=(2,) * len(shape))
    told = " x ".join(str(n) for n in shape)
    assert refusal(tmp_path / "a.zarr") == (
        f"{tmp_path}/a.zarr: its metadata tells a shape of {told}; 2 to 5 axes of at least 1 are read"
    )


def test_the_voxel_size_must_be_told(tmp_path):
    path = write(tmp_path / "a.zarr")
    assert refusal(path, SourceOptions(), OptionError) == (
        f"{path}: its metadata tells no voxel size, expected three lengths above 0 with "
        "their units: add --resolution X,Y,Z in nm, e.g. --resolution 8,8,40"
    )


@pytest.mark.parametrize(
    ("zarr_format", "member"),
    [(2, {"attributes": {"_ARRAY_DIMENSIONS": ["Z", "y", "channel", "X"]}}), (3, {"dimension_names": ["z", "Y", "c", "x"]})],
)
def test_named_axes(tmp_path, zarr_format, member):
    array = np.arange(120, dtype="u1").reshape(4, 5, 2, 3)
    path = write(tmp_path / "a.zarr", array, (2, 2, 2, 2), zarr_format=zarr_format, **member)
    source = open_source(path, NM)
    assert (source.shape, source.num_channels, source.block, source.notes) == ((3, 5, 4), 2, (2, 2, 2), ())
    voxels = whole(source)
    np.testing.assert_array_equal(voxels, array.transpose(3, 1, 0, 2))
    assert voxels.flags.f_contiguous
    np.testing.assert_array_equal(whole(open_source(path, replace(NM, channel=1))), array.transpose(3, 1, 0, 2)[..., 1:])


def test_axes_that_nothing_tells(tmp_path):
    path = write(tmp_path / "a.zarr", np.zeros((2, 3, 4, 5), "u1"), (2, 2, 2, 2))
    assert refusal(path, kind=OptionError) == (
        f"{path}: the array has 4 axes (2 x 3 x 4 x 5) and nothing tells what they are: add --axes with one letter an axis "
        "out of x, y, z, c (channels), t (time), e.g. --axes czyx"
    )
    assert open_source(path, replace(NM, axes="czyx")).shape == (5, 4, 3)


def test_axes_with_names_that_mean_nothing_here(tmp_path):
    path = write(tmp_path / "a.zarr", dimension_names=["lat", "lon", "x"])
    assert refusal(path, kind=OptionError) == (
        f"{path}: the array has 3 axes (5 x 6 x 7) and its axes are named lat, lon, x: add --axes with one letter an axis out of "
        "x, y, z, c (channels), t (time), e.g. --axes czyx"
    )


@pytest.mark.parametrize("names", [["dim_0", "dim_1", "dim_2"], ["z", None, "x"]])
def test_axes_without_names(tmp_path, names):
    source = open_source(write(tmp_path / "a.zarr", dimension_names=names), NM)
    assert source.notes == ("axes taken as zyx (z=5, y=6, x=7), as x varies fastest on disk; --axes says otherwise",)


def test_a_point_of_time(tmp_path):
    array = np.arange(120, dtype="u1").reshape(2, 5, 4, 3)
    path = write(tmp_path / "a.zarr", array, (1, 2, 2, 2), dimension_names=["t", "z", "y", "x"])
    assert "its axis t has 2 points of time" in refusal(path, kind=OptionError)
    np.testing.assert_array_equal(whole(open_source(path, replace(NM, time=1))), xyz(array[1]))


def test_a_plane(tmp_path):
    path = write(tmp_path / "a.zarr", ZYX[0], (3, 4), attributes={"resolution": [4, 5], "units": "nm"})
    source = open_source(path, SourceOptions())
    assert source.shape == (7, 6, 1)
    assert source.geometry.resolution == (5, 4, 5)
    assert source.notes == (
        "axes taken as yx (y=6, x=7), as x varies fastest on disk; --axes says otherwise",
        "the array has no axis z: its one slice is taken to be as thick as a voxel along x",
    )


RESOLUTION = {"resolution": [40, 9, 8], "units": ["nm", "nm", "nm"]}


@pytest.mark.parametrize(
    ("attributes", "affine"),
    [
        (RESOLUTION, None),
        ({"voxel_size": [0.04, 0.009, 0.008], "unit": "um"}, None),
        ({"dimension_units": ["40 nm", "0.009 um", "8nm"]}, None),
        (RESOLUTION | {"offset": [0, 0, 0]}, None),
        (RESOLUTION | {"offset": [400, 0, -16]}, ((8, 0, 0, -12), (0, 9, 0, 4.5), (0, 0, 40, 420))),
        (
            {"transform": {"axes": ["z", "y", "x"], "scale": [40, 9, 8], "translate": [1, 2, 3], "units": ["nm"] * 3}},
            ((8, 0, 0, 3), (0, 9, 0, 2), (0, 0, 40, 1)),
        ),
    ],
)
def test_voxel_size_and_place_as_attributes(tmp_path, attributes, affine):
    source = open_source(write(tmp_path / "a.zarr", attributes=attributes), SourceOptions(voxel_offset=(1, 2, 3)))
    assert source.geometry.resolution == (8, 9, 40)
    assert source.geometry.affine == affine
    assert source.geometry.voxel_offset == (1, 2, 3)
    assert source.geometry.world == ""


def test_units_as_tensorstore_writes_them(tmp_path):
    spec = {"driver": "zarr3", "kvstore": f"file://{tmp_path}/a.zarr/"}
    units = ["40 nm", None, "nm"]
    tensorstore.open(spec, create=True, dtype="uint8", shape=SHAPE, dimension_units=units).result().write(1).result()
    told = refusal(tmp_path / "a.zarr", SourceOptions(), OptionError)
    assert "a voxel size x, y, z of 1 nm, nothing, 40 nm, expected" in told


def test_a_resolution_without_units(tmp_path):
    path = write(tmp_path / "a.zarr", attributes={"resolution": [40, 9, 8], "offset": [1, 0, 0]})
    assert "a voxel size x, y, z of 8 without a unit, 9 without a unit, 40 without a unit" in refusal(
        path, SourceOptions(), OptionError
    )
    source = open_source(path, NM)
    assert source.geometry.affine is None
    assert source.notes[-1] == "the place of the volume is told without a unit of length and left out"


@pytest.fixture(params=[2, 3])
def group(request, tmp_path):
    root = zarr.create_group(tmp_path / "g.zarr", zarr_format=request.param)
    for name in ("b", "a/s2", "a/s10"):
        root.create_array(name, shape=SHAPE, chunks=(2, 3, 4), dtype="u2")[...] = ZYX + len(name)
    return tmp_path / "g.zarr"


def test_a_group_lists_its_arrays(group):
    told = "<u2" if (group / ".zgroup").exists() else "uint16"
    several = f"a/s2 ({told}, 5 x 6 x 7), a/s10 ({told}, 5 x 6 x 7), b ({told}, 5 x 6 x 7)"
    assert refusal(group, kind=OptionError) == f"{group}: holds 3 arrays, {several}: add --array NAME, e.g. --array a/s2"
    assert refusal(group, replace(NM, array="c"), OptionError) == f"{group}: --array c is not in it; it holds {several}"
    assert refusal(group, replace(NM, array="a"), OptionError).endswith("add --array NAME, e.g. --array a/s2")
    assert refusal(group / "a", kind=OptionError).endswith("add --array NAME, e.g. --array s2")


@pytest.mark.parametrize("name", ["a/s10", "a/s10/"])
def test_a_path_in_a_store_opens_what_array_names(group, name):
    named, direct = open_source(group, replace(NM, array=name)), open_source(group / name, NM)
    np.testing.assert_array_equal(whole(named), xyz(ZYX + 5))
    np.testing.assert_array_equal(whole(direct), whole(named))
    assert (named.name, direct.name) == (str(group), str(group / name))


@pytest.mark.parametrize("name", ["..", "a/../b", "/a", "a//b", "./a"])
def test_an_array_elsewhere(group, name):
    assert refusal(group, replace(NM, array=name), OptionError) == (
        f"{group}: --array {name} is no name of an array in it: give a path below it such as a/b"
    )


def test_a_group_of_one_array_and_of_none(group):
    shutil.rmtree(group / "a")
    np.testing.assert_array_equal(whole(open_source(group, NM)), xyz(ZYX + 1))
    shutil.rmtree(group / "b")
    assert refusal(group) == f"{group}: holds no arrays; give the path of the store itself, or copy it again"
    assert refusal(group, replace(NM, array="b"), OptionError) == f"{group}: --array b is not in it; it holds no array"


def read_elsewhere(source):
    return whole(source)


def test_sources_are_values_that_workers_read(store):
    source = open_source(store[0], NM)
    assert open_source(store[0], NM) == source
    assert hash(open_source(store[0], NM)) == hash(source)
    assert pickle.loads(pickle.dumps(source)) == source
    assert source.spooled(store[0], lambda done, total: None) is source


def test_workers_are_spawned(tmp_path):
    source = open_source(write(tmp_path / "a.zarr", **SHARD), NM)
    with get_context("spawn").Pool(1) as workers:
        np.testing.assert_array_equal(workers.apply(read_elsewhere, (source,)), xyz(ZYX))


@pytest.mark.parametrize("kind", ["v2", "v2, nested", "v3", "v3, shards"])
def test_a_fingerprint_changes_when_chunks_are_written_anew(tmp_path, kind):
    path = write(tmp_path / "a.zarr", **KINDS[kind])
    source = open_source(path, NM)
    before = source.fingerprint()
    assert json.loads(json.dumps(before)) == before
    assert open_source(path, NM).fingerprint() == before
    whole(source)
    assert source.fingerprint() == before
    for file in path.rglob("*"):
        os.utime(file, ns=(10**18, 10**18))
    before = source.fingerprint()
    driver = "zarr" if kind.startswith("v2") else "zarr3"
    stored = tensorstore.open({"driver": driver, "kvstore": f"file://{path}/"}, open=True).result()
    stored[0, 0, 0].write(5).result()
    assert source.fingerprint() != before


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_groups_without_metadata(tmp_path, zarr_format):
    root = tmp_path / "a.zarr"
    write(root / "volumes" / "raw", zarr_format=zarr_format)
    for folder in (root, root / "volumes"):
        for name in ("zarr.json", ".zgroup", ".zattrs"):
            (folder / name).unlink(missing_ok=True)
    for path in (root, root / "volumes", root / "volumes" / "raw"):
        np.testing.assert_array_equal(whole(open_source(path, NM)), xyz(ZYX))
