"""tensorstore: one driver a scale, each scale pooled in memory from the one before while the writes go on in its threads."""

from typing import Any, Literal

import tensorstore as ts

from benchmarks.peers.job import Job, job_of_command_line, open_voxels


def convert(job: Job) -> None:
    """Write all scales of the job's info: flat files, no gzip (it has none for unsharded volumes), no sync to disk."""
    context = ts.Context({"file_io_sync": False})
    method: Literal["mode", "mean"] = "mode" if job.info["type"] == "segmentation" else "mean"
    level = ts.array(open_voxels(job.source)[..., None], context=context)
    writes = []
    for k, scale in enumerate(job.scales):
        if k:
            factors = [_halvings(a, b) for a, b in zip(level.shape, [*scale["size"], 1], strict=True)]
            level = ts.array(ts.downsample(level, factors, method).read(order="F").result(), context=context)
        writes.append(_create(job, scale, context).write(level))
    for write in writes:
        write.result()


def _halvings(fine: int, coarse: int) -> int:
    return 1 if fine == coarse else 2


def _create(job: Job, scale: dict[str, Any], context: Any) -> Any:
    names = ("key", "size", "resolution", "voxel_offset", "encoding", "jpeg_quality", "compressed_segmentation_block_size")
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": job.destination},
        "multiscale_metadata": {name: job.info[name] for name in ("type", "data_type", "num_channels")},
        "scale_metadata": {name: scale[name] for name in names if name in scale} | {"chunk_size": scale["chunk_sizes"][0]},
    }
    return ts.open(spec, open=True, create=True, context=context).result()


if __name__ == "__main__":
    convert(job_of_command_line())
