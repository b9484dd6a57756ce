"""The gate in front of files of datasets: takes the grant of a link off the path, and lets pass who may read what is behind.

The same is answered about what is private whether or not it is there. A request that reads nothing passes: the answer to it is
the same for every path.
"""

from dataclasses import dataclass

from starlette.types import Message, Receive, Scope, Send

from app.access.origins import Marks
from app.access.policy import Policy, Verdict
from app.data import DataApp
from app.data.reply import message
from app.protocol import Reply

_CHALLENGE = (b"www-authenticate", b"Bearer")


@dataclass(frozen=True)
class Gate:
    """Files under a prefix of URLs, for those who may read them: it answers as they do (AnswersAtOnce)."""

    files: DataApp
    policy: Policy

    def at_once(self, scope: Scope) -> Reply | None:
        """Return the response to a request when nothing has to be waited for, None when it takes a call to find it."""
        if scope["method"] not in ("GET", "HEAD"):
            return None
        verdict, marks = self._judged(scope)
        reply = self.files.file_at_once(verdict.path, scope) if verdict.refusal is None else refused(verdict)
        return reply if reply is None or marks is None else Reply(reply.status, marks.on(reply.headers), reply.body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["method"] not in ("GET", "HEAD"):
            await self.files(scope, receive, _marked(send, self.policy.origins.marks(scope["headers"], private=False)))
            return
        verdict, marks = self._judged(scope)
        if verdict.refusal is None:
            await self.files.send_file(verdict.path, scope, receive, _marked(send, marks))
        else:
            await send_reply(refused(verdict), _marked(send, marks))

    def _judged(self, scope: Scope) -> tuple[Verdict, Marks | None]:
        verdict = self.policy.judge(self.files.path(scope), scope["headers"])
        return verdict, self.policy.origins.marks(scope["headers"], private=verdict.is_private)


def _marked(send: Send, marks: Marks | None) -> Send:
    """Return a send that gives answers their headers as they are sent."""
    if marks is None:
        return send

    async def marked(told: Message) -> None:
        if told["type"] == "http.response.start":
            told = {**told, "headers": marks.on(told["headers"])}
        await send(told)

    return marked


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
