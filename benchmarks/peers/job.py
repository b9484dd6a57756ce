"""What a peer has to do, as a JSON file: written by the benchmark, read in the peers' environment."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Job:
    """source: what the peer reads. destination: the dataset's folder, not there yet. info: with all scales to write.

    voxels: the source's, for the check: .npy (Fortran order) or uncompressed .nii, [x, y, z]; most peers read just that.
    processes: how many the peer may use, where it does not decide itself.
    """

    source: str
    voxels: str
    destination: str
    info: dict[str, Any]
    processes: int

    @property
    def scales(self) -> list[dict[str, Any]]:
        scales: list[dict[str, Any]] = self.info["scales"]
        return scales

    @property
    def encoding(self) -> str:
        return str(self.scales[0]["encoding"])


def write_job(job: Job, path: Path) -> None:
    path.write_text(json.dumps(asdict(job)))


def job_of_command_line() -> Job:
    """Return the job that the first argument names."""
    return Job(**json.loads(Path(sys.argv[1]).read_text()))


def open_voxels(path: str) -> NDArray[Any]:
    """Return the voxels of a .npy or .nii as an array [x, y, z] over a memory map."""
    if path.endswith(".npy"):
        array: NDArray[Any] = np.load(path, mmap_mode="r")
        return array
    import nibabel  # only here: a peer that reads .npy need not pay for it

    image: Any = nibabel.load(path)
    return np.asanyarray(image.dataobj)
