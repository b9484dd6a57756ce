"""By what the files of a source are known again: their sizes and times of change."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_NAMED_FILES = 64
"""Up to so many files are told one by one; thousands of slices as one digest."""


def files_fingerprint(files: Iterable[Path]) -> dict[str, Any]:
    """Return size in bytes and time of change in ns of each file by name, or a digest of them all where there are many.

    Names are relative to the folder that holds all files. Raises OSError where one is not there.
    """
    paths = sorted(set(files))
    folder = os.path.commonpath([path.parent for path in paths])
    stats = {os.path.relpath(path, folder): path.stat() for path in paths}
    told = {name: {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns} for name, stat in stats.items()}
    if len(told) <= _NAMED_FILES:
        return told
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    return {"files": len(told), "bytes": sum(stat.st_size for stat in stats.values()), "sha256": digest}
