"""Two system calls of Linux that Python does not offer.

openat2(2) opens a file only if that takes no disk and no link is followed; cachestat(2) tells whether a file is in memory.
"""

import ctypes
import mmap
import os
import sys
from collections.abc import Callable

# The numbers are the same on every architecture that Python is built for.
_OPENAT2 = 437
_CACHESTAT = 451
_AT_FDCWD = -100
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_CACHED = 0x20


class _OpenHow(ctypes.Structure):
    """struct open_how of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _Range(ctypes.Structure):
    """struct cachestat_range of cachestat(2), in bytes."""

    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Pages(ctypes.Structure):
    """struct cachestat of cachestat(2), in pages."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("cached", "dirty", "writeback", "evicted", "recently_evicted"))


def cached_opener(flags: int) -> Callable[[str], int] | None:
    """Return a function that opens an absolute path with these flags of open(2), None where the system has no such call.

    It returns the descriptor or minus the errno, for an exception costs more than the call: EAGAIN when a disk would have to be
    asked, ELOOP when there is a link anywhere on the path.
    """
    if sys.platform != "linux":
        return None
    how = _OpenHow(flags, 0, _RESOLVE_NO_SYMLINKS | _RESOLVE_CACHED)
    how_address, how_bytes = ctypes.byref(how), ctypes.sizeof(how)
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
    syscall.restype = ctypes.c_long

    def open_cached(path: str) -> int:
        descriptor: int = syscall(_OPENAT2, _AT_FDCWD, os.fsencode(path), how_address, how_bytes)
        return descriptor if descriptor >= 0 else -ctypes.get_errno()

    # Kernels before 5.12 lack it or a part of it, and the filters of some containers forbid it.
    probe = open_cached("/")
    if probe < 0:
        return None
    os.close(probe)
    return open_cached


def cache_inspector() -> Callable[[int, int, int], bool]:
    """Return a function that tells of a descriptor, a first byte and the one behind the last whether the page cache has them all.

    Where the system does not tell (a kernel before 6.5, a file of another user on the newest ones, a file system with a cache of
    its own) the answer is no.
    """
    if sys.platform != "linux":
        return lambda descriptor, start, end: False
    syscall = ctypes.CDLL(None).syscall
    syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint)
    syscall.restype = ctypes.c_long

    def is_cached(descriptor: int, start: int, end: int) -> bool:
        pages = _Pages()
        if syscall(_CACHESTAT, descriptor, ctypes.byref(_Range(start, end - start)), ctypes.byref(pages), 0) != 0:
            return False
        wanted: int = (end - 1) // mmap.PAGESIZE - start // mmap.PAGESIZE + 1
        cached: int = pages.cached
        return cached >= wanted

    return is_cached
