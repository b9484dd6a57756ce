"""tensorstore copies a Zarr array into a sharded scale: a virtual view of the source is written, one whole shard a write.

Its documentation recommends writes of whole shards. All are begun at once: one after the other uses one core for gzip.
"""

import itertools
from typing import Any

import tensorstore as ts

from benchmarks.peers.job import Job, job_of_command_line
from benchmarks.peers.run_tensorstore import create


def convert(job: Job) -> None:
    """Write scale 0 of the job's info from the Zarr array [z, y, x], no sync to disk."""
    context = ts.Context({"file_io_sync": False})
    source = ts.open({"driver": "zarr", "kvstore": {"driver": "file", "path": job.source}}, context=context).result()
    view = source.T[..., None]
    scale = create(job, job.scales[0], context)
    for write in [scale[box].write(view[box]) for box in _shards(scale)]:
        write.result()


def _shards(scale: Any) -> list[tuple[slice, ...]]:
    """Return the boxes of whole shards."""
    steps = scale.chunk_layout.write_chunk.shape
    sides = [range(0, size, step) for size, step in zip(scale.shape, steps, strict=True)]
    corners = itertools.product(*sides)
    return [tuple(slice(a, min(a + b, n)) for a, b, n in zip(c, steps, scale.shape, strict=True)) for c in corners]


if __name__ == "__main__":
    convert(job_of_command_line())
