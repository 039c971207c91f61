"""A client of the service with the interface of the analyzer."""

import os
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from affectlens.apps.server.schemas import ModelInfo, Problem, Result, from_wire, measures_in
from affectlens.core.errors import AffectLensError, BadSetting, MissingExtra, ServiceError, UnreadableMedia
from affectlens.core.files import read_bytes
from affectlens.core.image_file import MAX_BYTES
from affectlens.core.reasons import Reason
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.media import decode_image, display_name, file_reasons

if TYPE_CHECKING:
    from httpx2 import Response
    from websockets.sync.client import ClientConnection

_MAX_IN_FLIGHT = 2
"""Pictures of a stream that are under way at once."""
_OF_SOURCES = frozenset(reason.value for reason in Reason) - {Reason.FAILED, Reason.STOPPED}
"""Reasons that concern what was sent, not the service."""


class Client:
    """Client of `affectlens serve`; a context manager. Safe to share between threads.

    Args:
        url: address of the service.
        token: access token, if the service requires one.
        certificate: PEM file of the authority behind the service's https certificate, if the system does not trust it.
        timeout_s: how long to wait for the next bytes of a response.
        patience_s: how long to retry while the service is busy.

    Raises:
        MissingExtra: the extra "client" is not installed. BadSetting: the token has characters that a header cannot
            contain, or the certificate cannot be used.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8600",
        token: str | None = None,
        certificate: Path | None = None,
        timeout_s: float = 60.0,
        patience_s: float = 60.0,
    ) -> None:
        try:
            import httpx2
        except ImportError as error:
            raise MissingExtra("the client", "client") from error
        self._url, self._timeout_s, self._patience_s = url.rstrip("/"), timeout_s, patience_s
        if token and not (token.isascii() and token.isprintable()):
            raise BadSetting("the token must consist of printable ASCII characters, because it is sent in a header")
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._known: ModelInfo | None = None
        self._errors: tuple[type[Exception], ...] = (httpx2.HTTPError, httpx2.InvalidURL)
        try:
            self._trust = ssl.create_default_context(cafile=certificate)
        except OSError as error:
            raise BadSetting(f"cannot use the certificate '{certificate}': {error.strerror or error}") from error
        self._http = httpx2.Client(
            base_url=self._url, headers=self._headers, timeout=timeout_s, verify=self._trust, trust_env=False
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def model(self) -> ModelInfo:
        """Describe the service's model and limits.

        Raises:
            ServiceError: the service cannot be reached or refuses the request.
        """
        with self._answer("GET", "/v1/model") as response:
            return ModelInfo.model_validate_json(response.read())

    def analyze(self, source: "str | os.PathLike[str] | bytes | NDArray[np.uint8]", explain: bool = False) -> Analysis:
        """Analyze one image, like `affectlens.Analyzer.analyze`.

        Args:
            source: path of an image file, its bytes, or (H, W, 3) RGB uint8 array, which is sent as JPEG of quality 95.
            explain: add a heat map of where the model looked to each face.

        Returns:
            The analysis; for an image that cannot be read, it has no faces and a `reason`.

        Raises:
            ServiceError: the service cannot be reached, refuses the request, or is still busy after `patience_s`.
        """
        name = display_name(source) if isinstance(source, (str, os.PathLike)) else ""
        try:
            if isinstance(source, bytes):
                data = source
            else:
                data = _read(source) if isinstance(source, (str, os.PathLike)) else _jpeg(source)
            with self._answer("POST", "/v1/analyze", data, "image/*", {"explain": explain}) as response:
                text = response.read()
            return self._analysis(text, name, source if isinstance(source, np.ndarray) else decode_image(data))
        except UnreadableMedia as error:
            return self._failed(name, error)

    def video(
        self,
        source: "str | os.PathLike[str] | BinaryIO",
        every: int = 1,
        fps: float | None = None,
        smooth: bool = True,
        baseline: bool = False,
    ) -> Iterator[Analysis]:
        """Analyze a video file; yields frames as the service analyzes them. The analyses have no image.

        Raises:
            ServiceError: as `analyze`, or the service stopped or was lost before the end of the video.
        """
        name = display_name(source) if isinstance(source, (str, os.PathLike)) else ""
        settings = {"every": every, "fps": fps, "smooth": smooth, "baseline": baseline}
        try:
            data = _read(source) if isinstance(source, (str, os.PathLike)) else source.read()
            with self._answer("POST", "/v1/analyze", data, "video/*", settings) as response:
                for line in response.iter_lines():
                    analysis = self._analysis(line, name)
                    if analysis.reason == Reason.STOPPED:
                        raise ServiceError(analysis.reason, analysis.detail)
                    yield analysis
        except UnreadableMedia as error:
            yield self._failed(name, error)

    def stream(
        self, images: Iterable[NDArray[np.uint8]], smooth: bool = True, baseline: bool = False
    ) -> Iterator[Analysis]:
        """Analyze pictures as they arrive: (H, W, 3) RGB uint8 -> one analysis each, in order; faces keep their number.

        Pictures that the service had no time for are skipped.

        Raises:
            ServiceError: as `analyze`.
        """
        waiting: list[NDArray[np.uint8]] = []
        with self._socket(f"smooth={smooth}&baseline={baseline}".lower()) as socket:
            for image in images:
                socket.send(_jpeg(image))
                waiting.append(image)
                if len(waiting) >= _MAX_IN_FLIGHT:
                    yield from self._streamed(socket, waiting.pop(0))
            while waiting:
                yield from self._streamed(socket, waiting.pop(0))

    def _streamed(self, socket: "ClientConnection", image: NDArray[np.uint8]) -> Iterator[Analysis]:
        """The answer to the oldest picture under way; nothing where the service had no time."""
        text = socket.recv()
        with suppress(ValidationError):
            if Problem.model_validate_json(text, extra="forbid").reason == "busy":
                return
        yield self._analysis(text, "", image)

    def _analysis(self, text: str | bytes, source: str, image: NDArray[np.uint8] | None = None) -> Analysis:
        """What one object of the service says.

        Raises:
            ServiceError: it says something that is not known here, or `model` does.
        """
        try:
            result = Result.model_validate_json(text)
            return from_wire(result, source, image, measures_in(self._model_of(result)))
        except (BadSetting, TypeError, ValueError) as error:
            raise ServiceError(
                "not_understood",
                "unexpected response from the service; client and service may be of different versions",
            ) from error

    def _model_of(self, result: Result | None = None) -> ModelInfo:
        """The service's model, asked for once, and again where a result is of another one or has other measures."""
        known = self._known
        if known is not None and result is not None:
            names = {measure.name for measure in measures_in(known)}
            alike = all(set(face.measures) == names for face in result.faces)
            known = known if alike and (result.model, result.labels) == (known.name, known.labels) else None
        self._known = known or self.model()
        return self._known

    def _failed(self, name: str, error: UnreadableMedia) -> Analysis:
        model = self._model_of()
        return Analysis(
            name,
            model.name,
            tuple(model.labels),
            reason=Reason(error.reason),
            detail=error.detail,
            measures=measures_in(model),
        )

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        data: bytes | None = None,
        kind: str = "",
        settings: dict[str, Any] | None = None,
    ) -> "Iterator[Response]":
        """The response once the service has room.

        Raises:
            UnreadableMedia: it could not read `data`. ServiceError: everything else.
        """
        parameters = {key: str(value).lower() for key, value in (settings or {}).items() if value is not None}
        headers = {"content-type": kind} if data is not None else {}
        end_s = time.monotonic() + self._patience_s
        try:
            while True:
                with self._http.stream(method, path, content=data, params=parameters, headers=headers) as response:
                    wait_s = _wait_s(response.headers)
                    busy = response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
                    if not busy or time.monotonic() + wait_s > end_s:
                        if response.status_code != HTTPStatus.OK:
                            raise _refused(response.status_code, response.read())
                        yield response
                        return
                time.sleep(wait_s)
        except self._errors as error:
            raise ServiceError("unreachable", f"{self._url}: {error or type(error).__name__}") from error
        except ValidationError as error:
            raise ServiceError(
                "not_understood", f"unexpected response from {self._url}; it may not be an affectlens service"
            ) from error

    @contextmanager
    def _socket(self, query: str) -> "Iterator[ClientConnection]":
        """A stream of the service once it has room."""
        from websockets.exceptions import InvalidURI, WebSocketException

        try:
            socket = self._connected(f"ws{self._url.removeprefix('http')}/v1/stream?{query}")
            with socket:
                yield socket
        except InvalidURI as error:
            raise BadSetting(f"'{self._url}' is not a valid address of a service; expected http://HOST:PORT") from error
        except (WebSocketException, OSError, TimeoutError) as error:
            raise ServiceError("unreachable", f"{self._url}: {error}") from error
        except ValidationError as error:
            raise ServiceError(
                "not_understood", f"unexpected response from {self._url}; it may not be an affectlens service"
            ) from error

    def _connected(self, address: str) -> "ClientConnection":
        from websockets.exceptions import InvalidStatus
        from websockets.sync.client import connect

        end_s = time.monotonic() + self._patience_s
        trust = self._trust if address.startswith("wss") else None
        while True:
            try:
                return connect(
                    address,
                    additional_headers=self._headers,
                    compression=None,
                    open_timeout=self._timeout_s,
                    proxy=None,
                    ssl=trust,
                )
            except InvalidStatus as error:
                status, wait_s = error.response.status_code, _wait_s(error.response.headers)
                if status != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() + wait_s > end_s:
                    raise _refused(status, bytes(error.response.body or b"")) from error
                time.sleep(wait_s)


def _wait_s(headers: Mapping[str, str]) -> float:
    """When to come again; a service says seconds, what stands before it may say a date."""
    text = headers.get("retry-after", "")
    return float(text) if text.isdecimal() else 1.0


def _refused(status: int, body: bytes) -> AffectLensError:
    """What an answer that is no result says."""
    try:
        problem = Problem.model_validate_json(body)
    except ValidationError:
        return ServiceError("unreachable", f"the service responded with status {status}")
    if problem.reason in _OF_SOURCES:
        return UnreadableMedia(problem.reason, problem.detail)
    return ServiceError(problem.reason, problem.detail)


def _read(path: "str | os.PathLike[str]") -> bytes:
    with file_reasons():
        return read_bytes(os.path.expanduser(path), MAX_BYTES)


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise BadSetting("expected (H, W, 3) RGB uint8, bytes of an image file, or a path")
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])
    if not done:
        raise BadSetting(f"cannot encode a picture of {image.shape[1]}x{image.shape[0]} pixels as JPEG")
    return data.tobytes()
