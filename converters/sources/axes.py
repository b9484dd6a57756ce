"""Which axis of an array is which: letters -> views [x, y, z, channel].

Pure: every source that reads an array, whatever its file format, decides here what its axes mean and what is taken of them.
Letters: x, y, z, c (channels), t (time); x and y must be there. They stand in the order of the array's shape.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import OptionError
from converters.sources.source import SourceOptions
from formats.grid import Box, Triple

_LETTERS = "xyzct"


@dataclass(frozen=True)
class Arrangement:
    """What is taken of an array, and how.

    axes: one letter an axis of the array. shape: the array's. channel: None for all. time: None where there is no axis t.
    """

    axes: str
    shape: tuple[int, ...]
    channel: int | None = None
    time: int | None = None

    @property
    def voxels(self) -> Triple:
        """Extents along x, y, z; 1 along an axis that the array has not."""
        return self.spatial(self.shape)

    @property
    def num_channels(self) -> int:
        """How many channels are taken."""
        return 1 if self.channel is not None else self._extent("c")

    def spatial(self, extents: tuple[int, ...]) -> Triple:
        """Return those of one extent an axis of the array that are along x, y, z; 1 along an axis that the array has not."""
        told = dict(zip(self.axes, extents, strict=True))
        return told.get("x", 1), told.get("y", 1), told.get("z", 1)

    def box(self) -> Box:
        """All voxels that can be taken."""
        return Box((0, 0, 0), self.voxels)

    def index(self, box: Box) -> tuple[slice, ...]:
        """Return one slice an axis of the array: what box, the channel and the point of time take of it."""
        slices = dict(zip("xyz", box.slices(), strict=True)) | {"c": _one(self.channel), "t": _one(self.time)}
        return tuple(slices[axis] for axis in self.axes)

    def view(self, taken: NDArray[Any]) -> NDArray[Any]:
        """Return array[index(box)] as [x, y, z, channel], without a copy."""
        ordered = taken.transpose([self.axes.index(axis) for axis in _LETTERS if axis in self.axes])
        index = [slice(None) if axis in self.axes else np.newaxis for axis in "xyzc"]
        return ordered[(*index, 0) if "t" in self.axes else tuple(index)]

    def cut(self, shape: tuple[int, ...]) -> "Arrangement":
        """Return the same for an array of which only this shape was kept: what was taken and nothing before it."""
        extents = dict(zip(self.axes, shape, strict=True))
        channel = 0 if self.channel is not None and extents["c"] == 1 else self.channel
        return Arrangement(self.axes, shape, channel, 0 if extents.get("t") == 1 else self.time)

    def _extent(self, axis: str) -> int:
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1


def arrange(name: str, axes: str, shape: tuple[int, ...], options: SourceOptions) -> Arrangement:
    """Return what the options take of an array with these axes and this shape.

    name: of the source, for the messages. Raises OptionError: a letter too many or too few, a time axis and no --time, a
    channel or a point of time that is not there.
    """
    check_axes(name, axes, shape)
    extents = dict(zip(axes, shape, strict=True))
    times = extents.get("t", 1)
    if times > 1 and options.time is None:
        raise OptionError(
            f"{name}: its axis t has {times} points of time and a volume holds one: add --time N, N from 0 to {times - 1}"
        )
    for option, chosen, extent in (("channel", options.channel, extents.get("c", 1)), ("time", options.time, times)):
        if chosen is not None and not 0 <= chosen < extent:
            raise OptionError(f"{name}: --{option} {chosen} is not there: {_choices(option, extent)}")
    channel = options.channel if "c" in axes else None
    return Arrangement(axes, shape, channel, (options.time or 0) if "t" in axes else None)


def check_axes(name: str, axes: str, shape: tuple[int, ...]) -> None:
    """Raise OptionError unless axes name each axis of an array of this shape once, x and y among them."""
    if len(axes) != len(shape):
        raise OptionError(
            f"{name}: --axes {axes} names {len(axes)} axes, the array has {len(shape)} ({shape_text(shape)}): one letter an axis"
        )
    if len(set(axes)) != len(axes) or not set("xy") <= set(axes) <= set(_LETTERS):
        raise OptionError(
            f"{name}: --axes {axes} cannot be: use each of x, y, z, c (channels), t (time) at most once, x and y always"
        )


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape for a message, `3 x 4 x 5`."""
    return " x ".join(str(n) for n in shape) or "no axis"


def _one(position: int | None) -> slice:
    return slice(None) if position is None else slice(position, position + 1)


def _choices(option: str, extent: int) -> str:
    if extent == 1:
        return f"the source has one {'channel' if option == 'channel' else 'point of time'}; leave --{option} out"
    return f"choose 0 to {extent - 1}"
