import gzip
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.errors import DiskFullError
from converters.storage import files
from converters.storage.flat import FlatStorage
from converters.storage.nested import NestedStorage
from converters.storage.storage import Layout, Storage, open_storage
from formats.errors import DecodeError

NAMES = [
    "info",
    "provenance",
    "8_8_40/0-64_0-64_0-64",
    "8_8_40/-64-0_-1--0_0-64",
    "8_8_40/-64--1_-7-13_64-99",
    "8_8_40/64-128_0-64_0-64",
    "mesh/info",
    "mesh/18446744073709551615:0",
    "mesh/5:0:0-64_0-64_0-64",
    "mesh/1.index",
    "skeletons/7",
    "spatial0/0_0_0",
]
LAYOUTS: list[Layout] = ["nested", "flat"]

OpenStorage = Callable[[Path], Storage]


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> Layout:
    chosen: Layout = request.param
    return chosen


def test_where_nested_files_lie(tmp_path: Path) -> None:
    storage = NestedStorage(tmp_path)
    storage.put("info", b"{}", compressible=False)
    storage.put("8_8_40/-64--1_0-64_64-99", b"voxels", compressible=True)
    storage.put("8_8_40/0-64_0-64_64-99", b"picture", compressible=False)
    storage.put("mesh/5:0", b"manifest", compressible=True)
    assert gzip.decompress((tmp_path / "8_8_40/-64--1/0-64/64-99.gz").read_bytes()) == b"voxels"
    assert (tmp_path / "8_8_40/0-64/0-64/64-99").read_bytes() == b"picture"
    assert gzip.decompress((tmp_path / "mesh/5:0.gz").read_bytes()) == b"manifest"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["8_8_40", "info", "mesh"]


def test_where_flat_files_lie(tmp_path: Path) -> None:
    storage = FlatStorage(tmp_path)
    storage.put("8_8_40/-64--1_0-64_64-99", b"voxels", compressible=True)
    assert (tmp_path / "8_8_40/-64--1_0-64_64-99").read_bytes() == b"voxels"


def test_the_bytes_on_disk_are_told(tmp_path: Path, layout: Layout) -> None:
    storage = open_storage(tmp_path, layout)
    for name, compressible in (("a", True), ("b", False)):
        stored = storage.put(name, bytes(10_000), compressible=compressible)
        assert stored == next(path.stat().st_size for path in tmp_path.iterdir() if path.name.startswith(name))


@st.composite
def _steps(draw: st.DrawFn) -> list[tuple[str, bytes, bool]]:
    step = st.tuples(st.sampled_from(NAMES), st.binary(max_size=40), st.booleans())
    return draw(st.lists(step, max_size=12))


@given(steps=_steps(), start=st.integers(0, 45), length=st.integers(0, 45), layout=st.sampled_from(LAYOUTS))
@settings(max_examples=80, deadline=None)
def test_a_storage_is_a_dict_of_names(steps: list[tuple[str, bytes, bool]], start: int, length: int, layout: Layout) -> None:
    model: dict[str, bytes] = {}
    with TemporaryDirectory() as folder:
        storage = open_storage(Path(folder), layout)
        for name, data, compressible in steps:
            storage.put(name, data, compressible=compressible)
            model[name] = data
        for name in NAMES:
            data = model.get(name)
            assert storage.get(name) == data
            assert storage.exists(name) == (name in model)
            assert storage.get_range(name, start, length) == (None if data is None else data[start : start + length])
        for prefix in ("", "8_8_40", "mesh", "skeletons", "spatial0", "nowhere"):
            expected = {name for name in model if name.rpartition("/")[0] == prefix}
            assert sorted(storage.list(prefix)) == sorted(expected)


def test_a_plain_file_wins_over_its_gz_neighbour(tmp_path: Path) -> None:
    folder = tmp_path / "8_8_40/0-64/0-64"
    folder.mkdir(parents=True)
    (folder / "0-64.gz").write_bytes(gzip.compress(b"packed"))
    storage, name = NestedStorage(tmp_path), "8_8_40/0-64_0-64_0-64"
    assert storage.get(name) == b"packed"
    assert storage.get_range(name, 1, 3) == b"ack"
    (folder / "0-64").write_bytes(b"plain")
    assert storage.get(name) == b"plain"
    assert storage.get_range(name, 1, 3) == b"lai"
    assert list(storage.list("8_8_40")) == [name]


def test_what_lies_between_a_chunk_and_its_scale_is_no_object(tmp_path: Path) -> None:
    storage = NestedStorage(tmp_path)
    storage.put("8_8_40/0-64_0-64_0-64", b"voxels", compressible=True)
    (tmp_path / "8_8_40/0-64/notes").mkdir()
    (tmp_path / "8_8_40/0-64/notes/file").write_bytes(b"")
    (tmp_path / "8_8_40/.0-64.17.tmp").write_bytes(b"")
    assert list(storage.list("8_8_40")) == ["8_8_40/0-64_0-64_0-64"]


@pytest.mark.parametrize("name", ["8_8_40", "8_8_40/0-64", "8_8_40/0-64_0-64_0-64/beyond", "missing"])
def test_a_folder_is_no_object(tmp_path: Path, layout: Layout, name: str) -> None:
    storage = open_storage(tmp_path, layout)
    storage.put("8_8_40/0-64_0-64_0-64", b"voxels", compressible=True)
    assert storage.get(name) is None
    assert storage.get_range(name, 0, 1) is None
    assert not storage.exists(name)


def test_corrupt_gzip_is_an_error_and_not_absent(tmp_path: Path) -> None:
    (tmp_path / "info.gz").write_bytes(gzip.compress(b"{}" * 100)[:-9])
    with pytest.raises(DecodeError, match="cut off"):
        NestedStorage(tmp_path).get("info")


def test_an_unreadable_file_is_an_error_and_not_absent(tmp_path: Path, layout: Layout) -> None:
    # A link to itself, which no user can read, not even root.
    (tmp_path / "info").symlink_to("info")
    storage = open_storage(tmp_path, layout)
    with pytest.raises(OSError, match="symbolic links"):
        storage.get("info")
    with pytest.raises(OSError, match="symbolic links"):
        storage.get_range("info", 0, 1)


@pytest.mark.parametrize("number", [28, 122])  # ENOSPC, EDQUOT
def test_a_put_without_room_leaves_the_old_file(
    tmp_path: Path, layout: Layout, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(tmp_path, layout)
    storage.put("mesh/1:0", b"old", compressible=False)

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(number, "as the system says it")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(DiskFullError) as caught:
            storage.put("mesh/1:0", b"newer", compressible=False)
    assert str(caught.value) == (
        f"{tmp_path}/mesh/1:0: no room is left on the disk ({os.strerror(number)}); make room and run the same command again"
    )
    assert storage.get("mesh/1:0") == b"old"
    assert os.listdir(tmp_path / "mesh") == ["1:0"]


def test_a_put_that_cannot_be_named_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_file(tmp_path / "a", b"old")

    def refused(old: str, new: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refused)
        with pytest.raises(PermissionError):
            files.write_file(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_file_where_a_folder_is_needed_is_told(tmp_path: Path, layout: Layout) -> None:
    storage = open_storage(tmp_path, layout)
    storage.put("mesh", b"a file", compressible=False)
    with pytest.raises(OSError, match="mesh"):
        storage.put("mesh/1:0", b"", compressible=False)
    assert storage.get("mesh") == b"a file"


def test_a_short_write_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
    data = bytes(range(200))
    files.write_file(tmp_path / "a", data)
    assert (tmp_path / "a").read_bytes() == data
