"""What metadata tells of the axes of an array, Zarr's or N5's: their names, voxel sizes and places -> a source."""

from dataclasses import dataclass, replace

from converters.errors import OptionError
from converters.geometry import Affine, Geometry
from converters.sources.array import ArraySource
from converters.sources.axes import arrange, check_axes, shape_text
from converters.sources.source import SourceOptions
from converters.sources.units import told_resolution, unit_nm
from converters.sources.zarr.chunk_store import ChunkReader

_X_FASTEST = "tczyx"
_PLANE = "zyx"
_LETTERS = {letter: letter for letter in "xyzct"} | {"channel": "c", "channels": "c", "time": "t"}


@dataclass(frozen=True)
class ScaledAxes:
    """What an array's metadata tells, one value an axis in the order of its shape.

    letters: one of x, y, z, c, t an axis; None where the metadata names no axes, or others: names. sizes: of a voxel, in units;
    None where not told. places: of the first voxel's CENTRE, in units. notes: one sentence each, for the user.
    """

    letters: str | None
    sizes: tuple[float | None, ...]
    units: tuple[str | None, ...]
    places: tuple[float, ...]
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def letters_of(names: tuple[str, ...]) -> str | None:
    """Return one letter an axis for names such as Z, y, channel, time; None where one is something else or stands twice."""
    letters = "".join(_LETTERS.get(name.lower(), "") for name in names)
    return letters if len(set(letters)) == len(names) else None


def array_source(name: str, reader: ChunkReader, told: ScaledAxes, options: SourceOptions, label: bool) -> ArraySource:
    """Return the source of an array whose metadata tells this.

    Raises OptionError where nothing tells the axes or the voxel size, or an option does not fit.
    """
    axes, notes = _axes(name, reader, told, options)
    arrangement = arrange(name, axes, reader.shape, options)
    geometry, more = _geometry(name, axes, told, options)
    order = tuple(axes.index(axis) for axis in _X_FASTEST if axis in axes)
    return ArraySource(name, replace(reader, order=order), arrangement, geometry, label, (*told.notes, *notes, *more))


def _axes(name: str, reader: ChunkReader, told: ScaledAxes, options: SourceOptions) -> tuple[str, tuple[str, ...]]:
    axes = options.axes or told.letters
    if axes is not None:
        check_axes(name, axes, reader.shape)
        return axes, ()
    shape = reader.shape
    if told.names or len(shape) > len(_PLANE):
        named = f"its axes are named {', '.join(told.names)}" if told.names else "nothing tells what they are"
        raise OptionError(
            f"{name}: the array has {len(shape)} axes ({shape_text(shape)}) and {named}: add --axes with one letter "
            "an axis out of x, y, z, c (channels), t (time), e.g. --axes czyx"
        )
    slowest_first = dict(zip(reader.order, _PLANE[-len(shape) :], strict=True))
    axes = "".join(slowest_first[axis] for axis in range(len(shape)))
    extents = ", ".join(f"{axis}={n}" for axis, n in zip(axes, shape, strict=True))
    return axes, (f"axes taken as {axes} ({extents}), as x varies fastest on disk; --axes says otherwise",)


def _geometry(name: str, axes: str, told: ScaledAxes, options: SourceOptions) -> tuple[Geometry, tuple[str, ...]]:
    values = {axis: (told.sizes[i], told.units[i], told.places[i]) for i, axis in enumerate(axes)}
    notes = []
    if "z" not in axes:
        values["z"] = (*values["x"][:2], 0.0)
        if options.resolution is None:
            notes.append("the array has no axis z: its one slice is taken to be as thick as a voxel along x")
    x, y, z = values["x"], values["y"], values["z"]
    units = (x[1], y[1], z[1])
    resolution = told_resolution(name, (x[0], y[0], z[0]), units, options)
    geometry = Geometry(resolution, options.offset)
    places = (x[2], y[2], z[2])
    if not any(places):
        return geometry, tuple(notes)
    nm = [place * (unit_nm(unit) or 1) for place, unit in zip(places, units, strict=True)]
    if any(place and unit_nm(unit) is None for place, unit in zip(places, units, strict=True)):
        return geometry, (*notes, "the place of the volume is told without a unit of length and left out")
    return replace(geometry, affine=_affine(resolution, (nm[0], nm[1], nm[2]))), tuple(notes)


def _affine(resolution: tuple[float, float, float], place: tuple[float, float, float]) -> Affine:
    (a, b, c), (x, y, z) = resolution, place
    return (a, 0.0, 0.0, x), (0.0, b, 0.0, y), (0.0, 0.0, c, z)
