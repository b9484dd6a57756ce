"""How much memory this machine, or the container this process runs in, leaves now."""

import os
from pathlib import Path, PurePosixPath

_UNKNOWN = 1_000_000_000
"""Bytes taken for free where the system tells nothing: what any machine of today can spare."""


def available_memory(root: Path = Path("/")) -> int:
    """Return the bytes that this process can still take before the machine or its cgroup runs short.

    On Linux the kernel's own estimate, bounded by the limits of the cgroup (version 1 or 2) and of all it lies in, where what
    files have cached counts as free; elsewhere half of the machine's memory. root: the folder that holds proc and sys.
    """
    free = available_of(_text(root / "proc/meminfo"))
    if free is None:
        return _half_of_machine()
    return max(0, min([free, *_rooms(root)]))


def available_of(meminfo: str) -> int | None:
    """Return MemAvailable of a /proc/meminfo in bytes; MemFree for kernels before 3.14; None when neither is there."""
    counts = _counts(meminfo.replace(":", " "))
    kibibytes = counts.get("MemAvailable", counts.get("MemFree"))
    return None if kibibytes is None else kibibytes * 1024


def cgroup_folders(cgroup: str) -> tuple[tuple[PurePosixPath, ...], tuple[PurePosixPath, ...]]:
    """Return where a /proc/PID/cgroup says that limits of memory may be: below version 2's mount, and version 1's.

    Each is the process's own cgroup and all above it, the mount itself last: a container may see its own cgroup there, whatever
    the path says.
    """
    unified: tuple[PurePosixPath, ...] = ()
    memory: tuple[PurePosixPath, ...] = ()
    for line in cgroup.splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            unified = _with_ancestors(path)
        elif "memory" in controllers.split(","):
            memory = _with_ancestors(path)
    return unified, memory


def room_below(limit: str, usage: str, stat: str) -> int | None:
    """Return the bytes left below a cgroup's limit, as its files have them; None when there is no limit.

    stat: memory.stat. What files have cached is given back when memory is short, so it counts as free.
    """
    if not limit.strip().isdigit() or not usage.strip().isdigit():
        return None
    counts = _counts(stat)
    # Version 1 counts the cgroups below only in the members that begin with total_.
    cached = sum(counts.get(f"total_{name}", counts.get(name, 0)) for name in ("inactive_file", "active_file"))
    return int(limit) - max(0, int(usage) - cached)


def _rooms(root: Path) -> list[int]:
    """Return the bytes left below each limit that holds for this process."""
    unified, memory = cgroup_folders(_text(root / "proc/self/cgroup"))
    mount = root / "sys/fs/cgroup"
    limits = [(mount / folder, name, "memory.current") for folder in unified for name in ("memory.max", "memory.high")]
    limits += [(mount / "memory" / folder, "memory.limit_in_bytes", "memory.usage_in_bytes") for folder in memory]
    rooms = [
        room_below(_text(folder / limit), _text(folder / usage), _text(folder / "memory.stat")) for folder, limit, usage in limits
    ]
    return [room for room in rooms if room is not None]


def _with_ancestors(path: str) -> tuple[PurePosixPath, ...]:
    own = PurePosixPath(path.lstrip("/"))
    # A path that begins with .. is that of a process outside of the namespace, whose folders cannot be seen.
    return (PurePosixPath(),) if ".." in own.parts else (own, *own.parents)


def _counts(text: str) -> dict[str, int]:
    """Return the number behind each name of lines such as `active_file 4096`."""
    lines = (line.split() for line in text.splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}


def _text(path: Path) -> str:
    """Return what a file of the kernel says, nothing when it is not there or not for us to read."""
    try:
        return path.read_text("ascii", errors="replace")
    except OSError:
        return ""


def _half_of_machine() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):
        return _UNKNOWN
