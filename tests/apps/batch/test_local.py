import os
import re
import signal
import sys
import textwrap
import time
from collections import deque
from multiprocessing import Pipe
from pathlib import Path

import psutil
import pytest

from affectlens.apps.batch import local
from affectlens.apps.batch.item import Item
from affectlens.apps.batch.listing import list_items
from affectlens.apps.batch.local import analyze_here, analyze_in_processes
from affectlens.apps.batch.work import BatchSettings, ResultPart, SourceEnd
from affectlens.core.errors import AffectLensError, BadModelFile
from affectlens.core.reasons import Reason


@pytest.fixture
def sources(photos):
    return list(enumerate(list_items(str(photos)), 1))


@pytest.fixture
def poison(tmp_path, monkeypatch):
    """Settings whose worker dies of the source called `model`, or hangs after "slow:", in processes from here too."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "poisoned_settings.py").write_text(
        textwrap.dedent("""
            import os, signal, time
            from affectlens.apps.batch.work import BatchSettings

            class Poisoned(BatchSettings):
                def analyzer(self):
                    if self.model == "start" and os.environ.get("AFFECTLENS_TEST_WORKER"):
                        os.kill(os.getpid(), signal.SIGKILL)
                    found = BatchSettings("bundled").analyzer()
                    analyze = found.analyze
                    def deadly(source, name=""):
                        if name.endswith(self.model.removeprefix("slow:")):
                            time.sleep(60 if self.model.startswith("slow:") else 0)
                            os.kill(os.getpid(), signal.SIGSEGV)
                        return analyze(source, name)
                    found.analyze = deadly
                    return found
        """)
    )
    monkeypatch.syspath_prepend(tmp_path / "code")
    import poisoned_settings

    yield poisoned_settings.Poisoned
    del sys.modules["poisoned_settings"]


def comparable(parts):
    return {part.number: (part.rows, part.end) for part in parts}


def test_processes_answer_as_one_does(sources):
    alone = list(analyze_here(iter(sources), BatchSettings()))
    assert [part.number for part in alone] == [number for number, _ in sources]
    together = list(analyze_in_processes(iter(sources), BatchSettings(), 2))
    assert comparable(together) == comparable(alone)
    ends = {item.name.rpartition("/")[2]: part.end for (_, item), part in zip(sources, alone, strict=True)}
    assert (ends["cut.jpg"].read, ends["cut.jpg"].reason) == (False, Reason.TRUNCATED)
    assert (ends["empty.png"].read, ends["empty.png"].reason) == (False, Reason.EMPTY_FILE)
    assert (ends["0.jpg"].read, ends["0.jpg"].reason) == (True, None)


@pytest.mark.slow
def test_what_crashes_its_process_fails_and_the_rest_goes_on(sources, poison):
    parts = comparable(analyze_in_processes(iter(sources), poison("/4.jpg"), 2))
    assert sorted(parts) == [number for number, _ in sources]
    (deadly,) = [number for number, item in sources if item.name.endswith("/4.jpg")]
    rows, end = parts[deadly]
    assert (end.read, end.reason) == (False, Reason.CRASHED)
    assert end.detail == f"the process that read it exited with code {-signal.SIGSEGV}"
    assert [row["reason"] for row in rows] == ["crashed"]
    assert sum(end.read for _, end in parts.values()) == 9


@pytest.mark.slow
def test_what_hangs_is_given_up_and_the_rest_goes_on(sources, poison):
    began = time.monotonic()
    parts = comparable(analyze_in_processes(iter(sources), poison("slow:/4.jpg", timeout_s=1.5), 2))
    assert time.monotonic() - began < 30
    assert sorted(parts) == [number for number, _ in sources]
    (hanging,) = [number for number, item in sources if item.name.endswith("/4.jpg")]
    rows, end = parts[hanging]
    assert (end.read, end.reason, end.detail) == (False, Reason.TOO_SLOW, "not finished after 1.5 s")
    assert [row["reason"] for row in rows] == ["too_slow"]
    assert sum(end.read for _, end in parts.values()) == 9


@pytest.mark.slow
def test_a_process_that_is_killed_costs_nothing(sources):
    many = [(copy * len(sources) + number, item) for copy in range(4) for number, item in sources]
    parts = []
    for part in analyze_in_processes(iter(many), BatchSettings(), 2):
        if len(parts) in (3, 20):
            workers = [one for one in psutil.Process().children() if "spawn_main" in " ".join(one.cmdline())]
            os.kill(workers[-1 if len(parts) == 3 else 0].pid, signal.SIGKILL)  # no source twice
        parts.append(part)
    ended = [part.number for part in parts if part.end]
    assert sorted(ended) == [number for number, _ in many]
    assert sum(part.end.read for part in parts) == 40


@pytest.mark.skipif(
    not os.path.exists("/proc/self/status"), reason="signal masks are read from /proc, which is not here"
)
def test_a_process_never_hears_of_ctrl_c_and_this_one_does(sources):
    parts = analyze_in_processes(iter(sources), BatchSettings(), 2)
    next(parts)
    workers = [one.pid for one in psutil.Process().children() if "spawn_main" in " ".join(one.cmdline())]
    said = [Path("/proc", str(pid), "status").read_text() for pid in (*workers, os.getpid())]
    masks = [int(re.search(r"SigBlk:\s(\w+)", status)[1], 16) for status in said]
    assert [bool(mask & 1 << (signal.SIGINT - 1)) for mask in masks] == [True, True, False]
    parts.close()


def test_what_every_source_would_meet_ends_the_batch(sources, tmp_path):
    with pytest.raises(BadModelFile, match=r"nothing\.onnx"):
        list(analyze_in_processes(iter(sources), BatchSettings(str(tmp_path / "nothing.onnx")), 2))


@pytest.mark.slow
def test_processes_that_never_begin_end_the_batch(sources, poison, monkeypatch):
    monkeypatch.setenv("AFFECTLENS_TEST_WORKER", "1")
    with pytest.raises(AffectLensError, match=r"worker processes exit before they start working \(exit code -9\)"):
        list(analyze_in_processes(iter(sources), poison("start"), 2))


def test_no_process_is_left_behind(sources):
    def workers():
        return {one.pid for one in psutil.Process().children() if "spawn_main" in " ".join(one.cmdline())}

    before = workers()
    parts = analyze_in_processes(iter(sources), BatchSettings(), 2)
    next(parts)
    assert len(workers() - before) == 2
    parts.close()
    assert not workers() - before


def test_only_so_much_is_taken_ahead(photos, monkeypatch):
    taken = []

    def endless():
        for number in range(1, 1000):
            taken.append(number)
            yield number, Item(f"{number}", str(photos / "0.jpg"))

    parts = analyze_in_processes(endless(), BatchSettings(), 2)
    for _ in range(10):
        next(parts)
    parts.close()
    assert len(taken) <= 10 + 2 * (local._MAX_QUEUED + local._MAX_QUEUED // 2)


def test_sources_are_dealt_in_turns_and_a_video_counts_as_many_photos(monkeypatch):
    class Idle:
        """A process that answers each source at once, and remembers what it was given."""

        def __init__(self, *_):
            self.given, self.all = deque(), []
            self.pipe, theirs = Pipe()
            theirs.close()
            crew.append(self)

        has_room, due_s = local._Process.has_room, local._Process.due_s

        def give(self, source):
            self.given.append(source)
            self.all.append(source[0])

        def receive(self):
            return ResultPart(self.given.popleft()[0], [], True, SourceEnd(True))

        def end(self, until):
            pass

    crew = []
    monkeypatch.setattr(local, "_Process", Idle)
    videos = [(number, Item(f"{number}.mp4", f"/{number}.mp4", video=True)) for number in range(1, 9)]
    photos = [(number, Item(f"{number}.jpg", f"/{number}.jpg")) for number in range(9, 41)]
    parts = list(analyze_in_processes(iter(videos + photos), BatchSettings(), 4))
    assert sorted(part.number for part in parts) == list(range(1, 41))
    assert [one.all[:2] for one in crew] == [[1, 5], [2, 6], [3, 7], [4, 8]]
    assert {len(one.all) for one in crew} == {10}
