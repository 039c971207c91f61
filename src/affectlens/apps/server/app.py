"""The service: photos, videos and streams in, analyses out; a page for people."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from affectlens import __version__
from affectlens.apps.light.ambience import Ambience
from affectlens.apps.light.palette import Palette
from affectlens.apps.server.engine import Engine, Video
from affectlens.apps.server.guard import Guard
from affectlens.apps.server.limits import Limits
from affectlens.apps.server.meters import Meters
from affectlens.apps.server.refusal import Problem, Refused
from affectlens.apps.server.upload import Uploads, is_photo
from affectlens.apps.server.wire import Light, Model, Result, to_wire
from affectlens.core.errors import UnreadableMedia
from affectlens.core.expressions import CIRCUMPLEX, COLOURS, OTHER_COLOUR
from affectlens.core.reasons import Reason
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.pipeline import VideoSettings
from affectlens.runtime.temporal import Smoothing

LINES = "application/x-ndjson"
PAGE = Path(__file__).parent / "page"

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {"schema": {"type": "object", "required": ["file"], "properties": {"file": _BINARY["schema"]}}}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": _FORM, "image/*": _BINARY, "video/*": _BINARY},
    }
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in (
        (400, "A parameter or the form is wrong."),
        (408, "The upload stalled."),
        (413, "The upload is too large, has too many pixels, or lasts too long."),
        (415, "Neither a photo, a video nor a form."),
        (422, "It cannot be read; the reason says why."),
        (503, "Too many requests at once; Retry-After says when to come again."),
    )
}


class Health(BaseModel):
    """That the service is there."""

    status: str
    version: str
    model: str


def build(
    analyzer: Analyzer,
    limits: Limits | None = None,
    host: str = "127.0.0.1",
    names: tuple[str, ...] = (),
    token: str | None = None,
    palette: Palette | None = None,
) -> Guard:
    """The ASGI application; `host`, `names` and `token` as in `Guard`, `palette` of the light of streams."""
    limits, meters = limits or Limits(), Meters()
    uploads = Uploads(limits)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.engine = Engine(analyzer, limits, meters)
        yield
        app.state.engine.close()

    app = FastAPIOffline(
        title="affectlens",
        version=__version__,
        description="Facial expression and affect of the faces in photos, videos and camera streams. "
        "Nothing that is uploaded is stored.",
        lifespan=lifespan,
    )

    @app.post("/v1/analyze", response_model=Result, responses=_PROBLEMS, openapi_extra=_BODY, tags=["analysis"])
    async def analyze(
        request: Request,
        explain: Annotated[bool, Query(description="Photos: say for each face where the model looked.")] = False,
        every: Annotated[int, Query(ge=1, description="Videos: analyze each n-th frame.")] = 1,
        fps: Annotated[float | None, Query(gt=0, description="Videos: at most so many frames a second.")] = None,
        smooth: Annotated[bool, Query(description="Videos: labels change only where the change is clear.")] = True,
        baseline: Annotated[bool, Query(description="Videos: learn how each person looks at rest.")] = False,
    ) -> Response:
        """A photo gives one JSON object; a video one JSON object per frame, a line each, as they are done."""
        engine: Engine = request.app.state.engine
        settings = VideoSettings(every, fps, smoothing=_smoothing(smooth, baseline))
        async with uploads.take(request) as data:
            meters.held.set(uploads.held_bytes)
            if not data:
                raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, Reason.EMPTY_FILE, "the upload has no bytes")
            if is_photo(data):
                analysis, size = await engine.photo(data, explain)
                _raise_unread(analysis)
                return Response(to_wire(analysis, size).model_dump_json(), media_type="application/json")
            try:
                video = await engine.video(data, settings)
            except UnreadableMedia as error:
                _raise_unread(analyzer.failed("", error))
                raise
        return _Lines(video, limits.stall_s)

    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket, smooth: bool = True, baseline: bool = False) -> None:
        """Binary messages with a JPEG (or another image) each in, a `Result` for each out, in their order."""
        engine: Engine = socket.app.state.engine
        if meters.streams._value.get() >= limits.streams:
            await socket.close(1013, "too many streams at once")
            return
        await socket.accept()
        with meters.streams.track_inprogress(), suppress(WebSocketDisconnect):
            await _stream(socket, engine, VideoSettings(smoothing=_smoothing(smooth, baseline)), Ambience(palette))

    @app.get("/healthz", tags=["service"])
    async def healthz() -> Health:
        """Whether the service is there."""
        return Health(status="ok", version=__version__, model=analyzer.spec.name)

    @app.get("/v1/model", tags=["analysis"])
    async def model() -> Model:
        """What the model answers, and what the service takes."""
        spec = analyzer.spec
        return Model(
            name=spec.name,
            labels=list(spec.labels),
            colours={label: "#{:02x}{:02x}{:02x}".format(*COLOURS.get(label, OTHER_COLOUR)) for label in spec.labels},
            circumplex={label: CIRCUMPLEX[label] for label in spec.labels if label in CIRCUMPLEX},
            uncertain_below=spec.uncertain_below,
            licence=spec.licence,
            photo_bytes=limits.photo_bytes,
            video_bytes=limits.video_bytes,
            video_s=limits.video_s,
        )

    @app.get("/metrics", tags=["service"])
    async def metrics() -> Response:
        """Counters in Prometheus' text format."""
        meters.held.set(uploads.held_bytes)
        return Response(meters.text(), media_type="text/plain; version=0.0.4")

    @app.exception_handler(Refused)
    async def refuse(_: Request, refused: Refused) -> Response:
        return refused.response()

    @app.exception_handler(RequestValidationError)
    async def wrong(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        detail = f"{first['loc'][-1]}: {first['msg']}"
        return Refused(HTTPStatus.BAD_REQUEST, "bad_request", detail).response()

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=499)

    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return Guard(_Measured(app, meters), host, names, token)


async def _stream(socket: WebSocket, engine: Engine, settings: VideoSettings, ambience: Ambience) -> None:
    """Answer picture after picture until the client leaves, sleeps or sends what is none."""
    limits, following = engine.limits, engine.stream(settings)
    while True:
        try:
            async with asyncio.timeout(limits.idle_s):
                data = await socket.receive_bytes()
        except TimeoutError:
            await socket.close(1000, f"no picture came for {limits.idle_s:.0f} s")
            return
        except KeyError:
            await socket.close(1003, "pictures are binary messages")
            return
        try:
            analysis, size = await engine.frame(data, following)
            light = ambience(analysis.faces, following.time_s)
            shown = Light(rgb=light.rgb, brightness=light.brightness)
            text = to_wire(analysis, size, light=shown).model_dump_json()
        except Refused as refused:
            text = Problem(reason=refused.reason, detail=refused.detail).model_dump_json()
        try:
            async with asyncio.timeout(limits.stall_s):
                await socket.send_text(text)
        except TimeoutError:
            await socket.close(1008, "the answers were not taken")
            return


class _Lines(StreamingResponse):
    """The frames of a video, a line of JSON each; ends with the client."""

    def __init__(self, video: Video, stall_s: float) -> None:
        self._video, self._stall_s = video, stall_s
        super().__init__(self._text(), media_type=LINES)

    async def _text(self) -> AsyncGenerator[str, None]:
        async for analysis, size in self._video:
            yield to_wire(analysis, size, self._video.duration_s).model_dump_json() + "\n"

    async def stream_response(self, send: Send) -> None:
        """Send line after line; who does not take them is left."""

        async def timely(message: Message) -> None:
            async with asyncio.timeout(self._stall_s):
                await send(message)

        try:
            with suppress(TimeoutError):
                await super().stream_response(timely)
        finally:
            await asyncio.shield(self._video.close())


class _Measured:
    """ASGI middleware: counts and times answers by path, and refuses at once what would find no room."""

    def __init__(self, app: FastAPI, meters: Meters) -> None:
        self._app, self._meters = app, meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in ("/v1/analyze", "/v1/model", "/healthz", "/metrics") else "page"
        start_s = time.monotonic()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._meters.requests.labels(path, message["status"]).inc()
            await send(message)

        engine: Engine = self._app.state.engine
        answer = engine.busy.response() if path == "/v1/analyze" and engine.full else self._app
        await answer(scope, receive, counted)
        self._meters.seconds.labels(path).observe(time.monotonic() - start_s)


def _smoothing(smooth: bool, baseline: bool) -> Smoothing | None:
    return Smoothing(baseline=baseline) if smooth else None


def _raise_unread(analysis: Analysis) -> None:
    """Refused, with the analysis's reason, where nothing could be read."""
    if analysis.reason in (None, Reason.NO_FACE):
        return
    large = analysis.reason in (Reason.TOO_MANY_PIXELS, Reason.TOO_LARGE)
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if large else HTTPStatus.UNPROCESSABLE_ENTITY
    raise Refused(status, str(analysis.reason), analysis.detail)
