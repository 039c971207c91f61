import asyncio
import threading

import numpy as np
import pytest

from affectlens.apps.server.engine import Batches
from affectlens.apps.server.limits import Limits
from affectlens.apps.server.metrics import ServiceMetrics
from affectlens.core.detection import no_faces
from affectlens.core.errors import BadSetting
from affectlens.runtime.recognizer import Cut


def crops(value):
    return Cut(no_faces(), [np.full((2, 2, 3), value, np.uint8)], (), (2, 2))


def read_together(read, values):
    """What each of `values` gets when the first is being read while the others come."""

    async def run():
        batches = Batches(read, ServiceMetrics())
        first = asyncio.create_task(batches.read(crops(values[0])))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(batches.read(crops(value))) for value in values[1:]]
        await asyncio.sleep(0.05)
        go.set()
        answers = await asyncio.gather(first, *others, return_exceptions=True)
        batches.close()
        return answers

    go = read.go
    return asyncio.run(run())


class Reader:
    """Answers with the crops' values; waits in its first call, fails at 13."""

    def __init__(self):
        self.go, self.sizes = threading.Event(), []

    def __call__(self, batch):
        self.sizes.append(len(batch))
        assert self.go.wait(10)
        values = [int(cut.crops[0][0, 0, 0]) for cut in batch]
        if 13 in values:
            raise ValueError("thirteen")
        return [(value,) for value in values]


def test_what_comes_while_the_network_is_busy_is_read_together():
    reader = Reader()
    assert read_together(reader, list(range(1, 8))) == [(value,) for value in range(1, 8)]
    assert reader.sizes == [1, 6]


def test_no_more_are_read_together_than_fit():
    reader = Reader()
    read_together(reader, [1] * 100)
    assert max(reader.sizes) == 32
    assert sum(reader.sizes) == 100


def test_one_that_fails_does_not_cost_the_others():
    reader = Reader()
    answers = read_together(reader, [1, 2, 13, 4])
    assert answers[:2] == [(1,), (2,)]
    assert answers[3] == (4,)
    assert isinstance(answers[2], ValueError)


def test_a_picture_without_faces_does_not_wait_for_the_network():
    async def run():
        batches = Batches(None, ServiceMetrics())
        try:
            return await batches.read(Cut(no_faces(), [], (), (2, 2)))
        finally:
            batches.close()

    assert asyncio.run(run()) == ()


def test_who_leaves_while_waiting_does_not_disturb_the_others():
    reader = Reader()

    async def run():
        batches = Batches(reader, ServiceMetrics())
        tasks = [asyncio.create_task(batches.read(crops(value))) for value in (1, 2, 3)]
        await asyncio.sleep(0.05)
        tasks[1].cancel()
        reader.go.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        batches.close()
        return answers

    first, second, third = asyncio.run(run())
    assert (first, third) == ((1,), (3,))
    assert isinstance(second, asyncio.CancelledError)


@pytest.mark.parametrize("name", ["waiting", "videos", "photo_bytes", "stall_s"])
def test_limits_that_let_nothing_through_are_refused(name):
    with pytest.raises(BadSetting, match=name):
        Limits(**{name: 0})


def test_zero_workers_are_one_per_core():
    assert Limits().threads >= 1
    assert Limits(workers=3).threads == 3
