"""One volume, written by each format's own library, arrives voxel for voxel at the same x, y, z and nm from every format."""

import json
import warnings
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import mrcfile
import nibabel as nib
import nrrd
import numpy as np
import pytest
import tensorstore
import tifffile
import zarr
from PIL import Image

from converters.data_types import convert_voxels, data_type
from converters.errors import ConverterError, SourceError, ValueRefusedError
from converters.sources import opening
from converters.sources.opening import open_source
from converters.sources.source import SourceOptions
from formats.grid import Box

SHAPE = (11, 7, 5)
"""x, y, z."""
NM = (400.0, 500.0, 2000.0)
UM = tuple(nm / 1e3 for nm in NM)
XYZ = np.arange(1, 11 * 7 * 5 + 1, dtype=np.uint16).reshape(SHAPE)
XYZ[0, 0, 0] = 60000
ZYX = np.ascontiguousarray(XYZ.T)

TOLD = SourceOptions()
GIVEN = SourceOptions(resolution=NM)
"""For formats that tell no voxel size."""

Written = tuple[Path, SourceOptions]
Writer = Callable[[Path], Written]


def nifti(name: str, image_class: Any = nib.Nifti1Image) -> Writer:
    def write(folder: Path) -> Written:
        image = image_class(XYZ, np.diag([*UM, 1]))
        image.header.set_xyzt_units("micron")
        nib.save(image, folder / name)
        return folder / name, TOLD

    return write


def mgh(folder: Path) -> Written:
    # MGH has no uint16 and lengths in mm.
    image = nib.MGHImage(XYZ.astype(np.int32), np.diag([*(nm / 1e6 for nm in NM), 1]))
    (folder / "a.mgh").write_bytes(image.to_bytes())
    return folder / "a.mgh", TOLD


def npy(array: Any) -> Writer:
    def write(folder: Path) -> Written:
        np.save(folder / "a.npy", array)
        return folder / "a.npy", GIVEN

    return write


def npz(save: Callable[..., None]) -> Writer:
    def write(folder: Path) -> Written:
        save(folder / "a.npz", raw=ZYX, other=np.arange(3))
        return folder / "a.npz", SourceOptions(resolution=NM, array="raw")

    return write


def tiff(name: str, **how: Any) -> Writer:
    def write(folder: Path) -> Written:
        tifffile.imwrite(folder / name, ZYX, photometric="minisblack", **how)
        return folder / name, GIVEN

    return write


def ome_tiff(folder: Path) -> Written:
    sizes = {f"PhysicalSize{axis}": size for axis, size in zip("XYZ", UM, strict=True)}
    units = {f"PhysicalSize{axis}Unit": "µm" for axis in "XYZ"}
    tifffile.imwrite(folder / "a.ome.tif", ZYX, metadata={"axes": "ZYX"} | sizes | units)
    return folder / "a.ome.tif", TOLD


def imagej(folder: Path) -> Written:
    tifffile.imwrite(
        folder / "a.tif",
        ZYX,
        imagej=True,
        resolution=(1 / UM[0], 1 / UM[1]),
        metadata={"axes": "ZYX", "spacing": UM[2], "unit": "um"},
    )
    return folder / "a.tif", TOLD


def tiff_slices(folder: Path) -> None:
    for z, plane in enumerate(ZYX):
        tifffile.imwrite(folder / f"slice {z + 8}.tif", plane, compression="deflate")


def folder_of_tiffs(folder: Path) -> Written:
    tiff_slices(folder)
    return folder, GIVEN


def pattern_of_tiffs(folder: Path) -> Written:
    tiff_slices(folder)
    tifffile.imwrite(folder / "other.tif", ZYX[0])
    return folder / "slice*.tif", GIVEN


def tiffs_along_y(folder: Path) -> Written:
    for y in range(SHAPE[1]):
        tifffile.imwrite(folder / f"{y:03d}.tif", ZYX[:, y])
    return folder, SourceOptions(resolution=NM, axes="yzx")


def pngs(folder: Path) -> Written:
    for z, plane in enumerate(ZYX):
        Image.fromarray(plane).save(folder / f"{z:03d}.png")
    return folder, GIVEN


def hdf5(**how: Any) -> Writer:
    def write(folder: Path) -> Written:
        with h5py.File(folder / "a.h5", "w") as file:
            file.create_dataset("volumes/raw", data=ZYX, **how)
        return folder / "a.h5", GIVEN

    return write


def hdf5_of_fiji(folder: Path) -> Written:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("raw", data=ZYX, chunks=(2, 3, 4)).attrs["element_size_um"] = UM[::-1]
    return folder / "a.h5", TOLD


def hdf5_of_ilastik(folder: Path) -> Written:
    tags = [{"key": axis, "typeFlags": 2, "resolution": 0, "description": ""} for axis in "xyz"]
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("exported_data", data=XYZ).attrs["axistags"] = json.dumps({"axes": tags})
    return folder / "a.h5", GIVEN


def cmap(folder: Path) -> Written:
    with h5py.File(folder / "a.cmap", "w") as file:
        group = file.create_group("Chimera/image1")
        group.attrs["step"] = np.array(NM, np.float32) * 10
        group.create_dataset("data_zyx", data=ZYX, chunks=(2, 3, 4))
    return folder / "a.cmap", TOLD


PIECE = (6, 4, 3)


def pieces(folder: Path) -> list[dict[str, Any]]:
    listed = []
    for cell in product(range(2), repeat=3):
        start = [n * size for n, size in zip(cell, PIECE, strict=True)]
        part = XYZ[tuple(slice(begin, begin + size) for begin, size in zip(start, PIECE, strict=True))]
        name = "x{}y{}z{}.h5".format(*(n + 1 for n in cell))
        with h5py.File(folder / name, "w") as file:
            file.create_dataset("data", data=part.T)
        listed.append({"file": name, "start": start})
    return listed


def pieces_by_pattern(folder: Path) -> Written:
    pieces(folder)
    return folder / "x{1}y{1}z{1}.h5", GIVEN


def pieces_by_list(folder: Path) -> Written:
    (folder / "a.json").write_text(json.dumps({"pieces": pieces(folder), "resolution": NM}))
    return folder / "a.json", TOLD


def zarr_array(zarr_format: int, voxels: Any = ZYX, **how: Any) -> Writer:
    def write(folder: Path) -> Written:
        stored = zarr.create_array(
            folder / "a.zarr", shape=voxels.shape, chunks=(2, 3, 4), dtype="u2", zarr_format=zarr_format, **how
        )
        stored[...] = voxels
        return folder / "a.zarr", GIVEN

    return write


def ome_zarr(version: str) -> Writer:
    def write(folder: Path) -> Written:
        place, zarr_format = folder / "a.ome.zarr", 2 if version == "0.4" else 3
        scale = {"type": "scale", "scale": list(UM[::-1])}
        image = {
            "axes": [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"],
            "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
        }
        group = zarr.create_group(place, zarr_format=zarr_format)
        if version == "0.4":
            group.attrs["multiscales"] = [image | {"version": version}]
        else:
            group.attrs["ome"] = {"version": version, "multiscales": [image]}
        names = {"dimension_names": list("zyx")} if version == "0.5" else {}
        stored = group.create_array("0", shape=ZYX.shape, chunks=(2, 3, 4), dtype="u2", **names)
        stored[...] = ZYX
        return place, TOLD

    return write


def by_tensorstore(driver: str, **spec: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        place = folder / "a"
        store = {"driver": driver, "kvstore": {"driver": "file", "path": f"{place}/"}, "create": True}
        opened = tensorstore.open(store | spec).result()
        opened[tuple(slice(0, n) for n in opened.shape)] = XYZ.reshape(opened.shape)
        return place

    return write


def n5(folder: Path) -> Written:
    metadata = {"dimensions": SHAPE, "blockSize": (4, 3, 2), "dataType": "uint16", "compression": {"type": "gzip"}}
    place = by_tensorstore("n5", metadata=metadata)(folder)
    attributes = json.loads((place / "attributes.json").read_text())
    attributes |= {"pixelResolution": {"dimensions": UM, "unit": "um"}}
    (place / "attributes.json").write_text(json.dumps(attributes))
    return place, TOLD


SHARDING = {
    "@type": "neuroglancer_uint64_sharded_v1",
    "preshift_bits": 1,
    "minishard_bits": 1,
    "shard_bits": 2,
    "hash": "identity",
    "minishard_index_encoding": "gzip",
    "data_encoding": "gzip",
}


def precomputed(**members: Any) -> Writer:
    def write(folder: Path) -> Written:
        scale = {"size": SHAPE, "resolution": NM, "chunk_size": [4, 3, 2], "encoding": "raw"} | members
        about = {"type": "image", "data_type": "uint16", "num_channels": 1}
        return by_tensorstore("neuroglancer_precomputed", multiscale_metadata=about, scale_metadata=scale)(folder), TOLD

    return write


def nrrd_file(name: str, **fields: Any) -> Writer:
    def write(folder: Path) -> Written:
        header = {"space dimension": 3, "space directions": np.diag(UM), "space units": ["microns"] * 3} | fields
        with warnings.catch_warnings():
            # pynrrd asks for the time by datetime.utcnow().
            warnings.filterwarnings("ignore", "datetime", DeprecationWarning)
            nrrd.write(str(folder / name), XYZ, header, detached_header=name.endswith(".nhdr"))
        return folder / name, TOLD

    return write


def mrc(name: str, compression: str | None = None) -> Writer:
    def write(folder: Path) -> Written:
        with mrcfile.new(folder / name, ZYX, compression) as file:
            file.voxel_size = tuple(nm * 10 for nm in NM)
        return folder / name, TOLD

    return write


FORMATS: dict[str, Writer] = {
    "nifti": nifti("a.nii"),
    "nifti, gzip": nifti("a.nii.gz"),
    "nifti 2": nifti("a.nii", nib.Nifti2Image),
    "nifti pair": nifti("a.img", nib.Nifti1Pair),
    "mgh": mgh,
    "npy, C order": npy(ZYX),
    "npy, Fortran order": npy(np.asfortranarray(XYZ)),
    "npz, stored": npz(np.savez),
    "npz, deflated": npz(np.savez_compressed),
    "tiff of pages": tiff("a.tif"),
    "tiff, big": tiff("a.btf", bigtiff=True),
    "tiff, big endian": tiff("a.tif", byteorder=">"),
    "tiff of tiles, zstd": tiff("a.tif", tile=(16, 16), compression="zstd"),
    "tiff of strips, lzw, predictor": tiff("a.tif", rowsperstrip=2, compression="lzw", predictor=True),
    "ome-tiff": ome_tiff,
    "tiff of ImageJ": imagej,
    "folder of tiffs": folder_of_tiffs,
    "pattern of tiffs": pattern_of_tiffs,
    "tiffs along y": tiffs_along_y,
    "folder of pngs": pngs,
    "hdf5": hdf5(),
    "hdf5 of chunks": hdf5(chunks=(2, 3, 4), compression="gzip", shuffle=True),
    "hdf5, blosc": hdf5(chunks=(2, 3, 4), **hdf5plugin.Blosc()),
    "hdf5 of Fiji": hdf5_of_fiji,
    "hdf5 of ilastik": hdf5_of_ilastik,
    "cmap": cmap,
    "pieces by a pattern": pieces_by_pattern,
    "pieces by a list": pieces_by_list,
    "zarr 2": zarr_array(2),
    "zarr 2, Fortran order": zarr_array(2, XYZ, order="F"),
    "zarr 3": zarr_array(3),
    "zarr 3 of shards": zarr_array(3, shards=(4, 6, 8)),
    "ome-zarr 0.4": ome_zarr("0.4"),
    "ome-zarr 0.5": ome_zarr("0.5"),
    "n5": n5,
    "precomputed": precomputed(),
    "precomputed of shards": precomputed(sharding=SHARDING),
    "precomputed, png": precomputed(encoding="png"),
    "nrrd": nrrd_file("a.nrrd", encoding="raw"),
    "nrrd, gzip": nrrd_file("a.nrrd", encoding="gzip"),
    "nrrd, bzip2": nrrd_file("a.nrrd", encoding="bzip2"),
    "nrrd, detached": nrrd_file("a.nhdr", encoding="raw"),
    "mrc": mrc("a.mrc"),
    "mrc, gzip": mrc("a.mrc.gz", "gzip"),
}


def written(name: str, folder: Path) -> Written:
    # zarr names data types and codecs of which no format's own text tells.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Zarr V?3? ?specification")
        warnings.filterwarnings("ignore", ".*Consolidated metadata")
        return FORMATS[name](folder)


@pytest.mark.parametrize("name", FORMATS)
def test_a_volume_arrives_the_same_from_every_format(tmp_path: Path, name: str) -> None:
    place, options = written(name, tmp_path)
    source = open_source(place, options)
    assert source.shape == SHAPE
    assert source.num_channels == 1
    assert source.dtype.newbyteorder("=") == ("int32" if name == "mgh" else "uint16")
    assert source.geometry.resolution == pytest.approx(NM, rel=1e-7)
    assert source.geometry.voxel_offset == (0, 0, 0)
    whole = source.read(Box((0, 0, 0), SHAPE))
    assert whole.shape == (*SHAPE, 1)
    np.testing.assert_array_equal(whole[..., 0], XYZ)
    for box in (Box((3, 1, 2), (9, 7, 4)), Box((10, 6, 4), (11, 7, 5)), Box((0, 0, 0), (1, 1, 1))):
        np.testing.assert_array_equal(source.read(box)[..., 0], XYZ[box.slices()])


@pytest.mark.parametrize("name", FORMATS)
def test_and_unpacked_too(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    place, options = written(name, tmp_path / "in")
    spooled = open_source(place, options).spooled(tmp_path / "spool", lambda done, total: None)
    assert spooled.geometry.resolution == pytest.approx(NM, rel=1e-7)
    np.testing.assert_array_equal(spooled.read(Box((0, 0, 0), SHAPE))[..., 0], XYZ)


def test_every_reader_has_a_row(tmp_path: Path) -> None:
    readers = set()
    for name in FORMATS:
        folder = tmp_path / name
        folder.mkdir()
        place, _ = written(name, folder)
        ending = "".join(place.suffixes[-2:]) if place.suffix == ".gz" else place.suffix
        readers |= {reader for endings, reader in opening._READERS if ending in endings and not place.is_dir()}
        readers |= {reader for names, reader in opening._FOLDERS if any((place / file).is_file() for file in names)}
    # .HEAD and .BRIK have no library that writes them: test_afni.py reads those that come with nibabel.
    every = {reader for _, reader in (*opening._READERS, *opening._FOLDERS)}
    assert every - readers <= {"brain.afni:open_afni", "slices.slices:open_slice"}


INTEGERS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8")
LABELS = {"u8": "uint64", "i8": "uint64", "f8": "uint64"}
"""The others become uint32."""
GREY_VALUES = {"i8": "int32", "f2": "float32", "f8": "float32", "?": "uint8"}
"""The others stay what they are."""
HELD = {
    "npy": (*INTEGERS, "?", "f2", "f4", "f8", "c8", "c16", "g", "O", "U3", "S3", "M8[s]", "m8[s]", "u1,u2"),
    "npz": (*INTEGERS, "?", "f2", "f4", "f8", "c8", "c16", "g", "O", "U3", "S3", "M8[s]", "m8[s]", "u1,u2"),
    "nifti": (*INTEGERS, "f4", "f8", "c8", "c16"),
    "tiff": (*INTEGERS, "?", "f2", "f4", "f8", "c8"),
    "hdf5": (*INTEGERS, "?", "f2", "f4", "f8", "c8", "S3", "u1,u2"),
    "zarr": (*INTEGERS, "?", "f2", "f4", "f8", "c8"),
    "n5": (*INTEGERS, "f4", "f8"),
    "nrrd": (*INTEGERS, "f4", "f8"),
    "mrc": ("i1", "u2", "i2", "f2", "f4", "c8"),
}
"""Format -> data types of numpy that its library writes."""


def extremes(dtype: str) -> Any:
    """Return an array [z, y, x] that has the data type's extremes, as far as the viewer has a type that holds them."""
    kind = np.dtype(dtype)
    if kind.kind in "ui":
        bounds = np.iinfo(kind)
        numbers = [bounds.max, bounds.max - 1, 0, 1]
    elif kind.kind == "f" and kind.itemsize <= 8:
        numbers = [np.finfo(kind).max, 2.0**11, 0, 1] if kind.itemsize < 8 else [2.0**53, 2.0**24 + 1, 0, 1]
    else:
        numbers = [1, 1, 0, 1]
    return np.array(numbers * 3, kind).reshape(2, 3, 2) if kind.names is None else np.zeros((2, 3, 2), kind)


def saved(form: str, array: Any, folder: Path) -> Path:
    path = folder / f"a.{'h5' if form == 'hdf5' else 'nii' if form == 'nifti' else 'tif' if form == 'tiff' else form}"
    if form == "npy":
        np.save(path, array)
    elif form == "npz":
        np.savez_compressed(path, array)
    elif form == "nifti":
        nib.save(nib.Nifti1Image(array.T, np.eye(4), dtype=array.dtype), path)
    elif form == "tiff":
        tifffile.imwrite(path, array, photometric="minisblack")
    elif form == "hdf5":
        with h5py.File(path, "w") as file:
            file["a"] = array
    elif form == "zarr":
        zarr.create_array(path, shape=array.shape, dtype=array.dtype, zarr_format=3)[...] = array
    elif form == "n5":
        metadata = {"dimensions": array.T.shape, "dataType": array.dtype.name, "compression": {"type": "raw"}}
        spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{path}/"}, "metadata": metadata}
        tensorstore.open(spec, create=True).result().write(array.T).result()
    elif form == "nrrd":
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "datetime", DeprecationWarning)
            nrrd.write(str(path), array, {"encoding": "raw"}, index_order="C")
    else:
        with np.errstate(over="ignore"):
            mrcfile.write(path, array)
    return path


@pytest.mark.parametrize(("form", "dtype"), [(form, dtype) for form, dtypes in HELD.items() for dtype in dtypes])
@pytest.mark.parametrize("layer", ["image", "segmentation"])
def test_every_data_type_maps_without_loss_or_by_the_rule_or_is_refused(
    tmp_path: Path, form: str, dtype: str, layer: Any
) -> None:
    array = extremes(dtype)
    kind = np.dtype(dtype)
    path = saved(form, array, tmp_path)
    if kind.kind not in "buif" or kind.itemsize > 8:
        with pytest.raises((SourceError, ValueRefusedError), match=r"complex|records|object|text|dates|spans|wider|numbers"):
            data_type(open_source(path, GIVEN).dtype, layer)
        return
    source = open_source(path, GIVEN)
    target = data_type(source.dtype, layer)
    rule = LABELS.get(dtype, "uint32") if layer == "segmentation" else GREY_VALUES.get(dtype, kind.name)
    assert target == rule
    voxels = source.read(Box((0, 0, 0), source.shape))[..., 0]
    np.testing.assert_array_equal(voxels.T, array)
    check_values(voxels, target, layer)


def check_values(voxels: Any, target: str, layer: Any) -> None:
    """Each voxel arrives exactly, or rounded to float32 with the error told, or is refused where the target cannot hold it."""
    exact = [int(number) for number in voxels.ravel()]
    fits = target == "float32" or max(exact) <= np.iinfo(target).max
    if layer == "segmentation" and voxels.dtype.kind == "f":
        fits = max(exact) <= (2**53 if target == "uint64" else 2**32 - 1)
    if not fits:
        with pytest.raises(ConverterError, match=r"(does not fit int32|labels are whole numbers from 0)"):
            convert_voxels(voxels, target, layer)
        return
    converted, error = convert_voxels(voxels, target, layer)
    assert converted.dtype == target
    assert converted.dtype.isnative
    largest = max(abs(int(a) - b) for a, b in zip(converted.ravel(), exact, strict=True))
    assert largest == error
    assert error == (1.0 if voxels.dtype == np.float64 and target == "float32" else 0.0)
