"""Compiled functions and what is kept of them, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from converters.compiled import are_kept

ROOT = Path(__file__).parents[2]

INNER = """
from converters.compiled import compiled

@compiled
def step(number):
    return number + {step}
"""

OUTER = """
from converters.compiled import compiled
from inner import step

@compiled
def count(numbers):
    total = 0
    for number in numbers:
        total += step(number)
    return total
"""

# Tells the result, and how often compiled code was found.
SCRIPT = """
import resource, sys
import numpy as np
if sys.argv[1:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
from outer import count
print(int(count(np.arange(4))), sum(count.stats.cache_hits.values()))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels/inner.py").write_text(INNER.format(step=1))
    (tmp_path / "kernels/outer.py").write_text(OUTER)
    return tmp_path / "kernels"


def started(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    own = {"HOME": str(folder.parent), "XDG_CACHE_HOME": str(folder.parent / "user"), "PYTHONWARNINGS": "error"}
    environment = {**os.environ, **own, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("NUMBA_CACHE_DIR", None)
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, int]:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    result, hits = output.split()
    return int(result), int(hits)


def counted(folder: Path, *arguments: str) -> tuple[int, int]:
    return ended(started(folder, *arguments))


def test_code_is_kept_and_made_again_where_it_is_damaged(folder):
    """A folder for it is made first; so it is where another module's code in it changes."""
    assert not (folder / "__pycache__").exists()
    assert counted(folder) == (10, 0)
    for kind, damage in (("nbi", b""), ("nbc", b"\0" * 100)):
        damaged = list((folder / "__pycache__").glob(f"*.{kind}"))
        assert len(damaged) == 2
        for path in damaged:
            path.write_bytes(damage)
        assert counted(folder) == (10, 0)
        assert counted(folder) == (10, 1)
    (folder / "inner.py").write_text(INNER.format(step=10))
    assert counted(folder) == (46, 0)


def test_without_a_folder_beside_the_module_the_user_has_one(folder):
    (folder / "__pycache__").write_bytes(b"")
    assert counted(folder) == (10, 0)
    assert counted(folder) == (10, 1)
    assert list((folder.parent / "user").rglob("*.nbi"))


def test_where_nothing_can_be_written_it_is_compiled_each_time(folder):
    for path in (folder / "__pycache__", folder.parent / "user"):
        path.write_bytes(b"")
    assert counted(folder) == (10, 0)


def test_a_disk_that_is_full_is_no_error(folder):
    assert counted(folder, "no file grows") == (10, 0)


def test_several_processes_that_compile_at_once(folder):
    processes = [started(folder) for _ in range(2)]
    assert {ended(process)[0] for process in processes} == {10}
    assert counted(folder) == (10, 1)


def test_code_counts_as_kept_when_it_is_newer_than_all_modules(tmp_path):
    modules = [tmp_path / "a.py", tmp_path / "b.py"]
    assert not are_kept(modules)
    (tmp_path / "__pycache__").mkdir()
    for time, path in enumerate(
        [*modules, tmp_path / "__pycache__/a.f-1.py311.nbi", tmp_path / "__pycache__/b.f-1.py311.nbi"], 1
    ):
        assert not are_kept(modules)
        path.write_bytes(b"")
        os.utime(path, (time, time))
    assert are_kept(modules)
    os.utime(modules[0], (9, 9))
    assert not are_kept(modules)
