"""One block's work: its pieces of segments traced by kimimaro, and where they go on in the blocks beside it.

Blocks share one plane of voxels. Kimimaro ends every piece that reaches a face in the middle of where it does, so that both
sides of a plane have a vertex at the same voxel.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.results import BlockResult
from converters.skeletons.fragments import Fragment, write_fragments
from converters.skeletons.parameters import Parameters
from converters.skeletons.seams import is_near_seam
from converters.skeletons.targets import Targets, placed
from converters.storage.reader import VolumeReader
from converters.volumes.outputs import check_shared
from formats.grid import Box, Grid, Triple, chunk_name
from formats.info import Scale

_LARGE = 2_000_000
"""Voxels of a piece that is traced by itself, with as many paths as the budget has for its size."""
_NEAR_LIMIT = 0.9
"""The part of the paths that a piece may take from which it counts as unfinished: some paths end in others."""
_ROUNDING = 1.001


@dataclass(frozen=True)
class BlockTask:
    """One block. grid: the blocks without what they share; its chunks are the voxels that each owns. segments: None for all.

    before, after: the points in the voxels that the block owns to which paths are led, before and after all others.
    """

    reader: VolumeReader
    scale: Scale
    grid: Grid
    item: Triple
    parameters: Parameters
    segments: tuple[int, ...] | None
    folder: Path
    before: Targets
    after: Targets

    @property
    def place(self) -> str:
        """The block's name in messages: its scale and voxels."""
        return f"{self.scale.key}/{chunk_name(self.grid.chunk_box(self.item))}"

    @property
    def owned(self) -> Box:
        """The voxels that are counted here."""
        return self.grid.chunk_box(self.item)

    @property
    def box(self) -> Box:
        """The voxels that are worked on: one more plane at each upper end where there is a next block."""
        x, y, z = (min(end + 1, last) for end, last in zip(self.owned.end, self.grid.box.end, strict=True))
        return Box(self.owned.start, (x, y, z))


@dataclass(frozen=True)
class _Pieces:
    """The pieces (26-connected) of the segments in a block, numbered from 1; arrays have a member 0 for what is none.

    numbers: uint32 [x, y, z]. segments: uint64. voxels, owned: int64, of each in the block, and of those that it owns.
    spots: of each a voxel in the middle of every place where it reaches a face. contacts: of each the voxels that the next
    block knows too, in its own coordinates of the scale. before, after: of each the voxels that the user wants paths to.
    """

    numbers: NDArray[np.uint32]
    segments: NDArray[np.uint64]
    voxels: NDArray[np.int64]
    owned: NDArray[np.int64]
    spots: dict[int, list[Triple]]
    contacts: dict[int, NDArray[np.int32]]
    before: dict[int, list[Triple]]
    after: dict[int, list[Triple]]


def fragments_path(folder: Path, block: Triple) -> Path:
    """Return the file of a block's fragments."""
    return folder / "_".join(str(n) for n in block)


def trace_block(task: BlockTask) -> BlockResult:
    """Do one block's work. Raises DatasetError for chunks that cannot be read, DiskFullError."""
    check_shared(task.folder)
    labels = task.reader.read(task.scale, task.box)[..., 0]
    if task.segments is not None:
        labels = np.where(np.isin(labels, np.array(task.segments, labels.dtype)), labels, labels.dtype.type(0))
    pieces = _pieces(labels, task)
    del labels
    traced = dict(_traced(task, pieces))
    fragments = [replace(_fragment(task, pieces, number), **traced.get(number, {})) for number in range(1, len(pieces.segments))]
    write_fragments(fragments_path(task.folder, task.item), _without_dust(task, fragments))
    return BlockResult(task.owned.voxels)


def _fragment(task: BlockTask, pieces: _Pieces, number: int) -> Fragment:
    contacts = pieces.contacts.get(number, np.zeros((0, 3), np.int32))
    targets = np.array(pieces.before.get(number, []) + pieces.after.get(number, []), np.int64).reshape(-1, 3) + task.box.start
    counts = int(pieces.segments[number]), int(pieces.owned[number])
    return Fragment(*counts, contacts=contacts, targets=targets.astype(np.int32))


def _without_dust(task: BlockTask, fragments: list[Fragment]) -> list[Fragment]:
    """Return the fragments with what is left of each segment's dust as one: it only counts voxels."""
    dust: dict[int, int] = {}
    kept = []
    for fragment in fragments:
        if len(fragment.places) or len(fragment.contacts):
            kept.append(fragment)
        else:
            dust[fragment.segment] = dust.get(fragment.segment, 0) + fragment.voxels
    return kept + [Fragment(segment, voxels) for segment, voxels in dust.items()]


def _pieces(labels: NDArray[Any], task: BlockTask) -> _Pieces:
    import cc3d

    found, count = cc3d.connected_components(np.asfortranarray(labels), connectivity=26, return_N=True)
    numbers: NDArray[np.uint32] = np.asfortranarray(found, np.uint32)
    segments = np.zeros(count + 1, np.uint64)
    segments[numbers.ravel("K")] = labels.astype(np.uint64, order="F", copy=False).ravel("K")
    owned = numbers[task.owned.slices(task.box.start)]
    spots: dict[int, list[Triple]] = {}
    contacts: dict[int, list[NDArray[np.int64]]] = {}
    for axis, side, shared in _faces(task):
        plane: NDArray[np.uint32] = np.moveaxis(numbers, axis, 0)[side]
        level = numbers.shape[axis] - 1 if side else 0
        for number, first, middle in _spots(plane):
            x, y, z = np.insert(middle, axis, level).tolist()
            spots.setdefault(number, []).append((x, y, z))
            if shared:
                contacts.setdefault(number, []).append(np.insert(first, axis, level) + task.box.start)
    return _Pieces(
        numbers,
        segments,
        np.bincount(numbers.ravel("K"), minlength=count + 1),
        np.bincount(owned.ravel("K"), minlength=count + 1),
        spots,
        {number: np.array(voxels, np.int32) for number, voxels in contacts.items()},
        _by_piece(numbers, placed(task.before, labels, task.box.start, task.scale.resolution)),
        _by_piece(numbers, placed(task.after, labels, task.box.start, task.scale.resolution)),
    )


def _by_piece(numbers: NDArray[np.uint32], voxels: NDArray[np.int64]) -> dict[int, list[Triple]]:
    found: dict[int, list[Triple]] = {}
    for number, (x, y, z) in zip(numbers[tuple(voxels.T)].tolist(), voxels.tolist(), strict=True):
        found.setdefault(number, []).append((x, y, z))
    return found


def _faces(task: BlockTask) -> Iterator[tuple[int, int, bool]]:
    """Yield axis, side (0 or -1) of each face of a block, and whether another block has the same voxels."""
    for axis in range(3):
        yield axis, 0, task.item[axis] > 0
        yield axis, -1, task.item[axis] + 1 < task.grid.shape[axis]


def _spots(plane: NDArray[np.uint32]) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """Yield each connected spot of a piece in a plane: the piece's number, its first voxel, and the one nearest its middle."""
    import cc3d

    spots = cc3d.connected_components(np.ascontiguousarray(plane)[..., np.newaxis], connectivity=26)[..., 0]
    inside = np.argwhere(spots)
    ordered = inside[np.argsort(spots[spots > 0], kind="stable")]
    for voxels in np.split(ordered, np.cumsum(np.bincount(spots[spots > 0]))[1:-1]):
        if len(voxels):
            middle = voxels[((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1).argmin()]
            yield int(plane[tuple(voxels[0])]), voxels[0], middle


def _traced(task: BlockTask, pieces: _Pieces) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each piece that was traced, and the members of its fragment."""
    parameters = task.parameters
    touching = np.zeros(len(pieces.segments), bool)
    touching[list(pieces.contacts)] = True
    # What lies in the shared planes alone belongs to the next blocks; what goes on there may be more than dust.
    wanted = (pieces.owned > 0) & (touching | (pieces.voxels > parameters.dust_threshold))
    wanted[0] = False
    large = wanted & (pieces.voxels > _LARGE)
    small = np.flatnonzero(wanted & ~large).tolist()
    boxes = _boxes(pieces.numbers)
    if small:
        kept = np.zeros(len(wanted), bool)
        kept[small] = True
        aims = [_aims(task, pieces, number, boxes[number - 1]) for number in small]
        most = max(each.most for each in aims) + _paths_within(parameters, _LARGE)
        before, after = ([voxel for each in aims for voxel in getattr(each, name)] for name in ("before", "after"))
        numbers = np.where(kept[pieces.numbers], pieces.numbers, np.uint32(0))
        yield from _skeletons(task, _Part(numbers, (0, 0, 0), before, after, most))
    for number in np.flatnonzero(large).tolist():
        box = boxes[number - 1]
        part = pieces.numbers[box]
        start = (box[0].start, box[1].start, box[2].start)
        aim = _aims(task, pieces, number, box)
        before, after = ([_shifted(voxel, start) for voxel in voxels] for voxels in (aim.before, aim.after))
        most = aim.most + _paths_within(parameters, int(pieces.voxels[number]))
        yield from _skeletons(task, _Part(np.where(part == number, part, np.uint32(0)), start, before, after, most))


@dataclass(frozen=True)
class _Aims:
    """Voxels of a piece that paths are led to, before and after all others. most: how many there are, with those at faces."""

    before: list[Triple]
    after: list[Triple]
    most: int


def _aims(task: BlockTask, pieces: _Pieces, number: int, box: tuple[slice, slice, slice]) -> _Aims:
    before, after = sorted(set(pieces.before.get(number, ()))), sorted(set(pieces.after.get(number, ())))
    # The last is led to first.
    after += _tips(task, pieces, number, box)
    return _Aims(before, after, len(pieces.spots.get(number, ())) + len(before) + len(after))


def _boxes(numbers: NDArray[np.uint32]) -> list[tuple[slice, slice, slice]]:
    """Return each piece's box with one voxel more at each side that the block has, so that its own ends are seen to be ends."""
    from scipy.ndimage import find_objects

    found = find_objects(numbers.T)
    return [tuple(slice(max(0, each.start - 1), each.stop + 1) for each in reversed(box)) for box in found]  # type: ignore[misc]


def _tips(task: BlockTask, pieces: _Pieces, number: int, box: tuple[slice, slice, slice]) -> list[Triple]:
    """Return the voxel of a piece that is farthest from where it reaches faces, none when it does in one place or nowhere.

    Kimimaro begins at a face. Where there is another face near by, the paths between them would take away the end of a neurite.
    What is farthest at a shared plane is the rim of where the piece goes on, and no end.
    """
    import dijkstra3d

    spots = pieces.spots.get(number, [])
    if len(spots) < 2:
        return []
    start = (box[0].start, box[1].start, box[2].start)
    there = np.asfortranarray(pieces.numbers[box] == number)
    _, found = dijkstra3d.euclidean_distance_field(
        there, [_shifted(spot, start) for spot in spots], anisotropy=task.scale.resolution, return_max_location=True
    )
    tip = (int(found[0]) + start[0], int(found[1]) + start[1], int(found[2]) + start[2])
    return [] if is_near_seam(np.add(tip, task.box.start), task.grid)[0] else [tip]


def _shifted(voxel: Triple, start: Triple) -> Triple:
    return voxel[0] - start[0], voxel[1] - start[1], voxel[2] - start[2]


def _paths_within(parameters: Parameters, voxels: int) -> int:
    """Return how many paths beside those to faces a piece of so many voxels may take.

    With fewer than two kimimaro makes none: it stops where its first targets are as many as the paths.
    """
    return max(2, min(parameters.budget // voxels, parameters.max_paths or parameters.budget))


@dataclass(frozen=True)
class _Part:
    """What is traced at once. numbers: of the pieces. start: of its first voxel in the block. before, after: voxels of it that
    paths are led to, before and after all others. most: paths of a piece.
    """

    numbers: NDArray[np.uint32]
    start: Triple
    before: list[Triple]
    after: list[Triple]
    most: int


def _skeletons(task: BlockTask, part: _Part) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each piece's number and the members of its fragment."""
    origin = np.add(task.box.start, part.start)
    for number, skeleton in sorted(_by_kimimaro(task, part, np.asfortranarray(part.numbers)).items()):
        if len(skeleton.vertices):
            yield int(number), _members(skeleton, task.scale.resolution, origin, part.most)


def _by_kimimaro(task: BlockTask, part: _Part, numbers: NDArray[np.uint32]) -> dict[int, Any]:
    """Return the skeletons of the pieces in numbers, which is overwritten."""
    import kimimaro

    parameters = task.parameters
    try:
        found: dict[int, Any] = kimimaro.skeletonize(
            numbers,
            teasar_params={**parameters.teasar(), "max_paths": part.most},
            anisotropy=task.scale.resolution,
            dust_threshold=0,
            progress=False,
            fix_branching=parameters.fix_branching,
            in_place=True,
            fix_borders=True,
            parallel=1,
            extra_targets_before=part.before,
            extra_targets_after=part.after,
            fill_holes=parameters.fill_holes,
            fix_avocados=parameters.fix_avocados,
        )
    except IndexError:
        # It has no room for faces in which nearly every voxel is a spot of its own: some of the pieces at a time have fewer.
        there = np.unique(numbers[numbers > 0])
        if len(there) == 1:
            raise
        upper = numbers > there[len(there) // 2 - 1]
        return _by_kimimaro(task, part, np.where(upper, np.uint32(0), numbers)) | _by_kimimaro(
            task, part, np.where(upper, numbers, np.uint32(0))
        )
    return found


def _members(skeleton: Any, resolution: tuple[float, float, float], origin: NDArray[np.int64], most: int) -> dict[str, Any]:
    """Return a fragment's members. Kimimaro's vertices are voxels times their size, which float32 may have rounded."""
    places = np.rint(np.asarray(skeleton.vertices, np.float64) / resolution).astype(np.int64) + origin
    radii = np.asarray(skeleton.radius, np.float32)
    edges = _without_shortcuts(places, radii, np.asarray(skeleton.edges, np.uint32), resolution)
    ends = int((np.bincount(edges.ravel(), minlength=len(places)) == 1).sum())
    return {
        "places": places.astype(np.int32),
        "radii": radii,
        "edges": edges,
        "limited": ends - 1 >= _NEAR_LIMIT * most,
    }


def _without_shortcuts(
    places: NDArray[np.int64], radii: NDArray[np.float32], edges: NDArray[np.uint32], resolution: tuple[float, float, float]
) -> NDArray[np.uint32]:
    """Return the edges without those that lead from far branches straight to the middle of a cell body.

    Where there is a cell body kimimaro leaves out of each path what lies in it, and ties its end to the middle, with an edge over
    all that was left out; also of paths that end in another path (https://github.com/seung-lab/kimimaro, compute_paths), which
    hang together without it.
    """
    lengths = np.linalg.norm((places[edges[:, 0]] - places[edges[:, 1]]) * resolution, axis=1)
    step = float(np.linalg.norm(resolution))
    if not len(edges) or lengths.max() <= step * _ROUNDING:
        return edges
    longest = edges[lengths.argmax()]
    middle = longest[radii[longest].argmax()]
    ties = (edges == middle).any(axis=1)
    # The shortest tie belongs to a path that does begin at the cell body, and so do those as long: paths go from voxel to voxel.
    kept: NDArray[np.uint32] = edges[~ties | (lengths <= lengths[ties].min() + step)]
    return kept
