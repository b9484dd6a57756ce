"""Read a dataset's meshes with cloud-volume: how many triangles all have at the finest level, and those of some segments."""

import sys
from typing import Any

import numpy as np
from cloudvolume import CloudVolume
from cloudvolume.exceptions import MeshMissingError


def read(dataset: str, destination: str, segments: list[int]) -> None:
    """Write an .npz with how many triangles there are and how many segments have no mesh, and v and t of each of the segments.

    v: vertices in nm. t: triangles.
    """
    volume = CloudVolume(f"file://{dataset}", progress=False)
    found: dict[str, Any] = {}
    total = missing = 0
    for segment in np.unique(volume[:]).tolist():
        if not segment:
            continue
        try:
            mesh = volume.mesh.get([segment])
        except MeshMissingError:
            missing += 1
            continue
        mesh = mesh[segment] if isinstance(mesh, dict) else mesh
        total += len(mesh.faces)
        if segment in segments:
            found |= {f"v{segment}": mesh.vertices, f"t{segment}": mesh.faces}
    np.savez(destination, triangles=total, missing=missing, **found)


if __name__ == "__main__":
    read(sys.argv[1], sys.argv[2], [int(segment) for segment in sys.argv[3].split(",")])
