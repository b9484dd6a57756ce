"""Targets that fail, to see that it is told."""

import os
from random import Random

from tests.security.mutations import Samples
from tests.security.target import Target

_read = 0


def _die(data: bytes) -> None:
    global _read
    _read += 1
    if _read == 5:  # the first is the valid one
        os.abort()


def _refuse(data: bytes) -> None:
    if data != b"good":
        raise KeyError(data)


def _spoil(samples: Samples, random: Random) -> bytes:
    return b"evil"


TARGETS = (
    Target("refuses otherwise", lambda: [b"good"], _refuse, _spoil, ()),
    Target("dies", lambda: [b"good"], _die, _spoil, ()),
)
