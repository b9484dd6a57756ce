"""Real files that nibabel and numpy write, one of each kind that is read, with the voxels that nibabel reads from them."""

import gzip
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from converters.sources.source import SourceOptions

SHAPE = (7, 6, 5)
AFFINE = np.array([[0, -2, 0.1, 5], [1.5, 0, 0, -7], [0, 0.2, 3, 1], [0, 0, 0, 1]])
NM = SourceOptions(resolution=(8.0, 9.0, 40.0))


@dataclass(frozen=True)
class Sample:
    """A file, how it is opened, and [x, y, z, channel] as another library reads it."""

    path: Path
    expected: Any = field(repr=False)
    options: SourceOptions = field(default_factory=SourceOptions)


def voxels(dtype: str, *more: int) -> Any:
    """Return voxels that use the data type's whole range."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 256, (*SHAPE, *more, np.dtype(dtype).itemsize), np.uint8)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 1000, (*SHAPE, *more)).astype(dtype)
    return bits.view(dtype)[..., 0]


def nifti(path: Path, array: Any, *, slope: tuple[float, float] | None = None, image_class: Any = nib.Nifti1Image) -> Sample:
    """Write with nibabel, read with nibabel."""
    image = image_class(array, AFFINE, dtype=array.dtype)
    image.header.set_xyzt_units("mm", "sec" if array.ndim == 4 and array.shape[3] > 4 else 0)
    image.header.set_data_dtype(array.dtype)
    if slope is not None:
        image.header.set_slope_inter(*slope)
    nib.save(image, path)
    read = np.asanyarray(nib.load(path).dataobj)
    return Sample(path, read if read.ndim == 4 else read[..., np.newaxis])


def big_endian(folder: Path) -> Sample:
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.dtype(">i4"))
    header.set_xyzt_units("mm")
    nib.save(nib.Nifti1Image(voxels(">i4"), AFFINE, header), folder / "big.nii")
    return Sample(folder / "big.nii", np.asanyarray(nib.load(folder / "big.nii").dataobj)[..., np.newaxis])


def point_of_time(path: Path) -> Sample:
    sample = nifti(path, voxels("i2", 9))
    return Sample(path, sample.expected[..., 4:5], SourceOptions(time=4))


def vectors(path: Path) -> Sample:
    sample = nifti(path, voxels("f4", 1, 3))
    return Sample(path, sample.expected[..., 0, :, 0])


def colours(path: Path, letters: str) -> Sample:
    planes = voxels("u1", len(letters))
    records = np.ascontiguousarray(planes).view([(letter, "u1") for letter in letters])[..., 0]
    image = nib.Nifti1Image(records, AFFINE)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    read = np.asanyarray(nib.load(path).dataobj)
    return Sample(path, np.stack([read[letter] for letter in letters], axis=-1))


def analyze(path: Path, image_class: Any, slope: float | None) -> Sample:
    image = image_class(voxels("i2"), np.diag([-1, 2, 3, 1]))
    image.header.set_slope_inter(slope)
    nib.save(image, path)
    path.with_suffix(".mat").unlink(missing_ok=True)
    return Sample(path, np.asanyarray(nib.load(path).dataobj)[..., np.newaxis])


def mgh(path: Path, array: Any) -> Sample:
    # By way of bytes, because nibabel leaves MGH files open.
    data = nib.MGHImage(array, AFFINE.astype("f4")).to_bytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".mgz" else data)
    read = np.asanyarray(nib.MGHImage.from_bytes(data).dataobj)
    return Sample(path, read if read.ndim == 4 else read[..., np.newaxis])


def afni(name: str, time: int | None) -> Sample:
    path = Path(nib.__file__).parent / "tests" / "data" / name
    read = np.asanyarray(nib.load(path).dataobj)
    return Sample(path, read if time is None else read[..., time : time + 1], SourceOptions(time=time))


def npy(path: Path, array: Any, expected: Any, axes: str | None = None) -> Sample:
    np.save(path, array)
    return Sample(path, expected, SourceOptions(axes=axes, resolution=NM.resolution))


def _samples(folder: Path) -> dict[str, Sample]:
    cube, channels = voxels("u2"), voxels("u1", 3)
    return {
        "nifti": nifti(folder / "a.nii", voxels("i2")),
        "nifti of floats": nifti(folder / "f.nii", voxels("f4")),
        "nifti 2 of ids": nifti(folder / "b.nii", voxels("u8"), image_class=nib.Nifti2Image),
        "nifti, big endian": big_endian(folder),
        "nifti, scaled": nifti(folder / "s.nii", voxels("i2"), slope=(0.37, -12.0)),
        "nifti, scaled by a slope": nifti(folder / "s1.nii", voxels("u1"), slope=(3.5, 0.0)),
        "nifti, scaled by an intercept": nifti(folder / "s2.nii", voxels("i4"), slope=(1.0, -1024.0)),
        "nifti, scaled floats": nifti(folder / "s3.nii", voxels("f4"), slope=(0.37, -12.0)),
        "nifti, gzip": nifti(folder / "c.nii.gz", voxels("u2")),
        "nifti, gzip, scaled": nifti(folder / "d.nii.gz", voxels("u2"), slope=(2.0, 1.0)),
        "nifti, channels": nifti(folder / "e.nii", voxels("u1", 3)),
        "nifti, gzip, channels": nifti(folder / "e.nii.gz", voxels("u1", 3)),
        "nifti, point of time": point_of_time(folder / "t.nii"),
        "nifti, gzip, point of time": point_of_time(folder / "t.nii.gz"),
        "nifti, vectors": vectors(folder / "v.nii"),
        "nifti, RGB": colours(folder / "rgb.nii", "RGB"),
        "nifti, RGBA, gzip": colours(folder / "rgba.nii.gz", "RGBA"),
        "nifti pair": nifti(folder / "pair.img", voxels("i4"), image_class=nib.Nifti1Pair),
        "nifti pair, gzip": nifti(folder / "pair2.hdr.gz", voxels("i4"), image_class=nib.Nifti2Pair),
        "analyze": analyze(folder / "analyze.hdr", nib.AnalyzeImage, None),
        "analyze of SPM, scaled": analyze(folder / "spm.img", nib.Spm2AnalyzeImage, 0.3),
        "mgh": mgh(folder / "m.mgh", voxels("f4")),
        "mgz": mgh(folder / "m.mgz", voxels("i2")),
        "mgz, channels": mgh(folder / "m4.mgz", voxels("i4", 2)),
        "afni, point of time, gzip": afni("example4d+orig.HEAD", 2),
        "afni, scaled": afni("scaled+tlrc.BRIK", None),
        "npy, C order": npy(folder / "c.npy", np.ascontiguousarray(cube.T), cube[..., np.newaxis]),
        "npy, Fortran order": npy(folder / "f.npy", np.asfortranarray(cube), cube[..., np.newaxis]),
        "npy, big endian": npy(folder / "b.npy", np.asfortranarray(voxels(">f8")), voxels(">f8")[..., np.newaxis]),
        "npy, bool": npy(folder / "bool.npy", np.asfortranarray(cube > 9000), (cube > 9000)[..., np.newaxis]),
        "npy, plane": npy(folder / "p.npy", np.ascontiguousarray(cube[:, :, 0].T), cube[:, :, :1, np.newaxis]),
        "npy, channels": npy(folder / "ch.npy", channels.transpose(3, 2, 1, 0).copy(), channels, "czyx"),
        "npy, odd axes": npy(folder / "odd.npy", channels.transpose(1, 3, 2, 0).copy(), channels, "yczx"),
    }


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sample]:
    """Every kind of file, by name."""
    return _samples(tmp_path_factory.mktemp("samples"))
