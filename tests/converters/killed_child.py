"""A child of a volume made in a process of its own, killed in the place of the Nth renaming (from 0; -1 for never).

    python -m tests.converters.killed_child meshes N DATASET OPTIONS
    python -m tests.converters.killed_child large-meshes N DATASET OPTIONS
    python -m tests.converters.killed_child skeletons N DATASET OPTIONS
    python -m tests.converters.killed_child imported N DATASET OPTIONS FILE...

OPTIONS: the command's as JSON. Skeletons are traced in small blocks, so that there are some; large-meshes are those of segments
that are too large for the memory.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any


def main(child: str, count: str, dataset: str, options: str, *files: str) -> None:
    make = {"meshes": _meshes, "large-meshes": _large_meshes, "skeletons": _skeletons, "imported": _imported}[child]
    _die_renaming(int(count))
    make(Path(dataset), options, [Path(file) for file in files])


def _meshes(dataset: Path, options: str, files: list[Path]) -> None:
    from converters.meshes.conversion import make_meshes
    from converters.options import MeshOptions

    make_meshes(dataset, MeshOptions.model_validate_json(options), lambda progress: None)


def _large_meshes(dataset: Path, options: str, files: list[Path]) -> None:
    from converters.meshes import conversion, plan

    plan._LARGEST_BLOCK = (32, 32, 32)
    conversion.room_for_triangles = lambda budget: 1500
    _meshes(dataset, options, files)


def _skeletons(dataset: Path, options: str, files: list[Path]) -> None:
    from converters.skeletons import plan
    from converters.skeletons.conversion import make_skeletons
    from converters.skeletons.options import SkeletonizeOptions

    plan._block = lambda size, budget: (50, 72, 60)
    make_skeletons(dataset, SkeletonizeOptions.model_validate_json(options), lambda progress: None)


def _imported(dataset: Path, options: str, files: list[Path]) -> None:
    from converters.meshes.importing import import_meshes
    from converters.options import ImportMeshOptions

    import_meshes(files, dataset, ImportMeshOptions.model_validate_json(options))


def _die_renaming(count: int) -> None:
    rename, left = os.replace, [count]

    def replace(old: Any, new: Any) -> None:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        rename(old, new)

    os.replace = replace


if __name__ == "__main__":
    main(*sys.argv[1:])
