"""The options of `glassine trace`: those of its steps, lengths in a unit that is chosen."""

import math
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from converters.geometry import Lengths
from converters.labels.options import LabelOptions, MaskOptions, NeighbourOptions, volume_options
from converters.options import ConvertOptions, LayoutOptions, MeshOptions, Options, ReadingOptions, RunOptions, ScaleOptions
from converters.skeletons.options import SkeletonizeOptions

Unit = Literal["nm", "um", "mm"]

NANOMETRES: dict[Unit, float] = {"nm": 1.0, "um": 1e3, "mm": 1e6}

_LONGEST = 1e9
"""In any unit, so that it is a finite number of nm."""
_CONST_EDGES = 8
"""Surfaces are smoother than those of an EM segmentation, and side branches shorter in voxels."""
_NO_SOMA = 1e12
"""nm of radius that nothing has."""
_DUST_VOXELS: int = SkeletonizeOptions.model_fields["dust_threshold"].default
"""Components of no more voxels would get no skeleton."""
_TRACED_LENGTHS = (
    *("voxel_size", "const", "tick_threshold", "min_cable"),
    *("soma_detection_threshold", "soma_acceptance_threshold", "soma_invalidation_const"),
)
_TRACED = (
    *("invalidation_scale", "pdrf_scale", "pdrf_exponent", "soma_invalidation_scale"),
    *("max_paths", "budget", "no_fix_branching", "fill_holes"),
)
"""Options of skeletonizing that are no lengths."""
_IN_UNITS = (("^nm of radius", "Radius in --unit"), ("^nm", "Length in --unit"), (r"\bin nm\b", "in --unit"))
"""How descriptions of lengths speak of nm, and of units in their place."""


def _as(model: type[BaseModel], name: str) -> Any:
    """Return a field of another model: its default, bounds and description stand there."""
    return model.model_fields[name]


def _length(model: type[BaseModel], name: str) -> Any:
    """Return a length that is a field in nm of another model, and that model's default when left out."""
    text, default = model.model_fields[name].description or "", model.model_fields[name].default
    for nanometres, units in _IN_UNITS:
        text = re.sub(nanometres, units, text)
    if default is not None:
        text = f"{text.rstrip('.')}; {default:g} nm when left out."
    above = any(hasattr(bound, "gt") for bound in model.model_fields[name].metadata)
    return Field(None, gt=0 if above else None, ge=None if above else 0, le=_LONGEST, description=text)


class TraceOptions(RunOptions, LayoutOptions, ReadingOptions, ScaleOptions, NeighbourOptions, MaskOptions):
    """How a grey volume becomes labels, meshes and skeletons."""

    unit: Unit = Field(
        "um", description="Unit of --dust, of the lengths below and of the table; --resolution is in nm, SWC files are in um."
    )
    dust: float | None = Field(
        None,
        ge=0,
        le=_LONGEST**3,
        description=f"Components of less volume, in cubic --unit, are left out; of up to {_DUST_VOXELS} voxels when left out.",
    )
    max_error: float | None = _length(MeshOptions, "max_error")
    lods: int | None = _as(MeshOptions, "lods")
    voxel_size: float | None = _length(SkeletonizeOptions, "voxel_size")
    invalidation_scale: float = Field(
        1.5, ge=0, allow_inf_nan=False, description=SkeletonizeOptions.model_fields["invalidation_scale"].description
    )
    const: float | None = Field(
        None,
        ge=0,
        le=_LONGEST,
        description=f"Length in --unit that a path takes away around it beside its radii; {_CONST_EDGES} voxel edges when left "
        "out.",
    )
    pdrf_scale: float = _as(SkeletonizeOptions, "pdrf_scale")
    pdrf_exponent: int = _as(SkeletonizeOptions, "pdrf_exponent")
    soma_detection_threshold: float | None = Field(
        None, ge=0, le=_LONGEST, description="Radius in --unit from which a cell body is looked for; none is when left out."
    )
    soma_acceptance_threshold: float | None = _length(SkeletonizeOptions, "soma_acceptance_threshold")
    soma_invalidation_scale: float = _as(SkeletonizeOptions, "soma_invalidation_scale")
    soma_invalidation_const: float | None = _length(SkeletonizeOptions, "soma_invalidation_const")
    max_paths: int | None = _as(SkeletonizeOptions, "max_paths")
    budget: int = _as(SkeletonizeOptions, "budget")
    tick_threshold: float | None = _length(SkeletonizeOptions, "tick_threshold")
    min_cable: float | None = _length(SkeletonizeOptions, "min_cable")
    no_fix_branching: bool = _as(SkeletonizeOptions, "no_fix_branching")
    fill_holes: bool = _as(SkeletonizeOptions, "fill_holes")
    image: Path | None = Field(
        None, description="Folder for a dataset of the grey volume too, to be seen below the labels; none when left out."
    )
    results: Path | None = Field(None, description="Folder for SWC files, pictures and the table; DATASET-results when left out.")

    @property
    def nanometres(self) -> float:
        """Of one unit."""
        return NANOMETRES[self.unit]


def least_voxels(options: TraceOptions, resolution: Lengths) -> int:
    """Return how many voxels a component has that is no dust. resolution: nm."""
    if options.dust is None:
        return _DUST_VOXELS + 1
    return max(1, math.ceil(options.dust * options.nanometres**3 / math.prod(resolution)))


def label_options(options: TraceOptions, resolution: Lengths) -> LabelOptions:
    """Return how the volume is labelled. resolution: of its voxels, nm."""
    return LabelOptions.model_validate({**_shared(options, LabelOptions), "min_size": least_voxels(options, resolution)})


def image_options(options: TraceOptions) -> ConvertOptions:
    """Return how the grey volume becomes a dataset."""
    return ConvertOptions.model_validate({**_shared(options, ConvertOptions), "type": "image"})


def reading_options(options: TraceOptions) -> ConvertOptions:
    """Return how the source is read."""
    return volume_options(LabelOptions.model_validate(_shared(options, LabelOptions)))


def mesh_options(options: TraceOptions) -> MeshOptions:
    """Return how the labels get meshes."""
    chosen = _of_the_run(options) | {"lods": options.lods} | _nanometres(options, ("max_error",))
    return MeshOptions.model_validate(chosen)


def skeleton_options(options: TraceOptions, resolution: Lengths) -> SkeletonizeOptions:
    """Return how the labels get skeletons: all of them, as dust is gone already. resolution: of the voxels, nm.

    A cell body in a light microscope is a solid ball, through which paths go as through a neurite; what is done for hollow ones
    and for those that touch their own neurites would only harm.
    """
    chosen = _of_the_run(options) | {name: getattr(options, name) for name in _TRACED}
    const = _CONST_EDGES * math.prod(resolution) ** (1 / 3)
    lengths = {"const": float(f"{const:.2g}"), "soma_detection_threshold": _NO_SOMA} | _nanometres(options, _TRACED_LENGTHS)
    return SkeletonizeOptions.model_validate({**chosen, **lengths, "dust_threshold": 0})


def _shared(options: TraceOptions, model: type[Options]) -> dict[str, Any]:
    """Return the options that a step has by the same names."""
    return options.model_dump(include=set(model.model_fields) & set(TraceOptions.model_fields))


def _of_the_run(options: TraceOptions) -> dict[str, Any]:
    return options.model_dump(include=set(RunOptions.model_fields))


def _nanometres(options: TraceOptions, names: tuple[str, ...]) -> dict[str, float]:
    """Return lengths in nm, those that were left out left out."""
    lengths = {name: getattr(options, name) for name in names}
    return {name: length * options.nanometres for name, length in lengths.items() if length is not None}
