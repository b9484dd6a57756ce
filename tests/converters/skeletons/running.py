"""Skeletons in a process of its own, killed in the place of the Nth renaming (-1 for never).

    python -m tests.converters.skeletons.running N DATASET OPTIONS

OPTIONS: SkeletonizeOptions as JSON. Blocks are small, so that there are some.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from converters.skeletons import plan
from converters.skeletons.conversion import make_skeletons
from converters.skeletons.options import SkeletonizeOptions


def main(count: str, dataset: str, options: str) -> None:
    """Make the skeletons of a dataset."""
    plan._block = lambda size, budget: (50, 72, 60)
    rename, left = os.replace, [int(count)]

    def replace(old: Any, new: Any) -> None:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        rename(old, new)

    os.replace = replace
    make_skeletons(Path(dataset), SkeletonizeOptions.model_validate_json(options), lambda progress: None)


if __name__ == "__main__":
    main(*sys.argv[1:])
