"""Images as OME-Zarr tells them (NGFF 0.4 and 0.5, "multiscales metadata"; the axes of 0.1 to 0.3 too).

Pure: takes the attributes of a group, knows no files.
"""

import json
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from operator import add, mul
from typing import Any

from converters.errors import SourceError
from converters.sources.zarr.json_metadata import numbers, objects
from converters.sources.zarr.scaled_axes import ScaledAxes, letters_of

_BEFORE_AXES = "tczyx"
"""The axes of every image before 0.3 (0.2, "multiscales metadata": 5D, TCZYX)."""
_SHOWN = 80
"""Letters of wrong metadata that a message repeats."""


@dataclass(frozen=True)
class Axis:
    """One of "axes": name and type as found, unit None where there is none."""

    name: str
    kind: str | None = None
    unit: str | None = None


@dataclass(frozen=True)
class Level:
    """One of "datasets": its array's path below the group, scale and translation one value an axis, None where there is none."""

    path: str
    scale: tuple[float, ...] | None
    translation: tuple[float, ...] | None


@dataclass(frozen=True)
class Image:
    """One of "multiscales": axes, () where it has none, and levels, finest first. label: its voxels are labels."""

    axes: tuple[Axis, ...]
    levels: tuple[Level, ...]
    label: bool

    def level(self, path: str) -> Level | None:
        """Return the level whose array is at a path below the group."""
        return next((level for level in self.levels if level.path == path), None)


def ome_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return what is OME's in a group's attributes: below "ome" since 0.5, before that all."""
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) else attributes


def images(group: str, attributes: dict[str, Any]) -> tuple[Image, ...]:
    """Return the images of a group, none where it holds none.

    group: its path, for messages. attributes: all of the group. Raises SourceError for metadata that is not sound.
    """
    ome = ome_attributes(attributes)
    if "multiscales" not in ome:
        return ()
    found = objects(ome["multiscales"])
    if not found:
        raise _unsound(group, "multiscales", ome["multiscales"], "a list of objects")
    return tuple(_image(group, multiscale, "image-label" in ome) for multiscale in found)


def told_axes(group: str, image: Image, level: Level, rank: int) -> ScaledAxes:
    """Return what an image tells of the axes of a level's array, which has rank of them.

    Raises SourceError where it tells of another number of axes.
    """
    axes = image.axes or (tuple(Axis(name) for name in _BEFORE_AXES) if rank == len(_BEFORE_AXES) else (Axis(""),) * rank)
    found = {"axes": len(axes), "scale": len(level.scale or axes), "translation": len(level.translation or axes)}
    for name, length in found.items():
        if length != rank:
            raise SourceError(
                f"{group}: its OME metadata has {length} values in {name} for level {level.path}, whose array has {rank} axes; "
                "write it again"
            )
    letters, notes = _letters(axes)
    sizes: tuple[float | None, ...] = level.scale or (None,) * rank
    names = tuple(axis.name for axis in axes) if image.axes and letters is None else ()
    units, places = tuple(axis.unit for axis in axes), level.translation or (0.0,) * rank
    return ScaledAxes(letters, sizes, units, places, names, notes)


def _image(group: str, multiscale: dict[str, Any], label: bool) -> Image:
    datasets = objects(multiscale.get("datasets"))
    if not datasets:
        raise _unsound(group, "datasets", multiscale.get("datasets"), "a list of objects")
    axes = multiscale.get("axes", [])
    if not isinstance(axes, list):
        raise _unsound(group, "axes", axes, "a list of objects")
    own = multiscale.get("coordinateTransformations")
    levels = tuple(_level(group, dataset, own) for dataset in datasets)
    return Image(tuple(_axis(group, axis) for axis in axes), levels, label)


def _axis(group: str, axis: object) -> Axis:
    if isinstance(axis, str):
        return Axis(axis)
    if not isinstance(axis, dict) or not isinstance(axis.get("name"), str):
        raise _unsound(group, "axes", axis, "an object with a name")
    kind, unit = axis.get("type"), axis.get("unit")
    return Axis(axis["name"], kind if isinstance(kind, str) else None, unit if isinstance(unit, str) else None)


def _level(group: str, dataset: dict[str, Any], own: object) -> Level:
    path = dataset.get("path")
    if not isinstance(path, str) or not path or path.startswith("/") or ".." in path.split("/"):
        raise _unsound(group, "path", path, "the path of an array below the group")
    scale: tuple[float, ...] | None = None
    translation: tuple[float, ...] | None = None
    # The image's own transformations come after the level's ("multiscales metadata").
    steps = _steps(group, dataset.get("coordinateTransformations")) + _steps(group, own)
    for kind, values in steps:
        if kind == "translation":
            translation = values if translation is None else _pairwise(group, add, translation, values)
            continue
        scale = values if scale is None else _pairwise(group, mul, scale, values)
        translation = None if translation is None else _pairwise(group, mul, translation, values)
    return Level(posixpath.normpath(path), scale, translation)


def _steps(group: str, transformations: object) -> list[tuple[str, tuple[float, ...]]]:
    """Return "coordinateTransformations" as (scale or translation, its values), without identities."""
    if transformations is None:
        return []
    found = objects(transformations)
    if found is None:
        raise _unsound(group, "coordinateTransformations", transformations, "a list of objects")
    steps = []
    for transformation in found:
        kind = transformation.get("type")
        if kind == "identity":
            continue
        values = numbers(transformation.get(kind)) if kind in ("scale", "translation") else None
        if values is None:
            raise _unsound(group, "coordinateTransformations", transformation, "a scale or translation with a list of numbers")
        steps.append((str(kind), values))
    return steps


def _pairwise(
    group: str, function: Callable[[float, float], float], first: tuple[float, ...], second: tuple[float, ...]
) -> tuple[float, ...]:
    if len(first) != len(second):
        raise _unsound(group, "coordinateTransformations", second, f"{len(first)} numbers, as many as before")
    return tuple(function(a, b) for a, b in zip(first, second, strict=True))


def _letters(axes: tuple[Axis, ...]) -> tuple[str | None, tuple[str, ...]]:
    """Return one letter an axis, by type where that is channel or time and else by name, and a note on a custom axis.

    The one axis of a type of its own stands where channels do (0.4, "multiscales metadata").
    """
    names = tuple({"channel": "c", "time": "t"}.get(axis.kind or "", axis.name) for axis in axes)
    letters = letters_of(names)
    if letters is not None:
        return letters, ()
    custom = [i for i, axis in enumerate(axes) if letters_of((names[i],)) is None and axis.kind != "space"]
    letters = letters_of(tuple("c" if i in custom else name for i, name in enumerate(names)))
    if letters is None or len(custom) != 1:
        return None, ()
    return letters, (f"the axis {axes[custom[0]].name} is taken for channels; --axes says otherwise",)


def _unsound(group: str, key: str, found: object, expected: str) -> SourceError:
    text = json.dumps(found)
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."
    return SourceError(f"{group}: its OME metadata tells {shown} as {key}, and {expected} is expected; write it again")
