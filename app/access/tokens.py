"""The two tokens of a server: what each of them allows, and the keys that are made from them."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from app.settings import AccessSettings


class Right(IntEnum):
    """What somebody may do: see what is public, read every dataset, or do everything."""

    PUBLIC = 0
    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Tokens:
    """What is kept of the tokens, never themselves.

    digests: of the token for each right. link_key: signs links. session_keys: sign the sessions of each right; with its token a
    key changes, and all that it signed ends.
    """

    digests: Mapping[Right, bytes] = field(repr=False)
    link_key: bytes = field(repr=False)
    session_keys: Mapping[Right, bytes] = field(repr=False)

    def right_of(self, token: bytes) -> Right:
        """Return what a token allows. How long it takes tells nothing about the tokens there are."""
        digest = hashlib.sha256(token).digest()
        found = [right for right, known in self.digests.items() if hmac.compare_digest(digest, known)]
        return max(found, default=Right.PUBLIC)


def tokens_of(settings: AccessSettings) -> Tokens | None:
    """Return what the settings' tokens allow, None where there are none and everybody may do everything."""
    if settings.token is None:
        return None
    given = {Right.WRITE: settings.token}
    if settings.read_token is not None:
        given[Right.READ] = settings.read_token
    return Tokens(
        {right: hashlib.sha256(token.encode()).digest() for right, token in given.items()},
        link_key(settings.token),
        {right: _key("session", token) for right, token in given.items()},
    )


def link_key(token: str) -> bytes:
    """Return the key that signs links, of the token that allows everything."""
    return _key("link", token)


def _key(purpose: str, token: str) -> bytes:
    return hashlib.sha256(f"glassine {purpose}\n{token}".encode()).digest()
