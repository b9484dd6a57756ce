"""The routes of jobs, plans, events, sources and uploads below /api; docs/api.md is their contract."""

import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Path, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.jobs.catalogue import CommandList, described, job_commands
from app.jobs.events import Stream
from app.jobs.job import Job, JobList, State
from app.jobs.places import UPLOADS, PlaceError
from app.jobs.planning import NoPlanError, PlanResult, make_plan
from app.jobs.process import UnconfinedError
from app.jobs.service import Service
from app.jobs.sources import SourceList, find_sources
from app.jobs.store import NoSuchJobError, WrongStateError
from app.jobs.uploads import Upload, UploadError, UploadList, span_of
from converters.errors import ConverterError, OptionError
from formats.errors import FormatError

STATUS: dict[type[Exception], int] = {
    NoSuchJobError: 404,
    WrongStateError: 409,
    PlaceError: 403,
    OptionError: 422,
    UnconfinedError: 503,
    NoPlanError: 503,
    ConverterError: 422,
    FormatError: 422,
}
"""Errors -> HTTP status; an error that is not listed has that of the class it is made from."""


class Refusal(BaseModel):
    """Why a request is not answered: one sentence. offset: bytes that are there of an upload, where that is what is wrong."""

    detail: str
    offset: int | None = None


def _refusal(description: str) -> dict[str, Any]:
    # Not as a model: that would get the type of the route's own answers.
    return {"description": description, "content": {"application/json": {"schema": Refusal.model_json_schema()}}}


REFUSALS: dict[int | str, dict[str, Any]] = {
    "4XX": _refusal("The request is refused; the sentence says why"),
    503: _refusal("It cannot be done here, or not now"),
    507: _refusal("No room is left on the disk"),
}
"""For the description of every route."""

_EVENT_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_NO_STORE = {"Cache-Control": "no-store"}

Number = Annotated[int, Path(ge=1, lt=1 << 62, description="The job's id.", examples=[1])]
Name = Annotated[str, Path(description="NAME, or FOLDER/FILE.", examples=["scan.nii.gz"])]


class JobRequest(BaseModel):
    """What is to be run. command: one of /api/commands. options: its arguments and options by name."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"command": "convert", "options": {"source": f"{UPLOADS}/scan.nii.gz", "dataset": "scan"}}]
        },
    )

    command: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _can_be_told_again(self) -> "JobRequest":
        """Refuse what Python reads from JSON and JSON has no form for, since no answer could repeat it."""
        try:
            json.dumps([self.command, self.options], ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError):
            raise ValueError(
                "it holds a character or a number that is none (half of a surrogate pair, NaN), or too much"
            ) from None
        return self


class Nothing(BaseModel):
    """A body that says nothing: `{}`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}]})


def job_routes(service: Service) -> APIRouter:
    """Return the routes of commands, plans, jobs and sources."""
    router = APIRouter(prefix="/api")
    # Plain functions: FastAPI runs them in threads, so that a slow disk holds up nobody else.

    @router.get("/commands", tags=["jobs"])
    def commands() -> CommandList:
        """List the commands that can be jobs, with all their options."""
        return CommandList(commands=[described(command) for command in job_commands().values()])

    @router.post("/plan", tags=["jobs"])
    def plan(wanted: JobRequest) -> PlanResult:
        """Tell what a conversion would do, and write nothing."""
        return make_plan(wanted.command, wanted.options, service.places)

    @router.post("/jobs", status_code=201, tags=["jobs"])
    def start_job(wanted: JobRequest, response: Response) -> Job:
        """Queue a job."""
        job = service.add(wanted.command, wanted.options)
        response.headers["Location"] = f"/api/jobs/{job.id}"
        return job

    @router.get("/jobs", tags=["jobs"])
    def list_jobs(request: Request, response: Response) -> JobList:
        """List all jobs, the newest first."""
        response.headers.update(_NO_STORE)
        return JobList(jobs=[service.linked(job, _base_url(request)) for job in service.store.all()])

    @router.get("/jobs/{number}", tags=["jobs"])
    def show_job(number: Number, request: Request, response: Response) -> Job:
        """Show a job with the end of its log."""
        response.headers.update(_NO_STORE)
        job = service.linked(service.store.get(number), _base_url(request))
        return job.model_copy(update={"log": service.log_end(number)})

    @router.get("/jobs/{number}/log", response_class=PlainTextResponse, tags=["jobs"])
    def show_log(number: Number) -> Response:
        """Return all that a job has printed."""
        service.store.get(number)
        return _log(service, number)

    @router.delete("/jobs/{number}", responses={202: {"model": Job, "description": "It is being ended"}}, tags=["jobs"])
    def delete_job(number: Number, response: Response) -> Job:
        """Cancel a job that waits or runs (202 while it is being ended), or take an ended one from the list."""
        job = service.delete(number)
        response.status_code = 202 if job.state == State.RUNNING else 200
        return job

    @router.post("/jobs/{number}/retry", tags=["jobs"])
    def retry_job(number: Number, nothing: Annotated[Nothing, Body()]) -> Job:
        """Queue a failed or cancelled job again; it goes on where it was."""
        return service.retry(number)

    @router.get("/sources", tags=["sources"])
    def sources() -> SourceList:
        """List what a source can open below the input folders."""
        return find_sources(service.places)

    return router


def event_routes(service: Service) -> APIRouter:
    """Return the event streams."""
    router = APIRouter(prefix="/api")

    @router.get("/events", response_class=StreamingResponse, tags=["jobs"])
    async def events(request: Request) -> StreamingResponse:
        """Send each job, and again whenever it changes (server-sent events)."""
        return _stream(service, request, None)

    @router.get("/jobs/{number}/events", response_class=StreamingResponse, tags=["jobs"])
    def job_events(number: Number, request: Request) -> StreamingResponse:
        """Send a job, and again whenever it changes, until it has ended (server-sent events)."""
        service.store.get(number)
        return _stream(service, request, number)

    return router


def upload_routes(service: Service) -> APIRouter:
    """Return the routes of uploads."""
    uploads = service.uploads
    router = APIRouter(prefix="/api/uploads", tags=["uploads"])

    @router.get("")
    def list_uploads() -> UploadList:
        """List the files and folders at the top."""
        return uploads.all()

    @router.put(
        "/{name:path}",
        status_code=201,
        responses={202: {"model": Upload, "description": "More of the file is wanted"}},
        openapi_extra={
            "requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
        },
    )
    async def upload(name: Name, request: Request) -> Response:
        """Take a file's bytes, all of them or those that Content-Range names."""
        span = span_of(request.headers.get("content-range"), request.headers.get("content-length"))
        taken = await uploads.take(name, span, request.stream())
        return JSONResponse(taken.model_dump(), 201 if taken.complete else 202)

    @router.get("/{name:path}")
    def show_upload(name: Name) -> Upload:
        """Tell how much of a file there is."""
        return uploads.find(name)

    @router.head("/{name:path}", include_in_schema=False)
    def measure_upload(name: Name) -> Response:
        """Tell the same in headers."""
        found = uploads.find(name)
        told = {"Upload-Offset": found.offset, "Upload-Length": found.length}
        headers = {key: str(value) for key, value in told.items() if value is not None}
        return Response(headers={**headers, "Upload-Complete": "?1" if found.complete else "?0", **_NO_STORE})

    @router.delete("/{name:path}", status_code=204)
    def delete_upload(name: Name) -> None:
        """Remove a file or folder, complete or not."""
        uploads.remove(name)

    return router


def tell_error(request: Request, error: Exception) -> JSONResponse:
    """Return the answer for an error of ours: its sentence, and the status that belongs to it."""
    if isinstance(error, UploadError):
        more = {} if error.offset is None else {"offset": error.offset}
        return JSONResponse({"detail": str(error), **more}, error.status)
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    return JSONResponse({"detail": str(error)}, status)


def tell_system_error(request: Request, error: Exception) -> JSONResponse:
    """Return the answer for what the system or the store of jobs refuses, such as a folder that cannot be written."""
    if not isinstance(error, OSError):
        return JSONResponse({"detail": f"the jobs cannot be read or written: {error}"}, 503)
    where = f"{error.filename}: " if error.filename else ""
    return JSONResponse({"detail": f"{where}{error.strerror or error}"}, 503)


def _log(service: Service, number: int) -> Response:
    try:
        data = service.log(number).read_bytes()
    except FileNotFoundError:
        data = b""
    return PlainTextResponse(data, headers={**_NO_STORE, "X-Content-Type-Options": "nosniff"})


def _stream(service: Service, request: Request, number: int | None) -> StreamingResponse:
    text = request.headers.get("last-event-id", "")
    if text and not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise HTTPException(400, f"Last-Event-ID {text!r}: expected the id of an event")
    stream = Stream(number, int(text) if text else None)
    texts = service.events.texts(stream, _linked(service, _base_url(request)), request.is_disconnected)
    return StreamingResponse(texts, media_type="text/event-stream", headers=_EVENT_HEADERS)


def _linked(service: Service, base_url: str) -> Callable[[int], list[Job]]:
    return lambda since: [service.linked(job, base_url) for job in service.store.changed_since(since)]


def _base_url(request: Request) -> str:
    return str(request.base_url).rstrip("/")
