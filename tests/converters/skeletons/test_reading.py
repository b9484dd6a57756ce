"""Skeletons read back, and what is told of damaged ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from converters.errors import DatasetError
from converters.options import ImportSkeletonOptions
from converters.skeletons.importing import import_skeletons
from converters.skeletons.reading import open_skeletons
from formats.gzip import compress

SWC = "1 1 0 0 0 5 -1\n2 3 10 0 0 1 1\n"


@pytest.fixture(params=["files", "sharded"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A dataset of the skeletons of 5 and 2**64 - 1."""
    files = [tmp_path / "5.swc", tmp_path / f"{2**64 - 1}.swc"]
    for path in files:
        path.write_text(SWC)
    import_skeletons(files, tmp_path / "made", ImportSkeletonOptions(unit="nm", layout=request.param))
    return tmp_path / "made"


def damaged(folder: Path, change: Any) -> None:
    """Change the file that holds the skeleton of 5."""
    path = next(path for path in (folder / "0.shard", folder / "5") if path.exists())
    path.write_bytes(change(path.read_bytes()))


def test_skeletons_are_listed_and_read(folder: Path) -> None:
    reader = open_skeletons(folder)
    assert reader.segments() == [5, 2**64 - 1]
    skeleton = reader.read(5)
    assert skeleton is not None
    assert skeleton.vertices.tolist() == [[0, 0, 0], [10, 0, 0]]
    assert reader.read(6) is None


def test_files_of_cloud_volume_are_packed(tmp_path: Path) -> None:
    (tmp_path / "1.swc").write_text(SWC)
    import_skeletons([tmp_path / "1.swc"], tmp_path / "made", ImportSkeletonOptions(unit="nm"))
    stored = tmp_path / "made" / "1"
    stored.with_name("1.gz").write_bytes(compress(stored.read_bytes()))
    stored.unlink()
    reader = open_skeletons(tmp_path / "made")
    assert reader.segments() == [1]
    assert reader.read(1) is not None


def test_a_skeleton_that_is_cut_short(folder: Path) -> None:
    # In a shard the index lies at the end, so that one that is cut short has none.
    damaged(folder, lambda data: data[:-1])
    with pytest.raises(DatasetError) as refused:
        open_skeletons(folder).read(5)
    assert str(refused.value).startswith(f"{folder}: segment 5: ")


def test_a_shard_whose_index_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "5.swc").write_text(SWC)
    import_skeletons([tmp_path / "5.swc"], tmp_path / "made", ImportSkeletonOptions(unit="nm", layout="sharded"))
    damaged(tmp_path / "made", lambda data: data[:16])
    with pytest.raises(DatasetError, match=f"^{tmp_path / 'made'}: "):
        open_skeletons(tmp_path / "made").segments()


def test_only_shards_that_are_there_are_looked_for(tmp_path: Path) -> None:
    (tmp_path / "5.swc").write_text(SWC)
    import_skeletons([tmp_path / "5.swc"], tmp_path / "made", ImportSkeletonOptions(unit="nm", layout="sharded"))
    members = json.loads((tmp_path / "made" / "info").read_text())
    members["sharding"] |= {"minishard_bits": 0, "shard_bits": 64}
    (tmp_path / "made" / "info").write_text(json.dumps(members))
    shard = (tmp_path / "made" / "0.shard").rename(tmp_path / "made" / "00000000000000ff.shard")
    for name in ("ff.shard", "00000000000000FF.shard", "x.shard", "0" * 17 + ".shard"):
        (tmp_path / "made" / name).write_bytes(shard.read_bytes()[:3])
    assert open_skeletons(tmp_path / "made").segments() == [5]


def test_no_skeletons(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as refused:
        open_skeletons(tmp_path)
    assert str(refused.value) == (f"{tmp_path}: no skeletons, there is no file `info` in it; make them with glassine skeletonize")


def test_an_info_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "info").write_text("{")
    with pytest.raises(DatasetError, match="info: not JSON in UTF-8"):
        open_skeletons(tmp_path)
