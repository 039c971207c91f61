"""Who may talk to the service: hosts, origins, tokens.

A page of another site that is open in the same browser can send requests to this machine; it is told apart by its
`Origin`, and a site whose name was pointed at this machine (DNS rebinding) by its `Host`.
"""

import ipaddress
import socket
from hmac import compare_digest
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from affectlens.apps.server.refusal import Refused

COOKIE = "affectlens-token"
_OPEN = frozenset({"/healthz"})
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
)
_POLICY = b"content-security-policy"
_OWN = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_INLINE = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
)
"""For the page of the interface, which is another project's."""


class Guard:
    """ASGI middleware in front of everything.

    Args:
        app: what is guarded.
        host: the address that the service is bound to; beyond loopback, addresses and this machine's own name are
            answered to as well.
        names: further host names to answer to.
        token: what a client must show as `Authorization: Bearer TOKEN`, or a browser once as `/?token=TOKEN`, which
            leaves a cookie; None asks for none.
    """

    def __init__(self, app: ASGIApp, host: str, names: tuple[str, ...] = (), token: str | None = None) -> None:
        self._app, self._token = app, token
        self._wide = not is_loopback(host)
        self._names = {"localhost", host.lower(), *(name.lower() for name in names)}
        if self._wide:
            self._names.add(socket.gethostname().lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except Refused as refused:
            await _refuse(refused, scope, receive, send)
            return
        if scope["type"] == "http" and (token := _asked_token(scope)) is not None:
            await _remember(token, scope)(scope, receive, send)
            return
        inline = scope["path"].startswith(("/docs", "/redoc"))

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS, (_POLICY, _INLINE if inline else _OWN)]
            await send(message)

        await self._app(scope, receive, hardened)

    def _check(self, scope: Scope) -> None:
        """Raise Refused where the request is not to be answered."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._known(host):
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "forbidden", f"this service is not called {host!r:.80}")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Refused(HTTPStatus.FORBIDDEN, "forbidden", "pages of other sites may not use this service")
        elsewhere = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if elsewhere and headers.get("sec-fetch-mode") != "navigate":
            raise Refused(HTTPStatus.FORBIDDEN, "forbidden", "pages of other sites may not use this service")
        if self._token and scope["path"] not in _OPEN and not self._shown(headers, scope):
            raise Refused(HTTPStatus.UNAUTHORIZED, "unauthorized", "the service asks for its token")

    def _known(self, host: str) -> bool:
        """Whether a Host header names this service."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or is_loopback(name) or (self._wide and _is_address(name))

    def _shown(self, headers: Headers, scope: Scope) -> bool:
        """Whether the right token came as header, cookie or, for the page, in the query."""
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        shown = [bearer if kind.lower() == "bearer" else "", _cookie(headers), _asked_token(scope) or ""]
        return any(compare_digest(one.encode(), (self._token or "").encode()) for one in shown)


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _cookie(headers: Headers) -> str:
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _asked_token(scope: Scope) -> str | None:
    """The token in the query of the page."""
    if scope["path"] != "/" or b"token=" not in scope["query_string"]:
        return None
    query: bytes = scope["query_string"]
    return parse_qs(query.decode("latin-1")).get("token", [""])[0]


def _remember(token: str, scope: Scope) -> RedirectResponse:
    """To the page without the token in its address, which then is in a cookie that no script and no other site sees."""
    response = RedirectResponse("/", HTTPStatus.SEE_OTHER)
    response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=scope["scheme"] == "https")
    return response


async def _refuse(refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": refused.detail})  # before accept: HTTP 403
    else:
        await refused.response()(scope, receive, send)
