"""Opening a file without waiting for a disk and without following a link: Linux's openat2(2), which Python does not offer."""

import ctypes
import os
import sys
from collections.abc import Callable

_OPENAT2 = 437
"""The system call's number, the same on every architecture that Python is built for."""
_AT_FDCWD = -100
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_CACHED = 0x20


class _OpenHow(ctypes.Structure):
    """struct open_how of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


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
