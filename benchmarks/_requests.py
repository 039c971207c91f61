"""Requests of every kind, as a service meets them: photos of seven formats and many sizes, some with nine faces, what
is no photo, forms, explanations, short videos, other addresses, and uploads that break off.
"""

import io
import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import httpx2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

KINDS = {"photo": 0.70, "large": 0.02, "faces": 0.04, "bad": 0.12, "video": 0.005, "explain": 0.005, "form": 0.05,
         "page": 0.03, "broken": 0.03}  # fmt: skip
"""How often each kind is drawn."""
_PATHS = ("/v1/model", "/metrics", "/nothing", "/")


@dataclass(frozen=True)
class Request:
    """Something that a client sends: `data` to analyze, or None for `path`."""

    kind: str
    data: bytes | None = None
    path: str = "/v1/analyze"

    def send(self, client: httpx2.Client) -> int:
        """The status of the answer, which is read to its end; 0 where the client leaves before it."""
        if self.data is None:
            return client.get(self.path).status_code
        if self.kind == "broken":
            return _break_off(client, self.data)
        if self.kind == "form":
            return client.post(self.path, files={"file": ("photo", self.data)}).status_code
        headers = {"content-type": "application/octet-stream"}
        wanted = {"explain": "true"} if self.kind == "explain" else {}
        return client.post(self.path, content=self.data, headers=headers, params=wanted).status_code


def mixed_requests(count: int, picture: NDArray[np.uint8], clip: bytes) -> Iterator[Request]:
    """So many requests in a random order that is always the same, of a face (H, W, 3 RGB uint8) and a short video."""
    face = Image.fromarray(picture)
    nine = Image.fromarray(np.tile(np.asarray(face.resize((200, 200))), (3, 3, 1)))
    others = ("PNG", "WEBP", "GIF", "BMP", "TIFF")
    formats = [{"format": "JPEG"}, {"format": "JPEG", "progressive": True}, *({"format": name} for name in others)]
    sides = (100, 240, 320, 512, 640)
    photos = [_encoded(face.resize((side, side)), **options) for side in sides for options in formats]
    draw = random.Random(0)
    of_kind = {
        "photo": photos,
        "large": [_encoded(face.resize((side, side)), format="JPEG") for side in (1500, 2500, 4000)],
        "faces": [_encoded(nine, format="JPEG")],
        "bad": [b"nonsense" * 50, b"", photos[0][:300], photos[2][:2000], b"\xff\xd8\xff" + draw.randbytes(5000),
                draw.randbytes(100_000)],
        "video": [clip],
        "explain": photos[:7],
        "form": photos,
        "broken": photos,
    }  # fmt: skip
    for kind in draw.choices(list(KINDS), list(KINDS.values()), k=count):
        yield Request(kind, draw.choice(of_kind[kind])) if kind in of_kind else Request(kind, path=draw.choice(_PATHS))


def _encoded(picture: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, **options)
    return stream.getvalue()


def _break_off(client: httpx2.Client, data: bytes) -> int:
    """Leave in the middle of an upload."""
    url = client.base_url
    head = f"POST /v1/analyze HTTP/1.1\r\nHost: {url.host}\r\nContent-Type: image/jpeg\r\n"
    head += f"Content-Length: {len(data)}\r\n\r\n"
    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall(head.encode() + data[: len(data) // 2])
    return 0
