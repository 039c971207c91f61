"""`affectlens serve`: the web page and the HTTP service."""

import socket
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from affectlens.apps.cli.console import say, warn
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
    host: Annotated[
        str, typer.Option(help="Address to listen on; any address other than loopback requires a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 chooses a free one.")] = PORT,
    model: ModelOption = "bundled",
    detector: DetectorOption = "mtcnn",
    min_face: MinFace = None,
    prior: PriorOption = Prior.NATURAL,
    token: Annotated[
        str | None, typer.Option(envvar="AFFECTLENS_TOKEN", help="Token that clients must send.", show_envvar=True)
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Additional host name that clients may use; repeatable.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM file with the certificate for https.")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM file with the key of the certificate.")] = None,
    workers: Annotated[
        int,
        typer.Option(
            min=0,
            help="Number of processes that analyze photos and frames of streams.  [default: one per core]",
            show_default=False,
        ),
    ] = 0,
    waiting: Annotated[
        int, typer.Option(min=1, help="Maximum number of photos in progress; further requests get status 503.")
    ] = 32,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Maximum time for a photo; what takes longer is given up.")
    ] = 30.0,
    palette: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON file with the colours of the light on the page (docs/light.md)."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Forbid all network use except answering clients.")
    ] = False,
) -> None:
    """Serve the web page, the HTTP API and its documentation (/docs) until Ctrl-C.

    Uploads are never stored.
    """
    if offline:
        forbid_network()
    try:
        from affectlens.apps.server.app import Application
        from affectlens.apps.server.auth import is_loopback
        from affectlens.apps.server.limits import Limits
        from affectlens.apps.server.serving import Server, room_for_connections
    except ImportError as error:
        raise MissingExtra("the service", "serve") from error
    if not is_loopback(host) and not token:
        raise BadSetting(
            f"'{host}' can be reached from other machines, which requires a token: set --token or AFFECTLENS_TOKEN"
        )
    if token and not (token.isascii() and token.isprintable()):
        raise BadSetting("the token must consist of printable ASCII characters, because it is sent in a header")
    if (certificate is None) != (key is None):
        raise BadSetting("https needs both --certificate and --key")
    colours = Palette.read(palette) if palette else None
    analyzer = Analyzer(model, detector, min_face, prior=prior)
    limits = Limits(waiting=waiting, workers=workers, photo_s=timeout)
    application = Application(analyzer, limits, host, tuple(allow_host or ()), token, colours)
    try:
        server = Server(application, certificate, key, connections=room_for_connections(limits.connections))
    except OSError as error:
        detail = error.strerror or error
        raise BadSetting(f"cannot set up https with '{certificate}' and '{key}': {detail}") from error
    with _listen(host, port) as listening:
        number = listening.getsockname()[1]
        everywhere = host in ("0.0.0.0", "::")
        name = socket.gethostname() if everywhere else f"[{host}]" if ":" in host else host
        scheme = "https" if certificate else "http"
        hint = "; in a browser, open it once with ?token=TOKEN" if token else ""
        say(f"{scheme}://{name}:{number}/ (Ctrl-C ends it{hint})")
        if not certificate and not is_loopback(host):
            warn(
                "without --certificate, token and pictures are sent unencrypted, and browsers do not allow camera "
                "access"
            )
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
            f"cannot listen on {host} port {port}: {error.strerror or error}; choose another port with --port"
        ) from error
    return listening
