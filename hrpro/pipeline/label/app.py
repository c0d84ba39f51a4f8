"""The web application: the page, its API, and the videos. Only for who knows the token."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hrpro.errors import HrproError, UsageError
from hrpro.pipeline.label.actions import ConflictError, RefusedError, read_request
from hrpro.pipeline.label.class_requests import ClassEdit
from hrpro.pipeline.label.project import Project, UnknownVideoError
from hrpro.wording import one_line

STATIC = Path(__file__).with_name("static")
TOKEN_HEADER = "x-hrpro-token"
MAX_BODY_BYTES = 1 << 16
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
}
STATUS = {UnknownVideoError: 404, ConflictError: 409, RefusedError: 422, UsageError: 422}


def create_app(project: Project, token: str, port: int) -> Starlette:
    """Build the application for a dataset.

    Args:
        project: the dataset.
        token: whoever knows it may label.
        port: where it is served, since requests that name another host are refused.
    """
    api = _Api(project)
    app = Starlette(
        routes=[
            Route("/", _index),
            Mount("/static/web", StaticFiles(packages=[("hrpro.pipeline.web", "static")])),
            Mount("/static", StaticFiles(directory=STATIC, check_dir=False)),
            Route("/api/state", api.state),
            Route("/api/changes", api.changes),
            Route("/api/events.{suffix}", api.events),
            Route("/api/classes", api.add_class, methods=["POST"]),
            Route("/api/classes/edits", api.edit_classes, methods=["POST"]),
            Route("/api/settings", api.change_settings, methods=["POST"]),
            Route("/api/videos/{video_id:path}/actions", api.act, methods=["POST"]),
            Route("/api/frames/{video_id:path}", api.frames),
            Route("/api/videos/{video_id:path}", api.video),
            Route("/media/{video_id:path}", api.media),
        ],
        exception_handlers={HrproError: _refuse, HTTPException: _refuse, Exception: _fail},
    )
    app.add_middleware(_Guard, token=token, port=port)
    return app


class _Api:
    """The requests of the page. What touches files runs in threads."""

    def __init__(self, project: Project) -> None:
        self._project = project

    async def state(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self._project.state))

    async def video(self, request: Request) -> Response:
        client = request.query_params.get("client", "")
        video_id = request.path_params["video_id"]
        return JSONResponse(await run_in_threadpool(self._project.video, video_id, client))

    async def frames(self, request: Request) -> Response:
        video_id = request.path_params["video_id"]
        times = await run_in_threadpool(self._project.frame_times, video_id)
        return JSONResponse({"times": times})

    async def act(self, request: Request) -> Response:
        wanted = read_request(await _body(request))
        video_id = request.path_params["video_id"]
        answer = await run_in_threadpool(self._project.act, video_id, wanted)
        return JSONResponse(answer)

    async def changes(self, request: Request) -> Response:
        try:
            since = int(request.query_params.get("since", "-1"))
        except ValueError as error:
            raise RefusedError("since: must be a revision, a whole number") from error
        return JSONResponse(await run_in_threadpool(self._project.changes, since))

    async def events(self, request: Request) -> Response:
        suffix = request.path_params["suffix"]
        name, content = await run_in_threadpool(self._project.export_events, suffix)
        return Response(
            content,
            media_type="application/octet-stream",
            headers={"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"},
        )

    async def add_class(self, request: Request) -> Response:
        wanted = _read(_NewClass, await _body(request))
        return JSONResponse(await run_in_threadpool(self._project.add_class, wanted.name))

    async def edit_classes(self, request: Request) -> Response:
        wanted = _read(_ClassEdit, await _body(request))
        return JSONResponse(await run_in_threadpool(self._project.edit_classes, wanted.edit))

    async def change_settings(self, request: Request) -> Response:
        wanted = _read(_Settings, await _body(request))
        return JSONResponse(await run_in_threadpool(self._project.set_reaction, wanted.reaction_s))

    async def media(self, request: Request) -> Response:
        video_id = request.path_params["video_id"]
        path = await run_in_threadpool(self._project.media_file, video_id)
        if path is None:
            raise HTTPException(404, "this video cannot be played yet")
        kind = "video/webm" if path.suffix.lower() == ".webm" else "video/mp4"
        return FileResponse(path, media_type=kind, headers={"Cache-Control": "private, no-cache"})


class _NewClass(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str


class _ClassEdit(BaseModel):
    model_config = ConfigDict(extra="forbid")

    edit: ClassEdit


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reaction_s: FiniteFloat


def _read(model: type[BaseModel], body: bytes) -> Any:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise RefusedError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, "the request is too large")
    return body


async def _index(request: Request) -> Response:
    return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-store"})


async def _refuse(request: Request, error: Exception) -> Response:
    """Answer with one line that says what is wrong."""
    if isinstance(error, HTTPException):
        status, text = error.status_code, error.detail
    else:
        status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
        text = str(error)
    return JSONResponse({"error": one_line(text)}, status)


async def _fail(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"internal error: {type(error).__name__}: {error}"}, 500)


class _Guard:
    """Lets only those in who know the token and came by a name of this machine.

    A page of another site whose name was made to point here (DNS rebinding) sends that name.
    The files of the page itself hold nothing secret and cannot carry a token.
    """

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self._app = app
        self._token = token.encode()
        names = ("127.0.0.1", "localhost", "[::1]")
        self._hosts = {f"{name}:{port}" for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                if path.startswith("/api/"):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        app: Callable[[Scope, Receive, Send], Awaitable[None]] = self._app
        if not self._allowed(scope, path):
            app = JSONResponse(
                {"error": "not allowed: open the address that 'hrpro label' has printed"}, 403
            )
        await app(scope, receive, guarded_send)

    def _allowed(self, scope: Scope, path: str) -> bool:
        headers = Headers(scope=scope)
        if headers.get("host", "").lower() not in self._hosts:
            return False
        if path.startswith("/static/"):
            return True
        if path.startswith("/api/"):
            given = headers.get(TOKEN_HEADER, "")
        else:
            query = parse_qs(scope["query_string"].decode("latin-1"))
            given = query.get("token", [""])[0]
        return hmac.compare_digest(given.encode(), self._token)
