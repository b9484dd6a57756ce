"""Who may use the API, and with which bodies.

`/api` answers only to names that are this machine's own or that it was told: a strange page whose name was made to point here
(DNS rebinding) is refused, as is any page of another origin, and without CORS headers no other page can read an answer. What
changes something needs a method or a type of body that browsers send to another origin only after asking, and nobody says yes.
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOST = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]+)(?::\d*)?")
_LARGEST_JSON = 1 << 20
"""Bytes."""
_TYPES = {"POST": "application/json", "PUT": "application/octet-stream"}
_OWN_PAGES = (None, "same-origin", "none")
"""Sec-Fetch-Site of what may ask: this server's pages, and a person who types the address."""


@dataclass(frozen=True)
class Guard:
    """Lets pass what may use /api, and answers the rest itself.

    hosts: names besides the loopback ones, without port; the address of a server that listens everywhere ("0.0.0.0", "::") stands
    for every numeric address.
    """

    app: ASGIApp
    hosts: frozenset[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http" or not f"{scope['path']}/".startswith("/api/"):
            await self.app(scope, receive, send)
            return
        refused = self._refusal(scope["method"], Headers(scope=scope))
        if refused is not None:
            status, sentence = refused
            await JSONResponse({"detail": sentence}, status)(scope, receive, send)
        elif scope["method"] == "PUT":
            await self.app(scope, receive, send)
        else:
            await self.app(scope, _limited(receive), send)

    def _refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        """Return why a request is refused, and the status; None for one that may pass."""
        host = headers.get("host", "")
        if not _is_known(host, self.hosts):
            return 403, f"this server does not answer to the name {host!r}; list it in GLASSINE_HOSTS if it should"
        origin = headers.get("origin")
        if origin not in (None, f"http://{host}", f"https://{host}"):
            return 403, f"a page of {origin!r} may not use this server's API"
        if headers.get("sec-fetch-site") not in _OWN_PAGES:
            return 403, "a page of another site may not use this server's API"
        expected = _TYPES.get(method)
        found = headers.get("content-type", "").partition(";")[0].strip().lower()
        if expected is not None and found != expected:
            return 415, f"found a body of type {found or 'unknown'}, expected Content-Type: {expected}"
        if expected == "application/json" and int(headers.get("content-length", "0")) > _LARGEST_JSON:
            return 413, f"a body of JSON has at most {_LARGEST_JSON} bytes here"
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
