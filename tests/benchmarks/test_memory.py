"""The benchmark of memory: its table, the room it asks for, and a run of it."""

from pathlib import Path

import pytest

from benchmarks import memory
from benchmarks.large_samples import KINDS, Kind
from benchmarks.measure import Measurement
from benchmarks.memory import Outcome, dataset_room, main, summary

PLAN = {
    "layout": "sharded",
    "unpacked_bytes": 8_000_000_000,
    "memory_bytes": 900 << 20,
    "files_about": 40,
    "stored_bytes_about": 6_000_000_000,
    "seconds_about": 99.6,
}


def _outcome(peak_bytes: int) -> Outcome:
    return Outcome("nii.gz", "sharded", Measurement(120.4, 200.0, peak_bytes), PLAN, 3.14, 41, 6_100_000_000)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_summary_has_each_figure_beside_the_plan() -> None:
    heads, _, row = summary([_outcome(1000 << 20)], 10**9).splitlines()
    assert dict(zip(enumerate(_cells(heads)), _cells(row), strict=True)) == {
        (0, ""): "NIfTI, one gzip stream, uint8",
        (1, "layout"): "sharded",
        (2, "unpacked"): "yes",
        (3, "seconds"): "120",
        (4, "planned"): "100",
        (5, "CPU seconds"): "200",
        (6, "peak MiB"): "1000",
        (7, "planned"): "900",
        (8, "allowed"): "1240",
        (9, "files"): "41",
        (10, "planned"): "40",
        (11, "MB"): "6100.0",
        (12, "planned"): "6000.0",
        (13, "seconds to plan"): "3.1",
    }


def test_a_peak_at_the_bound_is_too_much() -> None:
    assert _outcome(1_299_999_999).allowed(10**9)
    assert not _outcome(1_300_000_000).allowed(10**9)
    assert "1240 EXCEEDED" in summary([_outcome(1_300_000_000)], 10**9)


def test_room_holds_what_is_unpacked_and_shards_twice() -> None:
    assert dataset_room(PLAN) == 8_000_000_000 + 2 * 6_600_000_000 + 40 * 4096
    assert dataset_room({**PLAN, "layout": "flat", "unpacked_bytes": 0}) == 6_600_000_000 + 40 * 4096


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(memory, "_WORK", tmp_path)
    monkeypatch.setattr("benchmarks.large_samples._TEXTURE", (64, 32, 16))
    monkeypatch.setitem(KINDS, "hdf5", Kind("HDF5", (96, 80), "uint8", ".h5", KINDS["hdf5"].write))
    return tmp_path


def test_a_run_converts_checks_and_cleans(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--gigabytes", "0.0005", "--memory", "500MB", "--kinds", "hdf5", "--layouts", "sharded", "--clean"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    (row,) = (_cells(line) for line in printed.out.splitlines() if line.startswith("| HDF5"))
    assert row[:3] == ["HDF5, uint8", "sharded", "no"]
    assert "voxels are as they must be" in printed.err
    assert sorted(path.name for path in (small / "memory").iterdir()) == ["log.txt", "texture-r1.npy"]


def test_a_full_disk_is_refused_before_anything_is_made(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "_RESERVE_BYTES", 1 << 60)
    assert main(["--gigabytes", "0.0005", "--kinds", "hdf5", "--layouts", "flat"]) == 1
    message = capsys.readouterr().err
    assert "GB are free, the input hdf5 needs 0.0 GB and 1152921505 GB are left alone: free some, or take a smaller" in message
    assert list((small / "memory").iterdir()) == []
