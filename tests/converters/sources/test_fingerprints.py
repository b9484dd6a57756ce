import json
import os

import numpy as np
import pytest

from converters.sources.fingerprints import files_fingerprint
from converters.sources.opening import open_source
from converters.sources.source import SourceOptions


def files(folder, count):
    folder.mkdir()
    paths = [folder / f"{number:03d}.tif" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes(number))
        os.utime(path, ns=(0, 10**9 * number + 7))
    return paths


def test_a_fingerprint_tells_size_and_time(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((2, 3)))
    told = open_source(path, SourceOptions(resolution=(1.0, 1.0, 1.0))).fingerprint()
    assert told == {"a.npy": {"size": 176, "mtime_ns": path.stat().st_mtime_ns}}
    assert json.loads(json.dumps(told)) == told
    path.unlink()
    with pytest.raises(FileNotFoundError):
        files_fingerprint([path])


def test_names_are_those_in_the_folder_that_holds_all_files(tmp_path):
    paths = [*files(tmp_path / "a", 2), *files(tmp_path / "b", 1)]
    assert set(files_fingerprint(paths)) == {"a/000.tif", "a/001.tif", "b/000.tif"}
    assert set(files_fingerprint(paths[:2] * 2)) == {"000.tif", "001.tif"}
    assert files_fingerprint(paths) == files_fingerprint(reversed(paths))


def test_many_files_are_told_by_one_digest(tmp_path):
    paths = files(tmp_path / "a", 65)
    assert len(files_fingerprint(paths[:64])) == 64
    told = files_fingerprint(paths)
    assert told == {"files": 65, "bytes": 64 * 65 // 2, "sha256": told["sha256"]}
    os.utime(paths[40], ns=(0, 1))
    changed = files_fingerprint(paths)
    assert changed["sha256"] != told["sha256"]
    paths[40].rename(paths[40].with_name("other.tif"))
    assert files_fingerprint([*paths[:40], paths[40].with_name("other.tif"), *paths[41:]])["sha256"] != changed["sha256"]
