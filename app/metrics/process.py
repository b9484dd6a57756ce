"""What this process needs now, as Linux tells it in /proc; elsewhere there is less to tell."""

import math
import os
import time
from collections.abc import Mapping

_BEGUN = time.time()


def cpu_seconds() -> float:
    """Return the seconds of processor that this process has taken."""
    times = os.times()
    return times.user + times.system


def process_gauges() -> Mapping[str, float]:
    """Return resident memory in bytes, open descriptors and the most of them, and when this process began, seconds since 1970."""
    gauges = {"started": _BEGUN}
    try:
        with open("/proc/self/statm", "rb") as file:
            gauges["memory"] = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        gauges["descriptors"] = len(os.listdir("/proc/self/fd"))
    except OSError:
        return gauges
    return {**gauges, "most_descriptors": _most_descriptors()}


def _most_descriptors() -> float:
    import resource  # which not every system has

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return math.inf if most == resource.RLIM_INFINITY else most
