"""Which file answers, and what is refused before anything is read."""

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.data import lookup
from app.data.lookup import Stored, open_stored


@pytest.fixture(params=["openat2", "open"], autouse=True)
def opener(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test runs by both ways: without waiting for the disk, and in a thread."""
    if request.param == "open":
        monkeypatch.setattr(lookup, "_open_cached", None)
    elif lookup._open_cached is None:
        pytest.skip("this system has no openat2, or forbids it")
    return str(request.param)


def opened(root: str, path: str) -> Stored | None:
    return asyncio.run(open_stored(root, path))


def found(root: Path, path: str) -> tuple[bytes, bool] | None:
    stored = opened(os.path.realpath(root), path)
    if stored is None:
        return None
    with open(stored.descriptor, "rb") as file:
        return file.read(), stored.coding == b"gzip"


NESTED, FLAT = "s/0-64/-64-0/-3--1", "s/0-64_-64-0_-3--1"
LAYOUTS = [NESTED, f"{NESTED}.gz", f"{NESTED}.br", FLAT, f"{FLAT}.gz", f"{FLAT}.br"]
"""From the one that wins over all others to the one that yields to all; without brotli the same order as in nginx.conf."""
MANIFESTS = ["m/12:0", "m/12:0.gz", "m/12:0.br", "m/12.json", "m/12.json.gz", "m/12.json.br", "m/12", "m/12.gz", "m/12.br"]
CODINGS = {".gz": b"gzip", ".br": b"br"}


@pytest.mark.parametrize(("path", "names"), [("/s/0-64_-64-0_-3--1", LAYOUTS), ("/m/12:0", MANIFESTS)])
def test_the_first_name_that_is_there_wins(tmp_path: Path, path: str, names: list[str]) -> None:
    for name in reversed(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
        stored = opened(os.path.realpath(tmp_path), path)
        assert stored is not None
        with open(stored.descriptor, "rb") as file:
            assert file.read() == name.encode()
        assert stored.coding == CODINGS.get(name[-3:], b"")
        assert stored.span == (0, len(name))


@pytest.mark.parametrize("name", ["12:0:0-64_0-64_0-64", "a:0", "12:", ":0", "12:x", "1²:0"])
def test_only_manifests_have_other_names_without_a_colon(tmp_path: Path, name: str) -> None:
    for other in ("12", "12.json", "a", "a.json", ".json", "1²"):
        (tmp_path / other).write_bytes(b"another")
    assert found(tmp_path, f"/{name}") is None


@pytest.mark.parametrize(
    "name", ["0-64_0-64", "0-64_0-64_0-64_0-64", "0_64_128", "a-b_c-d_e-f", "0-64_0-64_٠-٦", "+0-64_0-64_0-64"]
)
def test_only_the_names_of_chunks_are_looked_for_in_nested_folders(tmp_path: Path, name: str) -> None:
    path = tmp_path / "s" / name.replace("_", "/")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"nested")
    assert found(tmp_path, f"/s/{name}") is None
    (tmp_path / "s" / name).write_bytes(b"flat")
    assert found(tmp_path, f"/s/{name}") == (b"flat", False)


@pytest.mark.parametrize("has_links", [True, False])
def test_where_a_file_is_decides_not_what_its_path_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool) -> None:
    monkeypatch.setattr(lookup, "_HAS_DESCRIPTOR_LINKS", has_links and os.path.isdir("/proc/self/fd"))
    root, outside = tmp_path / "root", tmp_path / "root2"
    for folder in (root / "inside", outside):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"content")
    (root / "in").symlink_to(root / "inside")
    (root / "out").symlink_to(outside)
    (root / "file").symlink_to("../root2/file")
    assert found(root, "/in/file") == (b"content", False)
    assert found(root, "/out/file") is None
    assert found(root, "/file") is None


def test_a_link_that_is_changed_while_the_file_is_opened_gives_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_bytes(b"inside")
    (tmp_path / "secret").write_bytes(b"outside")
    open_before = os.open

    def swapping_open(path: str, flags: int) -> int:
        (root / "file").unlink(missing_ok=True)
        (root / "file").symlink_to(tmp_path / "secret")
        descriptor = open_before(path, flags)
        (root / "file").unlink()
        (root / "file").write_bytes(b"inside")
        return descriptor

    monkeypatch.setattr(lookup, "_open_cached", None)
    monkeypatch.setattr(os, "open", swapping_open)
    assert opened(str(root), "/file") is None


@pytest.mark.parametrize("error", [errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ELOOP])
def test_what_cannot_be_opened_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opener: str, error: int) -> None:
    def failing_open(path: str, flags: int) -> int:
        raise OSError(error, os.strerror(error), path)

    monkeypatch.setattr(os, "open", failing_open)
    if opener == "openat2":
        monkeypatch.setattr(lookup, "_open_cached", lambda path: -error)
    with pytest.raises(OSError, match=os.strerror(error)):
        opened(str(tmp_path), "/s/0-64_0-64_0-64")


def test_what_cannot_be_opened_outside_is_not_told_from_what_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "out").symlink_to("../unreadable")

    def refusing_open(path: str, flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "open", refusing_open)
    assert opened(str(tmp_path / "root"), "/out") is None


def test_a_disk_that_has_to_be_asked_is_asked_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"content")
    threads, open_before = [], os.open

    def noting_open(path: str, flags: int) -> int:
        threads.append(threading.current_thread())
        return open_before(path, flags)

    monkeypatch.setattr(os, "open", noting_open)
    monkeypatch.setattr(lookup, "_open_cached", lambda path: -errno.EAGAIN)
    stored = opened(os.path.realpath(tmp_path), "/file")
    assert stored is not None
    os.close(stored.descriptor)
    assert threads
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("path", ["/s/0-64_0-64_0-64", "/pipe"])
def test_no_descriptor_is_left_open(tmp_path: Path, path: str) -> None:
    (tmp_path / "s" / "0-64" / "0-64" / "0-64").mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(OSError, match="not a regular file"):
            opened(os.path.realpath(tmp_path), path)
        assert opened(os.path.realpath(tmp_path), "/s") is None
    assert len(os.listdir("/proc/self/fd")) == before


hostile = st.text(st.sampled_from("ab./\\\0-_0% ~"), max_size=24).map(lambda text: f"/{text}")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hostile)
@example("/../secret")
@example("/a/../../secret")
@example("//etc/passwd")
@example("/a\0b")
@example("/" + "a" * 300)
@example("/" + "a/" * 3000 + "b")
def test_no_path_leads_out(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    base = tmp_path_factory.getbasetemp() / "hostile"
    (base / "root" / "a").mkdir(parents=True, exist_ok=True)
    for name in ("secret", "root/.secret", "root/a/.secret"):
        (base / name).write_bytes(b"secret")
    (base / "root" / "a" / "b").write_bytes(b"public")
    answer = found(base / "root", path)
    assert answer in (None, (b"public", False))
    assert (answer is not None) == (path == "/a/b")
