"""What a process may open from now on, and all that it starts: held by the kernel (Linux' Landlock), not by checks of names.

A source may name other files: an HDF5 file's external links, detached headers, lists of pieces, companion files, links among
a folder's files, and libraries in C open them by themselves. Whatever they are told, the kernel opens nothing outside of these
folders.
https://docs.kernel.org/userspace-api/landlock.html
"""

import ctypes
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_WRITE_FILE, _READ_FILE, _READ_DIR, _REFER, _TRUNCATE = (1 << bit for bit in (1, 2, 3, 13, 14))
_CHANGE_DIR = sum(1 << bit for bit in range(4, 13))
"""Removing and making files and folders of all kinds."""
_TCP = 0b11
"""Binding and connecting."""

_LEAST_VERSION = 2
"""Linux 5.19: before, files cannot be moved from one folder to another, which publishing a dataset does."""
_TRUNCATE_VERSION = 3
_TCP_VERSION = 4

_SYSTEM = (
    "/usr", "/lib", "/lib32", "/lib64", "/bin", "/opt", "/nix/store", "/dev/urandom", "/dev/random",
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/localtime",
    "/etc/timezone", "/etc/mime.types", "/etc/nsswitch.conf", "/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/etc/gai.conf",
    "/etc/services", "/etc/protocols", "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/alternatives",
    "/run/systemd/resolve", "/proc/self", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/filesystems",
    "/proc/sys/vm", "/proc/sys/kernel", "/sys/fs/cgroup", "/sys/devices/system",
)  # fmt: skip
"""What libraries read of the system: themselves, names of hosts, certificates, how much memory and how many cores there are."""
_SHARED_MEMORY = ("/dev/null", "/dev/shm")
"""What pools of processes write to: their locks."""


class ConfinementError(OSError):
    """The kernel does not confine processes, or not well enough."""


@dataclass(frozen=True)
class Confinement:
    """What a process may do: read below read and write, change what lies below write, and connect over TCP if network is set."""

    read: tuple[Path, ...]
    write: tuple[Path, ...]
    network: bool


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def can_confine() -> bool:
    """Tell whether the kernel can confine processes well enough."""
    return _version() >= _LEAST_VERSION


def python_folders() -> tuple[Path, ...]:
    """Return the folders that this Python imports from."""
    import app
    import converters
    import formats
    import static

    packages = [Path(package.__file__).parent for package in (app, converters, formats, static) if package.__file__]
    prefixes = [Path(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)]
    return (*packages, *prefixes, *(Path(entry) for entry in sys.path if os.path.isabs(entry)))


def confine(confinement: Confinement) -> None:
    """Confine this process and all that it starts, for good. Raises ConfinementError where the kernel cannot do it."""
    version = _version()
    if version < _LEAST_VERSION:
        raise ConfinementError("this kernel cannot confine processes (Landlock of Linux 5.19 or later)")
    change = _WRITE_FILE | _CHANGE_DIR | _REFER | (_TRUNCATE if version >= _TRUNCATE_VERSION else 0)
    look = _READ_FILE | _READ_DIR
    held_tcp = _TCP if version >= _TCP_VERSION and not confinement.network else 0
    size = 16 if version >= _TCP_VERSION else 8
    ruleset = _call(_CREATE_RULESET, ctypes.byref(_Ruleset(look | change, held_tcp)), size, 0)
    try:
        _allow(ruleset, look, (*map(Path, _SYSTEM), *python_folders(), *confinement.read))
        _allow(ruleset, look | change, (*map(Path, _SHARED_MEMORY), *confinement.write))
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise ConfinementError(ctypes.get_errno(), "the process cannot give up privileges")
        _call(_RESTRICT_SELF, ruleset, 0, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, rights: int, paths: Iterable[Path]) -> None:
    """Allow rights below these folders, and those that fit files on these files; what is not there is left out."""
    for path in paths:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fitting = rights if os.path.isdir(path) else rights & (_READ_FILE | _WRITE_FILE | _TRUNCATE)
            _call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(_PathBeneath(fitting, descriptor)), 0)
        finally:
            os.close(descriptor)


def _version() -> int:
    """Return the version of the kernel's Landlock, 0 where there is none."""
    if sys.platform != "linux":
        return 0
    try:
        return _call(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    except OSError:
        return 0


def _call(number: int, *arguments: object) -> int:
    """Return what a system call gives. Raises ConfinementError when it fails."""
    words = [ctypes.c_size_t(word) if isinstance(word, int) else word for word in arguments]
    result = int(ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *words))
    if result < 0:
        code = ctypes.get_errno()
        raise ConfinementError(code, f"the kernel does not confine this process: {os.strerror(code)}")
    return result
