"""`affectlens serve`: the page and the service."""

import socket
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from affectlens.apps.cli.console import out, warn
from affectlens.apps.cli.options import DetectorOption, MinFace, ModelOption, PriorOption
from affectlens.apps.light.palette import Palette
from affectlens.core.errors import AffectLensError, BadSetting, MissingExtra
from affectlens.core.offline import forbid_network
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.recognizer import Prior

PORT = 8600


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(serve)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; others than loopback need a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = PORT,
    model: ModelOption = "bundled",
    detector: DetectorOption = "mtcnn",
    min_face: MinFace = None,
    prior: PriorOption = Prior.NATURAL,
    token: Annotated[
        str | None, typer.Option(envvar="AFFECTLENS_TOKEN", help="What clients must show.", show_envvar=True)
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A further host name by which clients may call.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(metavar="FILE", help="For https: PEM file.")] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="For https: key of the certificate.")] = None,
    workers: Annotated[
        int,
        typer.Option(min=0, help="Threads that decode and find faces.  [default: one per core]", show_default=False),
    ] = 0,
    waiting: Annotated[int, typer.Option(min=1, help="Photos taken on at once; one more is answered 503.")] = 32,
    palette: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Colours of the light on the page, as JSON (docs/light.md).")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Refuse any use of the network but to answer.")] = False,
) -> None:
    """Serve the page, the interface for programs and its documentation (/docs) until Ctrl-C.

    Nothing that is uploaded is stored.
    """
    if offline:
        forbid_network()
    try:
        from affectlens.apps.server.app import Application
        from affectlens.apps.server.auth import is_loopback
        from affectlens.apps.server.limits import Limits
        from affectlens.apps.server.serving import Server
    except ImportError as error:
        raise MissingExtra("the service", "serve") from error
    if not is_loopback(host) and not token:
        raise BadSetting(f"'{host}' can be reached from other machines: to bind to it set --token or AFFECTLENS_TOKEN")
    if token and not (token.isascii() and token.isprintable()):
        raise BadSetting("the token must be of printable ASCII characters: headers hold no others")
    if (certificate is None) != (key is None):
        raise BadSetting("https needs both --certificate and --key")
    colours = Palette.read(palette) if palette else None
    analyzer = Analyzer(model, detector, min_face, prior=prior)
    limits = Limits(waiting=waiting, workers=workers)
    application = Application(analyzer, limits, host, tuple(allow_host or ()), token, colours)
    try:
        server = Server(application, certificate, key)
    except OSError as error:
        detail = error.strerror or error
        raise BadSetting(f"https cannot be set up with '{certificate}' and '{key}': {detail}") from error
    with _listen(host, port) as listening:
        number = listening.getsockname()[1]
        everywhere = host in ("0.0.0.0", "::")
        name = socket.gethostname() if everywhere else f"[{host}]" if ":" in host else host
        scheme = "https" if certificate else "http"
        hint = "; in a browser, open it once with ?token=TOKEN" if token else ""
        out.print(f"{scheme}://{name}:{number}/ (Ctrl-C ends it{hint})")
        if not certificate and not is_loopback(host):
            warn("without --certificate token and pictures can be read on their way, and browsers give no camera")
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """A socket at an address of this machine, where clients wait from now on."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise AffectLensError(
            f"cannot listen on {host} port {port}: {error.strerror or error}; --port N takes another"
        ) from error
    return listening
