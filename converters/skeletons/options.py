"""The options of skeletonizing: every parameter of kimimaro once, lengths in nm."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from converters.options import RunOptions
from converters.skeletons.targets import TargetUnit

_FROM_VOXELS = "derived from the voxel size when left out"


class SkeletonizeOptions(RunOptions):
    """How the segments of a volume become skeletons."""

    voxel_size: float = Field(
        32, gt=0, allow_inf_nan=False, description="Trace on the scale whose voxels come nearest to this size in nm."
    )
    scale: str | None = Field(None, min_length=1, description="Key of the scale to trace on, whatever --voxel-size says.")
    segments: str | None = Field(
        None, pattern=r"^\s*\d+(\s*,\s*\d+)*\s*$", description="Ids of the only segments to trace, e.g. 12,34; all when left out."
    )
    invalidation_scale: float = Field(
        4,
        ge=0,
        allow_inf_nan=False,
        description="A path takes away what lies within this many radii of it, and --const (TEASAR).",
    )
    const: float | None = Field(
        None, ge=0, allow_inf_nan=False, description=f"nm that a path takes away around it beside its radii; {_FROM_VOXELS}."
    )
    pdrf_scale: float = Field(100_000, gt=0, allow_inf_nan=False, description="How strongly paths keep to the middle.")
    pdrf_exponent: int = Field(4, ge=1, le=64, description="How steeply it grows towards the surface; powers of 2 are fast.")
    soma_detection_threshold: float | None = Field(
        None, ge=0, allow_inf_nan=False, description=f"nm of radius from which a cell body is looked for; {_FROM_VOXELS}."
    )
    soma_acceptance_threshold: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description=f"nm of radius from which it is one, and the root lies in it; {_FROM_VOXELS}.",
    )
    soma_invalidation_scale: float = Field(
        2, ge=0, allow_inf_nan=False, description="A cell body takes away what lies within this many radii of its centre."
    )
    soma_invalidation_const: float | None = Field(
        None, ge=0, allow_inf_nan=False, description=f"nm that a cell body takes away beside its radii; {_FROM_VOXELS}."
    )
    max_paths: int | None = Field(None, ge=2, description="Most paths of a piece of a segment in a block; see also --budget.")
    budget: int = Field(
        5_000_000_000,
        ge=1,
        description="Voxels times paths that a piece of a segment may take in a block; what takes more is named at the end.",
    )
    dust_threshold: int = Field(1000, ge=0, description="Pieces of no more voxels than this get no skeleton.")
    tick_threshold: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="nm; branches that are shorter are taken for ticks and go; --const when left out.",
    )
    min_cable: float = Field(0, ge=0, allow_inf_nan=False, description="nm; pieces with less cable get no skeleton.")
    no_fix_branching: bool = Field(False, description="Let branches run along each other before they part; faster.")
    fill_holes: bool = Field(
        False, description="Fill holes in segments first; what other segments have in them is taken from them."
    )
    fix_avocados: bool = Field(False, description="Give a nucleus that is a segment of its own to the cell around it first.")
    targets_before: Path | None = Field(
        None,
        description="Table (.csv, .tsv; columns x, y, z and segment) of points such as synapses that paths lead to first, "
        "whatever else is traced: to the nearest voxel of the segment.",
    )
    targets_after: Path | None = Field(None, description="The same, with paths that are traced last.")
    targets_unit: TargetUnit = Field("nm", description="Unit of these points; voxels are those of the finest scale.")
    layout: Literal["auto", "files", "sharded"] = Field(
        "auto", description="files: one a segment; sharded: many segments a file; auto is sharded above 10,000 segments."
    )
    overwrite: bool = Field(False, description="Replace other skeletons of the dataset.")
