"""What the tokens, the rules and the links of a server say together about one request."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from app.access.credentials import Credentials
from app.access.grants import MARK, make_grant, split_grant
from app.access.origins import Header, Origins
from app.access.rules import Level, Rules
from app.access.sessions import Ended, Session
from app.access.tokens import Right, tokens_of
from app.data.lookup import is_servable
from app.settings import AccessSettings

NEEDS_RIGHT = "This needs a token, a session or a link that was made for it."
NEEDS_TOKEN = "this needs the token of this server: sign in, or send it as Authorization: Bearer TOKEN"
CHALLENGE = {"WWW-Authenticate": "Bearer", "Cache-Control": "no-store"}
"""Headers of every 401."""
_FRONT = f"/{MARK}"
_HOUR = 3600
_OWN_SECONDS = 12 * _HOUR


class Verdict(NamedTuple):
    """What is said about a path. refusal: why it may not be read, None if it may. path: it without a grant, "/NAME/..."."""

    refusal: str | None
    path: str
    is_private: bool


@dataclass(frozen=True)
class Policy:
    """Who may do what. credentials: None where everybody may do everything. origins: whose pages may read data."""

    credentials: Credentials | None
    rules: Rules
    origins: Origins

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything."""
        return self.credentials is None

    def right(self, headers: Iterable[Header]) -> Right:
        """Return the most that a request's token or session allows."""
        return Right.WRITE if self.credentials is None else self.credentials.right(headers)

    def session(self, headers: Iterable[Header]) -> Session | None:
        """Return the session that a request belongs to."""
        return None if self.credentials is None else self.credentials.session(headers)

    def judge(self, path: str, headers: Iterable[Header]) -> Verdict:
        """Return whether a request may read what lies at a decoded path, "/NAME/..." or "/~GRANT/NAME/...", there or not."""
        if self.credentials is None:
            return Verdict(None, path, False)
        if path.startswith(_FRONT):
            grant, rest = split_grant(path)
            refusal = self.credentials.refusal(grant, rest)
            if refusal is not None and self.right(headers) >= Right.READ:
                refusal = None
            return Verdict(refusal, rest, True)
        if self.rules.is_public(path):
            return Verdict(None, path, False)
        may = self.right(headers) >= Right.READ
        return Verdict(None if may else NEEDS_RIGHT, path, True)

    def may_read(self, name: str, right: Right) -> bool:
        """Tell whether somebody may read a dataset by its name; one that is not in plain words nobody else knows."""
        return right >= Right.READ or (_is_plain(name) and self.level(name) == "public")

    def level(self, name: str) -> Level:
        """Return whether a dataset is public, which all are where there is no token."""
        return "public" if self.is_open else self.rules.level(name)

    def grant(self, name: str, expires: int) -> str:
        """Return what stands in front of a dataset's name in a link; "" without a token. expires: seconds since 1970."""
        return "" if self.credentials is None else make_grant(self.credentials.tokens.link_key, name, expires)

    def own_grant(self, name: str) -> str:
        """Return the same for the server's own links: nothing for a public dataset, else half a day."""
        is_plain = self.level(name) == "public" and not name.startswith(MARK)
        return "" if is_plain else self.grant(name, self.own_expiry())

    def own_expiry(self) -> int:
        """Return when the server's own links end."""
        # The same for an hour: the page and the streams of events show a link again and again.
        return (int(time.time()) // _HOUR + 1) * _HOUR + _OWN_SECONDS


def policy_of(root: Path, settings: AccessSettings) -> Policy:
    """Return who may do what with the datasets below a folder."""
    origins = Origins(frozenset(origin.encode() for origin in settings.origins))
    tokens = tokens_of(settings)
    return Policy(None if tokens is None else Credentials(tokens, Ended(root)), Rules(root), origins)


def _is_plain(name: str) -> bool:
    return not name.strip("/") or is_servable(f"/{name.strip('/')}")


def told_time(seconds: int) -> str:
    """Return seconds since 1970 as the API tells times."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
