from contextlib import contextmanager

from affectlens.core.progress import SILENT, track


class Counter:
    """A `Progress` that counts."""

    def __init__(self):
        self.told = []

    def message(self, text):
        self.told.append(text)

    @contextmanager
    def task(self, description, total=None):
        self.told.append((description, total))
        yield lambda: self.told.append("step")
        self.told.append("end")


def test_items_pass_in_order_and_are_told_when_they_are_done():
    counter = Counter()
    told = [(item, len(counter.told)) for item in track("abcd", counter, "letters", 4)]
    assert told == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]
    assert counter.told == [("letters", 4), *["step"] * 4, "end"]


def test_three_items_are_no_task():
    counter = Counter()
    assert list(track("abc", counter, "letters", 3)) == ["a", "b", "c"]
    assert counter.told == []


def test_nobody_need_watch():
    assert list(track(range(3), SILENT, "counting")) == [0, 1, 2]
    SILENT.message("unheard")
