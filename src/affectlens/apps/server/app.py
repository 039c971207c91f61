"""The ASGI application: routes, web page, error responses, metrics, access control."""

import mimetypes
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response, WebSocket
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from affectlens import __version__
from affectlens.apps.light.palette import Palette
from affectlens.apps.server.auth import AccessControl
from affectlens.apps.server.http_errors import BODY_WAS_READ, HttpError
from affectlens.apps.server.limits import Limits
from affectlens.apps.server.routes import DESCRIPTION, router
from affectlens.apps.server.service import Service
from affectlens.core.reasons import Reason
from affectlens.runtime.analyzer import Analyzer

PAGE = Path(__file__).parent / "page"
_MEASURED = frozenset({"/v1/analyze", "/v1/model", "/healthz", "/metrics"})


class Application:
    """The service as an ASGI application.

    Args:
        analyzer: answers all requests.
        limits: how much it takes on.
        host, names, token: who may use it, as in `AccessControl`.
        palette: of the light of streams.
    """

    def __init__(
        self,
        analyzer: Analyzer,
        limits: Limits | None = None,
        host: str = "127.0.0.1",
        names: tuple[str, ...] = (),
        token: str | None = None,
        palette: Palette | None = None,
    ) -> None:
        self._service = Service.of(analyzer, limits or Limits(), palette)
        self._guard = AccessControl(_RequestMetrics(_routes(self._service), self._service), host, names, token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        await self._guard(scope, receive, send)

    def end(self) -> None:
        """Break off what could go on for long, so that the server can end."""
        self._service.end()


def _routes(service: Service) -> FastAPI:
    """Everything behind the guard."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.engine.start()
        yield
        service.engine.close()

    app = FastAPIOffline(title="affectlens", version=__version__, description=DESCRIPTION, lifespan=lifespan)
    app.state.service = service
    app.include_router(router)
    app.add_api_route("/v1/analyze", _only_post, methods=["GET"], include_in_schema=False)
    mimetypes.add_type(
        "text/javascript", ".js"
    )  # the registry of Windows may say something else, and browsers refuse it
    app.add_api_websocket_route("/{path:path}", _no_stream)
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    app.add_exception_handler(HttpError, _refuse)
    app.add_exception_handler(RequestValidationError, _wrong)
    app.add_exception_handler(WebSocketRequestValidationError, _wrong)
    app.add_exception_handler(HTTPException, _no_such)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _failed)
    return app


async def _refuse(connection: Any, refused: Any) -> Any:
    """A response, or to a WebSocket that asks to be let in one in the place of that."""
    response = refused.response()
    if isinstance(connection, WebSocket):
        return await connection.send_denial_response(response)
    return response


async def _wrong(connection: Any, error: Any) -> Any:
    first = error.errors()[0]
    detail = f"{first['loc'][-1]}: {first['msg']}"
    return await _refuse(connection, HttpError(HTTPStatus.BAD_REQUEST, "bad_request", detail))


async def _no_such(_: Any, error: Any) -> Response:
    status = HTTPStatus(error.status_code)
    return HttpError(status, "not_found", status.phrase.lower()).response()


async def _only_post() -> Response:
    """What a browser asks for first."""
    raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, "not_found", "POST a photo or video; see /docs")


async def _no_stream(_: WebSocket) -> None:
    raise HttpError(HTTPStatus.NOT_FOUND, "not_found", "streams are at /v1/stream")


async def _gone(_: Any, __: Any) -> Response:
    return Response(status_code=499)


async def _failed(_: Any, __: Any) -> Response:
    """The error itself is raised on, for the log."""
    return HttpError(
        HTTPStatus.INTERNAL_SERVER_ERROR, Reason.FAILED, "the analysis failed; see the log of the service"
    ).response()


class _RequestMetrics:
    """ASGI middleware: counts and times answers by path, and refuses at once what would find no room."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in _MEASURED else "page"
        metrics, engine, start_s = self._service.metrics, self._service.engine, time.monotonic()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                metrics.requests.labels(path, message["status"]).inc()
                metrics.seconds.labels(path).observe(time.monotonic() - start_s)
            await send(message)

        async def noted() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                scope[BODY_WAS_READ] = True
            return message

        answer = engine.refusal().response() if path == "/v1/analyze" and engine.full else self._app
        await answer(scope, noted, counted)
