"""TIFF files as tifffile writes them; the expected voxels are those that were given to it, or that it reads itself."""

import contextlib
import io
import multiprocessing
import os
import pickle
import struct

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.errors import ConverterError, DamagedError, OptionError, SourceError
from converters.sources.array import ArraySource
from converters.sources.mapped import MappedSource
from converters.sources.opening import open_source
from converters.sources.source import SourceOptions
from formats.grid import Box
from tests.converters.sources.reading import assert_reads, refusal, voxels, whole

NM = (8.0, 9.0, 40.0)
SHAPE = (9, 40, 50)
OME = {
    "axes": "ZYX",
    "PhysicalSizeX": 0.1,
    "PhysicalSizeXUnit": "µm",
    "PhysicalSizeY": 200,
    "PhysicalSizeYUnit": "nm",
    "PhysicalSizeZ": 0.0003,
    "PhysicalSizeZUnit": "mm",
}
INTEGERS = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"]


def opened(path, **options):
    return open_source(path, SourceOptions(**{"resolution": NM, **options}))


def told(path, **options):
    return open_source(path, SourceOptions(**options))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", [*INTEGERS, "f2", "f4", "f8"])
def test_every_data_type_in_one_run_is_mapped(tmp_path, dtype, order):
    array = voxels(dtype, *SHAPE)
    tifffile.imwrite(tmp_path / "a.tif", array, byteorder=order, photometric="minisblack")
    source = opened(tmp_path / "a.tif")
    assert isinstance(source, MappedSource)
    assert source.block == (1, 1, 1)
    assert source.dtype.newbyteorder("=") == array.dtype
    np.testing.assert_array_equal(whole(source)[..., 0], array.transpose(2, 1, 0))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", [*INTEGERS, "f2", "f4", "f8"])
def test_every_data_type_in_packed_strips(tmp_path, dtype, order):
    array = voxels(dtype, *SHAPE)
    tifffile.imwrite(tmp_path / "a.tif", array, byteorder=order, photometric="minisblack", compression="zlib", rowsperstrip=7)
    source = opened(tmp_path / "a.tif")
    assert source.block == (50, 7, 1)
    assert_reads(source, array)


@pytest.mark.parametrize(
    "compression", ["lzw", "zlib", "zstd", "packbits", "lzma", "jpeg", "jpeg2000", "png", "webp", "jpegxl", "jpegxr", "lerc"]
)
def test_every_compression(tmp_path, compression):
    colours = compression == "webp"
    array = voxels("u1" if compression in ("jpeg", "webp", "jpegxr") else "u2", *SHAPE, *((3,) if colours else ()))
    how = {"photometric": "rgb" if colours else "minisblack", "rowsperstrip": 16}
    tifffile.imwrite(tmp_path / "a.tif", array, compression=compression, **how)
    assert_reads(opened(tmp_path / "a.tif"), tifffile.imread(tmp_path / "a.tif"))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("predictor", "dtype"), [(2, "u1"), (2, "u2"), (3, "f4")])
def test_predictors(tmp_path, predictor, dtype, order):
    array = voxels(dtype, *SHAPE)
    how = {"compression": "lzw", "predictor": predictor, "rowsperstrip": 7, "byteorder": order, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", array, **how)
    assert_reads(opened(tmp_path / "a.tif"), array)


@pytest.mark.parametrize(
    ("how", "block"),
    [
        ({"compression": "zlib"}, (50, 40, 1)),
        ({"compression": "zlib", "bigtiff": True}, (50, 40, 1)),
        ({"tile": (16, 32)}, (32, 16, 1)),
        ({"tile": (16, 32), "compression": "lzw"}, (32, 16, 1)),
        ({"tile": (4, 16, 32), "volumetric": True, "compression": "zlib"}, (32, 16, 4)),
        ({"tile": (48, 64), "compression": "zlib", "bigtiff": True}, (50, 40, 1)),
    ],
)
def test_strips_and_tiles(tmp_path, how, block):
    array = voxels("u2", *SHAPE)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", **how)
    source = opened(tmp_path / "a.tif")
    assert isinstance(source, ArraySource)
    assert source.block == block
    assert_reads(source, array)


def plain(path, pages, **how):
    """Write pages one by one, without metadata, as most programs do: a header after each page."""
    with tifffile.TiffWriter(path, byteorder=how.pop("byteorder", None)) as writer:
        for page in pages:
            writer.write(page, contiguous=False, metadata=None, photometric="minisblack", **how)
    return path


@pytest.mark.parametrize("order", "<>")
def test_unpacked_pages_apart_from_each_other(tmp_path, order):
    array = voxels("u2", *SHAPE)
    source = opened(plain(tmp_path / "a.tif", array, byteorder=order, rowsperstrip=7))
    assert isinstance(source, ArraySource)
    assert source.block == (1, 1, 1)
    assert source.notes == ("nothing tells what its 9 pages are: taken as z; --axes says otherwise",)
    assert_reads(source, array)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("how", [{}, {"compression": "zlib", "tile": (16, 16)}, {"compression": "lzw", "rowsperstrip": 7}])
def test_colours_are_channels(tmp_path, planar, how):
    array = voxels("u1", *SHAPE, 3)
    stored = array if planar == "contig" else array.transpose(0, 3, 1, 2)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar, **how)
    source = opened(tmp_path / "a.tif")
    assert_reads(source, array)
    assert_reads(opened(tmp_path / "a.tif", channel=2), array[..., 2:])


@pytest.mark.parametrize("how", [{}, {"compression": "packbits"}, {"rowsperstrip": 7}])
def test_bilevel_pages_are_bool(tmp_path, how):
    array = voxels("?", 3, 20, 37)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", **how)
    assert_reads(opened(tmp_path / "a.tif"), array)


def test_packed_bits(tmp_path):
    array = voxels("u2", *SHAPE) & 4095
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", bitspersample=12)
    assert_reads(opened(tmp_path / "a.tif"), array)


def test_a_single_page(tmp_path):
    array = voxels("u2", 1, 40, 50)
    for how in ({}, {"compression": "zlib"}):
        tifffile.imwrite(tmp_path / "a.tif", array[0], **how)
        source = opened(tmp_path / "a.tif")
        assert source.notes == ()
        assert_reads(source, array)


@pytest.mark.parametrize("extents", [(3, 1, 7), (3, 7, 1), (1, 1, 1), (2, 1, 1)])
@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}])
def test_extents_of_one(tmp_path, extents, how):
    array = voxels("u2", *extents)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", metadata={"axes": "ZYX"}, **how)
    assert_reads(opened(tmp_path / "a.tif"), array)


def test_zero_may_be_white(tmp_path):
    array = voxels("u1", *SHAPE)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="miniswhite")
    source = opened(tmp_path / "a.tif")
    assert source.notes[-1] == "its tags say that 0 is white: the values are taken as they are stored"
    assert_reads(source, array)


def test_a_turned_image_is_taken_as_it_is_stored(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", voxels("u1", 4, 5), extratags=[(274, "H", 1, 6, True)])
    assert opened(tmp_path / "a.tif").notes == (
        "its tags say that the image is to be turned or mirrored: rows and columns are taken as they are stored",
    )


@pytest.mark.parametrize("labels", [True, False])
def test_a_palette_gives_labels_unless_it_is_a_ramp(tmp_path, labels):
    array = voxels("u1", *SHAPE) % 7
    colours = voxels("u2", 3, 256) if labels else np.array([[1], [0], [257]], "u2") * np.arange(256, dtype="u2") // 2
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="palette", colormap=colours)
    source = opened(tmp_path / "a.tif")
    assert source.label == labels
    assert ("a palette gives its voxels colours" in source.notes[-1]) == labels
    assert_reads(source, array)


@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}])
def test_ome_tells_axes_sizes_and_units(tmp_path, how):
    array = voxels("u2", *SHAPE)
    tifffile.imwrite(tmp_path / "a.ome.tif", array, metadata=OME, **how)
    source = told(tmp_path / "a.ome.tif")
    assert source.geometry.resolution == (100.0, 200.0, 300.0)
    assert source.notes == ()
    assert_reads(source, array)
    assert opened(tmp_path / "a.ome.tif", voxel_offset=(1, 2, 3)).geometry.resolution == NM


@pytest.mark.parametrize("axes", ["TCZYX", "ZCTYX", "CTZYX"])
@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}])
def test_ome_channels_and_time(tmp_path, axes, how):
    array = voxels("u2", *({"T": 2, "C": 3, "Z": 4, "Y": 10, "X": 12}[axis] for axis in axes))
    tifffile.imwrite(tmp_path / "a.ome.tif", array, metadata={**OME, "axes": axes}, **how)
    source = told(tmp_path / "a.ome.tif", time=1)
    assert source.geometry.resolution == (100.0, 200.0, 300.0)
    assert_reads(source, array.transpose([axes.index(axis) for axis in "TZYXC"])[1])
    assert refusal(OptionError, tmp_path / "a.ome.tif").endswith(
        "its axis t has 2 points of time and a volume holds one: add --time N, N from 0 to 1"
    )


@pytest.mark.parametrize("unit", ["pixel", "reference frame"])
def test_ome_units_that_are_no_length(tmp_path, unit):
    tifffile.imwrite(tmp_path / "a.ome.tif", voxels("u1", *SHAPE), metadata={**OME, "PhysicalSizeZUnit": unit})
    assert refusal(OptionError, tmp_path / "a.ome.tif") == (
        f"{tmp_path / 'a.ome.tif'}: its metadata tells a voxel size x, y, z of 0.1 µm, 200 nm, 0.0003 {unit}, expected three "
        "lengths above 0 with their units: add --resolution X,Y,Z in nm, e.g. --resolution 8,8,40"
    )


def pyramid(path, array):
    with tifffile.TiffWriter(path) as writer:
        writer.write(array, subifds=2, metadata=OME, tile=(16, 16))
        writer.write(array[:, ::2, ::2], subfiletype=1, tile=(16, 16))
        writer.write(array[:, ::4, ::4], subfiletype=1, tile=(16, 16), compression="zlib")
    return path


def test_levels_of_a_pyramid(tmp_path):
    array = voxels("u2", *SHAPE)
    path = pyramid(tmp_path / "a.ome.tif", array)
    for name, step, resolution in (
        (None, 1, (100.0, 200.0, 300.0)),
        ("0", 1, (100.0, 200.0, 300.0)),
        ("1", 2, (200.0, 400.0, 300.0)),
        ("0/2", 4, (400.0, 800.0, 300.0)),
    ):
        source = told(path, array=name)
        assert source.geometry.resolution == resolution
        assert_reads(source, array[:, ::step, ::step])
    assert refusal(OptionError, path, array="3") == (
        f"{path}: --array 3 is not there: choose 0 'Image0' (ZYX 9 x 40 x 50 uint16), 1 (ZYX 9 x 20 x 25 uint16), "
        "2 (ZYX 9 x 10 x 13 uint16)"
    )


def test_several_images(tmp_path):
    path, grey, labels = tmp_path / "a.ome.tif", voxels("u2", *SHAPE), voxels("u4", 3, 20, 30)
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(grey, photometric="minisblack", metadata={**OME, "Name": "EM"})
        writer.write(labels, photometric="minisblack", metadata={"axes": "ZYX", "PhysicalSizeX": 7, "Name": "cells"})
    source = told(path)
    listed = "0 'EM' (ZYX 9 x 40 x 50 uint16), 1 'cells' (ZYX 3 x 20 x 30 uint32)"
    assert source.notes == (f"holds 2 images and the first is taken; --array takes another: {listed}",)
    assert_reads(source, grey)
    for name in ("1", "cells", "1/0"):
        assert_reads(opened(path, array=name), labels)
    assert "voxel size x, y, z of 7 µm, nothing" in refusal(OptionError, path, array="1")
    assert refusal(OptionError, path, array="2") == f"{path}: --array 2 is not there: choose {listed}"


def ome_files(folder, array):
    """Write each slice into a file of its own and what is together into the OME-XML of each."""
    names = [f"s{z}.ome.tif" for z in range(len(array))]
    places = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:0000000{z}-0000-0000-0000-000000000000'
        "</UUID></TiffData>"
        for z, name in enumerate(names)
    )
    sizes = f'SizeX="{array.shape[2]}" SizeY="{array.shape[1]}" SizeZ="{len(array)}" SizeC="1" SizeT="1"'
    spacing = 'PhysicalSizeX="0.1" PhysicalSizeY="0.2" PhysicalSizeZ="0.3"'
    for z, name in enumerate(names):
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:0000000{z}-0000-0000-0000-000000000000"><Image ID="Image:0"><Pixels ID="Pixels:0" '
            f'DimensionOrder="XYZCT" Type="uint16" {sizes} {spacing}><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{places}'
            "</Pixels></Image></OME>"
        )
        tifffile.imwrite(folder / name, array[z], description=xml, metadata=None)
    return folder / names[1]


def test_ome_of_several_files(tmp_path):
    array = voxels("u2", 4, 20, 30)
    path = ome_files(tmp_path, array)
    source = told(path)
    assert source.geometry.resolution == (100.0, 200.0, 300.0)
    assert set(source.fingerprint()) == {f"s{z}.ome.tif" for z in range(4)}
    assert_reads(source, array)


def test_ome_of_several_files_of_which_some_are_missing(tmp_path):
    path = ome_files(tmp_path, voxels("u2", 4, 20, 30))
    (tmp_path / "s3.ome.tif").unlink()
    sentence = f"{path}: its metadata name several files, and 's3.ome.tif' is not beside it"
    assert refusal(SourceError, path) == f"{sentence}: copy all of them there"
    (tmp_path / "s0.ome.tif").unlink()
    assert refusal(SourceError, path).startswith(f"{path}: its metadata name several files, and 's0.ome.tif' is not beside")
    assert "(and 1 more)" in refusal(SourceError, path)


@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}])
def test_ome_of_a_file_that_was_renamed(tmp_path, how):
    array = voxels("u2", 4, 20, 30)
    planes = '<TiffData IFD="0" PlaneCount="4"><UUID FileName="old.ome.tif">urn:uuid:1</UUID></TiffData>'
    sizes = 'SizeX="30" SizeY="20" SizeZ="4" SizeC="1" SizeT="1"'
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1"><Image ID="Image:0"><Pixels '
        f'ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" {sizes}>{planes}</Pixels></Image></OME>'
    )
    tifffile.imwrite(tmp_path / "new.ome.tif", array, description=xml, metadata=None, photometric="minisblack", **how)
    assert_reads(opened(tmp_path / "new.ome.tif"), array)


def test_ome_that_tells_more_pages_than_there_are(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", voxels("u2", *SHAPE), metadata=OME, compression="zlib")
    text = tifffile.tiffcomment(tmp_path / "a.ome.tif")
    tifffile.tiffcomment(tmp_path / "a.ome.tif", text.replace('SizeZ="9"', 'SizeZ="12"').encode())
    assert refusal(SourceError, tmp_path / "a.ome.tif") == (
        f"{tmp_path / 'a.ome.tif'}: its metadata tell 12 pages, and page 9 is missing: copy the file, or all files, again"
    )


def test_a_part_of_an_ome_image(tmp_path):
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1"><BinaryOnly MetadataFile="m.ome.tif" '
        'UUID="urn:uuid:2"/></OME>'
    )
    array = voxels("u1", *SHAPE)
    tifffile.imwrite(tmp_path / "a.ome.tif", array, description=xml, metadata=None, photometric="minisblack")
    assert refusal(OptionError, tmp_path / "a.ome.tif") == (
        f"{tmp_path / 'a.ome.tif'}: a part of an image whose metadata are in m.ome.tif: give that file if it is a TIFF, else say "
        "for this part alone what its axes are, e.g. --axes zyx"
    )
    assert_reads(opened(tmp_path / "a.ome.tif", axes="zyx"), array)


@pytest.mark.parametrize("unit", [b"um", b"micron", b"\\u00B5m", "µm".encode(), "µm".encode("latin-1")])
def test_imagej_tells_axes_sizes_and_units(tmp_path, unit):
    array = voxels("u2", 2, 4, 3, 10, 12)
    meta = {"spacing": 0.3, "unit": "X" * len(unit), "axes": "TZCYX"}
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, resolution=(10, 5), metadata=meta)
    # tifffile writes ASCII alone, ImageJ what it has.
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes().replace(b"X" * len(unit), unit, 1))
    source = told(tmp_path / "a.tif", time=1)
    assert source.geometry.resolution == (100.0, 200.0, 300.0)
    assert_reads(source, array[1].transpose(0, 2, 3, 1))


def test_imagej_by_units_of_tags(tmp_path):
    how = {"resolution": (1e5, 5e4), "resolutionunit": "CENTIMETER", "metadata": {"spacing": -0.00003, "axes": "ZYX"}}
    tifffile.imwrite(tmp_path / "a.tif", voxels("u1", *SHAPE), imagej=True, **how)
    text = tifffile.tiffcomment(tmp_path / "a.tif")
    assert "unit" not in text
    tifffile.tiffcomment(tmp_path / "a.tif", text.replace("hyperstack", "unit=cm\nhyperstack"))
    assert told(tmp_path / "a.tif").geometry.resolution == (100.0, 200.0, 300.0)


def test_imagej_leaves_a_spacing_of_one_out(tmp_path):
    meta = {"unit": "micron", "axes": "ZYX"}
    tifffile.imwrite(tmp_path / "a.tif", voxels("u1", *SHAPE), imagej=True, resolution=(10, 10), metadata=meta)
    source = told(tmp_path / "a.tif")
    assert source.geometry.resolution == (100.0, 100.0, 1000.0)
    assert source.notes == (
        "no spacing is told, which for ImageJ means slices 1 micron apart; --resolution X,Y,Z (nm) says otherwise",
    )
    assert opened(tmp_path / "a.tif").notes == ()


@pytest.mark.parametrize("unit", ["pixel", "pixels", ""])
def test_imagej_without_a_unit(tmp_path, unit):
    meta = {"unit": unit, "spacing": 2.0, "axes": "ZYX"}
    tifffile.imwrite(tmp_path / "a.tif", voxels("u1", *SHAPE), imagej=True, resolution=(1, 1), metadata=meta)
    found = f"1 {unit}, 1 {unit}, 2 {unit}" if unit else "1 without a unit, 1 without a unit, 2 without a unit"
    assert f"its metadata tells a voxel size x, y, z of {found}, expected" in refusal(OptionError, tmp_path / "a.tif")


def test_imagej_slices_that_are_called_time(tmp_path):
    array = voxels("u1", *SHAPE)
    meta = {"axes": "TYX", "spacing": 0.5, "unit": "um"}
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, resolution=(10, 10), metadata=meta)
    assert refusal(OptionError, tmp_path / "a.tif") == (
        f"{tmp_path / 'a.tif'}: its 9 pages are called points of time: add --time N, N from 0 to 8, or where they are slices "
        "--axes zyx"
    )
    source = told(tmp_path / "a.tif", axes="zyx")
    assert source.geometry.resolution == (100.0, 100.0, 500.0)
    assert_reads(source, array)
    source = told(tmp_path / "a.tif", time=3)
    assert source.geometry.resolution == (100.0, 100.0, 500.0)
    assert_reads(source, array[3:4])


def hyperstack(path, shape, *, cut=0):
    """Write the header of ImageJ's hyperstack, one directory for all its images, and as many zeros as they take, as a hole."""
    slices, rows, columns = shape
    text = f"ImageJ=1.53t\nimages={slices}\nslices={slices}\nunit=nm\nspacing=40.0\nloop=false\n\0".encode()
    tags = [
        (256, 4, 1, columns), (257, 4, 1, rows), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (270, 2, len(text), 300),
        (273, 4, 1, 600), (277, 3, 1, 1), (278, 4, 1, rows), (279, 4, 1, rows * columns), (282, 5, 1, 280), (283, 5, 1, 280),
        (296, 3, 1, 1),
    ]  # fmt: skip
    directory = struct.pack(">H", len(tags)) + b"".join(
        struct.pack(">HHIHH" if kind == 3 else ">HHII", code, kind, count, value, *([0] if kind == 3 else []))
        for code, kind, count, value in tags
    )
    header = (b"MM\0*" + struct.pack(">I", 8) + directory).ljust(280, b"\0") + struct.pack(">II", 1, 8)
    with path.open("wb") as file:
        file.write((header.ljust(300, b"\0") + text).ljust(600, b"\0"))
        file.truncate(600 + slices * rows * columns - cut)
    return path


def test_a_hyperstack_beyond_4_gigabytes_with_one_directory(tmp_path):
    path = hyperstack(tmp_path / "a.tif", (70_000, 300, 250))
    with path.open("r+b") as file:
        file.seek(600 + 69_999 * 300 * 250 + 12 * 250 + 7)
        file.write(b"\x63")
    source = told(path)
    assert source.shape == (250, 300, 70_000)
    assert source.geometry.resolution == (8.0, 8.0, 40.0)
    box = source.read(Box((6, 12, 69_998), (9, 13, 70_000)))
    np.testing.assert_array_equal(box[:, 0, :, 0], [[0, 0], [0, 99], [0, 0]])


def test_a_hyperstack_that_is_cut_short(tmp_path):
    path = hyperstack(tmp_path / "a.tif", (10, 30, 25), cut=1)
    assert refusal(SourceError, path) == (
        f"{path}: ImageJ wrote 10 images into it and 8099 bytes do not hold them: the file is cut short; copy it again"
    )


def test_plain_pages_tell_no_distance_between_slices(tmp_path):
    how = {"resolution": (1e5, 5e4), "resolutionunit": "CENTIMETER"}
    path = plain(tmp_path / "a.tif", voxels("u1", *SHAPE), **how)
    assert refusal(OptionError, path) == (
        f"{path}: its metadata tells a voxel size x, y, z of 0.1 um, 0.2 um, nothing, expected three lengths above 0 with their "
        "units: add --resolution X,Y,Z in nm, e.g. --resolution 8,8,40"
    )


def test_axes_move_what_the_file_tells_of_its_own(tmp_path):
    array = voxels("u2", *SHAPE)
    tifffile.imwrite(tmp_path / "a.ome.tif", array, metadata=OME)
    source = told(tmp_path / "a.ome.tif", axes="yzx")
    assert source.geometry.resolution == (100.0, 300.0, 200.0)
    assert_reads(source, array.transpose(1, 0, 2))
    with pytest.raises(OptionError, match=r"--axes zyxc names 4 axes, the array has 3 \(9 x 40 x 50\): one letter an axis"):
        told(tmp_path / "a.ome.tif", axes="zyxc")


def test_axes_that_no_volume_has(tmp_path):
    array = voxels("u1", 2, 3, 4, 5, 6)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", metadata={"axes": "PCZYX"})
    assert refusal(OptionError, tmp_path / "a.tif") == (
        f"{tmp_path / 'a.tif'}: its axes are PCZYX (2 x 3 x 4 x 5 x 6), and a volume's are x, y, z and channels: say with --axes "
        "what each is, one letter an axis (x, y, z, c channels, t what --time N chooses from), e.g. --axes tczyx"
    )
    assert_reads(opened(tmp_path / "a.tif", axes="tczyx", time=1), array[1].transpose(1, 2, 3, 0))


def test_pages_of_several_kinds(tmp_path):
    array = voxels("u2", 6, 20, 30)
    path = plain(tmp_path / "a.tif", [*array[:4], array[4, :10], array[5]])
    assert refusal(SourceError, path) == (
        f"{path}: page 4 of 6 has 30 x 10 pixels of uint16, page 0 30 x 20 pixels of uint16: the slices of one volume are alike; "
        "--array takes those that are: 0 (IYX 5 x 20 x 30 uint16), 1 (YX 10 x 30 uint16)"
    )
    assert_reads(opened(path, array="0"), array[[0, 1, 2, 3, 5]])


def test_a_page_among_many_that_is_not_like_the_others(tmp_path):
    array = voxels("u2", 12, 20, 30)
    path = plain(tmp_path / "a.tif", [*array[:5], array[5, :10], *array[6:]])
    assert refusal(SourceError, path, resolution=NM) == (
        f"{path}: page 5 of 12 has 30 x 10 pixels of uint16, the first 30 x 20 pixels of uint16: the slices of one volume are "
        "alike"
    )


def test_thumbnails_are_no_slices(tmp_path):
    array = voxels("u1", *SHAPE)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(array, photometric="minisblack", compression="zlib")
        writer.write(array[0, ::2, ::2], subfiletype=1, photometric="minisblack")
    source = opened(tmp_path / "a.tif")
    assert len(source.notes) == 1
    assert_reads(source, array)


def test_pages_that_are_missing(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, voxels("u1", *SHAPE), photometric="minisblack", compression="zlib", rowsperstrip=7)
    text = tifffile.tiffcomment(path)
    tifffile.tiffcomment(path, text.replace("[9,", "[12,"))
    assert refusal(SourceError, path) == (
        f"{path}: its metadata tell another shape than its 9 pages make up: cut short; copy it again"
    )


@pytest.mark.parametrize("how", [{}, {"compression": "zlib", "rowsperstrip": 7}, {"tile": (16, 16)}])
def test_a_file_that_is_cut_short(tmp_path, how):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, voxels("u2", 40, 50), metadata=None, **how)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 3])
    with pytest.raises(SourceError, match=r"a\.tif: .*copy it again"):
        whole(opened(path))


def strip_places(path, page=0):
    with tifffile.TiffFile(path) as tif:
        found = tif.pages[page]
        return list(zip(found.dataoffsets, found.databytecounts, strict=True))


def overwritten(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_a_corrupt_strip_names_file_and_page_and_the_others_are_read(tmp_path):
    array = voxels("u2", *SHAPE)
    path = plain(tmp_path / "a.tif", array, compression="zlib", rowsperstrip=7)
    offset, count = strip_places(path, 5)[2]
    overwritten(path, offset, bytes(count))
    source = opened(path)
    with pytest.raises(DamagedError) as damaged:
        whole(source)
    assert str(damaged.value).startswith(f"{path}: page 5 of 9: strip or tile 2 cannot be decoded (")
    assert str(damaged.value).endswith("): copy it again")
    np.testing.assert_array_equal(source.read(Box((0, 0, 5), (50, 14, 6)))[..., 0, 0], array[5, :14].T)
    np.testing.assert_array_equal(source.read(Box((0, 14, 6), (50, 21, 9)))[..., 0], array[6:, 14:21].transpose(2, 1, 0))


def test_a_jpeg_strip_that_ends_in_zeros(tmp_path):
    path = plain(tmp_path / "a.tif", voxels("u1", 2, 64, 64), compression="jpeg")
    offset, count = strip_places(path, 1)[0]
    overwritten(path, offset + count // 2, bytes(count - count // 2))
    with pytest.raises(
        DamagedError, match=r"a\.tif: page 1 of 2: the JPEG data are cut short \(\d+ bytes found and no end marker"
    ):
        whole(opened(path))


def test_strips_without_a_byte(tmp_path):
    path = plain(tmp_path / "a.tif", voxels("u1", 2, 40, 50), compression="zlib", rowsperstrip=10)
    with tifffile.TiffFile(path) as tif:
        counts = tif.pages[1].tags[279]
    overwritten(path, counts.valueoffset, bytes(2))
    with pytest.raises(DamagedError, match=r"page 1 of 2: strip or tile 0 is said to be 0 bytes from byte \d+ of a file of \d+"):
        whole(opened(path))


def test_gdal_leaves_empty_tiles_out(tmp_path):
    array = np.zeros((32, 48), "u1")
    tiles = [bytes(256) if i else b"\x07" * 256 for i in range(6)]
    extra = [(42113, "s", 0, "9", True)]
    tifffile.imwrite(tmp_path / "a.tif", iter(tiles), shape=(32, 48), dtype="u1", tile=(16, 16), extratags=extra, metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        counts = tif.pages[0].tags[325]
    size = counts.valuebytecount // 6
    overwritten(tmp_path / "a.tif", counts.valueoffset + 5 * size, bytes(size))
    array[:16, :16] = 7
    array[16:, 32:] = 9
    assert_reads(opened(tmp_path / "a.tif"), array[np.newaxis])


def test_a_compression_that_nobody_knows(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", voxels("u1", 40, 50), compression="zlib", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        place = tif.pages[0].tags[259].valueoffset
    overwritten(tmp_path / "a.tif", place, struct.pack("<H", 4711))
    sentence = refusal(SourceError, tmp_path / "a.tif", resolution=NM)
    assert sentence.startswith(f"{tmp_path / 'a.tif'}: its compression cannot be decoded (")


@pytest.mark.parametrize("data", [b"a", b"II*\0", b"II*\0\0\0\0\0", b"GIF89a" + bytes(100), b"MM\0*" + b"\xff" * 100])
def test_what_is_no_tiff(tmp_path, data):
    (tmp_path / "a.tif").write_bytes(data)
    assert refusal(SourceError, tmp_path / "a.tif").startswith(f"{tmp_path / 'a.tif'}: ")


def test_a_file_that_changes_while_it_is_read(tmp_path):
    path = plain(tmp_path / "a.tif", voxels("u1", *SHAPE))
    source = opened(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(DamagedError, match=r"a\.tif: the file was changed while it was being read; start again"):
        whole(source)


def test_a_file_that_goes_while_it_is_read(tmp_path):
    path = plain(tmp_path / "a.tif", voxels("u1", *SHAPE))
    source = opened(path)
    path.unlink()
    with pytest.raises(DamagedError, match=r"a\.tif: cannot be read \(.*No such file"):
        whole(source)


def test_sources_are_read_in_spawned_workers(tmp_path):
    array = voxels("u2", *SHAPE)
    sources = [
        opened(plain(tmp_path / "a.tif", array, compression="zlib")),
        told(pyramid(tmp_path / "b.ome.tif", array), array="0"),
        told(ome_files(tmp_path, array[:4])),
    ]
    for source in sources:
        assert pickle.loads(pickle.dumps(source)) == source
        assert hash(source) == hash(pickle.loads(pickle.dumps(source)))
        assert source.spooled(tmp_path, lambda done, total: None) is source
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        for read, source in zip(workers.map(whole, sources), sources, strict=True):
            np.testing.assert_array_equal(read, whole(source))


def test_one_strip_is_decoded_for_a_box_within_it(tmp_path):
    path = plain(tmp_path / "a.tif", voxels("u2", *SHAPE), compression="zlib", rowsperstrip=7)
    source = opened(path)
    modified_ns = path.stat().st_mtime_ns
    for page in range(9):
        for strip, (offset, count) in enumerate(strip_places(path, page)):
            if (page, strip) != (4, 2):
                overwritten(path, offset, bytes(count))
    os.utime(path, ns=(modified_ns, modified_ns))
    assert source.read(Box((3, 14, 4), (9, 21, 5))).shape == (6, 7, 1, 1)


def lsm(path, array):
    """Write what the microscope LSM 510 would: an image and a thumbnail in turn, and a table of sizes in a private tag."""
    slices, rows, columns = array.shape
    sizes = (columns, rows, slices, 1, 1, 1, 15, 10)
    info = struct.pack("<Ii8i6d", 0x0400494C, 500, *sizes, 1e-7, 2e-7, 3e-7, 0.0, 0.0, 0.0).ljust(500, b"\0")
    with tifffile.TiffWriter(path, byteorder="<") as writer:
        for z, page in enumerate(array):
            tags = [(34412, "B", len(info), info, True)] if not z else []
            writer.write(page, metadata=None, contiguous=False, extratags=tags, compression="zlib")
            writer.write(page[::2, ::2], metadata=None, contiguous=False, subfiletype=1)
    return path


def test_lsm_tells_metres(tmp_path):
    array = voxels("u1", 4, 20, 30)
    source = told(lsm(tmp_path / "a.lsm", array))
    assert source.geometry.resolution == (100.0, 200.0, 300.0)
    assert_reads(source, array)
    assert_reads(pickle.loads(pickle.dumps(source)), array)


def seeds():
    array = voxels("u2", 3, 20, 30)

    def saved(array, **how):
        file = io.BytesIO()
        tifffile.imwrite(file, array, **({} if how.get("imagej") else {"photometric": "minisblack"}), **how)
        return file.getvalue()

    return [
        saved(array, compression="zlib", rowsperstrip=7),
        saved(array, tile=(16, 16), byteorder=">"),
        saved(array, metadata=OME, ome=True),
        saved(array, imagej=True),
        saved(array.astype("u1"), compression="jpeg"),
        saved(array, compression="lzw", bigtiff=True, predictor=2),
    ]


SEEDS = seeds()


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=4), st.integers(8, 10_000))
def test_bytes_that_are_wrong_raise_nothing_but_what_is_told(tmp_path, seed, changes, length):
    data = bytearray(seed)
    for place, value in changes:
        data[place % len(data)] = value
    path = tmp_path / f"{abs(hash(bytes(data[:length])))}.tif"
    path.write_bytes(data[:length])
    with contextlib.suppress(ConverterError):
        source = opened(path)
        source.read(Box((0, 0, 0), tuple(min(n, 64) for n in source.shape)))
