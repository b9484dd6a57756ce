"""What commands would do, of those that decide it before they write anything. Their sources are opened: in a confined process."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.amounts import amount, lengths, voxels
from app.jobs.catalogue import job_command
from converters.budget import Budget, budget_of
from converters.executor import open_executor
from converters.options import ConvertOptions, MeshOptions
from formats.grid import Triple

if TYPE_CHECKING:
    from converters.labels.options import LabelOptions
    from converters.labels.plan import LabelPlan
    from converters.skeletons.options import SkeletonizeOptions
    from converters.traces.options import TraceOptions

Told = tuple[dict[str, Any], str]
"""A plan for a program and for a person."""


def tell_plan(command: str, given: Mapping[str, Any]) -> Told:
    """Return what a command of PLANNED would do with what a JSON object holds. Raises ConverterError, FormatError, OSError.

    Each has shape (voxels x, y, z), resolution (nm), workers, memory_bytes and notes.
    """
    words, keywords = job_command(command).form.read(given)
    return _PLANS[command](words, keywords["options"])


def _convert(words: Sequence[Any], options: ConvertOptions) -> Told:
    from app.commands.convert import plan_text, planned_members
    from converters.volumes.estimate import estimate
    from converters.volumes.plan import make_plan

    planned = make_plan(words[0], options)
    cost = estimate(planned)
    return planned_members(planned, cost), plan_text(planned, cost)


def _label(words: Sequence[Any], options: "LabelOptions") -> Told:
    from converters.labels.plan import make_label_plan

    return _labelling(make_label_plan(words[0], options, _budget(options.memory, options.executor)))


def _trace(words: Sequence[Any], options: "TraceOptions") -> Told:
    from converters.labels.plan import make_label_plan
    from converters.sources.opening import open_source
    from converters.traces.options import label_options, reading_options
    from converters.volumes.plan import source_options

    source = open_source(words[0], source_options(reading_options(options)))
    labelling = label_options(options, source.geometry.resolution)
    return _labelling(make_label_plan(words[0], labelling, _budget(options.memory, options.executor)))


def _labelling(plan: "LabelPlan") -> Told:
    source, volume = plan.source, plan.volume
    blocks = math.prod(plan.blocks.shape)
    unpacked = math.prod(source.shape) * source.dtype.itemsize if plan.unpack else 0
    members = {
        "source": source.name,
        "shape": source.shape,
        "resolution": source.geometry.resolution,
        "source_dtype": str(source.dtype),
        "scales": [
            {"key": scale.key, "size": scale.box.shape, "resolution": scale.resolution, "chunk_size": scale.chunk_size}
            for scale in volume.scales
        ],
        "unpacked_bytes": unpacked,
        **_run(blocks, plan.blocks.chunk_size, plan.budget),
        "notes": plan.notes,
    }
    rows = [
        ("source", source.name),
        ("shape", f"{voxels(source.shape)} voxels of {lengths(source.geometry.resolution)}, {source.dtype}"),
        *(("scale", f"{voxels(scale.box.shape)} voxels of {lengths(scale.resolution)}") for scale in volume.scales),
        *([("unpack", f"{amount(unpacked, 'bytes')} beside the dataset while it is labelled")] if unpacked else []),
        *_run_rows(blocks, plan.blocks.chunk_size, plan.budget),
        *(("note", note) for note in plan.notes),
    ]
    return members, _text(rows)


def _mesh(words: Sequence[Any], options: MeshOptions) -> Told:
    from converters.meshes.plan import make_mesh_plan

    plan = make_mesh_plan(words[0], options, _budget(options.memory, options.executor))
    scale, blocks = plan.scale, len(plan.blocks())
    members = {
        **_volume(words[0], scale.key, scale.size, scale.resolution),
        "max_error": plan.max_error,
        "lods": len(plan.simplifiers),
        **_run(blocks, plan.block, plan.budget),
        "notes": plan.notes,
    }
    rows = [
        *_volume_rows(words[0], scale.key, scale.size, scale.resolution),
        ("error", f"at most {plan.max_error:g} nm, {len(plan.simplifiers)} levels of detail"),
        *_run_rows(blocks, plan.block, plan.budget),
    ]
    return members, _text(rows)


def _skeletonize(words: Sequence[Any], options: "SkeletonizeOptions") -> Told:
    from converters.skeletons.plan import make_skeleton_plan

    plan = make_skeleton_plan(words[0], options, _budget(options.memory, options.executor))
    scale = plan.scale
    members = {
        **_volume(words[0], scale.key, scale.size, scale.resolution),
        **_run(plan.blocks, plan.grid.chunk_size, plan.budget),
        "notes": (),
    }
    rows = [
        *_volume_rows(words[0], scale.key, scale.size, scale.resolution),
        *_run_rows(plan.blocks, plan.grid.chunk_size, plan.budget),
    ]
    return members, _text(rows)


_PLANS: Mapping[str, Callable[[Sequence[Any], Any], Told]] = {
    "convert": _convert,
    "label": _label,
    "trace": _trace,
    "mesh": _mesh,
    "skeletonize": _skeletonize,
}


def _budget(memory: str | None, executor: str) -> Budget:
    with open_executor(executor) as opened:
        return budget_of(memory, opened)


def _volume(dataset: Path, key: str, shape: Triple, resolution: tuple[float, float, float]) -> dict[str, Any]:
    return {"dataset": str(dataset), "scale": key, "shape": shape, "resolution": resolution}


def _volume_rows(dataset: Path, key: str, shape: Triple, resolution: tuple[float, float, float]) -> list[tuple[str, str]]:
    return [("dataset", str(dataset)), ("scale", f"{key}, {voxels(shape)} voxels of {lengths(resolution)}")]


def _run(blocks: int, block: Triple, budget: Budget) -> dict[str, Any]:
    return {"blocks": blocks, "block_size": block, "workers": budget.workers, "memory_bytes": budget.memory}


def _run_rows(blocks: int, block: Triple, budget: Budget) -> list[tuple[str, str]]:
    return [
        ("blocks", f"{blocks} of {voxels(block)} voxels"),
        ("memory", f"at most {amount(budget.memory, 'bytes')}, {budget.workers} workers"),
    ]


def _text(rows: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"{name:7} {text}" for name, text in rows)
