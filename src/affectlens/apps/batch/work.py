"""Processing of one source of a batch, the same for all engines."""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath

from affectlens.apps.batch.item import Item
from affectlens.apps.batch.listing import is_url
from affectlens.apps.batch.reading import Reader
from affectlens.core.columns import Row
from affectlens.core.errors import BadSetting, UnreadableMedia
from affectlens.core.reasons import Reason
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.annotate import AnnotatedCopy, AtomicFiles
from affectlens.runtime.recognizer import Prior
from affectlens.runtime.sources import Analyses, Media, Tally
from affectlens.runtime.stream import VideoSettings

UNFINISHED, COPIES = ".affectlens-partial", "annotated"
"""Folders in the folder of a batch: what is being written, and the annotated copies."""

_MAX_ROWS, _MAX_WAIT_S = 1000, 10.0
"""Of a video that are kept back, and for how long; what comes of a photo comes at once."""


@dataclass(frozen=True)
class BatchSettings:
    """How the sources of a batch are analyzed; `annotate_in` is the folder of the batch, where copies of the sources
    with their faces drawn come into `annotated/`; with `gpus` each worker has this share of a GPU for its network.
    What takes a process longer than `timeout_s` seconds, a photo or the next rows of a video, is given up.
    """

    model: str = "bundled"
    detector: str = "mtcnn"
    min_face_px: int | None = None
    prior: str = Prior.NATURAL
    video: VideoSettings = field(default_factory=VideoSettings)
    annotate_in: Path | None = None
    gpus: float = 0
    timeout_s: float = 120.0

    def __post_init__(self) -> None:
        if not self.timeout_s > 0:
            raise BadSetting(f"timeout_s must be > 0, got {self.timeout_s}")

    def everywhere(self) -> "BatchSettings":
        """The same, whatever the current folder of a worker is."""
        model = self.model if self.model == "bundled" else str(Path(self.model).expanduser().absolute())
        return replace(self, model=model, annotate_in=self.annotate_in and self.annotate_in.absolute())

    def analyzer(self) -> Analyzer:
        """The engine, in one thread.  Raises BadModelFile, UnknownName, BadSetting."""
        device = "cuda" if self.gpus else "cpu"
        return Analyzer(self.model, self.detector, self.min_face_px, prior=self.prior, device=device)


@dataclass(frozen=True)
class SourceEnd:
    """How a source ended: whether a picture of it was read, why it has no face or breaks off, and what went wrong
    beside that.
    """

    read: bool
    reason: Reason | None = None
    detail: str = ""
    warning: str = ""


@dataclass(frozen=True)
class ResultPart:
    """Rows of one source, by its number in the manifest.

    Attributes:
        first: nothing of this source came before, or what came does not count.
        end: how it ended, with its last rows.
    """

    number: int
    rows: list[Row]
    first: bool
    end: SourceEnd | None = None

    def to_json(self) -> str:
        """As text, for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "ResultPart":
        """What `to_json` wrote."""
        found = json.loads(text)
        end = found.pop("end")
        if end is not None:
            reason = end.pop("reason")
            end = SourceEnd(reason=Reason(reason) if reason is not None else None, **end)
        return cls(end=end, **found)


class Worker:
    """Analyzes sources, one after the other."""

    def __init__(self, settings: BatchSettings) -> None:
        self._settings = settings
        self._analyzer = settings.analyzer()
        self._reader = Reader()

    def parts(self, number: int, item: Item, data: bytes | None = None) -> Iterator[ResultPart]:
        """The rows of a source: of a photo at once, of a video some thousand at a time, or those of ten seconds.

        `data` are the bytes of a photo that was read already.

        Raises:
            AffectLensError: every source would fail alike.
        """
        rows: list[Row] = []
        first, tally, sent_s = True, Tally(), time.monotonic()
        warnings: list[str] = []
        with (
            Analyses(self._analyzer, self._media(item, data), self._settings.video, item.name, item.video) as analyses,
            self._copy(number, item, warnings) as copy,
        ):
            for analysis in analyses:
                tally.add(analysis)
                rows += analysis.to_rows()
                copy.add(analysis)
                if len(rows) >= _MAX_ROWS or time.monotonic() > sent_s + _MAX_WAIT_S:
                    yield ResultPart(number, rows, first)
                    rows, first, sent_s = [], False, time.monotonic()
            copy.end()
        reason, detail = (analysis.reason, analysis.detail) if tally.error or not tally.faces else (None, "")
        warnings += tally.warnings()
        yield ResultPart(number, rows, first, SourceEnd(tally.frames > 0, reason, detail, "; ".join(warnings)))

    def too_slow(self, number: int, item: Item) -> ResultPart:
        """The one row of a source that took too long."""
        return self.failed(number, item, Reason.TOO_SLOW, f"not finished after {self._settings.timeout_s:g} s")

    def failed(self, number: int, item: Item, reason: Reason, detail: str) -> ResultPart:
        """The one row of a source that could not be analyzed here."""
        analysis = self._analyzer.recognizer.failed(item.name, UnreadableMedia(reason, detail))
        return ResultPart(number, analysis.to_rows(), True, SourceEnd(False, reason, detail))

    def _media(self, item: Item, data: bytes | None) -> Callable[[], Media]:
        """What a source is read from, once it is to be opened."""
        if item.video:
            return lambda: self._reader.video(item)
        return lambda: self._reader.photo(item) if data is None else data

    def _copy(self, number: int, item: Item, warnings: list[str]) -> AnnotatedCopy:
        """The annotated copy of a source, if asked for: `annotated/NUMBER-STEM.faces.SUFFIX`, once it is whole."""
        folder = self._settings.annotate_in
        place = AtomicFiles(folder / COPIES, folder / UNFINISHED) if folder else None
        name = item.name.rpartition("#")[2] if item.within == "tar" else item.name
        stem = re.sub(r"[^\w.-]+", "-", PurePosixPath(name).stem)[:80]
        sound = Path(item.url) if item.video and not item.within and not is_url(item.url) else None
        return AnnotatedCopy(
            place,
            f"{number:06d}-{stem}",
            sound,
            lambda error: warnings.append(f"cannot write the annotated copy: {error}"),
        )
