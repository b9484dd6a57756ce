"""What a request brings along: a token, a session, or the grant of a link.

A client brings the same with each of thousands of requests: what was found good is kept, so that it is not verified again. The
time of a look-up tells nothing about what is kept, for the hashes of dicts have a secret of their own in every process.
"""

import time
from collections.abc import Iterable
from typing import TypeVar

from app.access.grants import expiry_of, refusal_of
from app.access.origins import Header
from app.access.sessions import Ended, Session, session_of
from app.access.tokens import Right, Tokens

_MOST_KEPT = 1000
_LONGEST_KEPT = 1000
"""Things that are kept of a kind, and bytes or characters of one."""

_Key = TypeVar("_Key")
_Kept = TypeVar("_Kept")


class Credentials:
    """Knows the tokens, the sessions that were begun with them, and the links that were signed."""

    def __init__(self, tokens: Tokens, ended: Ended) -> None:
        self.tokens = tokens
        self.ended = ended
        self._bearers: dict[bytes, Right] = {}
        self._cookies: dict[bytes, Session] = {}
        self._grants: dict[tuple[str, str], int] = {}

    def right(self, headers: Iterable[Header]) -> Right:
        """Return the most that a request's token or session allows."""
        found = Right.PUBLIC
        for name, value in headers:
            if name == b"authorization":
                right = self._bearers.get(value)
                found = max(found, self._bearer(value) if right is None else right)
            elif name == b"cookie":
                session = self._session(value)
                found = found if session is None else max(found, session.right)
        return found

    def session(self, headers: Iterable[Header]) -> Session | None:
        """Return the session that a request belongs to."""
        found = [self._session(value) for name, value in headers if name == b"cookie"]
        return max((session for session in found if session is not None), default=None)

    def refusal(self, grant: str, path: str) -> str | None:
        """Return why a grant does not let read the path behind it now, None when it does."""
        folder = path.rpartition("/")[0]
        if self._grants.get((grant, folder), 0) > time.time():
            return None
        refusal = refusal_of(self.tokens.link_key, grant, path)
        # What lets read a folder lets read its files; that of a file alone is not kept.
        if refusal is None and refusal_of(self.tokens.link_key, grant, folder) is None:
            _keep(self._grants, (grant, folder), expiry_of(grant), len(grant) + len(folder))
        return refusal

    def _bearer(self, value: bytes) -> Right:
        scheme, _, token = value.partition(b" ")
        right = self.tokens.right_of(token.strip()) if scheme.lower() == b"bearer" else Right.PUBLIC
        if right != Right.PUBLIC:
            _keep(self._bearers, value, right, len(value))
        return right

    def _session(self, cookies: bytes) -> Session | None:
        session = self._cookies.get(cookies)
        if session is None:
            session = session_of(self.tokens, cookies)
            if session is None:
                return None
            _keep(self._cookies, cookies, session, len(cookies))
        return None if session.expires <= time.time() or self.ended.holds(session) else session


def _keep(kept: dict[_Key, _Kept], key: _Key, what: _Kept, size: int) -> None:
    if size <= _LONGEST_KEPT:
        if len(kept) >= _MOST_KEPT:
            kept.clear()
        kept[key] = what
