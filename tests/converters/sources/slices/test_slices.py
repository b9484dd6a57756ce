"""Stacks of slices, one file each; the expected voxels are those that the writing library was given, or reads itself."""

import io
import multiprocessing
import os
import pickle
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from converters.errors import ConverterError, DamagedError, OptionError, SourceError
from converters.sources.opening import open_source
from converters.sources.slices.names import order_notes
from converters.sources.source import SourceOptions
from formats.grid import Box
from tests.converters.sources.reading import assert_reads, voxels, whole

NM = (8.0, 9.0, 40.0)
SHAPE = (12, 30, 21)
ENDINGS = ".tif, .tiff, .btf, .tf8, .png, .jpg, .jpeg"
ALONG_Z = "the 12 slices are taken along z; --axes says otherwise (yzx: along y, xzy: along x)"
LABELS = "a palette gives its voxels colours: the numbers of the colours are taken, as labels; --type image says otherwise"


def png(path, array):
    path.write_bytes(imagecodecs.png_encode(array))


def jpeg(path, array):
    path.write_bytes(imagecodecs.jpeg_encode(array, level=90))


def indexed(path, array, colours=None, bits=8):
    image = Image.frombytes("P", array.shape[::-1], array.tobytes())
    image.putpalette(np.random.default_rng(1).integers(0, 255, 768).tolist() if colours is None else colours)
    image.save(path, bits=bits)


def tiff(path, array, **how):
    tifffile.imwrite(path, array, **how)


def stack(folder, array, write=tiff, ending=".tif", **how):
    """Write slices so that the order of their names is not that of their numbers."""
    folder.mkdir(exist_ok=True)
    for number, plane in enumerate(array):
        write(folder / f"z{number}{ending}", plane, **how)
    return folder


def opened(path, **options):
    return open_source(path, SourceOptions(**{"resolution": NM, **options}))


def refusal(error, path, **options):
    with pytest.raises(error) as refused:
        opened(path, **options)
    return str(refused.value)


@pytest.mark.parametrize(
    ("how", "block"),
    [
        ({}, (1, 1, 1)),
        ({"byteorder": ">"}, (1, 1, 1)),
        ({"rowsperstrip": 7}, (1, 1, 1)),
        ({"compression": "zlib"}, (21, 30, 1)),
        ({"compression": "lzw", "rowsperstrip": 7, "predictor": 2}, (21, 7, 1)),
        ({"tile": (16, 16)}, (16, 16, 1)),
        ({"bigtiff": True, "metadata": None}, (1, 1, 1)),
    ],
)
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_folders_of_tiff(tmp_path, dtype, how, block):
    array = voxels(dtype, *SHAPE)
    how = {key: value for key, value in how.items() if key != "predictor" or dtype != "f4"}
    source = opened(stack(tmp_path / "s", array, **how))
    assert source.block == block
    assert source.notes == (ALONG_Z,)
    assert source.geometry.resolution == NM
    assert not source.label
    assert_reads(source, array)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("samples", [(), (2,), (3,), (4,)])
def test_folders_of_png(tmp_path, dtype, samples):
    array = voxels(dtype, *SHAPE, *samples)
    source = opened(stack(tmp_path / "s", array, png, ".png"))
    assert source.block == (21, 30, 1)
    assert_reads(source, array)


@pytest.mark.parametrize("samples", [(), (3,)])
@pytest.mark.parametrize("ending", [".jpg", ".JPEG"])
def test_folders_of_jpeg(tmp_path, samples, ending):
    smooth = (np.indices(SHAPE).sum(0) * 3 % 200).astype("u1")
    array = smooth[..., np.newaxis] // np.array([1, 2, 3], "u1") if samples else smooth
    folder = stack(tmp_path / "s", array, jpeg, ending)
    expected = np.stack([imagecodecs.jpeg_decode((folder / f"z{z}{ending}").read_bytes()) for z in range(len(array))])
    assert_reads(opened(folder), expected)


@pytest.mark.parametrize("how", [{"photometric": "rgb"}, {"photometric": "rgb", "compression": "zlib"}])
def test_colours_are_channels(tmp_path, how):
    array = voxels("u1", *SHAPE, 3)
    assert_reads(opened(stack(tmp_path / "s", array, **how)), array)
    planes = stack(tmp_path / "p", array.transpose(0, 3, 1, 2), planarconfig="separate", **how)
    assert_reads(opened(planes), array)
    assert_reads(opened(planes, channel=1), array[..., 1:2])


def test_any_plane_may_be_a_slice(tmp_path):
    array = voxels("u2", *SHAPE)
    folder = stack(tmp_path / "s", array)
    for axes in ("zyx", "zxy", "yzx", "yxz", "xyz", "xzy"):
        source = opened(folder, axes=axes)
        assert source.notes == ()
        assert_reads(source, array.transpose([axes.index(axis) for axis in "zyx"]))
    colours = voxels("u1", *SHAPE, 3)
    folder = stack(tmp_path / "c", colours, png, ".png")
    assert_reads(opened(folder, axes="yzx"), colours.transpose(1, 0, 2, 3))
    assert_reads(opened(folder, axes="yzxc"), colours.transpose(1, 0, 2, 3))
    assert refusal(OptionError, folder, axes="yzxct") == (
        f"{folder}: --axes yzxct names 5 axes, the array has 4 (12 x 30 x 21 x 3): one letter an axis"
    )


def test_a_pattern(tmp_path):
    array = voxels("u2", *SHAPE)
    folder = stack(tmp_path / "s", array)
    stack(tmp_path / "s", voxels("u1", 2, 3, 4), png, ".png")
    source = opened(folder / "z*.tif")
    assert source.name == str(folder / "z*.tif")
    assert_reads(source, array)
    assert_reads(opened(folder / "z[0-2].tif"), array[:3])
    assert refusal(SourceError, folder / "a*.tif") == f"{folder / 'a*.tif'}: no file matches this pattern"
    (folder / "z5.doc").write_bytes(b"a")
    assert refusal(SourceError, folder / "z5.*").startswith(f"{folder / 'z5.*'}: besides slices it holds z5.doc: move that away")


def test_a_pattern_over_folders(tmp_path):
    array = voxels("u1", 4, 5, 6)
    for number, plane in enumerate(array):
        (tmp_path / f"slice {number}").mkdir()
        tiff(tmp_path / f"slice {number}" / "image.tif", plane)
    source = opened(tmp_path / "slice*" / "image.tif")
    assert_reads(source, array)
    assert set(source.fingerprint()) == {f"slice {number}/image.tif" for number in range(4)}


def test_a_single_picture(tmp_path):
    array = voxels("u1", 30, 21, 3)
    png(tmp_path / "a.png", array)
    source = opened(tmp_path / "a.png")
    assert source.notes == ()
    assert_reads(source, array[np.newaxis])


def test_no_voxel_size_stops(tmp_path):
    folder = stack(tmp_path / "s", voxels("u1", *SHAPE), resolution=(1e5, 5e4), resolutionunit="CENTIMETER")
    with pytest.raises(OptionError) as refused:
        open_source(folder, SourceOptions())
    assert str(refused.value) == (
        f"{folder}: its metadata tells a voxel size x, y, z of 0.1 um, 0.2 um, nothing, expected three lengths above 0 with "
        "their units: add --resolution X,Y,Z in nm, e.g. --resolution 8,8,40"
    )
    with pytest.raises(OptionError, match=r"x, y, z of 0\.1 um, nothing, 0\.2 um, expected"):
        open_source(folder, SourceOptions(axes="yzx"))


def test_ome_tells_the_distance_of_slices(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    for z, plane in enumerate(voxels("u1", *SHAPE)):
        tiff(folder / f"{z}.ome.tif", plane, ome=True, metadata={"axes": "YX", **{f"PhysicalSize{axis}": 2 for axis in "XYZ"}})
    assert open_source(folder, SourceOptions()).geometry.resolution == (2000.0, 2000.0, 2000.0)


def test_one_ome_image_of_several_files_is_no_folder_of_slices(tmp_path):
    names = "".join(f'<TiffData IFD="0"><UUID FileName="{name}">urn:{name}</UUID></TiffData>' for name in ("z0.tif", "z1.tif"))
    xml = f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image><Pixels>{names}</Pixels></Image></OME>'
    folder = stack(tmp_path / "s", voxels("u1", 2, 30, 21), description=xml, metadata=None)
    assert refusal(OptionError, folder) == (
        f"{folder}: the OME metadata of its files make one image of 2 of them: give one file, e.g. {folder / 'z0.tif'}"
    )


def test_what_lies_beside_slices_is_left_out(tmp_path):
    array = voxels("u1", *SHAPE)
    folder = stack(tmp_path / "s", array)
    for name in (".DS_Store", "._z1.tif", "Thumbs.db", "desktop.ini", "notes.txt", "positions.csv", "meta.xml", "a.JSON"):
        (folder / name).write_bytes(b"a")
    (folder / "old").mkdir()
    assert_reads(opened(folder), array)


def test_strangers_are_named(tmp_path):
    folder = stack(tmp_path / "s", voxels("u1", *SHAPE))
    for name in ("a.doc", "b.zip", "c.nd2", "d.bmp"):
        (folder / name).write_bytes(b"a")
    assert refusal(SourceError, folder) == (
        f"{folder}: besides slices it holds a.doc, b.zip, c.nd2 and 1 more files: move that away, or name the slices by a "
        f"pattern such as '{folder}/*.tif'"
    )


def test_slices_are_of_one_kind(tmp_path):
    folder = stack(tmp_path / "s", voxels("u1", *SHAPE))
    stack(folder, voxels("u1", 3, 4, 5), png, ".png")
    assert refusal(SourceError, folder) == (
        f"{folder}: holds 12 TIFF and 3 PNG files, and a stack is of one kind: name it by a pattern such as '{folder}/*.tif'"
    )


@pytest.mark.parametrize(
    ("names", "what"), [([], "no files"), (["a.txt"], "no files"), (["a.doc", "b.bmp"], "only a.doc, b.bmp")]
)
def test_folders_without_slices(tmp_path, names, what):
    for name in names:
        (tmp_path / name).write_bytes(b"a")
    assert refusal(SourceError, tmp_path) == f"{tmp_path}: holds {what}, and no slices that are read: these are {ENDINGS}"


@pytest.mark.parametrize(
    ("names", "notes"),
    [
        (["z1.tif", "z2.tif", "z3.tif"], ()),
        (["z0010.tif", "z0020.tif", "z0030.tif"], ()),
        (["a.tif"], ()),
        (
            ["z1.tif", "z2.tif", "z5.tif"],
            ("the slices' numbers leave out 2, between z2.tif and z5.tif: the slices there are taken as neighbours",),
        ),
        (
            [f"{n}.tif" for n in (0, 10, 30, 50, 70, 90, 110)],
            (
                "the slices' numbers leave out 5, between 10.tif and 30.tif, between 30.tif and 50.tif, between 50.tif and "
                "70.tif and at 2 more places: the slices there are taken as neighbours",
            ),
        ),
        (["s1_z1.tif", "s1_z2.tif"], ()),
        (
            ["z1_c0.tif", "z1_c1.tif", "z2_c0.tif"],
            (
                "the slices' names differ in 2 numbers (z1_c0.tif ... z2_c0.tif): sorted by the first, then the next; a pattern "
                "such as 'slices/*_c0.tif' takes one channel or time",
            ),
        ),
        (
            ["a1.tif", "b1.tif"],
            ("the slices are named in 2 ways (a1.tif ... b1.tif): taken in the order of their names",),
        ),
    ],
)
def test_gaps_and_odd_names_are_told(names, notes):
    assert order_notes(tuple(names)) == notes


def test_a_gap_is_a_note_of_the_source(tmp_path):
    array = voxels("u1", *SHAPE)
    folder = stack(tmp_path / "s", array)
    (folder / "z7.tif").unlink()
    source = opened(folder)
    assert source.notes[1] == (
        "the slices' numbers leave out 1, between z6.tif and z8.tif: the slices there are taken as neighbours"
    )
    assert_reads(source, np.delete(array, 7, axis=0))


@pytest.mark.parametrize("number", [0, 5, 11])
@pytest.mark.parametrize(("write", "ending"), [(tiff, ".tif"), (png, ".png")])
def test_slices_of_one_volume_are_alike(tmp_path, write, ending, number):
    folder = stack(tmp_path / "s", voxels("u1", *SHAPE), write, ending)
    write(folder / f"z{number}{ending}", voxels("u2", 30, 22))
    named, first = (1, 0) if number == 0 else (number, 0)
    found, expected = ("21 x 30 pixels of uint8", "22 x 30 pixels of uint16")[:: -1 if number else 1]
    assert refusal(SourceError, folder) == (
        f"{folder / f'z{named}{ending}'}: {found}, and the first slice, z{first}{ending}, has {expected}: the slices of one "
        "volume are alike"
    )


def test_a_slice_that_is_not_alike_is_found_when_it_is_read(tmp_path):
    array = voxels("u1", 40, 8, 9)
    folder = stack(tmp_path / "s", array)
    tiff(folder / "z17.tif", array[0, :7])
    source = opened(folder)
    with pytest.raises(DamagedError, match=r"z17\.tif: 9 x 7 pixels of uint8, and the first slice, z0\.tif, has 9 x 8 pixels"):
        source.read(Box((0, 0, 16), (9, 8, 18)))
    np.testing.assert_array_equal(source.read(Box((0, 0, 18), (9, 8, 40)))[..., 0], array[18:].transpose(2, 1, 0))


def test_slices_of_which_some_show_white_as_zero(tmp_path):
    folder = stack(tmp_path / "s", voxels("u1", *SHAPE))
    tiff(folder / "z11.tif", voxels("u1", 30, 21), photometric="miniswhite")
    assert refusal(SourceError, folder) == (
        f"{folder / 'z11.tif'}: its numbers become grey in another way than those of the first slice, z0.tif (a palette, or 0 is "
        "white): save all slices in the same way"
    )


def test_files_of_several_pages_are_no_slices(tmp_path):
    folder = stack(tmp_path / "s", voxels("u1", 3, 4, 30, 21), photometric="minisblack")
    assert refusal(SourceError, folder) == (
        f"{folder / 'z0.tif'}: holds several pages, and each file of a stack is one slice: give the path of this file to "
        "convert it alone"
    )
    folder = stack(tmp_path / "ij", voxels("u1", 3, 4, 30, 21), imagej=True)
    assert "z0.tif: holds several pages" in refusal(SourceError, folder)


def test_slices_with_thumbnails(tmp_path):
    array = voxels("u1", *SHAPE)
    (tmp_path / "s").mkdir()
    for z, plane in enumerate(array):
        with tifffile.TiffWriter(tmp_path / "s" / f"{z}.tif") as writer:
            writer.write(plane, compression="zlib")
            writer.write(plane[::2, ::2], subfiletype=1)
    assert_reads(opened(tmp_path / "s"), array)


def test_damaged_slices_are_named(tmp_path):
    array = voxels("u2", 40, 30, 21)
    folder = stack(tmp_path / "s", array, compression="zlib", metadata=None)
    data = (folder / "z17.tif").read_bytes()
    (folder / "z17.tif").write_bytes(data[: len(data) // 2])
    source = opened(folder)
    (folder / "z18.tif").write_bytes(b"II*\0")
    (folder / "z19.tif").unlink()
    for number, sentence in ((17, "copy it again"), (18, "not a TIFF file"), (19, "cannot be read")):
        with pytest.raises(DamagedError, match=sentence) as damaged:
            source.read(Box((0, 0, number), (21, 30, number + 1)))
        assert str(damaged.value).startswith(f"{folder / f'z{number}.tif'}: ")
    np.testing.assert_array_equal(source.read(Box((0, 0, 20), (21, 30, 40)))[..., 0], array[20:].transpose(2, 1, 0))


@pytest.mark.parametrize(("write", "ending"), [(png, ".png"), (jpeg, ".jpg"), (indexed, ".png")])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_pictures_that_are_cut_short(tmp_path, write, ending, kept):
    folder = stack(tmp_path / "s", voxels("u1", 3, 200, 200), write, ending)
    source = opened(folder)
    data = (folder / f"z1{ending}").read_bytes()
    (folder / f"z1{ending}").write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(DamagedError) as damaged:
        whole(source)
    assert str(damaged.value).startswith(f"{folder / f'z1{ending}'}: ")
    assert str(damaged.value).endswith("copy it again")


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize(
    "data", [b"a", b"GIF89a" + bytes(99), b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\0\x10" + bytes(99)]
)
def test_what_is_no_picture(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    assert refusal(SourceError, tmp_path / name).startswith(f"{tmp_path / name}: ")


def test_a_picture_in_the_colours_of_print(tmp_path):
    Image.new("CMYK", (8, 6)).save(tmp_path / "a.jpg")
    assert refusal(SourceError, tmp_path / "a.jpg") == (
        f"{tmp_path / 'a.jpg'}: its header is not sound (8 x 6 pixels of 4 samples, of which 1 (grey) and 3 (colour) are read): "
        "copy it again"
    )


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_numbers_of_a_palettes_colours_are_taken_as_labels(tmp_path, bits):
    array = voxels("u1", *SHAPE) & (2**bits - 1)
    source = opened(stack(tmp_path / "s", array, indexed, ".png", bits=bits))
    assert source.label
    assert source.notes == (ALONG_Z, LABELS)
    assert_reads(source, array)


def test_a_palette_that_is_a_ramp_shows_grey_values(tmp_path):
    array = voxels("u1", *SHAPE)
    source = opened(stack(tmp_path / "s", array, indexed, ".png", colours=np.repeat(np.arange(256), 3).tolist()))
    assert not source.label
    assert source.notes == (ALONG_Z,)
    assert_reads(source, array)


def grey_png(path, array, bits):
    """Write a PNG of 1, 2 or 4 bits a pixel by hand, as the specification has it: rows begin with a filter and whole bytes."""
    packed = [np.packbits((row[:, np.newaxis] >> np.arange(bits - 1, -1, -1)) & 1) for row in array]
    header = array.shape[1].to_bytes(4, "big") + array.shape[0].to_bytes(4, "big") + bytes([bits, 0, 0, 0, 0])
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in packed))), (b"IEND", b""))
    chunks = (len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big") for name, data in parts)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_not_stretched(tmp_path, bits):
    array = voxels("u1", *SHAPE) % 2**bits
    expected = array > 0 if bits == 1 else array
    assert_reads(opened(stack(tmp_path / "s", array, grey_png, ".png", bits=bits)), expected)


def transparent(path, array):
    Image.fromarray(array).save(path, transparency=3 if array.ndim == 2 else (1, 2, 3))


@pytest.mark.parametrize("samples", [(), (3,)])
def test_a_transparent_colour_is_no_channel(tmp_path, samples):
    array = voxels("u1", *SHAPE, *samples)
    assert_reads(opened(stack(tmp_path / "s", array, transparent, ".png")), array)


def test_large_pictures_are_no_bombs(tmp_path):
    array = np.zeros((1, 14_000), "u1").repeat(13_000, axis=0)
    indexed(tmp_path / "a.png", array)
    source = opened(tmp_path / "a.png")
    assert source.shape == (14_000, 13_000, 1)
    assert not source.read(Box((13_990, 12_990, 0), (14_000, 13_000, 1))).any()


def test_the_fingerprint_tells_each_slice_or_a_digest_of_many(tmp_path):
    source = opened(stack(tmp_path / "s", voxels("u1", *SHAPE)))
    assert source.fingerprint()["z3.tif"] == {
        "size": (tmp_path / "s" / "z3.tif").stat().st_size,
        "mtime_ns": (tmp_path / "s" / "z3.tif").stat().st_mtime_ns,
    }
    many = opened(stack(tmp_path / "m", voxels("u1", 70, 3, 4)))
    before = many.fingerprint()
    assert before["files"] == 70
    os.utime(tmp_path / "m" / "z5.tif", ns=(1, 1))
    assert many.fingerprint() != before


def test_stacks_are_read_in_spawned_workers(tmp_path):
    array = voxels("u1", *SHAPE)
    sources = [
        opened(stack(tmp_path / "t", array, compression="lzw")),
        opened(stack(tmp_path / "p", array, png, ".png")),
        opened(stack(tmp_path / "j", array, jpeg, ".jpg")),
    ]
    for source in sources:
        assert pickle.loads(pickle.dumps(source)) == source
        assert hash(source) == hash(pickle.loads(pickle.dumps(source)))
        assert source.spooled(tmp_path, lambda done, total: None) is source
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        for read, source in zip(workers.map(whole, sources), sources, strict=True):
            np.testing.assert_array_equal(read, whole(source))


def seeds():
    array = voxels("u1", 20, 30)
    file = io.BytesIO()
    image = Image.frombytes("P", (30, 20), array.tobytes())
    image.putpalette(list(range(256)) * 3)
    image.save(file, "PNG")
    return [(".png", imagecodecs.png_encode(array)), (".jpg", imagecodecs.jpeg_encode(array)), (".png", file.getvalue())]


SEEDS = seeds()


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=4), st.integers(8, 2000))
def test_bytes_that_are_wrong_raise_nothing_but_what_is_told(tmp_path, seed, changes, length):
    ending, data = seed[0], bytearray(seed[1])
    for place, value in changes:
        data[place % len(data)] = value
    path = tmp_path / f"{zlib.crc32(data[:length])}{ending}"
    path.write_bytes(data[:length])
    try:
        source = opened(path)
        part = source.read(Box((0, 0, 0), tuple(min(n, 64) for n in source.shape)))
        failure = None
    except ConverterError as error:
        part, failure = None, str(error)
    assert part is not None or failure.startswith(str(path))
