"""The bytes of an upload, counted as they come and kept in memory only."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from affectlens.apps.server.limits import MEGABYTE, Limits
from affectlens.apps.server.refusal import Refused
from affectlens.core.errors import UnreadableMedia
from affectlens.core.reasons import Reason
from affectlens.runtime.image_header import check_format

_KINDS = "send an image/..., video/... or application/octet-stream body, or multipart/form-data with the field 'file'"
_FRAMING_BYTES = 64 * 1024
"""What a form may have around its file."""
_LONGEST = 15
"""So many times `Limits.stall_s` may an upload take."""


class Uploads:
    """All uploads that are in memory."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.held_bytes = 0

    @asynccontextmanager
    async def take(self, request: Request) -> AsyncGenerator[bytes, None]:
        """The uploaded file; forgotten when the context is left.

        Raises:
            Refused: too large, of a wrong type, too slow, or too much is in memory already.
            ClientDisconnect: the client is gone.
        """
        counted = _Counted(request, self._limits, self)
        try:
            try:
                async with asyncio.timeout(_LONGEST * self._limits.stall_s):
                    data = await counted.file()
            except TimeoutError as error:
                raise Refused(HTTPStatus.REQUEST_TIMEOUT, "stalled", "the upload did not come to its end") from error
            yield data
        finally:
            self.held_bytes -= counted.bytes


class _Counted:
    """One upload."""

    def __init__(self, request: Request, limits: Limits, uploads: Uploads) -> None:
        self._request, self._limits, self._uploads = request, limits, uploads
        self.bytes = 0

    async def file(self) -> bytes:
        """All bytes of the file in the request."""
        kind = self._request.headers.get("content-type", "").partition(";")[0].strip().lower()
        length = self._request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._limits.video_bytes + _FRAMING_BYTES:
            raise _too_large(self._limits.video_bytes)
        if kind == "multipart/form-data":
            return await self._from_form()
        if not kind.startswith(("image/", "video/")) and kind != "application/octet-stream":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "wrong_type", f"got {kind or 'no type'!r:.80}; {_KINDS}")
        data = bytearray()
        async for chunk in self._chunks():
            data += chunk
            if self.bytes > self._limits.photo_bytes and is_photo(data):
                raise _too_large(self._limits.photo_bytes)
        return bytes(data)

    async def _from_form(self) -> bytes:
        """The field `file` of a form."""
        try:
            form = await _InMemory(self._request.headers, self._chunks(), max_files=1, max_fields=8).parse()
        except MultiPartException as error:
            raise Refused(HTTPStatus.BAD_REQUEST, "bad_request", f"the form cannot be read: {error.message}") from error
        try:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise Refused(HTTPStatus.BAD_REQUEST, "bad_request", "the form has no file in a field named 'file'")
            data: bytes = await file.read()
        finally:
            await form.close()
        if len(data) > self._limits.photo_bytes and is_photo(data):
            raise _too_large(self._limits.photo_bytes)
        return data

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes."""
        stream = self._request.stream()
        while True:
            async with asyncio.timeout(self._limits.stall_s):
                chunk = await anext(stream, None)
            if chunk is None:
                return
            self.bytes += len(chunk)
            self._uploads.held_bytes += len(chunk)
            if self.bytes > self._limits.video_bytes + _FRAMING_BYTES:
                raise _too_large(self._limits.video_bytes)
            if self._uploads.held_bytes > self._limits.held_bytes:
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "busy", "too many uploads at once", retry_after_s=5)
            yield chunk


class _InMemory(MultiPartParser):
    """Starlette's parser, without its files on disk."""

    spool_max_size = 0


def is_photo(data: bytes | bytearray) -> bool:
    """Whether the first bytes are those of an image."""
    try:
        check_format(bytes(data[:32]))
    except UnreadableMedia:
        return False
    return True


def _too_large(most: int) -> Refused:
    detail = f"at most {most / MEGABYTE:.0f} MB are taken"
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, Reason.TOO_LARGE, detail)
