"""A stack of TIFF slices becomes shards as igneous has it: an unsharded copy first, then its transfer and downsampling tasks.

cloud-volume writes the copy, in slabs of one chunk's depth from a pool of processes and without gzip, which is faster. Its chunks
are larger than the shards': where they are the same, each task writes the info anew, and another one may find it empty.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import tifffile
from cloudvolume import CloudVolume
from igneous import task_creation

from benchmarks.peers.job import Job, job_of_command_line
from benchmarks.peers.run_cloud_volume_stack import downsample, run_tasks

_COPY_CHUNK = [128, 128, 64]
_SHARD_VOXELS = 512**3
"""A shard of scale 0: several tasks, as in the scales after it."""


def convert(job: Job) -> None:
    """Write all scales of the job's info from the folder of uint8 slices, one a z, rows along y; gzip in the shards."""
    scale = {name: value for name, value in job.scales[0].items() if name != "sharding"} | {"chunk_sizes": [_COPY_CHUNK]}
    copy = f"file://{job.destination}/copy"
    CloudVolume(copy, info={**job.info, "scales": [scale]}).commit_info()
    depth = _COPY_CHUNK[2]
    with ProcessPoolExecutor(job.processes, multiprocessing.get_context("fork")) as pool:
        list(pool.map(partial(_upload, job, copy, depth), range(0, scale["size"][2], depth)))
    tasks = task_creation.create_image_shard_transfer_tasks(
        copy, f"file://{job.destination}", chunk_size=job.scales[0]["chunk_sizes"][0], memory_target=_SHARD_VOXELS
    )
    run_tasks(job, tasks)
    downsample(job)


def _upload(job: Job, copy: str, depth: int, z: int) -> None:
    slices = sorted(Path(job.source).iterdir())[z : z + depth]
    slab = np.stack([tifffile.imread(path) for path in slices])
    CloudVolume(copy, compress=False, progress=False)[:, :, z : z + depth] = slab.T


if __name__ == "__main__":
    convert(job_of_command_line())
