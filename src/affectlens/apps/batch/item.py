"""One source in a batch: a file, or a picture inside a file."""

import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, Self

from affectlens.core.reasons import Reason
from affectlens.runtime.media import SUFFIXES, VIDEO_SUFFIXES


@dataclass(frozen=True)
class Item:
    """Where a photo or a video is.

    Attributes:
        name: what its rows call it.
        url: absolute path (bytes that are not UTF-8 as surrogates, as `os.fsdecode` makes them) or fsspec URL of its
            file.
        video: it is one.
        within: what kind of file holds it; "" where the file is the photo or video itself.
        place: in a tar file its first byte and how many there are, in a Parquet file its row group and row.
        fault: why it cannot be read, where that is known already: reason code and detail.
    """

    name: str
    url: str
    video: bool = False
    within: Literal["", "tar", "parquet"] = ""
    place: tuple[int, int] = (0, 0)
    fault: tuple[Reason, str] | None = None

    @property
    def where(self) -> str:
        """Where it is in its file, as one line: two items of one `url` and `where` are the same."""
        return json.dumps([self.video, self.within, self.place])

    @property
    def fault_json(self) -> str | None:
        """Its fault, as one line."""
        return json.dumps(self.fault) if self.fault else None

    @classmethod
    def of(cls, name: str, url: str, where: str, fault: str | None) -> Self:
        """The item with this `where` and `fault_json`."""
        video, within, place = json.loads(where)
        code, detail = json.loads(fault) if fault else ("", "")
        return cls(name, url, video, within, tuple(place), (Reason(code), detail) if fault else None)


def is_photo_name(name: str) -> bool:
    """Whether a file is named like a photo."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def is_video_name(name: str) -> bool:
    """Whether a file is named like a video."""
    return PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES
