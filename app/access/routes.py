"""The routes of sessions and of what is public, below /api; docs/api.md is their contract."""

import logging
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Body, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.access.policy import CHALLENGE, Policy, told_time
from app.access.rules import Level, Table, write_level
from app.access.sessions import COOKIE, SECONDS, Ended, Session, make_session
from app.access.tokens import Right
from converters.errors import ConverterError

_NO_STORE = {"Cache-Control": "no-store"}
_NAMES: dict[Right, Literal["public", "read", "write"]] = {
    Right.PUBLIC: "public",
    Right.READ: "read",
    Right.WRITE: "write",
}

_log = logging.getLogger(__name__)


class SignIn(BaseModel):
    """What opens a session."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"token": "the server's token"}]})

    token: str = Field(min_length=1, max_length=4096, repr=False)


class SessionState(BaseModel):
    """What whoever asks may do. token_needed: whether some things need a token here. expires: of a session."""

    token_needed: bool
    right: Literal["public", "read", "write"]
    expires: str | None = None


class AccessTable(BaseModel):
    """What is public. default: holds for all that is not below a name in datasets."""

    default: Level
    datasets: dict[str, Level]


class AccessChange(BaseModel):
    """A dataset, or a folder of them, that is made public or private; the name "" stands for all that is not named."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "scan", "access": "public"}]})

    name: str
    access: Level


def access_routes(root: Path, policy: Policy) -> APIRouter:
    """Return the routes of /api/session and /api/access."""
    router = APIRouter(prefix="/api", tags=["access"])

    @router.get("/session")
    def show_session(request: Request, response: Response) -> SessionState:
        """Tell what whoever asks may do."""
        response.headers.update(_NO_STORE)
        return _state(policy, policy.right(request.headers.raw), policy.session(request.headers.raw))

    @router.post("/session")
    def sign_in(wanted: Annotated[SignIn, Body()], request: Request, response: Response) -> SessionState:
        """Begin a session of seven days for whoever has a token; its cookie is for browsers."""
        response.headers.update(_NO_STORE)
        if policy.credentials is None:
            return _state(policy, Right.WRITE, None)
        tokens = policy.credentials.tokens
        right = tokens.right_of(wanted.token.strip().encode())
        if right == Right.PUBLIC:
            raise HTTPException(401, "this is no token of this server", CHALLENGE)
        session, value = make_session(tokens, right)
        response.set_cookie(COOKIE, value, max_age=SECONDS, secure=_is_secure(request), httponly=True, samesite="strict")
        return _state(policy, right, session)

    @router.delete("/session", status_code=204)
    def sign_out(request: Request) -> Response:
        """End the session."""
        session = policy.session(request.headers.raw)
        if policy.credentials is not None and session is not None:
            _end(policy.credentials.ended, session)
        answer = Response(status_code=204, headers=_NO_STORE)
        answer.delete_cookie(COOKIE, secure=_is_secure(request), httponly=True, samesite="strict")
        return answer

    @router.get("/access")
    def show_access(response: Response) -> AccessTable:
        """Tell which datasets are public."""
        response.headers.update(_NO_STORE)
        return _told(policy.rules.table)

    @router.post("/access")
    def change_access(wanted: AccessChange, response: Response) -> AccessTable:
        """Make a dataset public or private, with all that lies below it."""
        response.headers.update(_NO_STORE)
        table = write_level(root, wanted.name, wanted.access)
        policy.rules.look_again()
        return _told(table)

    return router


def _end(ended: Ended, session: Session) -> None:
    try:
        ended.add(session)
    except (OSError, ConverterError) as error:
        # Who signs out is signed out here all the same.
        _log.error("a session is signed out, but copies of its cookie are good until it expires: %s", error)


def _state(policy: Policy, right: Right, session: Session | None) -> SessionState:
    expires = None if session is None else told_time(session.expires)
    return SessionState(token_needed=not policy.is_open, right=_NAMES[right], expires=expires)


def _told(table: Table) -> AccessTable:
    return AccessTable(default=table.default, datasets=dict(table.datasets))


def _is_secure(request: Request) -> bool:
    """Tell whether the browser came by https, to a proxy perhaps: who lies about it harms his own cookie alone."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
