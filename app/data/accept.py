"""The Accept-Encoding header (RFC 9110, section 12.5.3)."""

from functools import lru_cache


@lru_cache(256)
def accepts_gzip(header: bytes) -> bool:
    """Tell whether a client with this Accept-Encoding is to get gzip: it takes it, and would not rather have no encoding."""
    weights = dict(_weighted(coding) for coding in header.lower().split(b","))
    gzip = weights.get(b"gzip", weights.get(b"x-gzip", weights.get(b"*", 0.0)))
    return gzip > 0 and gzip >= weights.get(b"identity", 0.0)


def _weighted(coding: bytes) -> tuple[bytes, float]:
    """Return one coding and its weight, 1 when there is none, 0 when it is malformed."""
    name, _, parameter = coding.partition(b";")
    key, _, value = parameter.partition(b"=")
    try:
        weight = float(value) if key.strip() == b"q" else 1.0
    except ValueError:
        weight = 0.0
    return name.strip(), weight if 0 <= weight <= 1 else 0.0
