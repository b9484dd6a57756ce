"""What a link needs to know of a dataset that is not there yet."""

import os
from importlib.metadata import version
from pathlib import Path

from app.data.lookup import is_servable
from app.links import Layer
from app.preview.runs import run_at
from converters.errors import ConverterError
from converters.record import Contrast, Record
from converters.volumes.contrast import contrast_of
from converters.volumes.plan import Plan, volume_info
from converters.volumes.preview import plan_of_run, preview_voxels
from formats.errors import FormatError


def planned_layer(name: str, plan: Plan) -> Layer:
    """Return the layer of the dataset that a plan makes, with grey values for a first look where they can be had.

    name: its path below the served folder. A little of the source is read, for a second or two.
    """
    geometry = plan.source.geometry
    record = Record(
        glassine=version("glassine"),
        source=plan.source.name,
        fingerprint={},
        options={},
        resolution=geometry.resolution,
        affine=geometry.affine,
        transform=geometry.transform(),
        world=geometry.world,
        contrast=_contrast(plan),
    )
    return Layer(name, volume_info(plan), record)


def layer_of_run(root: Path, name: str) -> Layer | None:
    """Return the layer of a dataset that a conversion is writing now below root, None where there is no such one."""
    path = f"/{name}" if name else ""
    run = run_at(os.path.realpath(root), path) if is_servable(path) else None
    try:
        return None if run is None else planned_layer(name, plan_of_run(run.begun))
    except ConverterError:
        return None


def _contrast(plan: Plan) -> tuple[Contrast, ...]:
    """Return the grey values of a first look from the coarsest scale, none where it cannot be had now."""
    if plan.layer == "segmentation":
        return ()
    try:
        voxels = preview_voxels(plan, len(plan.scales) - 1, plan.scales[-1].box)
    except (ConverterError, FormatError):
        return ()
    return contrast_of([voxels.reshape(-1, voxels.shape[3])])
