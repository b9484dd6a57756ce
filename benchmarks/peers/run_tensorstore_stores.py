"""tensorstore as its documentation shows: scale 0 is written, then each next one from a downsampled view of the one before."""

import tensorstore as ts

from benchmarks.peers.job import Job, job_of_command_line, open_voxels
from benchmarks.peers.run_tensorstore import create, pooled


def convert(job: Job) -> None:
    """Write all scales of the job's info, one after the other: flat files, no gzip, no sync to disk."""
    context = ts.Context({"file_io_sync": False})
    finer = create(job, job.scales[0], context)
    finer.write(open_voxels(job.source)[..., None]).result()
    for scale in job.scales[1:]:
        coarser = create(job, scale, context)
        coarser.write(pooled(job, finer, scale)).result()
        finer = coarser


if __name__ == "__main__":
    convert(job_of_command_line())
