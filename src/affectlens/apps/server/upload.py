"""Uploads: bytes are counted as they arrive and kept only in memory."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from affectlens.apps.server.http_errors import HttpError, stopping
from affectlens.apps.server.limits import MEGABYTE, Limits
from affectlens.core.errors import UnreadableMedia
from affectlens.core.image_file import HEAD_BYTES, check_format, format_of
from affectlens.core.reasons import Reason

_KINDS = "send a body of type image/..., video/... or application/octet-stream, or multipart/form-data with the field "
"'file'"
_FRAMING_BYTES = 64 * 1024
"""What a form may have around its file."""
_MAX_STALLS = 15
"""So many times `Limits.stall_s` may an upload take."""


@dataclass(frozen=True)
class Upload:
    """One file as it came.

    Attributes:
        data: all of it. kind: its content type in small letters; that of a form says nothing about the file in it.
    """

    data: bytes
    kind: str

    @property
    def is_photo(self) -> bool:
        """Whether the first bytes are those of an image."""
        return is_photo(self.data)

    def check(self) -> None:
        """Raises UnreadableMedia where it is empty, or plainly not what it is said to be."""
        if not self.data:
            raise UnreadableMedia(Reason.EMPTY_FILE, "the upload is empty")
        if self.kind.startswith("image/"):
            check_format(self.data[:HEAD_BYTES])
        if self.kind.startswith("video/") and self.is_photo:
            raise UnreadableMedia(Reason.NOT_A_VIDEO, "the file is an image, not a video")


class Uploads:
    """All uploads that are in memory.

    Args:
        limits: what is taken.
        check_video: raises HttpError where a video would not be taken, so that it is not awaited.
    """

    def __init__(self, limits: Limits, wait_for_room: Callable[[], Awaitable[None]]) -> None:
        self.limits, self.wait_for_room = limits, wait_for_room
        self.held_bytes, self._ended = 0, False
        self._timers: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def take(self, request: Request) -> AsyncGenerator[Upload, None]:
        """The uploaded file; forgotten when the context is left.

        Raises:
            HttpError: too large, of a wrong type, too slow, or too much is in memory already.
            ClientDisconnect: the client is gone.
        """
        counted = _Counted(request, self)
        try:
            try:
                async with self.patience(_MAX_STALLS * self.limits.stall_s):
                    upload = await counted.upload()
            except TimeoutError as error:
                if self._ended:
                    raise stopping() from error
                raise HttpError(
                    HTTPStatus.REQUEST_TIMEOUT, "stalled", "the upload stopped before it was complete"
                ) from error
            yield upload
        finally:
            self.held_bytes -= counted.bytes

    @asynccontextmanager
    async def patience(self, seconds: float) -> AsyncGenerator[None, None]:
        """Raises TimeoutError after so many seconds, or at the end of the service."""
        async with asyncio.timeout(seconds) as timer:
            self._timers.add(timer)
            try:
                yield
            finally:
                self._timers.discard(timer)

    def end(self) -> None:
        """Wait for none any longer, since the service ends."""
        self._ended = True
        for timer in tuple(self._timers):
            timer.reschedule(0)


class _Counted:
    """One upload on its way."""

    def __init__(self, request: Request, uploads: Uploads) -> None:
        self._request, self._limits, self._uploads = request, uploads.limits, uploads
        self._known = False
        self.bytes = 0

    async def upload(self) -> Upload:
        """The file in the request."""
        kind = self._request.headers.get("content-type", "").partition(";")[0].strip().lower()
        length = self._request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._limits.video_bytes + _FRAMING_BYTES:
            raise _too_large(self._limits.video_bytes)
        if kind == "multipart/form-data":
            return Upload(await self._from_form(), kind)
        if not kind.startswith(("image/", "video/")) and kind != "application/octet-stream":
            raise HttpError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "wrong_type", f"got {kind or 'no type'!r:.80}; {_KINDS}")
        data = bytearray()
        async for chunk in self._chunks():
            data += chunk
            await self._check(data)
        return Upload(bytes(data), kind)

    async def _from_form(self) -> bytes:
        """The field `file` of a form."""
        try:
            form = await _InMemory(self._request.headers, self._chunks(), max_files=1, max_fields=8).parse()
        except (MultiPartException, UnicodeError) as error:  # UnicodeError: of the charset that it names
            said = error.message if isinstance(error, MultiPartException) else "it is not in the charset that it states"
            raise HttpError(HTTPStatus.BAD_REQUEST, "bad_request", f"cannot read the form: {said}") from error
        try:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise HttpError(HTTPStatus.BAD_REQUEST, "bad_request", "the form has no file in the field 'file'")
            data: bytes = await file.read()
        finally:
            await form.close()
        await self._check(data)
        return data

    async def _check(self, data: bytes | bytearray) -> None:
        """Raise HttpError as soon as it is plain that the file will not be taken."""
        photo = is_photo(data)
        if photo and len(data) > self._limits.photo_bytes:
            raise _too_large(self._limits.photo_bytes)
        if not photo and not self._known and len(data) >= HEAD_BYTES:
            self._known = True
            await self._uploads.wait_for_room()

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes."""
        stream, begun_s = self._request.stream(), time.monotonic()
        while True:
            async with self._uploads.patience(self._limits.patience_s(self.bytes, time.monotonic() - begun_s)):
                chunk = await anext(stream, None)
            if chunk is None:
                return
            self.bytes += len(chunk)
            self._uploads.held_bytes += len(chunk)
            if self.bytes > self._limits.video_bytes + _FRAMING_BYTES:
                raise _too_large(self._limits.video_bytes)
            if self._uploads.held_bytes > self._limits.held_bytes:
                raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "busy", "too many uploads at once", retry_after_s=5)
            yield chunk


class _InMemory(MultiPartParser):
    """Starlette's parser, without its files on disk."""

    spool_max_size = 0


def is_photo(data: bytes | bytearray) -> bool:
    """Whether the first bytes are those of an image."""
    return format_of(bytes(data[:HEAD_BYTES])) is not None


def _too_large(most: int) -> HttpError:
    detail = f"the limit is {most / MEGABYTE:.0f} MB"
    return HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, Reason.TOO_LARGE, detail)
