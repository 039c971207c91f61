"""Access control of the service: hosts, origins, tokens.

A page of another site that is open in the same browser can send requests to this machine; it is recognised by its
`Origin`, and a site whose name was pointed at this machine (DNS rebinding) by its `Host`.
"""

import hmac
import ipaddress
import socket
from hmac import compare_digest
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from affectlens.apps.server.http_errors import HttpError

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
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""For the page of the interface, which is another project's."""


class AccessControl:
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
            asked = self._token is not None and scope["type"] == "http" and _asked_token(scope) is not None
            answer = self._remember(scope) if asked else self._app
        except HttpError as refused:
            answer = _in_words(refused) if _is_visit(scope) else refused.response()
        inline = scope["path"].startswith(("/docs", "/redoc"))

        async def hardened(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                message["headers"] = [*message["headers"], *_HEADERS, (_POLICY, _INLINE if inline else _OWN)]
            await send(message)

        if answer is not self._app and scope["type"] == "websocket":
            await receive()  # that somebody connects
        await answer(scope, receive, hardened)

    def _check(self, scope: Scope) -> None:
        """Raise HttpError where the request is not to be answered."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._known(host):
            raise HttpError(
                HTTPStatus.MISDIRECTED_REQUEST,
                "forbidden",
                f"unknown host name {host!r:.80}; allow it with --allow-host",
            )
        origin = headers.get("origin")
        if origin is not None and _place(origin) != host.lower():
            raise HttpError(HTTPStatus.FORBIDDEN, "forbidden", "requests from pages of other sites are not allowed")
        elsewhere = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if elsewhere and headers.get("sec-fetch-mode") != "navigate":
            raise HttpError(HTTPStatus.FORBIDDEN, "forbidden", "requests from pages of other sites are not allowed")
        if self._token and scope["path"] not in _OPEN and not self._shown(headers, scope):
            raise HttpError(HTTPStatus.UNAUTHORIZED, "unauthorized", "the token is missing or wrong")

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
        token = self._token or ""
        shown = (
            (bearer if kind.lower() == "bearer" else "", token),
            (_asked_token(scope) or "", token),
            (_cookie(headers, _cookie_name(scope)), self._badge),
        )
        return any(compare_digest(one.encode(), right.encode()) for one, right in shown)

    @property
    def _badge(self) -> str:
        """What a browser keeps in the place of the token: other services on this host see its cookies too."""
        return hmac.new((self._token or "").encode(), b"affectlens", "sha256").hexdigest()

    def _remember(self, scope: Scope) -> RedirectResponse:
        """To the page without the token in its address; a cookie that only this service sees stands for it."""
        response = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        secure = scope["scheme"] == "https"
        response.set_cookie(_cookie_name(scope), self._badge, httponly=True, samesite="strict", secure=secure)
        return response


def _is_visit(scope: Scope) -> bool:
    """Whether somebody opens the page in a browser."""
    return scope["type"] == "http" and scope["path"] == "/" and "text/html" in Headers(scope=scope).get("accept", "")


def _in_words(refused: HttpError) -> Response:
    advice = "; open /?token=TOKEN once" if refused.status == HTTPStatus.UNAUTHORIZED else ""
    return PlainTextResponse(f"{refused}{advice}\n", refused.status)


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


def _place(origin: str) -> str:
    """Host and port of an origin."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _cookie_name(scope: Scope) -> str:
    """One for each port: cookies are shared between them."""
    return f"affectlens-{(scope.get('server') or ('', 0))[1]}"


def _cookie(headers: Headers, name: str) -> str:
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _asked_token(scope: Scope) -> str | None:
    """The token in the query of the page."""
    if scope["path"] != "/" or b"token=" not in scope["query_string"]:
        return None
    query: bytes = scope["query_string"]
    return parse_qs(query.decode("latin-1")).get("token", [""])[0]
