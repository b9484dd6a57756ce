"""Sessions of the web page: a signed cookie that says what its bearer may do and until when; it is not the token."""

import hmac
import re
import secrets
import time
from typing import NamedTuple

from app.access.tokens import Right, Tokens

COOKIE = "glassine_session"
SECONDS = 7 * 86400
"""How long a session lasts."""

_VALUE = re.compile(rb"([12])\.([0-9]{1,12})\.([0-9a-f]{16})\.([0-9a-f]{64})")


class Session(NamedTuple):
    """What a cookie says, once its signature was found to be good. expires: seconds since 1970. number: its own."""

    right: Right
    expires: int
    number: str


def make_session(tokens: Tokens, right: Right) -> tuple[Session, str]:
    """Return a new session and the value of its cookie."""
    session = Session(right, int(time.time()) + SECONDS, secrets.token_hex(8))
    return session, f"{_text(session)}.{_signature(tokens, session)}"


def session_of(tokens: Tokens, cookies: bytes) -> Session | None:
    """Return the session that a header Cookie holds, None where it holds none that is good and has not ended by its time."""
    marked = f"{COOKIE}=".encode()
    values = [part.strip().removeprefix(marked) for part in cookies.split(b";") if part.strip().startswith(marked)]
    found = [session for value in values if (session := _session(tokens, value)) is not None]
    return max(found, default=None)


def _session(tokens: Tokens, value: bytes) -> Session | None:
    match = _VALUE.fullmatch(value)
    if match is None:
        return None
    session = Session(Right(int(match[1])), int(match[2]), match[3].decode())
    if session.right not in tokens.session_keys or not hmac.compare_digest(match[4].decode(), _signature(tokens, session)):
        return None
    return session if session.expires > time.time() else None


def _text(session: Session) -> str:
    return f"{int(session.right)}.{session.expires}.{session.number}"


def _signature(tokens: Tokens, session: Session) -> str:
    return hmac.digest(tokens.session_keys[session.right], f"session\n{_text(session)}".encode(), "sha256").hex()
