"""`/access`: what a proxy that serves files from the disk asks about each request before it does (nginx's auth_request).

`X-Original-URI` is the request's target as it came (nginx: $request_uri), `X-Original-Method` its method; Authorization, Cookie
and Origin are the request's own. 204: it may be answered; 401: not. Two more headers say what belongs to the answer:
`X-Glassine-Origin`, the value of Access-Control-Allow-Origin or `-` for none, and `X-Glassine-Cache`, that of Cache-Control.

The answer is about that path, with its grant. Chunks have no rules of their own: a proxy may ask about their folder, with a slash
at its end, and keep the answer for some seconds for all of them.
"""

import os
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from starlette.types import Receive, Scope, Send

from app.access.gate import refused, send_reply
from app.access.grants import split_grant
from app.access.origins import caching
from app.access.policy import NEEDS_RIGHT, Policy, Verdict
from app.access.tokens import Right
from app.data.lookup import is_servable
from app.protocol import Reply

PATH = "/access"

_PREFIXES = ("/data", "/flat")


@dataclass(frozen=True)
class Question:
    """Answers whether a request may be answered (AnswersAtOnce)."""

    policy: Policy

    def at_once(self, scope: Scope) -> Reply:
        """Return the response."""
        headers = scope["headers"]
        told = {name: value for name, value in headers if name in (b"x-original-uri", b"x-original-method")}
        if told.get(b"x-original-method", b"GET") in (b"GET", b"HEAD"):
            verdict = self._verdict(told.get(b"x-original-uri", b""), scope)
        else:
            verdict = Verdict(None, "", is_private=False)
        more = [
            (b"x-glassine-origin", self.policy.origins.value(headers) or b"-"),
            (b"x-glassine-cache", caching(private=verdict.is_private)),
        ]
        if verdict.refusal is None:
            return Reply(204, [(b"cache-control", b"no-store"), *more], b"")
        answer = refused(verdict)
        return Reply(answer.status, [*answer.headers, *more], answer.body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await send_reply(self.at_once(scope), send)

    def _verdict(self, target: bytes, scope: Scope) -> Verdict:
        path = os.fsdecode(unquote_to_bytes(target.partition(b"#")[0].partition(b"?")[0]))
        prefix = next((prefix for prefix in _PREFIXES if path.startswith(f"{prefix}/")), None)
        # A proxy may take `/a/../b` or `//b` for `/b`: about such a path nothing is known here.
        if prefix is None or not is_servable(f"{split_grant(path.removeprefix(prefix))[1].removesuffix('/')}/x"):
            refusal = None if self.policy.right(scope["headers"]) >= Right.READ else NEEDS_RIGHT
            return Verdict(refusal, path, is_private=True)
        return self.policy.judge(path.removeprefix(prefix), scope["headers"])
