"""A stack of TIFF slices becomes shards: cloud-volume makes those of scale 0, igneous the others.

The slices are decoded into memory that the processes share, each once; each shard is then made by CloudVolume's make_shard, which
igneous itself uses. That saves the unsharded copy that igneous' transfer tasks start from. igneous: its local queue with as many
processes; shards of 256^3 voxels for scale 1, so that there are several tasks: by default one takes the whole volume.
"""

import itertools
import mmap
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from cloudvolume import Bbox, CloudVolume
from igneous import task_creation
from numpy.typing import NDArray
from taskqueue import LocalTaskQueue

from benchmarks.peers.job import Job, job_of_command_line

_SHARD_VOXELS = 256**3
_shared: list[NDArray[np.uint8]] = []
"""The volume [x, y, z], taken over by forked processes."""


def convert(job: Job) -> None:
    """Write all scales of the job's info from the folder of uint8 slices, one a z, rows along y; gzip in the shards."""
    CloudVolume(_url(job), info={**job.info, "scales": job.scales[:1]}).commit_info()
    size = job.scales[0]["size"]
    slices = sorted(Path(job.source).iterdir())
    _shared.append(np.frombuffer(mmap.mmap(-1, int(np.prod(size))), np.uint8).reshape(size, order="F"))
    with ProcessPoolExecutor(job.processes, multiprocessing.get_context("fork")) as pool:
        list(pool.map(_decode, range(len(slices)), slices, chunksize=16))
        list(pool.map(partial(_write_shard, job), _shards(job)))
    _shared.clear()
    downsample(job)


def _url(job: Job) -> str:
    return f"file://{job.destination}"


def _decode(z: int, path: Path) -> None:
    tifffile.imread(path, out=_shared[0][..., z].T)


def _shards(job: Job) -> list[Bbox]:
    volume = CloudVolume(_url(job))
    shape = [int(n) for n in volume.image.shard_shape(0)]
    corners = itertools.product(*(range(0, size, step) for size, step in zip(job.scales[0]["size"], shape, strict=True)))
    return [Bbox.clamp(Bbox(corner, np.add(corner, shape)), volume.bounds) for corner in corners]


def _write_shard(job: Job, box: Bbox) -> None:
    volume = CloudVolume(_url(job), progress=False)
    name, shard = volume.image.make_shard(_shared[0][box.to_slices()][..., np.newaxis], box, 0)
    folder = Path(job.destination) / job.scales[0]["key"]
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(shard)


def downsample(job: Job) -> None:
    """Make all scales from the first by igneous, each from the one before."""
    for mip in range(len(job.scales) - 1):
        tasks = task_creation.create_image_shard_downsample_tasks(
            _url(job), mip=mip, num_mips=1, factor=(2, 2, 2), encoding=job.encoding, memory_target=_SHARD_VOXELS
        )
        run_tasks(job, tasks)


def run_tasks(job: Job, tasks: Any) -> None:
    LocalTaskQueue(parallel=min(len(tasks), job.processes), progress=False).insert_all(tasks)


if __name__ == "__main__":
    convert(job_of_command_line())
