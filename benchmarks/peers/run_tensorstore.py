"""tensorstore: one driver a scale, each scale pooled in memory from the one before while the writes go on in its threads."""

from typing import Any, Literal

import tensorstore as ts

from benchmarks.peers.job import Job, job_of_command_line, open_voxels


def convert(job: Job) -> None:
    """Write all scales of the job's info: flat files, no gzip (it has none for unsharded volumes), no sync to disk."""
    context = ts.Context({"file_io_sync": False})
    level = ts.array(open_voxels(job.source)[..., None], context=context)
    writes = []
    for k, scale in enumerate(job.scales):
        if k:
            level = ts.array(pooled(job, level, scale).read(order="F").result(), context=context)
        writes.append(create(job, scale, context).write(level))
    for write in writes:
        write.result()


def pooled(job: Job, finer: Any, scale: dict[str, Any]) -> Any:
    """Return the view of a finer scale that has the voxels of this one."""
    method: Literal["mode", "mean"] = "mode" if job.info["type"] == "segmentation" else "mean"
    factors = [1 if a == b else 2 for a, b in zip(finer.shape, [*scale["size"], 1], strict=True)]
    return ts.downsample(finer, factors, method)


def create(job: Job, scale: dict[str, Any], context: Any) -> Any:
    """Return the driver of a scale that is not there yet."""
    names = ("key", "size", "resolution", "voxel_offset", "encoding", "sharding")
    of_encodings = ("jpeg_quality", "compressed_segmentation_block_size")
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": job.destination},
        "multiscale_metadata": {name: job.info[name] for name in ("type", "data_type", "num_channels")},
        "scale_metadata": {name: scale[name] for name in names + of_encodings if name in scale}
        | {"chunk_size": scale["chunk_sizes"][0]},
    }
    return ts.open(spec, open=True, create=True, context=context).result()


if __name__ == "__main__":
    convert(job_of_command_line())
