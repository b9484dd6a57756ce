"""Read a side's output with the codecs of the peers' environment and compare it with the source.

Scale 0 has the source's voxels (jpeg: within 4 grey levels on average). In a coarser scale each label is one of the eight that it
stands for, and grey values are on average within one level of the average of their eight (jpeg: within 4).
"""

import gzip
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import compressed_segmentation
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from benchmarks.peers.job import Job, job_of_command_line, open_voxels

Voxels = NDArray[Any]


def check(job: Job) -> str:
    """Return '' when every scale is as it must be, else what is wrong."""
    written = json.loads((Path(job.destination) / "info").read_bytes())["scales"]
    if _planned(written) != _planned(job.scales):
        return f"info has the scales {_planned(written)}, expected {_planned(job.scales)}"
    finer = open_voxels(job.voxels)
    for k, scale in enumerate(job.scales):
        voxels = read_shards(job, k) if "sharding" in written[k] else read_scale(job, scale)
        problem = _compare_pooled(job, finer, voxels) if k else _compare(job, finer, voxels)
        if problem:
            return f"scale {scale['key']}: {problem}"
        finer = voxels
    return ""


def _planned(scales: list[dict[str, Any]]) -> list[list[Any]]:
    return [[scale[name] for name in ("key", "size", "resolution", "chunk_sizes", "encoding")] for scale in scales]


def read_scale(job: Job, scale: dict[str, Any]) -> Voxels:
    """Return a scale's voxels [x, y, z], Fortran order."""
    voxels = np.empty(scale["size"], job.info["data_type"], "F")
    for box in _boxes(scale["size"], scale["chunk_sizes"][0]):
        shape = tuple(side.stop - side.start for side in box)
        voxels[box] = _decode(job, scale, _read(Path(job.destination) / scale["key"], box), shape)
    return voxels


def read_shards(job: Job, index: int) -> Voxels:
    """Return a sharded scale's voxels [x, y, z], Fortran order, as tensorstore reads them."""
    import tensorstore as ts  # only here: it takes a tenth of a second

    folder = {"driver": "file", "path": job.destination}
    spec = {"driver": "neuroglancer_precomputed", "kvstore": folder, "scale_index": index}
    voxels: Voxels = ts.open(spec, open=True).result()[..., 0].read(order="F").result()
    return voxels


def _boxes(size: list[int], chunk: list[int]) -> Iterator[tuple[slice, ...]]:
    for corner in itertools.product(*(range(0, side, step) for side, step in zip(size, chunk, strict=True))):
        yield tuple(slice(a, min(a + step, side)) for a, step, side in zip(corner, chunk, size, strict=True))


def _read(folder: Path, box: tuple[slice, ...]) -> bytes:
    """Return a chunk's bytes, unpacked, from whichever of the layouts it lies in."""
    sides = [f"{side.start}-{side.stop}" for side in box]
    for path in (folder / "_".join(sides), folder / "/".join(sides)):
        if path.exists():
            return path.read_bytes()
        packed = path.with_name(f"{path.name}.gz")
        if packed.exists():
            return gzip.decompress(packed.read_bytes())
    raise FileNotFoundError(f"{folder}: no chunk {'_'.join(sides)}")


def _decode(job: Job, scale: dict[str, Any], data: bytes, shape: tuple[int, ...]) -> Voxels:
    if job.encoding == "raw":
        return np.frombuffer(data, job.info["data_type"]).reshape(shape, order="F")
    if job.encoding == "jpeg":
        image: Voxels = simplejpeg.decode_jpeg(data, "GRAY")
        return image.reshape(shape[::-1]).T
    block = tuple(scale["compressed_segmentation_block_size"])
    labels: Voxels = compressed_segmentation.decompress(data, (*shape, 1), job.info["data_type"], block, order="F")
    return labels[..., 0]


def _compare(job: Job, expected: Voxels, found: Voxels) -> str:
    if job.encoding != "jpeg":
        return "" if np.array_equal(expected, found) else "voxels differ from the source's"
    return _within(4, (np.abs(a.astype(np.int16) - b) for a, b in zip(expected.T, found.T, strict=True)))


def _within(limit: float, differences: Iterator[Voxels]) -> str:
    mean = np.mean([difference.mean() for difference in differences])
    return "" if mean <= limit else f"grey values are off by {mean:.2f} on average, expected at most {limit}"


def _compare_pooled(job: Job, finer: Voxels, found: Voxels) -> str:
    odd = [(0, 2 * half - whole) for half, whole in zip(found.shape, finer.shape, strict=True)]
    padded = np.pad(finer, odd, "edge") if any(end for _, end in odd) else finer
    corners = [padded[i::2, j::2, k::2] for i, j, k in itertools.product((0, 1), repeat=3)]
    if job.info["type"] == "segmentation":
        known = np.logical_or.reduce([corner == found for corner in corners])
        return "" if known.all() else "labels that the finer scale does not have at their place"
    planes = range(found.shape[2])
    limit = 4 if job.encoding == "jpeg" else 1
    return _within(limit, (np.abs(np.mean([c[..., z] for c in corners], 0, np.float32) - found[..., z]) for z in planes))


if __name__ == "__main__":
    sys.exit(check(job_of_command_line()) or 0)
