"""cloud-volume uploads, igneous downsamples.

cloud-volume: slabs of one chunk's depth from a pool of processes, as its documentation shows for large stacks; that is faster
here than its `parallel` option, which copies the volume through shared memory. igneous: its local queue with as many processes,
tasks of 256^3 voxels and two scales at a time, because its default of 3.5 GB would make one task of the whole volume.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import tinybrain
from cloudvolume import CloudVolume
from igneous import task_creation
from taskqueue import LocalTaskQueue

from benchmarks.peers.job import Job, job_of_command_line, open_voxels


def convert(job: Job) -> None:
    """Write all scales of the job's info, gzip at its default level except for jpeg."""
    CloudVolume(_url(job), info=job.info).commit_info()
    depth = job.scales[0]["chunk_sizes"][0][2]
    with ProcessPoolExecutor(job.processes, multiprocessing.get_context("fork")) as pool:
        list(pool.map(partial(_upload, job, depth), range(0, job.scales[0]["size"][2], depth)))
    written = 1
    while written < len(job.scales):
        written += _downsample(job, written - 1) or _downsample_last(job, written - 1)


def _url(job: Job) -> str:
    return f"file://{job.destination}"


def _compression(job: Job) -> str | bool:
    return job.encoding != "jpeg" and "gzip"


def _upload(job: Job, depth: int, z: int) -> None:
    volume = CloudVolume(_url(job), compress=_compression(job), progress=False)
    volume[:, :, z : z + depth] = open_voxels(job.source)[:, :, z : z + depth]


def _downsample(job: Job, mip: int) -> int:
    """Make up to two scales from scale mip; return how many, 0 when the scale has a side of one chunk, where igneous stops."""
    size, chunk = job.scales[mip]["size"], job.scales[mip]["chunk_sizes"][0]
    count = min(2, len(job.scales) - 1 - mip, *((side // step).bit_length() - 1 for side, step in zip(size, chunk, strict=True)))
    if count == 0:
        return 0
    voxel_bytes = {"uint8": 1, "uint32": 4}[job.info["data_type"]]
    tasks = task_creation.create_downsampling_tasks(
        _url(job),
        mip=mip,
        num_mips=count,
        factor=(2, 2, 2),
        compress=_compression(job),
        encoding=job.encoding,
        encoding_level=job.scales[mip].get("jpeg_quality"),
        memory_target=int(1.2 * voxel_bytes * 256**3),
    )
    LocalTaskQueue(parallel=min(len(tasks), job.processes), progress=False).insert_all(tasks)
    return int(count)


def _downsample_last(job: Job, mip: int) -> int:
    """Make the scale after mip with cloud-volume and the pooling that igneous uses; return 1."""
    pool = tinybrain.downsample_segmentation if job.info["type"] == "segmentation" else tinybrain.downsample_with_averaging
    source = CloudVolume(_url(job), mip=mip, progress=False)
    destination = CloudVolume(_url(job), mip=mip + 1, compress=_compression(job), progress=False)
    destination[:] = pool(source[:], (2, 2, 2), num_mips=1)[0]
    return 1


if __name__ == "__main__":
    convert(job_of_command_line())
