"""`python -m tests.converters.meshes.dying N DATASET OPTIONS`: meshing, killed in the place of its Nth renaming (from 0)."""

import os
import signal
import sys
from pathlib import Path
from typing import Any


def main(count: str, dataset: str, options: str) -> None:
    from converters.meshes.conversion import make_meshes
    from converters.options import MeshOptions

    rename, left = os.replace, [int(count)]

    def replace(old: Any, new: Any) -> None:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        rename(old, new)

    os.replace = replace
    make_meshes(Path(dataset), MeshOptions.model_validate_json(options), lambda progress: None)


if __name__ == "__main__":
    main(*sys.argv[1:])
