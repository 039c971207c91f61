"""Annotated copies of photos and videos, written as the analyses arrive."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from affectlens.core.files import real_path, sync
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.media import ANNOTATED, save_image
from affectlens.runtime.record import Recorder, suffix_for


class CopyFolder(Protocol):
    """Where a copy is written."""

    def file(self, stem: str, suffix: str) -> Path:
        """The file to write, for the stem of the source's name and the suffix of the copy."""
        ...

    def finished(self, file: Path, stem: str) -> None:
        """The copy is whole.  Raises OSError."""
        ...

    def failed(self, file: Path) -> None:
        """The copy is given up.  Raises OSError."""
        ...


class UniqueNames:
    """A folder in which a copy has its name from the beginning, numbered where another source of this run has it, and
    stays as far as it came. Files of earlier runs are overwritten.

    Args:
        folder: exists. taken: files that are not to be overwritten, absolute.
    """

    def __init__(self, folder: Path, taken: set[Path]) -> None:
        self._folder, self._taken = real_path(folder), set(taken)

    def file(self, stem: str, suffix: str) -> Path:
        """A file that is neither a source nor one of this run."""
        file, count = self._folder / f"{stem}{ANNOTATED}{suffix}", 1
        while file in self._taken:
            count += 1
            file = file.with_name(f"{stem}-{count}{ANNOTATED}{suffix}")
        self._taken.add(file)
        return file

    def finished(self, file: Path, stem: str) -> None:
        """It is where it belongs already."""

    def failed(self, file: Path) -> None:
        """What there is of it stays."""


class AtomicFiles:
    """A folder in which a copy appears once it is whole; until then it is in another folder, apart from those of
    processes that were left behind.

    Args:
        folder: of the copies. work: of what is being written, on the same file system. Both exist.
    """

    def __init__(self, folder: Path, work: Path) -> None:
        self._folder, self._work = folder, work

    def file(self, stem: str, suffix: str) -> Path:  # noqa: ARG002  # the stem counts at the end
        """A file that nobody else writes."""
        return self._work / f"{uuid4().hex}{suffix}"

    def finished(self, file: Path, stem: str) -> None:
        """To the disk, and to its place."""
        sync(file)
        file.replace(self._folder / f"{stem}{ANNOTATED}{file.suffix}")

    def failed(self, file: Path) -> None:
        """Delete the copy."""
        file.unlink(missing_ok=True)


class AnnotatedCopy:
    """The annotated copy of one source: a JPEG of a photo, a video of a video. A context manager, which ends it.

    What cannot be drawn or written costs the copy and is told once; nothing is raised.

    Args:
        place: where it is written; None writes nothing.
        stem: of the source's name.
        sound_of: the video's file, whose sound is copied.
        on_error: is told what went wrong with the copy.

    Attributes:
        is_whole: whether the copy was written to its end.
    """

    def __init__(
        self, place: CopyFolder | None, stem: str, sound_of: Path | None, on_error: Callable[[Exception], None]
    ) -> None:
        self._place, self._stem, self._sound_of, self._on_error = place, stem, sound_of, on_error
        self._file: Path | None = None
        self._video: Recorder | None = None
        self.is_whole = False

    def __enter__(self) -> "AnnotatedCopy":
        return self

    def __exit__(self, *_: object) -> None:
        self.end(whole=False)

    def add(self, analysis: Analysis) -> None:
        """Draw one; nothing where there is no picture."""
        if self._place is None:
            return
        try:
            picture = analysis.draw()
            if picture is None:
                return
            if analysis.time_s is None:
                self._file = self._place.file(self._stem, ".jpg")
                save_image(self._file, picture)
                return
            if self._video is None:
                self._file = self._place.file(self._stem, suffix_for(self._sound_of))
                self._video = Recorder(self._file, self._sound_of)
            self._video.write(picture, analysis.time_s)
        except Exception as error:
            self._give_up(error)

    def end(self, whole: bool = True) -> None:
        """Finish the copy; `whole` where all of the source was seen, else it is given up as far as it came."""
        try:
            self._close(rest_of_sound=whole)
            if self._place is not None and self._file is not None:
                if whole:
                    self._place.finished(self._file, self._stem)
                    self.is_whole = True
                else:
                    self._place.failed(self._file)
        except Exception as error:
            self._give_up(error)
        self._place = None

    def _give_up(self, error: Exception) -> None:
        """No more of this copy."""
        place, self._place = self._place, None
        self._on_error(error)
        with suppress(Exception):
            self._close()
        if place is not None and self._file is not None:
            with suppress(Exception):
                place.failed(self._file)

    def _close(self, rest_of_sound: bool = False) -> None:
        video, self._video = self._video, None
        if video is not None:
            video.close(rest_of_sound)
