import pytest

from affectlens import AffectLensError, Analyzer, BadSetting, UnknownName, sample_frames
from affectlens.runtime.media import PORTRAIT
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
        analyze([PORTRAIT, again], write, analyzer, written=written)
    assert (written.rows, written.sources) == (1, 1)


def test_what_cannot_be_read_is_a_row_and_a_warning(analyzer, tmp_path, caplog):
    rows = []
    (tmp_path / "no.jpg").write_bytes(b"no picture")
    written = analyze([PORTRAIT, tmp_path / "no.jpg"], rows.append, analyzer)
    assert ([row.reason for row in rows], written) == ([None, "not_an_image"], Written(rows=2, sources=1))
    assert caplog.messages == ["1 of 2 sources could not be read; see the reason in their rows"]
    with pytest.raises(
        AffectLensError, match=r"no source could be read; the last one was .*no\.jpg.* \(not_an_image\)"
    ):
        analyze([tmp_path / "no.jpg"], rows.append, analyzer)
    with pytest.raises(AffectLensError, match="no source could be read; there are none"):
        analyze([], rows.append, analyzer)


def test_the_steps_of_a_video_are_its_seconds(analyzer, make_video, tmp_path):
    clip = make_video(tmp_path / "clip.mp4", list(sample_frames(10)))
    progress, rows = Steps(), []
    analyze(clip, rows.append, analyzer, progress=progress)
    (seconds,) = [done for (what, _), done in progress.done.items() if what.startswith("seconds of")]
    assert len(rows) == 10
    assert seconds == pytest.approx(rows[-1].time_s)


def test_a_writer_of_a_format_that_does_not_exist_is_refused(analyzer, tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'csv'"), open_writer("csf", tmp_path / "rows.csf", analyzer):
        pass
    with pytest.raises(BadSetting, match="cannot be written to the terminal"), open_writer("parquet", None, analyzer):
        pass


def test_a_copy_that_cannot_be_written_is_a_warning_and_no_copy(analyzer, tmp_path, caplog):
    (tmp_path / f"{PORTRAIT.stem}.faces.jpg").mkdir()
    written = analyze(PORTRAIT, lambda analysis: None, analyzer, annotate=tmp_path)
    assert (written.rows, written.copies) == (1, 0)
    (message,) = caplog.messages
    assert "the annotated copy is missing or incomplete" in message
    assert analyze(PORTRAIT, lambda analysis: None, analyzer, annotate=tmp_path / "other").copies == 1


def test_a_writer_that_cannot_begin_is_told_as_such(analyzer, contribute, tmp_path):
    contribute("runtime.writers", "new", "def build(file, schema):\n    return open")
    with pytest.raises(BadSetting, match="must return a context manager"), open_writer("new", tmp_path / "x", analyzer):
        pass
