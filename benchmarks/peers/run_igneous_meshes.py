"""igneous meshes a segmentation: forge and merge with its local queue, in tasks of its default shape."""

import sys

from igneous import task_creation
from taskqueue import LocalTaskQueue

_SHAPE = (448, 448, 448)


def mesh(dataset: str, form: str, max_error: int) -> None:
    """Write the meshes of scale 0 into the dataset's folder `mesh`. form: legacy, or sharded for two levels of detail."""
    url, queue = f"file://{dataset}", LocalTaskQueue(parallel=2, progress=False)
    told = {"mip": 0, "shape": _SHAPE, "mesh_dir": "mesh", "max_simplification_error": max_error}
    if form == "legacy":
        queue.insert_all(task_creation.create_meshing_tasks(url, **told))
        queue.insert_all(task_creation.create_mesh_manifest_tasks(url, magnitude=2, mesh_dir="mesh"))
        return
    queue.insert_all(task_creation.create_meshing_tasks(url, sharded=True, **told))
    queue.insert_all(task_creation.create_sharded_multires_mesh_tasks(url, num_lod=2, mesh_dir="mesh"))


if __name__ == "__main__":
    mesh(sys.argv[1], sys.argv[2], int(sys.argv[3]))
