"""Which data type of the viewer holds a source's voxels, and the change to it without loss.

The viewer has no bool, float16, int64 and float64 (volume.md, "data_type"). Labels become uint32 or uint64; grey values keep
their type where the viewer has it, and int64, float16 and float64 become the nearest type that it has.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from converters.errors import ValueRefusedError
from converters.sources.source import Source

LayerType = Literal["image", "segmentation"]

_LABEL_SOURCES = ("uint32", "int32", "uint64", "int64")
_LABELS = {
    "bool": "uint32",
    "uint8": "uint32",
    "int8": "uint32",
    "uint16": "uint32",
    "int16": "uint32",
    "uint32": "uint32",
    "int32": "uint32",
    "float16": "uint32",
    "float32": "uint32",
    "uint64": "uint64",
    "int64": "uint64",
    "float64": "uint64",
}
_GREY_VALUES = {
    "bool": "uint8",
    "uint8": "uint8",
    "int8": "int8",
    "uint16": "uint16",
    "int16": "int16",
    "uint32": "uint32",
    "int32": "int32",
    "uint64": "uint64",
    "int64": "int32",
    "float16": "float32",
    "float32": "float32",
    "float64": "float32",
}
_REFUSED = {
    "c": "complex numbers; save their magnitude or phase as float32",
    "f": "numbers wider than any type of the viewer; save them as float32",
    "V": "records of several fields; save one field as an array of its own",
    "O": "Python objects; save them as numbers",
    "M": "dates; save them as numbers",
    "m": "spans of time; save them as numbers",
}
_LARGEST_EXACT = 2**53
"""Above it float64 does not hold every whole number."""


def layer_type(source: Source, requested: Literal["auto", "image", "segmentation"]) -> LayerType:
    """Return what the dataset will be: what was requested; for auto a segmentation of (u)int32, (u)int64 and label sources."""
    if requested != "auto":
        return requested
    return "segmentation" if source.label or _name(source.dtype) in _LABEL_SOURCES else "image"


def data_type(dtype: np.dtype[Any], layer: LayerType) -> str:
    """Return the viewer's data type for voxels of dtype. Raises ValueRefusedError (complex, object, text, ...)."""
    targets = _LABELS if layer == "segmentation" else _GREY_VALUES
    target = targets.get(_name(dtype))
    if target is None:
        reason = _REFUSED.get(dtype.kind, "no numbers; save them as integers or float32")
        raise ValueRefusedError(f"the data type {_name(dtype)} cannot be shown: these are {reason}")
    return target


def convert_voxels(voxels: NDArray[Any], target: str, layer: LayerType) -> tuple[NDArray[Any], float]:
    """Return the voxels as the data type target, no copy where none is needed, and the largest error that made (float64 only).

    voxels: any shape and byte order. target: what data_type gave for them; native byte order.
    Raises ValueRefusedError for a value that target cannot hold: fractional or negative labels, int64 beyond int32 in an image.
    """
    if target != data_type(voxels.dtype, layer):
        raise ValueError(f"{voxels.dtype} becomes {data_type(voxels.dtype, layer)} in a layer of type {layer}, not {target}")
    if voxels.dtype.kind == "b":
        # A file's bool may be any byte, and what a cast makes of it is not defined.
        voxels = np.not_equal(voxels.view(np.uint8), 0).view(np.uint8)
    if layer == "segmentation":
        return _labels(voxels, np.dtype(target)), 0.0
    return _grey_values(voxels, np.dtype(target))


def _labels(voxels: NDArray[Any], target: np.dtype[Any]) -> NDArray[Any]:
    kind, native = voxels.dtype.kind, voxels.dtype.newbyteorder("=")
    if kind == "u":
        return voxels.astype(target, copy=False)
    if kind == "f":
        return _labels_of_floats(voxels.astype(native, copy=False), target)
    signed = voxels.astype(native, copy=False)
    if signed.size and signed.min() < 0:
        raise _label_refused(voxels.dtype, signed.min(), "negative")
    return signed.view(target) if native.itemsize == target.itemsize else signed.astype(target)


def _labels_of_floats(voxels: NDArray[Any], target: np.dtype[Any]) -> NDArray[Any]:
    # One cast and one comparison find every float that is no label: the cast of NaN and of a float beyond the integer's range
    # is undefined, but the integer that it gives never equals the float.
    with np.errstate(invalid="ignore"):
        labels = voxels.astype(np.int64 if target.itemsize == 8 else target)
    same = labels == voxels
    if not same.all():
        raise _float_refused(voxels[~same].flat[0], target)
    if target.itemsize == 8 and labels.size:
        for extreme in (labels.min(), labels.max()):
            if not 0 <= extreme <= _LARGEST_EXACT:
                raise _float_refused(np.float64(extreme), target)
    return labels.view(target)


def _float_refused(value: np.floating[Any], target: np.dtype[Any]) -> ValueRefusedError:
    if not np.isfinite(value):
        return _label_refused(value.dtype, value, "no number")
    if value != np.floor(value):
        return _label_refused(value.dtype, value, "no whole number")
    if value < 0:
        return _label_refused(value.dtype, int(value), "negative")
    above = "2^53, where float64 no longer tells neighbours apart" if target.itemsize == 8 else f"{2**32 - 1}, the largest uint32"
    return _label_refused(value.dtype, int(value), f"above {above}")


def _label_refused(dtype: np.dtype[Any], value: Any, reason: str) -> ValueRefusedError:
    return ValueRefusedError(
        f"the label {value} (data type {_name(dtype)}) is {reason}: labels are whole numbers from 0; "
        "for grey values say --type image"
    )


def _grey_values(voxels: NDArray[Any], target: np.dtype[Any]) -> tuple[NDArray[Any], float]:
    if voxels.dtype.kind == "i" and voxels.dtype.itemsize == 8:
        _check_int32(voxels)
    if voxels.dtype.kind == "f" and voxels.dtype.itemsize == 8:
        return _rounded(voxels, target)
    return voxels.astype(target, copy=False), 0.0


def _check_int32(voxels: NDArray[Any]) -> None:
    bounds = np.iinfo(np.int32)
    if not voxels.size:
        return
    for value in (voxels.min(), voxels.max()):
        if not bounds.min <= value <= bounds.max:
            raise ValueRefusedError(
                f"the value {value} (data type int64) does not fit int32, the widest signed type of the viewer "
                f"({bounds.min} to {bounds.max}): for labels say --type segmentation, else save the array as float32"
            )


def _rounded(voxels: NDArray[Any], target: np.dtype[Any]) -> tuple[NDArray[Any], float]:
    with np.errstate(over="ignore"):
        rounded = voxels.astype(target)
    if not voxels.size:
        return rounded, 0.0
    with np.errstate(invalid="ignore"):
        error = np.subtract(voxels, rounded)
    np.abs(error, out=error)
    # fmax passes over NaN: of NaN itself, and of infinities that stay what they are.
    largest = float(np.fmax.reduce(error, axis=None))
    if np.isinf(largest):
        value = voxels[np.isinf(error)].flat[0]
        raise ValueRefusedError(
            f"the value {value} (data type float64) lies beyond float32, the widest float of the viewer "
            f"(up to {np.finfo(np.float32).max}): divide the array by a constant and save it again"
        )
    return rounded, 0.0 if np.isnan(largest) else largest


def _name(dtype: np.dtype[Any]) -> str:
    return "text" if dtype.kind in "SUT" else "records" if dtype.kind == "V" else dtype.newbyteorder("=").name
