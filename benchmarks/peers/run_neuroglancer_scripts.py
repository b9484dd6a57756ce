"""neuroglancer-scripts: volume-to-precomputed and compute-scales, its two commands, in one process to save it a second start."""

import json
from pathlib import Path

from neuroglancer_scripts.scripts import compute_scales, volume_to_precomputed

from benchmarks.peers.job import Job, job_of_command_line


def convert(job: Job) -> None:
    """Write all scales of the job's info, gzip -9 and nested folders, which are its defaults."""
    destination = Path(job.destination)
    destination.mkdir()
    (destination / "info").write_text(json.dumps(job.info))
    volume_to_precomputed.main(["volume-to-precomputed", job.source, job.destination])
    compute_scales.main(["compute-scales", "--downscaling-method", "average", job.destination])


if __name__ == "__main__":
    convert(job_of_command_line())
