"""The steps that find a volume's components: blocks through the executor, and what they gave put together here."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.budget import Budget
from converters.errors import ConverterError, OptionError
from converters.labels.components import Rule
from converters.labels.joining import Components, Pairs, joins, named, united
from converters.labels.labelled import LabelledSource
from converters.labels.measuring import Extents, united_extents
from converters.labels.pictures import Pixels
from converters.labels.plan import most_components
from converters.labels.spool import BlockTable, LabelSpool
from converters.labels.tasks import BlockTask, GreySource, MeasureTask, count_levels, label_block, measure_block
from converters.labels.threshold import grey_values, histogram, otsu
from converters.steps import Progress, Report, Step, Work, do_step

_FACES_BYTES = 1 << 26
"""Memory for the faces of blocks that are joined."""


@dataclass(frozen=True)
class Blocks:
    """The components of all blocks, those of one after those of the other; see BlockTable.

    starts: where each block's begin, and their number at the end, int64. left_out: those that were too small or too large.
    """

    sizes: NDArray[np.int64]
    firsts: NDArray[np.int64]
    starts: NDArray[np.int64]
    left_out: int
    largest_left_out: int
    foreground: int
    unordered: int
    highest: float


def otsu_threshold(grey: GreySource, spool: LabelSpool, work: Work) -> float:
    """Return Otsu's threshold, from one pass over the source. Raises OptionError where all voxels are about the same."""
    _do_blocks(work, BlockTask(grey, spool, (0, 0, 0)), "threshold")
    rows = _summed(spool)
    values = grey_values(np.zeros((1, 1, 1), grey.source.dtype), grey.sigma)
    counted = histogram(rows, values.dtype)
    if not len(counted.counts):
        raise OptionError(f"{grey.source.name}: no voxel is a finite number, so there is nothing to label")
    if len(counted.counts) == 1:
        raise OptionError(
            f"{grey.source.name}: all voxels are {'' if values.dtype.kind in 'iu' else 'about '}{counted.levels[0]:.7g}, "
            "among which Otsu finds no threshold: say one, --threshold V"
        )
    return otsu(counted)


def label_blocks(grey: GreySource, spool: LabelSpool, rule: Rule, pixels: Pixels, work: Work) -> None:
    """Find the components of every block. Raises what do_step raises."""
    _do_blocks(work, BlockTask(grey, spool, (0, 0, 0), rule, pixels), "label")


def gathered(spool: LabelSpool, budget: Budget) -> Blocks:
    """Return the components of all blocks. Raises ConverterError where they are too many for the memory, DamagedError."""
    tables: list[BlockTable] = []
    count, most = 0, most_components(budget)
    for cell in spool.blocks.cells():
        tables.append(spool.table(cell))
        count += len(tables[-1].sizes)
        if count > most:
            raise ConverterError(
                f"there are more than {most} components in the blocks, too many to join within {budget.memory / 1e9:.2g} GB; "
                "this is mostly noise: run again with more --memory, or with a higher --threshold, --smooth or --min-size"
            )
    return Blocks(
        sizes=np.concatenate([table.sizes for table in tables]),
        firsts=np.concatenate([table.firsts for table in tables]),
        starts=np.cumsum([0, *(len(table.sizes) for table in tables)]),
        left_out=sum(table.found - len(table.sizes) for table in tables),
        largest_left_out=max(table.largest_left_out for table in tables),
        foreground=sum(table.foreground for table in tables),
        unordered=sum(table.unordered for table in tables),
        highest=float(np.fmax.reduce([table.highest for table in tables])),
    )


def joined(spool: LabelSpool, blocks: Blocks, rule: Rule, report: Report) -> Components:
    """Return the components of the volume. Raises DamagedError."""
    x, y, z = spool.blocks.chunk_size
    face_bytes = 8 * (x * y + y * z + z * x) * (1 if rule.delta is None else 3)
    faces = lru_cache(max(8, _FACES_BYTES // face_bytes))(spool.faces)
    starts = dict(zip(spool.blocks.cells(), blocks.starts.tolist(), strict=False))
    count = prod(spool.blocks.shape)

    def pairs() -> Iterator[Pairs]:
        for done, rows in enumerate(joins(spool.blocks, starts, faces, rule), 1):
            report(Progress("join", done, count, "blocks"))
            yield rows

    groups = united(len(blocks.sizes), pairs())
    return named(blocks.sizes, blocks.firsts, groups, rule)


def measured(labels: LabelledSource, count: int, pixels: Pixels, work: Work) -> tuple[Extents, NDArray[Any]]:
    """Return where the components lie, and the largest label in each pixel, [x, y]. Raises what do_step raises, DamagedError."""
    spool, base = labels.spool, MeasureTask(labels, pixels, (0, 0, 0))

    def tasks() -> Iterator[MeasureTask]:
        return (replace(base, item=cell) for cell in spool.blocks.cells())

    do_step(work, Step("measure", "measure", measure_block, tasks, prod(labels.shape), "voxels"))
    shown = np.zeros(pixels.size, labels.dtype)

    def found() -> Iterator[tuple[NDArray[Any], Extents]]:
        for cell in spool.blocks.cells():
            block = spool.measured(cell)
            pixels.put(shown, block.shown, spool.blocks.chunk_box(cell))
            yield block.ids, block.extents

    return united_extents(count, found()), shown


def bright_pixels(spool: LabelSpool, pixels: Pixels) -> NDArray[np.bool_]:
    """Return the pixels that have voxels above the threshold, [x, y]. Raises DamagedError."""
    bright = np.zeros(pixels.size, np.bool_)
    for cell in spool.blocks.cells():
        pixels.put(bright, spool.bright(cell), spool.blocks.chunk_box(cell))
    return bright


def _do_blocks(work: Work, base: BlockTask, name: str) -> None:
    function = count_levels if base.rule is None else label_block

    def tasks() -> Iterator[BlockTask]:
        return (replace(base, item=cell) for cell in base.spool.blocks.cells())

    do_step(work, Step(name, name, function, tasks, prod(base.grey.source.shape), "voxels"))


def _summed(spool: LabelSpool) -> NDArray[np.int64]:
    """Return the rows (level, count) of all blocks together."""
    total = np.zeros(1, np.int64)
    for cell in spool.blocks.cells():
        rows = spool.histogram(cell)
        grown = np.zeros(max(len(total), int(rows[:, 0].max(initial=0)) + 1), np.int64)
        grown[: len(total)] = total
        grown[rows[:, 0]] += rows[:, 1]
        total = grown
    found = np.flatnonzero(total)
    return np.stack([found, total[found]], axis=1)
