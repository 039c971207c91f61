"""Configuration of uvicorn for this service."""

import asyncio
import logging
import socket
from http import HTTPStatus
from pathlib import Path
from typing import Any

import uvicorn
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from affectlens.apps.server.app import Application
from affectlens.apps.server.http_errors import HttpError
from affectlens.apps.server.limits import MEGABYTE

MAX_HEAD_BYTES = 64 * 1024
"""Of a request, before its body."""
HEAD_TIMEOUT_S = 20.0
"""How long a connection may be without a whole request head."""
MAX_FRAME_BYTES = 4 * MEGABYTE
"""Of one picture of a stream."""
_SPARE_FILES = 128
"""Open files that are left for other purposes than connections."""
_FAULTS_OF_CLIENTS = (
    "ASGI callable returned without completing response.",  # to a client that does not take it
    "ASGI callable returned without completing handshake.",  # of a stream that was refused
    "Invalid HTTP request received.",
    "Unsupported upgrade request.",
)
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def room_for_connections(wanted: int) -> int:
    """How many connections this process can hold at once, at most `wanted`; raises its limit of open files for them as
    far as the system allows.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else max(min(wanted, soft - _SPARE_FILES), 1)


class Server(uvicorn.Server):
    """Ends uploads and videos before it waits for requests to end.

    Args:
        application: what is served. certificate, key: PEM files, for https. head_s: as `HEAD_TIMEOUT_S`.
            connections: how many are held at once.

    Raises:
        OSError: certificate or key cannot be used.
    """

    def __init__(
        self,
        application: Application,
        certificate: Path | None = None,
        key: Path | None = None,
        head_s: float = HEAD_TIMEOUT_S,
        connections: int = 512,
    ) -> None:
        bounds = {"head_s": head_s, "max_connections": connections, "idle": {}}
        logging.getLogger("uvicorn.error").addFilter(_is_ours)
        config = uvicorn.Config(
            application,
            http=type("Protocol", (BoundedProtocol,), bounds),
            log_level="warning",
            access_log=False,
            ws_max_size=MAX_FRAME_BYTES,
            ws_per_message_deflate=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=5,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        config.load()
        super().__init__(config)
        self._application = application

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn."""
        self._application.end()
        await super().shutdown(sockets)


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a record of uvicorn is about more than what a client did."""
    return record.getMessage() not in _FAULTS_OF_CLIENTS


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer to a connection too many, which does not wait for the rest of its request."""
    refused = HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "busy", "too many connections at once")
    headers = {"retry-after": "5", "connection": "close"}
    response = Response(refused.problem.model_dump_json(), refused.status, headers, "application/json")
    await response(scope, receive, send)


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose request head does not come, or is too long; uvicorn itself waits for ever.

    Of too many connections, the one that has waited longest without a request is closed; where all have one, the new
    one is refused.

    Attributes:
        head_s: as `HEAD_TIMEOUT_S`. max_connections: how many are held at once.
        idle: connections of this service without a whole request head, the longest waiting first.
    """

    head_s, max_connections = HEAD_TIMEOUT_S, 512
    idle: "dict[BoundedProtocol, None]"
    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Called by the event loop, as all of these."""
        super().connection_made(transport)
        self._expect()
        if len(self.connections) > self.max_connections:
            longest = next(iter(self.idle))
            if longest is self:
                self.app = _refuse
            else:
                longest._give_up()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._timer is None or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self.transport.write(_TOO_LONG)
            self._give_up()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._timer is None:
            self._expect()

    def on_headers_complete(self) -> None:
        self._arrived()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self.idle[self] = None

    def _expect(self) -> None:
        self._head_bytes = 0
        self.idle.setdefault(self)
        self._timer = self.loop.call_later(self.head_s, self._give_up)

    def _arrived(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self.idle.pop(self, None)

    def _give_up(self) -> None:
        self._arrived()
        self.transport.close()
