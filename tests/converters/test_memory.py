import os
from pathlib import Path

import psutil
import pytest

from converters import memory
from converters.memory import available_memory, available_of, cgroup_folders, room_below

GIB = 2**30
MEMINFO = """MemTotal:       24692540 kB
MemFree:        20000000 kB
MemAvailable:   16777216 kB
HugePages_Total:       0
DirectMap4k:      133112 kB
"""


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def v2(folder: str, limit: str, current: int, cached: int = 0, high: str = "max") -> dict[str, str]:
    return {
        f"sys/fs/cgroup/{folder}/memory.max": f"{limit}\n",
        f"sys/fs/cgroup/{folder}/memory.high": f"{high}\n",
        f"sys/fs/cgroup/{folder}/memory.current": f"{current}\n",
        f"sys/fs/cgroup/{folder}/memory.stat": f"anon 4096\ninactive_file {cached}\nactive_file 0\nslab 77\n",
    }


def v1(folder: str, limit: int, usage: int, cached: int = 0) -> dict[str, str]:
    return {
        f"sys/fs/cgroup/memory/{folder}/memory.limit_in_bytes": f"{limit}\n",
        f"sys/fs/cgroup/memory/{folder}/memory.usage_in_bytes": f"{usage}\n",
        f"sys/fs/cgroup/memory/{folder}/memory.stat": (
            f"cache 1\ninactive_file 3\nactive_file 4\ntotal_inactive_file {cached // 2}\ntotal_active_file {cached // 2}\n"
        ),
    }


def test_the_machine_alone(tmp_path: Path) -> None:
    assert available_memory(written(tmp_path, {"proc/meminfo": MEMINFO})) == 16 * GIB


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        # Docker, version 2, in a namespace of its own: what files have cached is free.
        ("0::/\n", v2("", str(4 * GIB), 3 * GIB, cached=2 * GIB), 3 * GIB),
        ("0::/\n", v2("", "max", 3 * GIB), 16 * GIB),
        ("0::/\n", v2("", str(4 * GIB), GIB, high=str(2 * GIB)), GIB),
        # More than the limit is taken for a moment: none is left.
        ("0::/\n", v2("", str(4 * GIB), 5 * GIB), 0),
        # SLURM: the limit stands at the job, above the step's own cgroup.
        (
            "0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_0\n",
            v2("system.slice/slurmstepd.scope/job_7", str(8 * GIB), GIB)
            | v2("system.slice/slurmstepd.scope/job_7/step_0/user/task_0", "max", GIB),
            7 * GIB,
        ),
        # A neighbour's limit, and one below, are not ours.
        ("0::/jobs/a\n", v2("jobs/b", str(GIB), 0) | v2("jobs/a/below", str(GIB), 0), 16 * GIB),
        # Version 1, the process in a cgroup below the one with the limit.
        (
            "12:cpu,cpuacct:/\n4:memory:/slurm/uid_1/job_7\n0::/\n",
            v1("slurm/uid_1", 6 * GIB, 5 * GIB, cached=4 * GIB) | v1("slurm/uid_1/job_7", 9223372036854771712, GIB),
            5 * GIB,
        ),
        # Version 1 in a container without a namespace: the path is the host's, the mount shows the container's own.
        ("4:memory:/docker/0123456789abcdef\n", v1("", 2 * GIB, GIB), GIB),
        # Both versions side by side: the controller is with version 1.
        ("4:memory:/a\n1:name=systemd:/\n0::/a\n", v1("a", 2 * GIB, GIB) | v2("a", str(3 * GIB), 0), GIB),
        # A process outside of the namespace.
        ("0::/../../other\n", v2("", str(4 * GIB), GIB), 3 * GIB),
        ("", v2("", str(4 * GIB), GIB), 16 * GIB),
    ],
)
def test_cgroups(tmp_path: Path, cgroup: str, files: dict[str, str], expected: int) -> None:
    root = written(tmp_path, {"proc/meminfo": MEMINFO, "proc/self/cgroup": cgroup} | files)
    assert available_memory(root) == expected


def test_files_that_cannot_be_read_set_no_limit(tmp_path: Path) -> None:
    root = written(tmp_path, {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "100\n"})
    (tmp_path / "sys/fs/cgroup/a/memory.current").mkdir()
    assert available_memory(root) == 16 * GIB


def test_old_kernels_tell_what_is_free() -> None:
    assert available_of("MemTotal: 300 kB\nMemFree: 200 kB\n") == 200 * 1024
    assert available_of("MemTotal: 300 kB\n") is None
    assert available_of("") is None


def test_folders() -> None:
    unified, version_1 = cgroup_folders("9:memory,hugetlb:/c:d/e\n0::/a/b\n")
    assert [str(folder) for folder in unified] == ["a/b", "a", "."]
    assert [str(folder) for folder in version_1] == ["c:d/e", "c:d", "."]
    assert cgroup_folders("nonsense\n\n") == ((), ())


@pytest.mark.parametrize(("limit", "usage"), [("max", "7"), ("", "7"), ("7", ""), ("-1", "7")])
def test_no_limit(limit: str, usage: str) -> None:
    assert room_below(limit, usage, "") is None


def test_elsewhere_half_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert available_memory(tmp_path) == psutil.virtual_memory().total // 2
    monkeypatch.delattr(os, "sysconf")
    assert available_memory(tmp_path) == memory._UNKNOWN == 1_000_000_000


def test_this_machine() -> None:
    assert 100_000_000 < available_memory() <= psutil.virtual_memory().total
