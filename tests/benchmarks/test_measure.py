"""Process trees and their memory, from a /proc made by hand and from real processes."""

import sys
from pathlib import Path

import pytest

from benchmarks.measure import RunError, process_tree, run, unshared_bytes

PYTHON = sys.executable


def _process(proc: Path, pid: int, parent: int, name: str = "python") -> None:
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} 1 1 0 -1 4194304 100")


def test_tree_holds_descendants_of_every_generation_and_nobody_else(tmp_path: Path) -> None:
    for pid, parent in ((1, 0), (10, 1), (11, 10), (12, 11), (13, 10), (20, 1)):
        _process(tmp_path, pid, parent)
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB")
    assert sorted(process_tree(10, frozenset({1}), tmp_path)) == [10, 11, 12, 13]


def test_a_name_with_spaces_and_parentheses_hides_no_parent(tmp_path: Path) -> None:
    _process(tmp_path, 10, 1)
    _process(tmp_path, 11, 10, name="a) S 99 (b c")
    assert process_tree(10, frozenset(), tmp_path) == [10, 11]


def test_a_process_that_ends_meanwhile_is_left_out(tmp_path: Path) -> None:
    _process(tmp_path, 10, 1)
    (tmp_path / "11").mkdir()
    assert process_tree(10, frozenset(), tmp_path) == [10]
    assert unshared_bytes(11, tmp_path) == 0


def test_memory_is_anonymous_and_shared_pages_without_those_of_files(tmp_path: Path) -> None:
    (tmp_path / "10").mkdir()
    (tmp_path / "10" / "status").write_text("VmRSS:\t 900 kB\nRssAnon:\t 100 kB\nRssFile:\t 780 kB\nRssShmem:\t 20 kB\n")
    assert unshared_bytes(10, tmp_path) == 120 * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which only Linux has")
def test_peak_counts_what_a_grandchild_holds(tmp_path: Path) -> None:
    hold = "import time; held = bytearray(range(256)) * (1 << 18); time.sleep(1)"
    measured = run((PYTHON, "-c", f"import subprocess; subprocess.run([{PYTHON!r}, '-c', {hold!r}])"), tmp_path, tmp_path / "log")
    assert measured.peak_bytes > 64 << 20


def test_a_failing_command_is_an_error_that_shows_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"exit status 3, expected 0; it ended with:\nno space"):
        run((PYTHON, "-c", "print('no space'); raise SystemExit(3)"), tmp_path, tmp_path / "log")
