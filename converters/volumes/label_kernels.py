"""Kernels: labels as compressed_segmentation's blocks, each a table of its labels and the index of each voxel in it.

The words are those of the format's first implementation: tables ascend, and one that is there already is not written again.
Importing this loads numba; label_blocks.py has what is kept of it.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from converters.compiled import compiled

_MOST_TABLES = 1 << 24
"""Words of a channel within which a table can begin."""
_FEW = 8
"""Labels of a block up to which it is looked through once for each: without a branch, that is many voxels at a time."""
_USUAL = 8
"""Voxels of a row of a block, mostly."""
_HASH = np.uint64(0x9E3779B97F4A7C15)
_GAPS = (28_961, 11_171, 4_243, 1_636, 701, 301, 132, 57, 23, 10, 4, 1)
"""Between labels that are compared, for sorting as Shell does: Ciura's."""
_BYTES_TO_BITS = np.uint64(0x0102040810204080)

carray: Any = numba.carray  # type: ignore[attr-defined]

_Words = NDArray[np.uint32]


class Grid(NamedTuple):
    """A channel's voxels x, y, z, a block's, and how many blocks there are along each axis."""

    shape: tuple[int, int, int]
    block: tuple[int, int, int]
    blocks: tuple[int, int, int]


class Desk(NamedTuple):
    """Room for one block of n voxels, and for what is known of all.

    labels: [n]. low, high: uint8 [n], of each voxel's index; high is for tables of more than 256 labels. eights: low, eight of
    them as a number. table: [n], the block's labels. order, ranks: int64 [n], which of them is the k-th, and which one each is.
    places: int64 [m], where in the table a label with this hash is, above 16 bits the block's number. tables: int64 [2 * m],
    where in the words a table with this hash begins, and how many labels it has.
    """

    labels: NDArray[Any]
    low: NDArray[np.uint8]
    eights: NDArray[np.uint64]
    high: NDArray[np.uint8]
    table: NDArray[Any]
    order: NDArray[np.int64]
    ranks: NDArray[np.int64]
    places: NDArray[np.int64]
    tables: NDArray[np.int64]


def encode_blocks(numbers: Any, labels: Any, words: Any, room: Any, indices: Any) -> Any:
    """Write all blocks of a channel and return how many words they take; 0 when a table would begin where none can.

    For native.py: all are pointers. numbers: int64, the nine of Grid one after the other, the lengths of Desk's places and tables
    and of words, then room for Desk's order, ranks, places and tables. labels: uint32 or uint64, x fastest. words: uint32. room:
    of labels, for Desk's labels and table. indices: bytes, for Desk's low and high.
    """
    n = carray(numbers, 12)
    grid = Grid((n[0], n[1], n[2]), (n[3], n[4], n[5]), (n[6], n[7], n[8]))
    voxels, places, tables = n[3] * n[4] * n[5], n[9], n[10]
    both, bytes_ = carray(room, 2 * voxels), carray(indices, 2 * voxels, np.uint8)
    rest = carray(numbers, 12 + 2 * voxels + places + tables)[12:]
    desk = Desk(
        labels=both[:voxels],
        low=bytes_[:voxels],
        eights=carray(indices, voxels // 8, np.uint64),
        high=bytes_[voxels:],
        table=both[voxels:],
        order=rest[:voxels],
        ranks=rest[voxels : 2 * voxels],
        places=rest[2 * voxels : 2 * voxels + places],
        tables=rest[2 * voxels + places :],
    )
    return _encode(carray(labels, n[0] * n[1] * n[2]), grid, desk, carray(words, n[11]))


@compiled
def _encode(labels: Any, grid: Grid, desk: Desk, words: _Words) -> int:
    """Write all blocks, x fastest, and return how many words they take; 0 when a table would begin where none can."""
    (bx, by, bz), (gx, gy, gz) = grid.block, grid.blocks
    number, used = 0, 2 * gx * gy * gz
    for z in range(gz):
        for y in range(gy):
            for x in range(gx):
                start = (x * bx, y * by, z * bz)
                _take(labels, grid, start, desk.labels)
                count = _index(desk, number)
                bits, values = _bits(count), used
                if bits:
                    _clear_padding(grid, start, desk)
                    used += _pack(desk, bits, words, used)
                table, used = _place_table(desk, count, words, used)
                if table >= _MOST_TABLES:
                    return 0
                words[2 * number] = table | bits << 24
                words[2 * number + 1] = values
                number += 1
    return used


@compiled
def _take(labels: Any, grid: Grid, start: tuple[int, int, int], taken: Any) -> None:
    """Copy the labels of a block; where it reaches out of the channel, those of its first voxel."""
    (sx, sy, sz), (bx, by, bz) = grid.shape, grid.block
    ex, ey, ez = min(bx, sx - start[0]), min(by, sy - start[1]), min(bz, sz - start[2])
    if ex < bx or ey < by or ez < bz:
        for k in range(len(taken)):
            taken[k] = labels[start[0] + sx * (start[1] + sy * start[2])]
    for z in range(ez):
        for y in range(ey):
            row = start[0] + sx * (start[1] + y + sy * (start[2] + z))
            to = bx * (y + by * z)
            # Of a length that is known the copy is an instruction or two.
            if ex == _USUAL:
                for x in range(_USUAL):
                    taken[to + x] = labels[row + x]
            else:
                for x in range(ex):
                    taken[to + x] = labels[row + x]


@compiled
def _index(desk: Desk, number: int) -> int:
    """Find the labels of a block, their order and the index of each voxel; return how many labels there are."""
    count = _index_few(desk)
    if count > _FEW:
        count = _index_many(desk, number)
        if _sort(desk, count):
            _rank(desk)
        return count
    for k in range(count):
        desk.order[k] = k
    return count


@compiled
def _index_few(desk: Desk) -> int:
    """Find the labels of a block, ascending, and the index of each voxel; return how many, for more than _FEW one more."""
    labels, low = desk.labels, desk.low
    label, largest = labels[0], labels[0]
    for k in range(len(labels)):
        label, largest = min(label, labels[k]), max(largest, labels[k])
        low[k] = 0
    desk.table[0] = label
    count = 1
    while label != largest:
        if count == _FEW:
            return _FEW + 1
        following = largest
        for k in range(len(labels)):
            above = labels[k] > label
            low[k] += above
            following = min(following, labels[k] if above else largest)
        label = following
        desk.table[count] = label
        count += 1
    return count


@compiled
def _index_many(desk: Desk, number: int) -> int:
    """Find the labels of a block, in the order in which they are met, and the index of each voxel; return how many there are."""
    labels, low, high, table, places = desk.labels, desk.low, desk.high, desk.table, desk.places
    mask = len(places) - 1
    index, count = 0, 0
    for k in range(len(labels)):
        label = labels[k]
        if k == 0 or label != labels[k - 1]:
            place = np.int64(np.uint64(label) * _HASH >> np.uint64(32)) & mask
            while True:
                held = places[place]
                index = held & 0xFFFF
                if held >> 16 != number:
                    index = count
                    places[place] = number << 16 | index
                    table[index] = label
                    count += 1
                    break
                if table[index] == label:
                    break
                place = (place + 1) & mask
        low[k] = index
        high[k] = index >> 8
    return count


@compiled
def _bits(count: int) -> int:
    """Return the bits of an index into a table of so many labels."""
    if count == 1:
        return 0
    bits = 1
    while 1 << bits < count:
        bits *= 2
    return bits


@compiled
def _sort(desk: Desk, count: int) -> bool:
    """Find the order of the table's labels; return whether it is another one than they were met in."""
    order, table = desk.order, desk.table
    ascending = True
    for k in range(count):
        order[k] = k
        ascending = ascending and (k == 0 or table[k - 1] < table[k])
    if ascending:
        return False
    for gap in _GAPS:
        for k in range(gap, count):
            held = order[k]
            label = table[held]
            to = k
            while to >= gap and table[order[to - gap]] > label:
                order[to] = order[to - gap]
                to -= gap
            order[to] = held
    for k in range(count):
        desk.ranks[order[k]] = k
    return True


@compiled
def _rank(desk: Desk) -> None:
    """Turn indices in the order of meeting into those of the sorted table."""
    low, high, ranks = desk.low, desk.high, desk.ranks
    for k in range(len(low)):
        rank = ranks[np.int64(low[k]) | np.int64(high[k]) << 8]
        low[k] = rank
        high[k] = rank >> 8


@compiled
def _clear_padding(grid: Grid, start: tuple[int, int, int], desk: Desk) -> None:
    """Give index 0 to the voxels of a block that are not in the channel."""
    (sx, sy, sz), (bx, by, bz) = grid.shape, grid.block
    ex, ey, ez = sx - start[0], sy - start[1], sz - start[2]
    if ex >= bx and ey >= by and ez >= bz:
        return
    for z in range(bz):
        for y in range(by):
            for x in range(ex if y < ey and z < ez else 0, bx):
                desk.low[x + bx * (y + by * z)] = 0
                desk.high[x + bx * (y + by * z)] = 0


@compiled
def _pack(desk: Desk, bits: int, words: _Words, begin: int) -> int:
    """Write the indices of all voxels, the first in the lowest bits, and return how many words they take."""
    low, high, eights = desk.low, desk.high, desk.eights
    voxels = len(low)
    length = (bits * voxels + 31) // 32
    whole = voxels // 32 * bits
    if bits == 1:
        for w in range(whole):
            word = np.uint64(0)
            for k in range(4):
                word |= (eights[4 * w + k] * _BYTES_TO_BITS >> np.uint64(56)) << np.uint64(8 * k)
            words[begin + w] = word
    elif bits == 2:
        for w in range(whole):
            words[begin + w] = _twos(eights[2 * w]) | _twos(eights[2 * w + 1]) << np.uint64(16)
    elif bits == 4:
        for w in range(whole):
            words[begin + w] = _fours(eights[w])
    else:
        whole = 0
    per = 32 // bits
    for w in range(whole, length):
        word = np.uint64(0)
        for k in range(w * per, min(w * per + per, voxels)):
            index = np.uint64(low[k]) if bits < 16 else np.uint64(low[k]) | np.uint64(high[k]) << np.uint64(8)
            word |= index << np.uint64(bits * (k - w * per))
        words[begin + w] = word
    return length


@compiled
def _twos(eight: Any) -> Any:
    """Return eight bytes below 4 as 16 bits."""
    eight = (eight | eight >> np.uint64(6)) & np.uint64(0x000F000F000F000F)
    eight = (eight | eight >> np.uint64(12)) & np.uint64(0x000000FF000000FF)
    return (eight | eight >> np.uint64(24)) & np.uint64(0xFFFF)


@compiled
def _fours(eight: Any) -> Any:
    """Return eight bytes below 16 as 32 bits."""
    eight = (eight | eight >> np.uint64(4)) & np.uint64(0x00FF00FF00FF00FF)
    eight = (eight | eight >> np.uint64(8)) & np.uint64(0x0000FFFF0000FFFF)
    return (eight | eight >> np.uint64(16)) & np.uint64(0xFFFFFFFF)


@compiled
def _place_table(desk: Desk, count: int, words: _Words, used: int) -> tuple[int, int]:
    """Return where the sorted table is in the words, and how many there are with it: it is written if it is not there yet."""
    mask = len(desk.tables) // 2 - 1
    mixed = np.uint64(count)
    for k in range(count):
        mixed = (mixed ^ np.uint64(desk.table[desk.order[k]])) * _HASH
        mixed ^= mixed >> np.uint64(32)
    place = np.int64(mixed) & mask
    while desk.tables[2 * place + 1]:
        if desk.tables[2 * place + 1] == count and _is_there(desk, count, words, desk.tables[2 * place]):
            return desk.tables[2 * place], used
        place = (place + 1) & mask
    desk.tables[2 * place], desk.tables[2 * place + 1] = used, count
    step = desk.table.itemsize // 4
    for k in range(count):
        label = np.uint64(desk.table[desk.order[k]])
        words[used + step * k] = label
        if step == 2:
            words[used + 2 * k + 1] = label >> np.uint64(32)
    return used, used + step * count


@compiled
def _is_there(desk: Desk, count: int, words: _Words, begin: int) -> bool:
    """Tell whether the sorted table is in the words from begin on."""
    step = desk.table.itemsize // 4
    for k in range(count):
        label = np.uint64(words[begin + step * k])
        if step == 2:
            label |= np.uint64(words[begin + 2 * k + 1]) << np.uint64(32)
        if label != desk.table[desk.order[k]]:
            return False
    return True
