"""Sessions of the web page: a signed cookie that says what its bearer may do and until when; it is not the token.

Sessions are kept nowhere, only those that were ended before their time: ROOT/.glassine/ended-sessions.json, number -> time.
"""

import hmac
import json
import re
import secrets
import time
from pathlib import Path
from typing import NamedTuple

from app.access.tokens import Right, Tokens
from app.access.watched import Watched
from app.jobs.locks import locked
from converters.errors import ConverterError
from converters.record import PRIVATE
from converters.storage.files import read_file, write_file

COOKIE = "glassine_session"
SECONDS = 7 * 86400
"""How long a session lasts."""

_ENDED = f"{PRIVATE}/ended-sessions.json"
_ENDED_LOCK = f"{PRIVATE}/ended-sessions.lock"

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


class SessionsError(ConverterError):
    """The file of the sessions that were ended cannot be understood."""


class Ended:
    """Sessions that were ended before their time, by any server process of a served folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._numbers: Watched[dict[str, int] | None] = Watched(root / _ENDED, lambda: _read_ended(root), lambda: None)

    def holds(self, session: Session) -> bool:
        """Tell whether a session was ended; all are while that cannot be found out."""
        numbers = self._numbers.get()
        return numbers is None or session.number in numbers

    def add(self, session: Session) -> None:
        """End a session. Raises SessionsError, OSError."""
        (self._root / PRIVATE).mkdir(parents=True, exist_ok=True)
        with locked(self._root / _ENDED_LOCK):
            kept = {number: expires for number, expires in _read_ended(self._root).items() if expires > time.time()}
            write_file(self._root / _ENDED, json.dumps({**kept, session.number: session.expires}).encode())
        self._numbers.look_again()


def _read_ended(root: Path) -> dict[str, int]:
    data = read_file(root / _ENDED)
    try:
        found = json.loads(data) if data is not None else {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(expires, int) for expires in found.values()):
        raise SessionsError(f"{root / _ENDED}: holds no times of sessions; remove it, which begins those again that were ended")
    return found
