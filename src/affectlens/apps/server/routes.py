"""The HTTP API: from photos, videos and streams to analyses."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request, Response, WebSocket, WebSocketDisconnect
from starlette.requests import HTTPConnection
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from affectlens import __version__
from affectlens.apps.light.ambience import Ambience
from affectlens.apps.server.http_errors import HttpError, stopping
from affectlens.apps.server.schemas import Health, Light, ModelInfo, Problem, Result, to_wire
from affectlens.apps.server.service import Service
from affectlens.apps.server.tasks import Line
from affectlens.apps.server.upload import Upload
from affectlens.apps.server.videos import Video
from affectlens.core.catalog import unknown
from affectlens.core.errors import UnreadableMedia
from affectlens.core.expressions import CIRCUMPLEX, COLOURS, OTHER_COLOUR
from affectlens.core.image_file import FORMATS
from affectlens.core.reasons import Reason
from affectlens.runtime.stream import VideoSettings
from affectlens.runtime.temporal import Smoothing

logger = logging.getLogger(__name__)
router = APIRouter()

LINES = "application/x-ndjson"
DESCRIPTION = """Facial expression and affect of the faces in photos, videos and camera streams. Uploads are never
stored.

Streams use a WebSocket at `/v1/stream`: send each JPEG (or other image) as a binary message, and receive a `Result` for
each as a text message, in order. The parameters are `smooth` and `baseline`, as in `/v1/analyze`."""

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {"schema": {"type": "object", "required": ["file"], "properties": {"file": _BINARY["schema"]}}}
_KINDS = ("image/*", "video/*", "application/octet-stream")
_BODY = {"requestBody": {"required": True, "content": {"multipart/form-data": _FORM} | dict.fromkeys(_KINDS, _BINARY)}}
_FOUND: dict[str, Any] = {
    "description": "For a photo, one Result. For a video, one Result per frame, one per line, as they are ready.",
    "content": {LINES: {"schema": {"type": "string"}}},
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in (
        (400, "A parameter or the form is invalid."),
        (401, "The token is missing or wrong."),
        (403, "The request comes from a page of another site."),
        (408, "The upload stalled."),
        (413, "The upload is too large, has too many pixels, or lasts too long."),
        (415, "The body is not a photo, video or form."),
        (421, "The request uses an unknown host name."),
        (422, "The file cannot be read; see the reason."),
        (503, "Too many requests at once; Retry-After says when to try again."),
    )
}
_RESPONSES[200] = _FOUND


@router.post("/v1/analyze", response_model=Result, responses=_RESPONSES, openapi_extra=_BODY, tags=["analysis"])
async def analyze(
    request: Request,
    explain: Annotated[
        bool, Query(description="Photos: add a heat map of where the model looked for each face.")
    ] = False,
    every: Annotated[int, Query(ge=1, description="Videos: analyze every n-th frame.")] = 1,
    fps: Annotated[
        float | None, Query(gt=0, description="Videos: analyze at most this many frames per second.")
    ] = None,
    smooth: Annotated[
        bool, Query(description="Videos: change a label only when the change is clear over time.")
    ] = True,
    baseline: Annotated[
        bool, Query(description="Videos: learn how each person looks at rest, and treat that as neutral.")
    ] = False,
) -> Response:
    """A photo gives one JSON object; a video one JSON object per frame, a line each, as they are done."""
    service = service_of(request)
    _check_names(request)
    async with service.uploads.take(request) as upload:
        try:
            upload.check()
            if explain and not upload.is_photo:
                raise HttpError(HTTPStatus.BAD_REQUEST, "bad_request", "the parameter 'explain' applies only to photos")
            if upload.is_photo:
                line = await service.engine.photo(upload.data, explain)
                return Response(line.text, media_type="application/json")
            settings = VideoSettings(every, fps, smoothing=_smoothing(smooth, baseline))
            return await _lines(service, await service.videos.open(upload.data, settings))
        except UnreadableMedia as error:
            raise _unread(error, upload) from error


@router.websocket("/v1/stream")
async def stream(socket: WebSocket, smooth: bool = True, baseline: bool = False) -> None:
    """Binary messages with a JPEG (or another image) each in, a `Result` for each out, in their order."""
    service = service_of(socket)
    _check_names(socket)
    if service.streams >= service.limits.streams:
        raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "busy", "too many streams at once", retry_after_s=10)
    service.streams += 1
    service.metrics.streams.set(service.streams)
    try:
        await socket.accept()
        with suppress(WebSocketDisconnect):
            await _follow(socket, service, VideoSettings(smoothing=_smoothing(smooth, baseline)))
    finally:
        service.streams -= 1
        service.metrics.streams.set(service.streams)


@router.get("/v1/model", tags=["analysis"])
async def model(request: Request) -> ModelInfo:
    """What the model answers, and what the service takes."""
    service = service_of(request)
    spec, limits = service.analyzer.spec, service.limits
    return ModelInfo(
        name=spec.name,
        labels=list(spec.labels),
        colours={label: "#{:02x}{:02x}{:02x}".format(*COLOURS.get(label, OTHER_COLOUR)) for label in spec.labels},
        circumplex={label: CIRCUMPLEX[label] for label in spec.labels if label in CIRCUMPLEX},
        uncertain_below=spec.uncertain_below,
        licence=spec.licence,
        photo_bytes=limits.photo_bytes,
        video_bytes=limits.video_bytes,
        video_s=limits.video_s,
        columns=list(service.analyzer.schema.columns),
    )


@router.get("/healthz", tags=["service"])
async def healthz(request: Request) -> Health:
    """Whether the service is there."""
    return Health(status="ok", version=__version__, model=service_of(request).analyzer.spec.name)


@router.get("/metrics", tags=["service"])
async def metrics(request: Request) -> Response:
    """Counters in Prometheus' text format."""
    return Response(service_of(request).metrics.text(), media_type="text/plain; version=0.0.4")


def _check_names(connection: HTTPConnection) -> None:
    """Raise HttpError for a parameter that the route does not have."""
    known = [field.alias for field in connection.scope["route"].dependant.query_params]
    for name in connection.query_params:
        if name not in known:
            raise HttpError(HTTPStatus.BAD_REQUEST, "bad_request", unknown("parameter", name, known))


def service_of(connection: HTTPConnection) -> Service:
    """The service that a request came to."""
    return cast(Service, connection.app.state.service)


async def _follow(socket: WebSocket, service: Service, settings: VideoSettings) -> None:
    """Answer picture after picture until the client leaves, sleeps or sends what is none."""
    limits, following, ambience = service.limits, service.analyzer.stream(settings), Ambience(service.palette)
    while True:
        try:
            async with asyncio.timeout(limits.idle_s):
                data = await socket.receive_bytes()
        except TimeoutError:
            await socket.close(1000, f"no picture was received for {limits.idle_s:g} s")
            return
        except KeyError:
            await socket.close(1003, "pictures must be sent as binary messages")
            return
        try:
            analysis, size = await service.engine.frame(data, following)
        except HttpError as refused:
            text = refused.problem.model_dump_json()
        except Exception as error:
            if not isinstance(error, UnreadableMedia):
                logger.exception("a picture of a stream could not be analyzed")
            failed = service.analyzer.recognizer.failed("", error, following.number, following.time_s)
            text = to_wire(failed, (0, 0)).model_dump_json()
        else:
            light = ambience(analysis.faces, analysis.time_s or 0.0)
            shown = Light(rgb=light.rgb, brightness=light.brightness)
            text = to_wire(analysis, size, light=shown).model_dump_json()
        try:
            async with asyncio.timeout(limits.stall_s):
                await socket.send_text(text)
        except TimeoutError:
            await socket.close(1008, "the client does not receive its results")
            return


async def _lines(service: Service, video: Video) -> "_Lines":
    """The response to a video with at least one readable frame.

    Raises:
        UnreadableMedia: none can.
    """
    try:
        first = await video.next()
        if first is None:
            raise UnreadableMedia(Reason.NO_FRAMES, "the video has no frames")
    except BaseException:
        video.end()
        raise
    return _Lines(service, video, first)


class _Lines(StreamingResponse):
    """The frames of a video, a line of JSON each, and what ended it before its time, if anything; ends with the client,
    also with one that takes no lines.
    """

    def __init__(self, service: Service, video: Video, first: Line) -> None:
        self._service, self._video = service, video
        super().__init__(self._text(first), media_type=LINES)

    async def _text(self, first: Line) -> AsyncGenerator[str, None]:
        metrics, recognizer = self._service.metrics, self._service.analyzer.recognizer
        line: Line | None = first
        frame = 0
        try:
            while line is not None:
                metrics.count("frame", line.faces)
                frame = (line.frame or 0) + 1
                yield line.text + "\n"
                line = await self._video.next()
        except UnreadableMedia as error:
            yield Line.of(recognizer.failed("", error, frame)).text + "\n"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        limits, moved, waited_s = self._service.limits, 0, 0.0

        async def timely(message: Message) -> None:
            nonlocal moved, waited_s
            start_s = time.monotonic()
            async with asyncio.timeout(limits.patience_s(moved, waited_s)):
                await send(message)
            moved, waited_s = moved + len(message.get("body", b"")), waited_s + time.monotonic() - start_s

        try:
            with suppress(TimeoutError):
                await super().__call__(scope, receive, timely)
        finally:
            self._video.end()


def _smoothing(smooth: bool, baseline: bool) -> Smoothing | None:
    return Smoothing(baseline=baseline) if smooth else None


def _unread(error: UnreadableMedia, upload: Upload) -> HttpError:
    """The answer to an upload that cannot be read."""
    if error.reason in (Reason.TOO_MANY_PIXELS, Reason.TOO_LARGE):
        return HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, error.reason, error.detail)
    if error.reason == Reason.STOPPED:
        return stopping()
    if error.reason == Reason.NOT_A_VIDEO and not upload.kind.startswith("video/"):
        detail = f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image, and not a readable video"
        return HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, Reason.NOT_AN_IMAGE, detail)
    return HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, error.reason, error.detail)
