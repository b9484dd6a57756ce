"""openat2 against open(2), and cachestat against what was done to a file."""

import errno
import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.data.linux import cache_inspector, cached_opener

FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


@pytest.fixture
def open_cached() -> Callable[[str], int]:
    opener = cached_opener(FLAGS)
    if opener is None:
        pytest.skip("this system has no openat2, or forbids it")
    return opener


def test_a_file_that_was_just_written_is_opened(tmp_path: Path, open_cached: Callable[[str], int]) -> None:
    path = tmp_path / "ä\udcff"
    path.write_bytes(b"content")
    descriptor = open_cached(str(path))
    assert os.read(descriptor, 100) == b"content"
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


def test_links_are_refused_wherever_they_are(tmp_path: Path, open_cached: Callable[[str], int]) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"content")
    (tmp_path / "folder_link").symlink_to("folder")
    (tmp_path / "file_link").symlink_to("folder/file")
    for name in ("folder_link/file", "file_link"):
        os.close(os.open(tmp_path / name, FLAGS))
        assert open_cached(str(tmp_path / name)) == -errno.ELOOP


def test_what_is_absent_has_its_errno_or_is_asked_for_again(tmp_path: Path, open_cached: Callable[[str], int]) -> None:
    (tmp_path / "file").write_bytes(b"content")
    for name, error in (("nothing", errno.ENOENT), ("file/x", errno.ENOTDIR), ("x" * 300, errno.ENAMETOOLONG)):
        with pytest.raises(OSError, match=os.strerror(error)):
            os.open(tmp_path / name, FLAGS)
        assert open_cached(str(tmp_path / name)) in (-error, -errno.EAGAIN)


def test_there_is_none_on_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cached_opener(FLAGS) is None
    assert cache_inspector()(0, 0, 1) is False


def test_there_is_none_where_the_call_is_refused() -> None:
    assert cached_opener(-1) is None


def test_a_file_is_in_memory_after_it_was_written_and_not_after_it_was_dropped(tmp_path: Path) -> None:
    is_cached = cache_inspector()
    size = 5 * mmap.PAGESIZE + 7
    with (tmp_path / "file").open("wb") as file:
        file.write(bytes(size))
        file.flush()
        os.fsync(file.fileno())
        if not is_cached(file.fileno(), 0, size):
            pytest.skip("this system has no cachestat, or not for these files")
        for start, end in ((0, 1), (size - 1, size), (mmap.PAGESIZE - 1, mmap.PAGESIZE + 1), (1, size)):
            assert is_cached(file.fileno(), start, end)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert not is_cached(file.fileno(), 0, size)


def test_nothing_is_in_memory_of_what_is_no_open_file() -> None:
    assert cache_inspector()(10**6, 0, 10) is False
