"""The gate in front of files of datasets: takes the grant of a link off the path, and lets pass who may read what is behind.

The same is answered about what is private whether or not it is there. A request that reads nothing passes: the answer to it is
the same for every path.
"""

from dataclasses import dataclass
from typing import NamedTuple

from starlette.types import Message, Receive, Scope, Send

from app.access.origins import Marks
from app.access.policy import Policy, Verdict
from app.data import DataApp
from app.data.reply import message
from app.data.route import decoded_path
from app.protocol import Reply

_CHALLENGE = (b"www-authenticate", b"Bearer")


class _Entry(NamedTuple):
    """A request at the gate. refused: the answer to one that does not pass. marks: None where headers stay as they are."""

    scope: Scope
    refused: Reply | None
    marks: Marks | None


@dataclass(frozen=True)
class Gate:
    """Files under a prefix of URLs, for those who may read them: it answers as they do (AnswersAtOnce)."""

    files: DataApp
    policy: Policy

    def at_once(self, scope: Scope) -> Reply | None:
        """Return the response to a request when nothing has to be waited for, None when it takes a call to find it."""
        entry = self._entry(scope)
        reply = entry.refused or self.files.at_once(entry.scope)
        if reply is None or entry.marks is None:
            return reply
        return Reply(reply.status, entry.marks.on(reply.headers), reply.body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        entry = self._entry(scope)
        marks = entry.marks

        async def marked(told: Message) -> None:
            if marks is not None and told["type"] == "http.response.start":
                told = {**told, "headers": marks.on(told["headers"])}
            await send(told)

        if entry.refused is None:
            await self.files(entry.scope, receive, marked)
        else:
            await send_reply(entry.refused, marked)

    def _entry(self, scope: Scope) -> _Entry:
        headers = scope["headers"]
        if scope["method"] not in ("GET", "HEAD"):
            return _Entry(scope, None, self.policy.origins.marks(headers, private=False))
        path = decoded_path(scope).removeprefix(self.files.prefix)
        verdict = self.policy.judge(path, headers)
        marks = self.policy.origins.marks(headers, private=verdict.is_private)
        if verdict.refusal is not None:
            return _Entry(scope, refused(verdict), marks)
        if verdict.path is path:
            return _Entry(scope, None, marks)
        # Decoded already: without percent signs in the raw path it is taken as it is.
        return _Entry({**scope, "path": self.files.prefix + verdict.path, "raw_path": b""}, None, marks)


def refused(verdict: Verdict) -> Reply:
    """Return the answer to a request that may not read what it asks for."""
    # 401, never 403 or 404: those are 'nothing there' to the viewer, which draws them as empty space.
    planned = message(401, f"{verdict.refusal}\n".encode(), _CHALLENGE)
    (text,) = planned.parts
    assert isinstance(text, bytes)
    return Reply(planned.status, planned.headers, text)


async def send_reply(reply: Reply, send: Send) -> None:
    """Send a response whose body is in memory."""
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": reply.body})
