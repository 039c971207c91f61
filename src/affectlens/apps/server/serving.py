"""Configuration of uvicorn for this service."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from affectlens.apps.server.app import Application
from affectlens.apps.server.limits import MEGABYTE

MAX_HEAD_BYTES = 64 * 1024
"""Of a request, before its body."""
HEAD_TIMEOUT_S = 20.0
"""How long a connection may be without a whole request head."""
MAX_FRAME_BYTES = 4 * MEGABYTE
"""Of one picture of a stream."""
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Server(uvicorn.Server):
    """Ends uploads and videos before it waits for requests to end.

    Args:
        application: what is served. certificate, key: PEM files, for https. head_s: as `HEAD_TIMEOUT_S`.

    Raises:
        OSError: certificate or key cannot be used.
    """

    def __init__(
        self,
        application: Application,
        certificate: Path | None = None,
        key: Path | None = None,
        head_s: float = HEAD_TIMEOUT_S,
    ) -> None:
        config = uvicorn.Config(
            application,
            http=type("Protocol", (BoundedProtocol,), {"head_s": head_s}),
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


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose request head does not come, or is too long; uvicorn itself waits for ever."""

    head_s = HEAD_TIMEOUT_S
    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Called by the event loop, as all of these."""
        super().connection_made(transport)
        self._expect()

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

    def _expect(self) -> None:
        self._head_bytes = 0
        self._timer = self.loop.call_later(self.head_s, self._give_up)

    def _arrived(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _give_up(self) -> None:
        self._arrived()
        self.transport.close()
