"""How the service says no: a status, a code and a line for people."""

import asyncio
import contextlib
from http import HTTPStatus

from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_DRAIN_S = 10.0


class Problem(BaseModel):
    """Body of every answer that is not a result.

    Attributes:
        reason: a code of `core.reasons`, or "busy", "forbidden", "unauthorized", "wrong_type", "stalled" or
            "bad_request".
        detail: the same for people, one line.
    """

    reason: str
    detail: str


class Refused(Exception):
    """The request is answered with a `Problem`."""

    def __init__(self, status: HTTPStatus, reason: str, detail: str, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.status, self.reason, self.detail, self.retry_after_s = status, reason, detail, retry_after_s

    def response(self) -> Response:
        """What the client gets."""
        headers = {} if self.retry_after_s is None else {"retry-after": str(self.retry_after_s)}
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["www-authenticate"] = "Bearer"
        return Refusal(self, headers)


class Refusal(Response):
    """Answers at once, then lets the client finish sending, unread: who is cut off meanwhile sees no answer."""

    media_type = "application/json"

    def __init__(self, refused: Refused, headers: dict[str, str]) -> None:
        body = Problem(reason=refused.reason, detail=refused.detail).model_dump_json()
        super().__init__(body, status_code=refused.status, headers=headers)

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(start)
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                    pass
        await send({"type": "http.response.body", "body": b""})
