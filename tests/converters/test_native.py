"""Functions that C could call: compiled and kept, then loaded without numba, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from converters import native
from converters.executor import open_executor

ROOT = Path(__file__).parents[2]

INNER = """
from converters.compiled import compiled

@compiled
def weighed(value):
    return {weight} * value
"""

OUTER = """
import numba, numpy
from inner import weighed
from converters.compiled import compiled

def total(numbers, values, bytes_):
    length = numba.carray(numbers, 1)[0]
    found = numba.carray(values, length)
    as_words = numba.carray(bytes_, 1, numpy.uint32)
    result = numpy.int64(as_words[0])
    for k in range(length):
        result += weighed(found[k])
    return result

def maker(numbers):
    return numpy.arange(numba.carray(numbers, 1)[0]).sum()
"""

# Tells the result, and whether it had to be compiled.
SCRIPT = """
import resource, sys
from pathlib import Path
import numpy as np
from converters.native import Native, is_worth_it, keep_in, loaded
if "full" in sys.argv:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
keep_in(Path("kept") if "there" in sys.argv else None)
total = Native("outer", "total", ("int64", "uint16", "bytes"))
kept = is_worth_it(total, 1 << 23)
assert not is_worth_it(total, (1 << 23) - 1)
assert is_worth_it(total, 1 << 28)
bytes_ = np.array([1, 2, 0, 0], np.uint8)
result = loaded(total)(np.array([3]), np.array([1, 2, 3], np.uint16), bytes_)
assert kept == ("numba" not in sys.modules)
print(result, kept)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels/inner.py").write_text(INNER.format(weight=2))
    (tmp_path / "kernels/outer.py").write_text(OUTER)
    return tmp_path / "kernels"


def started(folder: Path, *arguments: str, script: str = SCRIPT) -> "subprocess.Popen[str]":
    environment = {**os.environ, "HOME": str(folder.parent), "PYTHONWARNINGS": "error", "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = f"{folder}{os.pathsep}{ROOT}"
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(
        command, env=environment, cwd=folder.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, bool]:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    result, kept = output.split()
    return int(result), kept == "True"


def total(folder: Path, *arguments: str) -> tuple[int, bool]:
    """Return 1 + 2 * 256 and, weighed, 1 + 2 + 3, and whether the code for that was there."""
    return ended(started(folder, *arguments))


def kept_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("outer.total-*.o"))


def test_it_is_compiled_once_and_loaded_without_numba(folder: Path) -> None:
    assert total(folder) == (525, False)
    assert total(folder) == (525, True)
    assert len(kept_files(folder / "__pycache__")) == 1


def test_it_is_compiled_again_when_a_module_that_it_calls_has_changed(folder: Path) -> None:
    assert total(folder) == (525, False)
    (folder / "inner.py").write_text(INNER.format(weight=10))
    assert total(folder) == (573, False)


@pytest.mark.parametrize(
    "damage", [lambda held: held[:-1], lambda held: held[:-1] + b"\1", lambda held: b"", lambda held: b"\0" + held]
)
def test_what_is_damaged_is_made_again(folder: Path, damage: object) -> None:
    assert callable(damage)
    assert total(folder) == (525, False)
    (path,) = kept_files(folder / "__pycache__")
    path.write_bytes(damage(path.read_bytes()))
    assert total(folder) == (525, False)
    assert total(folder) == (525, True)


def test_it_is_kept_where_one_says(folder: Path) -> None:
    assert total(folder, "there") == (525, False)
    assert total(folder, "there") == (525, True)
    assert kept_files(folder.parent / "kept")
    assert not kept_files(folder / "__pycache__")


def test_without_a_folder_beside_the_module_the_user_has_one(folder: Path) -> None:
    (folder / "__pycache__").write_bytes(b"")
    assert total(folder) == (525, False)
    assert total(folder) == (525, True)
    assert kept_files(folder.parent / ".cache/glassine")


def test_where_nothing_can_be_written_it_is_compiled_each_time(folder: Path) -> None:
    for path in (folder / "__pycache__", folder.parent / ".cache"):
        path.write_bytes(b"")
    assert total(folder) == (525, False)
    assert total(folder) == (525, False)


def test_a_disk_that_is_full_is_no_error(folder: Path) -> None:
    assert total(folder, "full") == (525, False)


def test_several_processes_that_compile_at_once(folder: Path) -> None:
    assert {ended(process)[0] for process in [started(folder) for _ in range(2)]} == {525}
    assert total(folder) == (525, True)


def test_a_function_that_needs_python_is_refused(folder: Path) -> None:
    script = SCRIPT.replace('"total", ("int64", "uint16", "bytes")', '"maker", ("int64",)')
    process = started(folder, script=script)
    _, errors = process.communicate(timeout=120)
    assert "TypeError: maker raises, makes arrays or calls Python: it needs ['" in errors
    assert "which LLVM alone cannot find" in errors


def test_an_array_of_another_type_is_refused() -> None:
    kernel = native.loaded(
        native.Native("converters.volumes.label_kernels", "encode_blocks", ("int64", "uint32", "uint32", "uint32", "bytes"))
    )
    right = [np.zeros(1, dtype) for dtype in ("int64", "uint32", "uint32", "uint32", "uint8")]
    for wrong in (np.zeros(1, "int32"), np.zeros(4, "int64")[::2]):
        with pytest.raises(TypeError, match=r"array of int.*, expected contiguous int64: its memory"):
            kernel(wrong, *right[1:])


def test_workers_keep_code_where_the_process_that_starts_them_does(tmp_path: Path) -> None:
    before = native.kept_in()
    try:
        native.keep_in(tmp_path)
        with open_executor("processes:1") as executor:
            assert executor.submit(native.kept_in).result() == tmp_path
    finally:
        native.keep_in(before)
