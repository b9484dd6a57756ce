"""Sources that tiles cannot read at a fair price: what is read how often, what is left, what is kept after a stop."""

from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from converters.errors import DamagedError
from converters.options import ConvertOptions
from converters.sources.array import ArraySource
from converters.volumes.conversion import Progress, convert
from converters.volumes.plan import make_plan
from formats.grid import Box
from tests.converters.watching import files_of

CHOSEN: dict[str, Any] = {
    "resolution": (8, 8, 8),
    "chunk_size": (16, 16, 16),
    "memory": "1kB",
    "executor": "serial",
    "axes": "zyx",
}


def options(**given: Any) -> ConvertOptions:
    return ConvertOptions.model_validate(CHOSEN | given)


def quiet(progress: Progress) -> None:
    """Report nothing."""


@pytest.fixture
def voxels() -> NDArray[Any]:
    """[z, y, x]."""
    return np.random.default_rng(1).integers(0, 256, (70, 90, 110), "uint8")


@pytest.fixture
def slabs(tmp_path: Path, voxels: NDArray[Any]) -> Path:
    """An HDF5 file whose chunks are whole slices, packed."""
    path = tmp_path / "slabs.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=voxels, chunks=(1, 90, 110), compression="gzip")
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each slice along z is read from the file."""
    counts: Counter[int] = Counter()
    read = ArraySource.read

    def counted(self: ArraySource, box: Box) -> NDArray[Any]:
        counts.update(range(box.start[2], box.end[2]))
        return read(self, box)

    monkeypatch.setattr(ArraySource, "read", counted)
    return counts


@pytest.mark.parametrize("layout", ["nested", "flat", "sharded"])
def test_each_slice_is_read_once(layout: str, slabs: Path, voxels: NDArray[Any], reads: Counter[int], tmp_path: Path) -> None:
    plan = make_plan(slabs, options())
    assert plan.unit is not None
    assert plan.unpacked_bytes == voxels.nbytes
    seen: list[Progress] = []
    convert(slabs, tmp_path / "dataset", options(layout=layout), seen.append)
    assert set(reads.values()) == {1}
    assert len(reads) == 70
    assert list(dict.fromkeys(progress.step for progress in seen))[:2] == ["unpack", "convert"]
    np.save(tmp_path / "plain.npy", voxels)
    convert(tmp_path / "plain.npy", tmp_path / "plain", options(layout=layout), quiet)
    assert without_record(tmp_path / "dataset") == without_record(tmp_path / "plain")


def without_record(dataset: Path) -> dict[str, str]:
    return {name: text for name, text in files_of(dataset).items() if not name.endswith("record.json")}


def test_with_memory_enough_nothing_is_unpacked(slabs: Path, reads: Counter[int], tmp_path: Path) -> None:
    plan = make_plan(slabs, options(memory="2GB"))
    assert plan.unit is None
    assert plan.unpacked_bytes == 0
    convert(slabs, tmp_path / "dataset", options(memory="2GB"), quiet)
    assert set(reads.values()) == {1}


def test_a_stop_while_unpacking_and_the_same_command_again(
    slabs: Path, reads: Counter[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(progress: Progress) -> None:
        if progress.done > progress.total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(slabs, tmp_path / "dataset", options(), interrupted)
    convert(slabs, tmp_path / "dataset", options(memory="2GB"), quiet)
    # What was in flight when it stopped is read twice, nothing more often.
    assert set(reads.values()) <= {1, 2}
    assert sum(count == 2 for count in reads.values()) <= 2
    assert not list((tmp_path / "dataset/.glassine").glob("run-*"))


def test_slices_that_cannot_be_read_are_told_and_the_others_are_kept(
    slabs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = ArraySource.read

    def damaged(self: ArraySource, box: Box) -> NDArray[Any]:
        if box.start[2] <= 33 < box.end[2]:
            raise DamagedError("slice 33 of the file is gone")
        return read(self, box)

    monkeypatch.setattr(ArraySource, "read", damaged)
    with pytest.raises(DamagedError, match="slice 33 of the file is gone"):
        convert(slabs, tmp_path / "dataset", options(), quiet)
    monkeypatch.setattr(ArraySource, "read", read)
    assert convert(slabs, tmp_path / "dataset", options(), quiet).kept > 10
