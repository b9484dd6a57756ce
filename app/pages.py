"""The web page, the list of datasets behind it, jobs, and the viewer."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

import static
from app.access.grants import seconds_of
from app.access.policy import CHALLENGE, NEEDS_TOKEN, Policy, policy_of, told_time
from app.access.routes import access_routes
from app.access.rules import Level
from app.access.tokens import Right
from app.api_page import api_page
from app.datasets import BrokenDataset, Dataset, DiskSizes, dataset_path, find_datasets, read_dataset
from app.jobs.guard import Guard
from app.jobs.routes import REFUSALS, event_routes, job_routes, tell_error, tell_system_error, upload_routes
from app.jobs.service import Service, open_service
from app.links import Layer, viewer_link
from app.preview import layer_of_run
from app.settings import AccessSettings, JobSettings
from app.viewer import IdleStreams, viewer_routes
from converters.errors import ConverterError, DatasetError
from converters.record import PRIVATE
from formats.errors import FormatError

_STATIC = Path(static.__file__).parent
_THUMBNAIL = Path(PRIVATE, "thumbnail.png")
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

_NO_STORE = {"Cache-Control": "no-store"}
_DOCS_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"


class ScaleEntry(BaseModel):
    """One scale: voxels x, y, z and nm a voxel."""

    key: str
    size: tuple[int, int, int]
    resolution: tuple[float, float, float]
    chunk_size: tuple[int, int, int]


class DatasetEntry(BaseModel):
    """What the first page shows of a dataset; of a broken one only name and error.

    shape: voxels x, y, z. voxel_size: nm. bytes: on disk, null while they are being counted. access: null where all is open.
    """

    name: str
    error: str | None = None
    access: Level | None = None
    type: str | None = None
    data_type: str | None = None
    num_channels: int | None = None
    shape: tuple[int, int, int] | None = None
    voxel_size: tuple[float, float, float] | None = None
    encoding: str | None = None
    scales: list[ScaleEntry] = []
    bytes: int | None = None
    thumbnail: str | None = None
    link: str | None = None


class DatasetList(BaseModel):
    """The datasets below the served folder that whoever asks may read; complete is false when there are too many folders."""

    root: str
    datasets: list[DatasetEntry]
    complete: bool


class Link(BaseModel):
    """Where the viewer shows what was asked for. expires: when it does so no longer, null for never."""

    link: str
    expires: str | None = None


def pages_app(
    root: Path, hosts: frozenset[str] = frozenset(), jobs: JobSettings | None = None, policy: Policy | None = None
) -> FastAPI:
    """Return the application of /, /static, /docs, /api and the viewer's routes for the datasets below root.

    hosts: names besides the loopback ones that /api answers to, without port; the address of a server that listens everywhere
    ("0.0.0.0", "::") stands for every numeric address. jobs: what they may do. policy: None where everybody may do everything.
    Its lifespan runs the queue of jobs. Before its server stops, it calls `app.state.streams.close()` and
    `app.state.jobs.events.close()`.
    Raises OptionError when the viewer is not installed.
    """
    policy = policy or policy_of(root, AccessSettings())
    service = open_service(root, jobs or JobSettings(), policy.own_grant)
    app = FastAPI(title="glassine", docs_url=None, redoc_url=None, lifespan=_running_queue)
    app.state.streams = IdleStreams()
    app.state.jobs = service
    for router in (
        _api(root, policy),
        access_routes(root, policy),
        job_routes(service),
        event_routes(service),
        upload_routes(service),
    ):
        app.include_router(router, responses=REFUSALS)
    for kind in (ConverterError, FormatError):
        app.add_exception_handler(kind, tell_error)
    for refused in (OSError, sqlite3.Error):
        app.add_exception_handler(refused, tell_system_error)
    app.add_exception_handler(RequestValidationError, _tell_invalid)
    app.add_exception_handler(ClientDisconnect, _tell_nobody)
    app.add_api_route("/docs", _api_page, methods=["GET", "HEAD"], include_in_schema=False)
    app.add_api_route("/", _first_page, methods=["GET", "HEAD"], include_in_schema=False)
    app.add_api_route("/favicon.ico", _icon, methods=["GET", "HEAD"], include_in_schema=False)
    app.mount("/static", StaticFiles(directory=_STATIC))
    app.router.routes.extend(viewer_routes(app.state.streams))
    app.add_middleware(Guard, hosts=hosts, policy=policy)
    return app


@asynccontextmanager
async def _running_queue(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.jobs
    service.queue.open()
    try:
        yield
    finally:
        await asyncio.to_thread(service.close)


def _tell_nobody(request: Request, error: Exception) -> Response:
    """Return an answer to a client that went away in the middle of its upload, so that no error is made of it."""
    return Response(status_code=400)


def _tell_invalid(request: Request, error: Exception) -> JSONResponse:
    """Return the answer for a request that is not of the form that its route expects."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return JSONResponse({"detail": f"the body is no JSON: {first['ctx']['error']}"}, 400)
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "the body"
    return JSONResponse({"detail": f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}"}, 422)


def _api_page(request: Request) -> HTMLResponse:
    text = api_page(request.app.openapi(), str(request.base_url).rstrip("/"))
    return HTMLResponse(text, headers={**_PAGE_HEADERS, "Content-Security-Policy": _DOCS_POLICY})


def _first_page() -> FileResponse:
    return FileResponse(_STATIC / "index.html", headers=_PAGE_HEADERS)


def _icon() -> FileResponse:
    return FileResponse(_STATIC / "icon.svg", media_type="image/svg+xml")


def _api(root: Path, policy: Policy) -> APIRouter:
    sizes = DiskSizes()

    def datasets(request: Request, response: Response) -> DatasetList:
        """List the datasets below the served folder."""
        response.headers.update(_NO_STORE)
        right = policy.right(request.headers.raw)
        listing = find_datasets(root)
        readable = [found for found in listing.datasets if policy.may_read(found.name, right)]
        entries = [_entry(found, sizes, policy, _base_url(request)) for found in readable]
        return DatasetList(root=root.absolute().name, datasets=entries, complete=listing.complete)

    def thumbnail(name: Annotated[str, Query(examples=["scan"])], request: Request) -> Response:
        """Return the small picture of a dataset."""
        _check_readable([name], policy, request)
        folder = dataset_path(root, name)
        if folder is None or not (folder / _THUMBNAIL).is_file():
            raise HTTPException(404, f"no picture of a dataset {name!r}")
        caching = "no-cache" if policy.level(name) == "public" else "private, no-cache"
        return FileResponse(folder / _THUMBNAIL, media_type="image/png", headers={"Cache-Control": caching})

    def link(
        request: Request,
        response: Response,
        name: Annotated[list[str], Query(examples=["scan"])],
        expires: Annotated[str | None, Query(examples=["7d"])] = None,
    ) -> Link:
        """Return the link that opens the named datasets together, for a while if one is told."""
        response.headers.update(_NO_STORE)
        _check_readable(name, policy, request)
        until = None if expires is None else _until(expires, policy, request)
        layers = [_granted(_layer(root, one), policy, until) for one in name]
        ends = (until or policy.own_expiry()) if any(layer.grant for layer in layers) else None
        return Link(link=viewer_link(layers, _base_url(request)), expires=None if ends is None else told_time(ends))

    # Plain functions: FastAPI runs them in threads, so that a slow disk holds up nobody else.
    router = APIRouter(prefix="/api", tags=["datasets"])
    router.add_api_route("/datasets", datasets, methods=["GET"])
    router.add_api_route("/link", link, methods=["GET"])
    router.add_api_route("/thumbnails", thumbnail, methods=["GET"], response_class=Response)
    return router


def _base_url(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _check_readable(names: Sequence[str], policy: Policy, request: Request) -> None:
    """Raise the answer to whoever may not read all datasets of these names, there or not."""
    right = policy.right(request.headers.raw)
    if not all(policy.may_read(name, right) for name in names):
        raise HTTPException(401, NEEDS_TOKEN, CHALLENGE)


def _until(expires: str, policy: Policy, request: Request) -> int:
    """Return when a link ends that is made now, seconds since 1970; who may not do everything makes none. Raises OptionError."""
    seconds = seconds_of(expires)
    right = policy.right(request.headers.raw)
    if right == Right.PUBLIC:
        raise HTTPException(401, NEEDS_TOKEN, CHALLENGE)
    if right != Right.WRITE:
        raise HTTPException(403, "only who may change datasets makes links that expire")
    return int(time.time()) + seconds


def _granted(layer: Layer, policy: Policy, until: int | None) -> Layer:
    """Return a layer as a link shows it that ends at a time, seconds since 1970; None for a link of the server's own."""
    grant = policy.own_grant(layer.name) if until is None else policy.grant(layer.name, until)
    return replace(layer, grant=grant) if grant else layer


def _layer(root: Path, name: str) -> Layer:
    folder = dataset_path(root, name)
    if folder is None:
        meanwhile = layer_of_run(root, name)
        if meanwhile is None:
            raise HTTPException(404, f"no dataset {name!r} is served here")
        return meanwhile
    try:
        dataset = read_dataset(folder, name)
    except DatasetError as error:
        raise HTTPException(422, str(error)) from error
    return Layer(name, dataset.info, dataset.record, dataset.selected)


def _entry(found: Dataset | BrokenDataset, sizes: DiskSizes, policy: Policy, base_url: str) -> DatasetEntry:
    access = None if policy.is_open else policy.level(found.name)
    if isinstance(found, BrokenDataset):
        return DatasetEntry(name=found.name, error=found.error, access=access)
    info = found.info
    first = info.scales[0]
    layer = _granted(Layer(found.name, info, found.record, found.selected), policy, None)
    return DatasetEntry(
        name=found.name,
        access=access,
        type=info.type,
        data_type=info.data_type,
        num_channels=info.num_channels,
        shape=first.size,
        voxel_size=first.resolution,
        encoding=first.encoding,
        scales=[
            ScaleEntry(key=scale.key, size=scale.size, resolution=scale.resolution, chunk_size=scale.chunk_sizes[0])
            for scale in info.scales
        ],
        bytes=sizes.get(found),
        thumbnail=_thumbnail_url(found),
        link=viewer_link([layer], base_url),
    )


def _thumbnail_url(dataset: Dataset) -> str | None:
    """Return the picture's path with its time in the query, so that a new picture is not hidden by an old one."""
    try:
        changed = (dataset.path / _THUMBNAIL).stat().st_mtime_ns
    except OSError:
        return None
    return f"/api/thumbnails?name={quote(dataset.name, safe='')}&v={changed}"
