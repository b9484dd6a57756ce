"""Who may use the API and read the metrics, and with which bodies.

`/api` answers only to names that are this machine's own or that it was told: a strange page whose name was made to point here
(DNS rebinding) is refused, as is any page of another origin, and without CORS headers no other page can read an answer. What
changes something needs a method or a type of body that browsers send to another origin only after asking, and nobody says yes.
Where there is a token, whoever asks for more than what is public has to have it, or a session.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.policy import CHALLENGE, NEEDS_TOKEN, Policy
from app.access.tokens import Right

_HOST = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]+)(?::\d*)?")
_LARGEST_JSON = 1 << 20
"""Bytes."""
_TYPES = {"POST": "application/json", "PUT": "application/octet-stream"}
_GUARDED = ("/api/", "/metrics/")
_OWN_PAGES = (None, "same-origin", "none")
"""Sec-Fetch-Site of what may ask: this server's pages, and a person who types the address."""


_NEEDED = {
    "/api/datasets": {"GET": Right.PUBLIC},
    "/api/link": {"GET": Right.PUBLIC},
    "/api/thumbnails": {"GET": Right.PUBLIC},
    "/api/session": {"GET": Right.PUBLIC, "POST": Right.PUBLIC, "DELETE": Right.PUBLIC},
    "/api/access": {"GET": Right.READ},
    "/metrics": {"GET": Right.READ, "HEAD": Right.READ},
}
"""Path -> method -> the least right that it needs; all else needs that to do everything.

What is public is told to everybody, and nothing else, by the routes themselves.
"""


class Refusal(NamedTuple):
    """Why a request is refused."""

    status: int
    sentence: str
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Guard:
    """Lets pass what may use /api and /metrics, and answers the rest itself.

    hosts: names besides the loopback ones, without port; the address of a server that listens everywhere ("0.0.0.0", "::") stands
    for every numeric address.
    """

    app: ASGIApp
    hosts: frozenset[str]
    policy: Policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http" or not f"{scope['path']}/".startswith(_GUARDED):
            await self.app(scope, receive, send)
            return
        method, headers = scope["method"], Headers(scope=scope)
        refusal = _stranger(headers, self.hosts) or self._unentitled(scope) or _unfit(method, headers)
        if refusal is not None:
            await JSONResponse({"detail": refusal.sentence}, refusal.status, refusal.headers)(scope, receive, send)
        elif method == "PUT":
            await self.app(scope, receive, send)
        else:
            await self.app(scope, _limited(receive), send)

    def _unentitled(self, scope: Scope) -> Refusal | None:
        needed = _NEEDED.get(scope["path"], {}).get(scope["method"], Right.WRITE)
        right = self.policy.right(scope["headers"])
        if right >= needed:
            return None
        if right == Right.READ:
            return Refusal(403, "the token that this was asked with lets read datasets, and nothing else")
        return Refusal(401, NEEDS_TOKEN, CHALLENGE)


def _stranger(headers: Headers, hosts: frozenset[str]) -> Refusal | None:
    """Return why nothing is answered to whoever asks; None for a name of this server and its own pages."""
    host = headers.get("host", "")
    if not _is_known(host, hosts):
        return Refusal(403, f"this server does not answer to the name {host!r}; list it in GLASSINE_HOSTS if it should")
    origin = headers.get("origin")
    if origin not in (None, f"http://{host}", f"https://{host}"):
        return Refusal(403, f"a page of {origin!r} may not use this server's API")
    if headers.get("sec-fetch-site") not in _OWN_PAGES:
        return Refusal(403, "a page of another site may not use this server's API")
    return None


def _unfit(method: str, headers: Headers) -> Refusal | None:
    """Return why a body is not looked at; None for one that may be."""
    expected = _TYPES.get(method)
    found = headers.get("content-type", "").partition(";")[0].strip().lower()
    if expected is not None and found != expected:
        return Refusal(415, f"found a body of type {found or 'unknown'}, expected Content-Type: {expected}")
    if expected == "application/json" and int(headers.get("content-length", "0")) > _LARGEST_JSON:
        return Refusal(413, f"a body of JSON has at most {_LARGEST_JSON} bytes here")
    return None


def _limited(receive: Receive) -> Receive:
    """Return a receive that ends bodies which grow too large as if the client had gone."""
    size = 0

    async def limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        return message if size <= _LARGEST_JSON else {"type": "http.disconnect"}

    return limited


def _is_known(host: str, hosts: frozenset[str]) -> bool:
    """Tell whether Host is a loopback name or one of hosts."""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match[1].strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost") or name in hosts:
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or not hosts.isdisjoint({"0.0.0.0", "::"})
