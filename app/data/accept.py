"""The Accept-Encoding header (RFC 9110, section 12.5.3)."""

from functools import lru_cache

_OTHER_NAMES = {b"gzip": b"x-gzip"}


@lru_cache(256)
def accepts(header: bytes, coding: bytes) -> bool:
    """Tell whether a client with this Accept-Encoding is to get a coding: it takes it, and would not rather have none.

    coding: b"gzip" or b"br".
    """
    weights = dict(_weighted(part) for part in header.lower().split(b","))
    other = weights.get(_OTHER_NAMES.get(coding, coding), weights.get(b"*", 0.0))
    weight = weights.get(coding, other)
    return weight > 0 and weight >= weights.get(b"identity", 0.0)


def _weighted(coding: bytes) -> tuple[bytes, float]:
    """Return one coding and its weight, 1 when there is none, 0 when it is malformed."""
    name, _, parameter = coding.partition(b";")
    key, _, value = parameter.partition(b"=")
    try:
        weight = float(value) if key.strip() == b"q" else 1.0
    except ValueError:
        weight = 0.0
    return name.strip(), weight if 0 <= weight <= 1 else 0.0
