"""Error responses of the service: a status, a code and a one-line message."""

import asyncio
import contextlib
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from affectlens.apps.server.schemas import Problem
from affectlens.core.reasons import Reason

BODY_WAS_READ = "affectlens.body_was_read"
"""Key in the scope of a request whose body was read to its end."""
_DRAIN_S, _PAUSE_S = 10.0, 1.0
"""How long to go on reading in all, and while nothing comes."""


class HttpError(Exception):
    """The request is answered with a `Problem`."""

    def __init__(self, status: HTTPStatus, reason: str, detail: str, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.status, self.reason, self.detail, self.retry_after_s = status, reason, detail, retry_after_s

    @property
    def problem(self) -> Problem:
        """The same as what is sent."""
        return Problem(reason=self.reason, detail=self.detail)

    def response(self) -> Response:
        """What the client gets."""
        headers = {} if self.retry_after_s is None else {"retry-after": str(self.retry_after_s)}
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["www-authenticate"] = "Bearer"
        return ErrorResponse(self, headers)


def stopping() -> HttpError:
    """The answer of a service that ends: another one may be there in a moment."""
    return HttpError(HTTPStatus.SERVICE_UNAVAILABLE, Reason.STOPPED, "the service is being stopped", retry_after_s=5)


class ErrorResponse(Response):
    """Answers at once, then lets the client finish sending, unread: who is cut off meanwhile sees no answer. A service
    that ends does not wait for that.
    """

    media_type = "application/json"

    def __init__(self, refused: HttpError, headers: dict[str, str]) -> None:
        super().__init__(refused.problem.model_dump_json(), status_code=refused.status, headers=headers)
        self._drains = refused.reason != Reason.STOPPED

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] == "websocket" or scope.get(BODY_WAS_READ) or not self._drains:
            await super().__call__(scope, receive, send)
            return
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(start)
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while await _more(receive):
                    pass
        await send({"type": "http.response.body", "body": b""})


async def _more(receive: Receive) -> bool:
    """Read and drop a piece; whether another one is to come."""
    async with asyncio.timeout(_PAUSE_S):
        message = await receive()
    return message["type"] == "http.request" and bool(message.get("more_body"))
