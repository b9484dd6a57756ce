"""kimimaro traces a whole volume at once: `python -m benchmarks.peers.run_kimimaro LABELS.npy SKELETONS.npz X,Y,Z DUST`.

X,Y,Z: nm of a voxel. DUST: voxels of a piece that gets no skeleton. Two processes; the parameters of its README for neurons,
with at most 50 paths.
"""

import sys
from pathlib import Path
from typing import Any

import kimimaro
import numpy as np

PARAMETERS = {
    "scale": 4,
    "const": 500,
    "pdrf_scale": 100_000,
    "pdrf_exponent": 4,
    "soma_detection_threshold": 750,
    "soma_acceptance_threshold": 3500,
    "soma_invalidation_scale": 2,
    "soma_invalidation_const": 300,
    "max_paths": 50,
}


def main(labels: Path, found: Path, resolution: tuple[float, ...], dust_threshold: int) -> None:
    """Trace labels and store for each of the segments `id`: vertices `vID` in voxels, edges `eID`."""
    voxels = np.load(labels)
    skeletons = kimimaro.skeletonize(
        voxels,
        teasar_params=PARAMETERS,
        anisotropy=resolution,
        dust_threshold=dust_threshold,
        progress=False,
        fix_branching=True,
        fix_borders=True,
        in_place=True,
        parallel=2,
    )
    arrays: dict[str, Any] = {"id": np.array(sorted(skeletons), np.uint64)}
    for segment, skeleton in skeletons.items():
        arrays[f"v{segment}"] = np.rint(skeleton.vertices / np.array(resolution)).astype(np.int32)
        arrays[f"e{segment}"] = skeleton.edges
    np.savez(found, **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), tuple(float(part) for part in sys.argv[3].split(",")), int(sys.argv[4]))
