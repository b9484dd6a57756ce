"""Links that expire: the right to read one dataset, signed, as a part of the path.

`/data/~EXPIRES.DEPTH.SIGNATURE/NAME/...`: EXPIRES are seconds since 1970 in base 36, DEPTH is the number of parts of NAME, and
SIGNATURE the first 16 bytes of HMAC-SHA256 of both, in base64url. The viewer puts the names of files behind whatever URL it is
given, so a link works in any viewer.
"""

import base64
import hmac
import os
import re
import time

from converters.errors import OptionError

MARK = "~"
"""What a grant begins with: the first part of a path that begins so is one, good or not."""

_GRANT = re.compile(r"~([0-9a-z]{1,10})\.(0|[1-9][0-9]?)\.([A-Za-z0-9_-]{22})", re.ASCII)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_DURATION = re.compile(r"([1-9][0-9]{0,5})([mhd])", re.ASCII)
_SECONDS = {"m": 60, "h": 3600, "d": 86400}
_LONGEST_SECONDS = 3660 * 86400
_SIGNED_BYTES = 16
_DEEPEST = 99

INVALID = "This link is not valid: it was cut short or changed, or the server's token is another one now. Ask for a new one."
EXPIRED = "This link has expired. Ask for a new one."


def make_grant(key: bytes, name: str, expires: int) -> str:
    """Return the part of a path that grants reading the dataset NAME, and all below it, until a time.

    name: the dataset's path below the served folder. expires: seconds since 1970.
    Raises OptionError for a name of too many parts.
    """
    depth = name.count("/") + 1 if name else 0
    if depth > _DEEPEST:
        raise OptionError(f"{name}: has {depth} parts, a link holds at most {_DEEPEST}")
    told = _base_36(expires)
    return f"{MARK}{told}.{depth}.{_signature(key, told, name)}"


def split_grant(path: str) -> tuple[str, str]:
    """Return the grant in front of a path, "" where there is none, and the path without it ("/NAME/...")."""
    if not path.startswith(f"/{MARK}"):
        return "", path
    grant, slash, rest = path[1:].partition("/")
    return grant, slash + rest


def refusal_of(key: bytes, grant: str, path: str) -> str | None:
    """Return why a grant does not let read the path behind it now, None when it does."""
    match = _GRANT.fullmatch(grant)
    if match is None:
        return INVALID
    expires, depth, signature = match.groups()
    parts = path[1:].split("/") if path else []
    if len(parts) < int(depth):
        return INVALID
    expected = _signature(key, expires, "/".join(parts[: int(depth)]))
    if not hmac.compare_digest(signature, expected):
        return INVALID
    return EXPIRED if expiry_of(grant) <= time.time() else None


def expiry_of(grant: str) -> int:
    """Return when a grant that is good ends, seconds since 1970."""
    return int(grant[1:].partition(".")[0], 36)


def seconds_of(duration: str) -> int:
    """Return the seconds of a duration such as 30m, 12h or 7d. Raises OptionError."""
    match = _DURATION.fullmatch(duration.strip())
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise OptionError(f"--expires {duration}: expected minutes, hours or days, such as 30m, 12h or 7d, of at most 3660d")
    return seconds


def _signature(key: bytes, expires: str, name: str) -> str:
    signed = hmac.digest(key, b"link\n%s\n%s" % (expires.encode(), os.fsencode(name)), "sha256")[:_SIGNED_BYTES]
    return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()


def _base_36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
