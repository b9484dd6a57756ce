"""Voxel size and place as attributes of an array tell them where there is no OME metadata.

`transform` is COSEM's, `dimension_units` tensorstore's for Zarr v3, `resolution` with `units` Neuroglancer's, `resolution` or
`voxel_size` with `offset` what daisy, gunpowder and Paintera write.
"""

import re
from typing import Any

from converters.sources.zarr.json_metadata import numbers, texts
from converters.sources.zarr.scaled_axes import ScaledAxes, letters_of

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)?\s*([^0-9\s].*)", re.ASCII)
"""`40 nm`, `nm`."""

Scales = tuple[tuple[float | None, ...], tuple[str | None, ...]]
"""Voxel size and its unit, one an axis, None where not told."""


def transform_axes(attributes: dict[str, Any], rank: int) -> ScaledAxes | None:
    """Return what "transform" tells, in the order in which it names the axes; None where there is none for an array of rank axes.

    Its scale is of the array's own voxels, its translate the place of the first voxel's centre.
    """
    transform = attributes.get("transform")
    if not isinstance(transform, dict):
        return None
    names, units = texts(transform.get("axes")), texts(transform.get("units"))
    scale, translate = numbers(transform.get("scale")), numbers(transform.get("translate"))
    if names is None or scale is None or len(names) != rank or len(scale) != rank:
        return None
    letters = letters_of(names)
    places = translate if translate is not None and len(translate) == rank else (0.0,) * rank
    told = units if units is not None and len(units) == rank else (None,) * rank
    return ScaledAxes(letters, scale, told, places, names)


def resolution_of(attributes: dict[str, Any], rank: int) -> Scales | None:
    """Return what "dimension_units", or "resolution" or "voxel_size" with "units" or "unit", tell an array of rank axes."""
    quantities = attributes.get("dimension_units")
    if isinstance(quantities, list) and len(quantities) == rank:
        told = [_quantity(quantity) for quantity in quantities]
        return tuple(size for size, _ in told), tuple(unit for _, unit in told)
    for key in ("resolution", "voxel_size"):
        sizes = numbers(attributes.get(key))
        if sizes is not None and len(sizes) == rank:
            return sizes, _units(attributes, rank)
    return None


def _quantity(text: object) -> tuple[float | None, str | None]:
    found = _QUANTITY.fullmatch(text.strip()) if isinstance(text, str) else None
    return (None, None) if found is None else (float(found[1] or 1), found[2])


def _units(attributes: dict[str, Any], rank: int) -> tuple[str | None, ...]:
    for key in ("units", "unit"):
        told = attributes.get(key)
        if isinstance(told, str):
            return (told,) * rank
        several = texts(told)
        if several is not None and len(several) == rank:
            return several
    return (None,) * rank
