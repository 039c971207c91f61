"""What is done with each source of a batch, on whatever engine."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from uuid import uuid4

from affectlens.apps.batch.item import Item
from affectlens.apps.batch.listing import is_url
from affectlens.apps.batch.reading import Reader, fault_of
from affectlens.core.errors import AffectLensError, UnreadableMedia
from affectlens.core.files import sync
from affectlens.core.reasons import Reason
from affectlens.runtime.analysis import Analysis, Row
from affectlens.runtime.analyzer import Analyzer, Prior
from affectlens.runtime.media import ANNOTATED
from affectlens.runtime.pipeline import VideoSettings
from affectlens.runtime.record import AnnotatedCopy

UNFINISHED, COPIES = ".affectlens-partial", "annotated"
"""Folders in the folder of a batch: what is being written, and the annotated copies."""

_ROWS_AT_ONCE = 1000
"""Of a video; what comes of a photo comes at once."""


@dataclass(frozen=True)
class Settings:
    """How the sources of a batch are analyzed; `annotate_in` is the folder of the batch, where copies of the sources
    with their faces drawn come into `annotated/`; with `gpus` each worker has this share of a GPU for its network.
    """

    model: str = "bundled"
    detector: str = "mtcnn"
    min_face_px: int | None = None
    prior: str = Prior.NATURAL
    video: VideoSettings = field(default_factory=VideoSettings)
    annotate_in: Path | None = None
    gpus: float = 0

    def everywhere(self) -> "Settings":
        """The same, whatever the current folder of a worker is."""
        model = self.model if self.model == "bundled" else str(Path(self.model).expanduser().absolute())
        return replace(self, model=model, annotate_in=self.annotate_in and self.annotate_in.absolute())

    def analyzer(self) -> Analyzer:
        """The engine, in one thread.  Raises BadModelFile, UnknownName, BadSetting."""
        device = "cuda" if self.gpus else "cpu"
        return Analyzer(self.model, self.detector, self.min_face_px, prior=self.prior, device=device)


@dataclass(frozen=True)
class End:
    """How a source ended: whether a picture of it was read, why it has no face or breaks off, and what went wrong
    beside that.
    """

    read: bool
    reason: Reason | None = None
    detail: str = ""
    warning: str = ""


@dataclass(frozen=True)
class Part:
    """Rows of one source, by its number in the manifest.

    Attributes:
        first: nothing of this source came before, or what came does not count.
        end: how it ended, with its last rows.
    """

    number: int
    rows: list[Row]
    first: bool
    end: End | None = None

    def to_json(self) -> str:
        """As text, for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Part":
        """What `to_json` wrote."""
        found = json.loads(text)
        end = found.pop("end")
        if end is not None:
            reason = end.pop("reason")
            end = End(reason=Reason(reason) if reason is not None else None, **end)
        return cls(end=end, **found)


class Worker:
    """Analyzes sources, one after the other."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._analyzer = settings.analyzer()
        self._reader = Reader()

    def parts(self, number: int, item: Item, data: bytes | None = None) -> Iterator[Part]:
        """The rows of a source: of a photo at once, of a video some thousand at a time.

        `data` are the bytes of a photo that was read already.

        """
        rows: list[Row] = []
        first, read, faces = True, False, 0
        drawn = _Drawn(self._settings.annotate_in, number, item)
        for analysis in self._analyses(item, data):
            read |= analysis.image is not None
            faces += len(analysis.faces)
            rows += analysis.to_rows()
            drawn.add(analysis)
            if len(rows) >= _ROWS_AT_ONCE:
                yield Part(number, rows, first)
                rows, first = [], False
        drawn.end()
        said = analysis.image is None or not faces
        reason, detail = (analysis.reason, analysis.detail) if said else (None, "")
        broken = "the file breaks off; what there is of it was analyzed"
        warning = "; ".join(filter(None, (broken if analysis.incomplete else "", drawn.warning)))
        yield Part(number, rows, first, End(read, reason, detail, warning))

    def failed(self, number: int, item: Item, reason: Reason, detail: str) -> Part:
        """The one row of a source that could not be analyzed here."""
        analysis = self._analyzer.failed(item.name, UnreadableMedia(reason, detail))
        return Part(number, analysis.to_rows(), True, End(False, reason, detail))

    def _analyses(self, item: Item, data: bytes | None) -> Iterator[Analysis]:
        """At least one; whatever goes wrong, goes wrong with this source."""
        try:
            if item.video:
                yield from self._analyzer.video(self._reader.video(item), self._settings.video, item.name)
            else:
                yield self._analyzer.analyze(self._reader.photo(item) if data is None else data, item.name)
        except Exception as error:
            yield self._analyzer.failed(item.name, UnreadableMedia(*fault_of(error)))


class _Drawn:
    """The annotated copy of one source, if asked for: `annotated/NUMBER-STEM.faces.SUFFIX`, once it is whole."""

    def __init__(self, folder: Path | None, number: int, item: Item) -> None:
        self.warning = ""
        self._folder = folder
        name = item.name.rpartition("#")[2] if item.within == "tar" else item.name
        stem = re.sub(r"[^\w.-]+", "-", PurePosixPath(name).stem)[:80]
        self._name = f"{number:06d}-{stem}{ANNOTATED}"
        self._partial: Path | None = None
        sound = Path(item.url) if item.video and not item.within and not is_url(item.url) else None
        self._copy = AnnotatedCopy(self._in_work, sound) if folder else None

    def add(self, analysis: Analysis) -> None:
        """Draw one; what cannot be written costs a warning, and the rows go on."""
        if self._copy is not None:
            try:
                self._copy.add(analysis)
            except (AffectLensError, OSError) as error:
                self._fail(error)

    def end(self) -> None:
        """All was drawn."""
        if self._copy is not None:
            try:
                self._copy.close(whole=True)
                if self._folder is not None and self._partial is not None:
                    sync(self._partial)
                    self._partial.replace(self._folder / COPIES / f"{self._name}{self._partial.suffix}")
            except (AffectLensError, OSError) as error:
                self._fail(error)

    def _in_work(self, suffix: str) -> Path:
        """Where the copy is until it is whole, apart from that of a process that was left behind."""
        self._partial = (self._folder or Path()) / UNFINISHED / f"{uuid4().hex}{suffix}"
        return self._partial

    def _fail(self, error: Exception) -> None:
        self.warning = f"no annotated copy: {error}"
        copy, self._copy = self._copy, None
        with suppress(AffectLensError, OSError):
            if copy is not None:
                copy.close()
        if self._partial is not None:
            self._partial.unlink(missing_ok=True)
