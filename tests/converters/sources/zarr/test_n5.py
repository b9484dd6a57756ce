"""Arrays written by tensorstore; attributes as n5-viewer, Neuroglancer, COSEM and Paintera write them."""

import json
import pickle
import shutil
import struct

import numpy as np
import pytest
import tensorstore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.errors import DamagedError, OptionError, SourceError
from converters.sources.opening import open_source
from converters.sources.source import SourceOptions
from converters.sources.zarr import chunk_store
from formats.grid import Box
from tests.converters.sources.reading import whole

NM = SourceOptions(resolution=(8.0, 9.0, 40.0))
SHAPE = (7, 6, 5)
XYZ = np.arange(7 * 6 * 5, dtype=np.uint16).reshape(SHAPE) * 251


BLOSC = {"cname": "lz4", "clevel": 5, "shuffle": 1}


def write(path, array=XYZ, block=(4, 3, 2), compression="gzip", **attributes):
    """Write an array whose first axis is the first of its dimensions."""
    compression = {"type": compression} | BLOSC if compression == "blosc" else {"type": compression}
    metadata = {"dimensions": array.shape, "blockSize": block, "dataType": array.dtype.name, "compression": compression}
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{path}/"}, "metadata": metadata}
    tensorstore.open(spec, create=True).result().write(array).result()
    tell(path, **attributes)
    return path


def tell(folder, **attributes):
    """Add attributes to a group's or an array's."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "attributes.json"
    old = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(old | attributes))


def refusal(path, options=NM, kind=OptionError):
    with pytest.raises(kind) as refused:
        open_source(path, options)
    return str(refused.value)


@pytest.fixture(scope="module", params=["raw", "gzip", "bzip2", "xz", "zstd", "blosc"])
def store(request, tmp_path_factory):
    return write(tmp_path_factory.mktemp("n5") / "a.n5", compression=request.param)


def test_every_compression(store):
    source = open_source(store, NM)
    assert (source.name, source.shape, source.num_channels, source.block) == (str(store), SHAPE, 1, (4, 3, 2))
    assert (source.dtype, source.label) == (np.uint16, False)
    assert source.geometry.resolution == NM.resolution
    assert source.notes == ("axes taken as xyz (x=7, y=6, z=5), as x varies fastest on disk; --axes says otherwise",)
    voxels = whole(source)
    assert voxels.flags.f_contiguous
    np.testing.assert_array_equal(voxels, XYZ[..., np.newaxis])
    assert open_source(store, NM) == source
    assert pickle.loads(pickle.dumps(source)) == source


@st.composite
def boxes(draw):
    edges = [sorted(draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in SHAPE]
    return Box(tuple(a for a, _ in edges), tuple(b for _, b in edges))


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(box=boxes(), piece=st.sampled_from([1, 100, 1 << 23]))
def test_any_box(store, box, piece):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunk_store, "_PIECE_BYTES", piece)
        np.testing.assert_array_equal(open_source(store, NM).read(box)[..., 0], XYZ[box.slices()])


@pytest.mark.parametrize(
    "dtype", [*(f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64)), "float32", "float64"]
)
def test_every_type_of_numbers(tmp_path, dtype):
    bits = np.random.default_rng(0).integers(0, 256, (*SHAPE, np.dtype(dtype).itemsize), np.uint8)
    array = bits.view(dtype)[..., 0] if "int" in dtype else bits[..., 0].astype(dtype) / 7
    source = open_source(write(tmp_path / "a.n5", array), NM)
    assert source.dtype == dtype
    np.testing.assert_array_equal(whole(source)[..., 0], array)


def test_blocks_that_are_not_there_hold_zeros(tmp_path):
    path = write(tmp_path / "a.n5")
    (path / "0" / "0" / "0").unlink()
    expected = XYZ.copy()
    expected[:4, :3, :2] = 0
    np.testing.assert_array_equal(whole(open_source(path, NM))[..., 0], expected)
    shutil.rmtree(path / "0")
    shutil.rmtree(path / "1")
    assert open_source(path, NM).notes[0] == f"{path} holds no chunk: every voxel is the fill value"


def test_a_block_cut_short_is_named(tmp_path):
    path = write(tmp_path / "a.n5")
    block = path / "1" / "1" / "0"
    source = open_source(path, NM)
    block.write_bytes(block.read_bytes()[:-5])
    with pytest.raises(DamagedError) as refused:
        whole(source)
    assert str(refused.value).startswith(f"{path}: array[0:7, 0:6, 0:5] cannot be read: ")
    assert str(block) in str(refused.value)
    np.testing.assert_array_equal(source.read(Box((0, 0, 0), (7, 3, 5)))[..., 0], XYZ[:, :3])


def test_blocks_of_variable_length(tmp_path):
    path = write(tmp_path / "a.n5")
    for block in path.glob("*/*/*"):
        block.write_bytes(struct.pack(">HHIIII", 1, 3, 4, 3, 2, 24) + bytes(48))
    with pytest.raises(SourceError, match=rf"^{path}/\d/\d/\d: a block of variable length \(mode 1\), only blocks of voxels"):
        open_source(path, NM)


def test_label_multisets(tmp_path):
    path = write(tmp_path / "a.n5", isLabelMultiset=True)
    assert refusal(path, kind=SourceError) == (
        f"{path}: holds label multisets of Paintera and no voxels: export it from Paintera as uint64 first"
    )


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        (
            {"compression": {"type": "lz4"}},
            'compression: type: "lz4" is not registered; save the array again with blosc, zstd, gzip or no compression',
        ),
        ({"dataType": "string"}, "dataType: string data type is not one of the supported data types: .*; save it again"),
        ({"blockSize": [4, 3]}, "blockSize: .*; save it again"),
        ({"dimensions": "a"}, "dimensions: .*; save it again"),
    ],
)
def test_attributes_that_are_not_read(tmp_path, attributes, reason):
    path = write(tmp_path / "a.n5")
    tell(path, **attributes)
    with pytest.raises(SourceError, match=rf"^{path}/attributes\.json: an array that cannot be read: {reason}$"):
        open_source(path, NM)


def test_compression_as_it_was_spelled_first(tmp_path):
    path = write(tmp_path / "a.n5")
    attributes = json.loads((path / "attributes.json").read_text())
    attributes["compressionType"] = attributes.pop("compression")["type"]
    (path / "attributes.json").write_text(json.dumps(attributes))
    np.testing.assert_array_equal(whole(open_source(path, NM))[..., 0], XYZ)


def test_the_voxel_size_must_be_told(tmp_path):
    path = write(tmp_path / "a.n5")
    assert refusal(path, SourceOptions()) == (
        f"{path}: its metadata tells no voxel size, expected three lengths above 0 with "
        "their units: add --resolution X,Y,Z in nm, e.g. --resolution 8,8,40"
    )


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"pixelResolution": {"unit": "pixel", "dimensions": [1, 1, 1]}}, "a voxel size x, y, z of 1 pixel, 1 pixel, 1 pixel"),
        ({"pixelResolution": [4, 4, 40]}, "a voxel size x, y, z of 4 without a unit, 4 without a unit, 40 without a unit"),
        ({"resolution": [4, 4, 40]}, "a voxel size x, y, z of 4 without a unit, 4 without a unit, 40 without a unit"),
        ({"resolution": [4, 4, 0], "units": ["nm", "nm", "nm"]}, "a voxel size x, y, z of 4 nm, 4 nm, 0 nm"),
        ({"resolution": [4, 4], "units": ["nm", "nm"]}, "no voxel size"),
    ],
)
def test_what_is_no_voxel_size(tmp_path, attributes, told):
    assert f"{told}, expected" in refusal(write(tmp_path / "a.n5", **attributes), SourceOptions())


COSEM = {"axes": ["z", "y", "x"], "scale": [5.24, 4, 3], "translate": [3, 2, 1], "units": ["nm", "nm", "nm"]}
NUMERIC = {"axes": ["x", "y", "z"], "scale": [3, 4, 5.24], "translate": [1, 2, 3], "units": ["nm", "nm", "nm"]}


@pytest.mark.parametrize(
    ("attributes", "place"),
    [
        ({"pixelResolution": {"unit": "um", "dimensions": [0.003, 0.004, 0.00524]}}, None),
        ({"resolution": [3, 4, 5.24], "units": ["nm", "nm", "nm"]}, None),
        ({"resolution": [3, 4, 5.24], "unit": "nanometer"}, None),
        ({"transform": COSEM}, (1, 2, 3)),
        ({"transform": NUMERIC}, (1, 2, 3)),
        ({"transform": NUMERIC | {"ordering": "F"}}, (1, 2, 3)),
        ({"transform": COSEM | {"translate": [0, 0, 0]}}, None),
    ],
)
def test_voxel_size_and_place(tmp_path, attributes, place):
    source = open_source(write(tmp_path / "a.n5", **attributes), SourceOptions())
    assert source.geometry.resolution == (3, 4, 5.24)
    np.testing.assert_array_equal(whole(source)[..., 0], XYZ)
    if place is None:
        assert source.geometry.affine is None
    else:
        np.testing.assert_allclose(source.geometry.affine, np.column_stack([np.diag((3, 4, 5.24)), place]))


def test_axes_of_neuroglancer(tmp_path):
    array = np.arange(7 * 3 * 6 * 5, dtype=np.uint8).reshape(7, 3, 6, 5)
    attributes = {"axes": ["x", "c", "y", "z"], "resolution": [3, 1, 4, 5], "units": ["nm", "", "nm", "nm"]}
    source = open_source(write(tmp_path / "a.n5", array, (4, 1, 3, 2), **attributes), SourceOptions())
    assert (source.shape, source.num_channels, source.block, source.notes) == ((7, 6, 5), 3, (4, 3, 2), ())
    assert source.geometry.resolution == (3, 4, 5)
    np.testing.assert_array_equal(whole(source), array.transpose(0, 2, 3, 1))


def test_what_fiji_writes_of_imagej(tmp_path):
    array = np.arange(7 * 6 * 3 * 5, dtype=np.uint8).reshape(7, 6, 3, 5)
    counts = {"numChannels": 3, "numSlices": 5, "numFrames": 1}
    sizes = {"pixelWidth": 0.1, "pixelHeight": 0.2, "pixelDepth": 0.5, "unit": "um"}
    path = write(tmp_path / "a.n5", array, (4, 3, 3, 2), **counts, **sizes)
    source = open_source(path, SourceOptions())
    assert (source.shape, source.num_channels, source.notes) == ((7, 6, 5), 3, ())
    assert source.geometry.resolution == (100, 200, 500)
    np.testing.assert_array_equal(whole(source), array.transpose(0, 1, 3, 2))
    tell(path, unit="pixel")
    assert "of 0.1 pixel, 0.2 pixel, 0.5 pixel, expected" in refusal(path, SourceOptions())


def test_axes_that_nothing_tells(tmp_path):
    array = np.zeros((7, 6, 5, 3), np.uint8)
    attributes = {"pixelResolution": {"unit": "um", "dimensions": [1, 2, 3]}}
    path = write(tmp_path / "a.n5", array, (4, 3, 2, 1), **attributes)
    assert f"{path}: the array has 4 axes (7 x 6 x 5 x 3) and nothing tells what they are: add --axes" in refusal(path)
    source = open_source(path, SourceOptions(axes="xyzc"))
    assert (source.num_channels, source.geometry.resolution) == (3, (1000, 2000, 3000))


def test_a_plane(tmp_path):
    path = write(tmp_path / "a.n5", XYZ[..., 0], (4, 3), resolution=[3, 4], unit="nm")
    source = open_source(path, SourceOptions())
    assert source.shape == (7, 6, 1)
    assert source.geometry.resolution == (3, 4, 3)


def test_an_affine_is_not_taken(tmp_path):
    path = write(tmp_path / "a.n5", affineTransform=[[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
    assert open_source(path, NM).notes[0] == "its affineTransform is left out: the volume is placed by its voxel size alone"


def pyramid(folder, levels=3, **attributes):
    for level in range(levels):
        write(folder / f"s{level}", XYZ[:: 2**level, :: 2**level, :: 2**level])
    tell(folder, **attributes)
    return folder


SIZE = {"pixelResolution": {"unit": "nm", "dimensions": [3, 4, 5]}}
FACTORS = [[1, 1, 1], [2, 2, 2], [4, 4, 2]]


@pytest.mark.parametrize("key", ["downsamplingFactors", "scales"])
def test_levels_of_a_pyramid(tmp_path, key):
    root = tmp_path / "a.n5"
    tell(root, n5="2.5.1", **SIZE)
    group = pyramid(root / "em", **{key: FACTORS})
    finest = open_source(group, SourceOptions())
    assert finest.geometry.resolution == (3, 4, 5)
    np.testing.assert_array_equal(whole(finest)[..., 0], XYZ)
    for source in (
        open_source(group, SourceOptions(array="s2")),
        open_source(group / "s2", SourceOptions()),
        open_source(root, SourceOptions(array="em/s2")),
    ):
        assert source.geometry.resolution == (12, 16, 10)
        np.testing.assert_array_equal(whole(source)[..., 0], XYZ[::4, ::4, ::4])
    np.testing.assert_array_equal(whole(open_source(root, SourceOptions()))[..., 0], XYZ)


def test_a_path_from_inside_the_container(tmp_path, monkeypatch):
    tell(tmp_path / "a.n5", n5="2.5.1", **SIZE)
    group = pyramid(tmp_path / "a.n5" / "em", downsamplingFactors=FACTORS)
    monkeypatch.chdir(group / "s1")
    source = open_source(".", SourceOptions())
    assert source.geometry.resolution == (6, 8, 10)
    np.testing.assert_array_equal(whole(source)[..., 0], XYZ[::2, ::2, ::2])


def test_factors_of_a_level_itself(tmp_path):
    group = pyramid(tmp_path / "a.n5", **SIZE)
    assert refusal(group, SourceOptions(array="s1")) == (
        f"{group}/s1: nothing tells the downsamplingFactors of this level, and so its voxel size: add --resolution X,Y,Z in nm"
    )
    tell(group / "s1", downsamplingFactors=[2, 2, 1])
    assert open_source(group, SourceOptions(array="s1")).geometry.resolution == (6, 8, 5)


def test_levels_of_cosem(tmp_path):
    group = pyramid(tmp_path / "a.n5")
    double = COSEM | {"scale": [10.48, 8, 6], "translate": [2.62, 2, 1.5]}
    datasets = [{"path": "s0", "transform": COSEM}, {"path": "s1", "transform": double}]
    tell(group, multiscales=[{"datasets": datasets}])
    assert open_source(group, SourceOptions()).geometry.resolution == (3, 4, 5.24)
    geometry = open_source(group / "s1", SourceOptions()).geometry
    assert geometry.resolution == (6, 8, 10.48)
    assert [row[3] for row in geometry.affine] == [1.5, 2, 2.62]


def test_attributes_above_the_container_are_not_its_own(tmp_path):
    tell(tmp_path, **SIZE)
    path = write(tmp_path / "a.n5" / "em")
    assert "tells no voxel size" in refusal(path, SourceOptions())


def test_a_container_lists_what_it_holds(tmp_path):
    root = tmp_path / "a.n5"
    tell(root, n5="4.0.0")
    pyramid(root / "em", 2)
    write(root / "labels" / "nuclei")
    listed = "em (pyramid of 2), labels/nuclei (uint16, 7 x 6 x 5)"
    assert refusal(root) == f"{root}: holds 2 arrays, {listed}: add --array NAME, e.g. --array em"
    assert refusal(root, SourceOptions(array="b")) == f"{root}: --array b is not in it; it holds {listed}"
    np.testing.assert_array_equal(whole(open_source(root, SourceOptions(array="labels", resolution=(1, 1, 1))))[..., 0], XYZ)


def test_an_empty_container(tmp_path):
    tell(tmp_path / "a.n5", n5="4.0.0")
    assert refusal(tmp_path / "a.n5", kind=SourceError) == (
        f"{tmp_path}/a.n5: holds no arrays; give the path of the store itself, or copy it again"
    )


def test_a_fingerprint_changes_when_a_block_is_written_anew(tmp_path):
    path = write(tmp_path / "a.n5")
    source = open_source(path, NM)
    before = source.fingerprint()
    assert source.fingerprint() == before
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{path}/"}}
    tensorstore.open(spec).result()[0, 0, 0].write(9).result()
    assert source.fingerprint() != before


def test_groups_without_attributes(tmp_path):
    root = tmp_path / "a.n5"
    write(root / "volumes" / "em")
    for path in (root, root / "volumes", root / "volumes" / "em"):
        np.testing.assert_array_equal(whole(open_source(path, NM))[..., 0], XYZ)
    shutil.rmtree(root / "volumes" / "em")
    assert refusal(root / "volumes", kind=SourceError).endswith(
        "volumes: holds no arrays; give the path of the store itself, or copy it again"
    )
