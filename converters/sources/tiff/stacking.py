"""How an array is made of pages: its first axes count pages, its last ones lie within each."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.sources.tiff.pages import Extents, Part

ReadPage = Callable[[int, Part, NDArray[Any]], None]
"""Writes page[part], counted from 0, into an array of its shape."""


@dataclass(frozen=True)
class Stacking:
    """How an array is made of pages.

    shape: the array's; pages are counted along its first axes in C order. page: extents of each page. within: for each of the
    array's last axes, which of a page's it is.
    """

    shape: tuple[int, ...]
    page: Extents
    within: tuple[int, ...]

    @property
    def counted(self) -> tuple[int, ...]:
        """Extents of the axes along which pages are counted."""
        return self.shape[: len(self.shape) - len(self.within)]

    @property
    def pages(self) -> int:
        """How many pages make up the array."""
        return math.prod(self.counted)

    def chunk(self, page_chunk: Extents) -> tuple[int, ...]:
        """Return, one extent an axis of the array, what is read at one go where that is page_chunk of a page."""
        return (*(1 for _ in self.counted), *(page_chunk[axis] for axis in self.within))

    def read(self, index: tuple[slice, ...], dtype: np.dtype[Any], read_page: ReadPage) -> NDArray[Any]:
        """Return array[index], one slice of step 1 an axis, from what read_page gives."""
        counted = len(self.counted)
        part = [slice(0, n) for n in self.page]
        for axis, taken, extent in zip(self.within, index[counted:], self.shape[counted:], strict=True):
            part[axis] = _bounded(taken, extent)
        numbers = np.arange(self.pages).reshape(self.counted)[index[:counted]]
        out = np.empty((numbers.size, *(taken.stop - taken.start for taken in part)), dtype)
        for number, page in zip(numbers.flat, out, strict=True):
            read_page(int(number), (part[0], part[1], part[2], part[3], part[4]), page)
        others = [axis for axis in range(len(self.page)) if axis not in self.within]
        # The other axes have extent 1, so that this is a view.
        ordered = out.transpose(0, *(axis + 1 for axis in (*self.within, *others)))
        return ordered.reshape(*numbers.shape, *ordered.shape[1 : 1 + len(self.within)])


def stacking(shape: tuple[int, ...], page: Extents) -> Stacking | None:
    """Return how an array of this shape is made of such pages, in C order; None where it cannot be.

    An axis of extent 1 is one of the page's where the page has one there, else it counts pages.
    """
    within: list[int] = []
    remaining = list(shape)
    for axis in reversed(range(len(page))):
        if remaining and remaining[-1] == page[axis]:
            within.insert(0, axis)
            remaining.pop()
        elif page[axis] != 1:
            return None
    return Stacking(shape, page, tuple(within))


def _bounded(taken: slice, extent: int) -> slice:
    start, stop, _ = taken.indices(extent)
    return slice(start, stop)
