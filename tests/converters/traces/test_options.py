"""The options of `glassine trace` are those of its steps."""

import math
from typing import Any

import pytest
from pydantic import ValidationError

from converters.labels.options import LabelOptions
from converters.options import ConvertOptions, MeshOptions
from converters.skeletons.options import SkeletonizeOptions
from converters.traces.options import (
    TraceOptions,
    image_options,
    label_options,
    least_voxels,
    mesh_options,
    reading_options,
    skeleton_options,
)

VOXEL = (190.0, 190.0, 380.0)
OTHER_DEFAULTS = {"invalidation_scale"}


@pytest.mark.parametrize("model", [LabelOptions, ConvertOptions])
def test_what_a_step_has_by_the_same_name_is_the_step_s(model: type[LabelOptions | ConvertOptions]) -> None:
    shared = set(TraceOptions.model_fields) & set(model.model_fields)
    assert len(shared) > 10
    for name in shared:
        ours, theirs = TraceOptions.model_fields[name], model.model_fields[name]
        assert (ours.default, ours.description, ours.metadata) == (theirs.default, theirs.description, theirs.metadata)


@pytest.mark.parametrize("unit", ["nm", "um", "mm"])
def test_lengths_are_in_the_unit(unit: str) -> None:
    size = {"nm": 1.0, "um": 1e3, "mm": 1e6}[unit]
    chosen = {"const": 2000, "tick_threshold": 800, "min_cable": 5000, "soma_acceptance_threshold": 4000, "voxel_size": 400}
    lengths = {name: length / size for name, length in chosen.items()}
    options = TraceOptions.model_validate({**lengths, "unit": unit, "dust": 20e9 / size**3, "max_error": 300 / size})
    skeletons = skeleton_options(options, VOXEL)
    assert {name: getattr(skeletons, name) for name in chosen} == pytest.approx(chosen)
    assert mesh_options(options).max_error == pytest.approx(300)
    # 20 cubic micron.
    assert least_voxels(options, VOXEL) == label_options(options, VOXEL).min_size == math.ceil(20 / (0.19 * 0.19 * 0.38))


def test_defaults_suit_light_microscopes() -> None:
    options = TraceOptions()
    assert least_voxels(options, VOXEL) == SkeletonizeOptions().dust_threshold + 1
    skeletons = skeleton_options(options, VOXEL)
    assert skeletons.const == 1900  # 8 edges of 239 nm
    assert skeletons.soma_detection_threshold == 1e12
    assert skeletons.dust_threshold == 0
    same = set(SkeletonizeOptions.model_fields) - {"const", "soma_detection_threshold", "dust_threshold", "invalidation_scale"}
    for name in same:
        assert getattr(skeletons, name) == getattr(SkeletonizeOptions(), name)
    assert mesh_options(options) == MeshOptions()
    assert image_options(options) == ConvertOptions(type="image")
    assert reading_options(options) == ConvertOptions(type="segmentation")
    assert label_options(options, VOXEL) == LabelOptions(min_size=1001)


def test_dust_of_none_keeps_single_voxels() -> None:
    assert least_voxels(TraceOptions(dust=0), VOXEL) == 1


def test_how_a_run_works_is_told_to_every_step() -> None:
    options = TraceOptions(memory="2GB", executor="serial", overwrite=True, channel=1, resolution=(1, 2, 3), layout="flat")
    for step in (label_options(options, VOXEL), image_options(options), mesh_options(options), skeleton_options(options, VOXEL)):
        assert (step.memory, step.executor, step.overwrite) == ("2GB", "serial", True)
    assert image_options(options).channel == label_options(options, VOXEL).channel == 1
    assert image_options(options).layout == label_options(options, VOXEL).layout == "flat"


@pytest.mark.parametrize(
    "wrong",
    [
        {"unit": "parsec"},
        {"dust": -1},
        {"dust": float("nan")},
        {"const": -1},
        {"const": 1e30},
        {"voxel_size": 0},
        {"max_error": 0},
        {"max_paths": 1},
        {"lods": 0},
        {"invalidation_scale": -1},
        {"min_size": 3},
        {"encoding": "raw"},
    ],
)
def test_what_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TraceOptions.model_validate(wrong)


def test_no_length_speaks_of_nm_but_where_it_says_what_is_left_out() -> None:
    for name in ("max_error", "voxel_size", "const", "tick_threshold", "min_cable", "soma_acceptance_threshold"):
        text = TraceOptions.model_fields[name].description or ""
        assert "--unit" in text
        assert " in nm" not in text
