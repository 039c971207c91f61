import pytest

from affectlens import AffectLensError, Analyzer, BadSetting, UnknownName, sample_frames
from affectlens.runtime.media import PORTRAIT
from affectlens.runtime.sources import items_of
from affectlens.runtime.stream import VideoSettings
from affectlens.workflows.analyze import Written, analyze, open_writer


@pytest.fixture(scope="module")
def analyzer():
    return Analyzer()


class Steps:
    """Records what a task was and how far it came."""

    def __init__(self):
        self.done = {}

    def message(self, text):
        raise AssertionError(text)

    def task(self, description, total=None):
        return Steps.Task(self.done, description, total)

    class Task:
        def __init__(self, done, description, total):
            self.done, self.key = done, (description, total)
            done[self.key] = 0

        def __enter__(self):
            def advance(steps=1):
                self.done[self.key] += steps

            return advance

        def __exit__(self, *_):
            pass


def test_rows_are_counted_as_they_are_written_also_up_to_an_interruption(analyzer, tmp_path):
    analyses, again = [], tmp_path / "again.jpg"
    again.write_bytes(PORTRAIT.read_bytes())

    def write(analysis):
        if analyses:
            raise KeyboardInterrupt
        analyses.append(analysis)

    written = Written()
    with pytest.raises(KeyboardInterrupt):
        analyze(analyzer, items_of([PORTRAIT, again]), write, VideoSettings(), written=written)
    assert (written.rows, written.sources) == (1, 1)


def test_what_cannot_be_read_is_a_row_and_a_warning(analyzer, tmp_path, caplog):
    rows, written = [], Written()
    (tmp_path / "no.jpg").write_bytes(b"no picture")
    analyze(analyzer, items_of([PORTRAIT, tmp_path / "no.jpg"]), rows.append, VideoSettings(), written=written)
    assert ([row.reason for row in rows], written) == ([None, "not_an_image"], Written(rows=2, sources=1))
    assert caplog.messages == ["1 of 2 sources could not be read; see the reason in their rows"]
    with pytest.raises(
        AffectLensError, match=r"no source could be read; the last one was .*no\.jpg.* \(not_an_image\)"
    ):
        analyze(analyzer, items_of([tmp_path / "no.jpg"]), rows.append, VideoSettings(), written=Written())


def test_the_steps_of_a_video_are_its_seconds(analyzer, make_video, tmp_path):
    clip = make_video(tmp_path / "clip.mp4", list(sample_frames(10)))
    progress, rows = Steps(), []
    analyze(analyzer, items_of([clip]), rows.append, VideoSettings(), written=Written(), progress=progress)
    (seconds,) = [done for (what, _), done in progress.done.items() if what.startswith("seconds of")]
    assert len(rows) == 10
    assert seconds == pytest.approx(rows[-1].time_s)
    assert progress.done["analyzing", 1] == 1


def test_a_writer_of_a_format_that_does_not_exist_is_refused(analyzer, tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'csv'"), open_writer("csf", tmp_path / "rows.csf", analyzer):
        pass
    with pytest.raises(BadSetting, match="cannot be written to the terminal"), open_writer("parquet", None, analyzer):
        pass
