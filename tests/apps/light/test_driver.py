import logging
import statistics
import time

import pytest

from affectlens.apps.light import driver
from affectlens.apps.light.driver import PAUSES_S, LampThread
from affectlens.apps.light.palette import Light

RED, BLUE, OFF = Light((255, 0, 0), 1.0), Light((0, 0, 255), 0.5), Light((255, 170, 90), 0.0)


@pytest.fixture
def drive(lamp):
    """Starts a thread for the lamp, which is closed in the end."""
    threads = []

    def start(**options):
        threads.append(LampThread(lamp, **({"rate": 100, "pauses_s": (0.02,)} | options)))
        return threads[-1]

    yield start
    lamp.free.set()
    for thread in threads:
        thread.close()


def test_the_newest_light_wins_at_no_more_than_the_rate(lamp, drive, until):
    thread = drive(rate=50)
    start_s = time.monotonic()
    for step in range(300):
        thread.set(Light((255, step % 256, 0), 1.0))
        time.sleep(0.001)
    thread.set(BLUE)
    until(lambda: lamp.shown and lamp.shown[-1] == BLUE)
    took_s = time.monotonic() - start_s
    assert 3 < len(lamp.shown) <= took_s * 50 + 1
    steps = [later - earlier for earlier, later in zip(lamp.asked_s, lamp.asked_s[1:], strict=False)]
    assert statistics.median(steps) >= 0.019


def test_what_looks_the_same_is_not_sent(lamp, drive, until):
    thread = drive()
    thread.set(RED)
    until(lambda: lamp.shown)
    for near in (RED, Light((255, 1, 1), 1.0), Light((255, 0, 0), 0.996)):
        thread.set(near)
        time.sleep(0.02)
    assert lamp.shown == [RED]
    thread.set(Light((255, 3, 0), 1.0))
    until(lambda: len(lamp.shown) == 2)


def test_the_last_step_to_darkness_is_sent(lamp, drive, until):
    thread = drive()
    thread.set(Light((255, 170, 90), 1 / 255))
    until(lambda: lamp.shown)
    thread.set(OFF)
    until(lambda: lamp.shown[-1] == OFF)


def test_setting_never_waits_for_a_lamp_that_hangs(lamp, drive, until):
    lamp.free.clear()
    thread = drive()
    start_s = time.monotonic()
    for step in range(1000):
        thread.set(Light((255, step % 256, 0), 1.0))
    assert time.monotonic() - start_s < 2
    thread.set(BLUE)
    lamp.free.set()
    until(lambda: lamp.shown and lamp.shown[-1] == BLUE)
    assert len(lamp.shown) <= 2


def test_a_lost_lamp_is_mentioned_once_and_so_is_its_return(lamp, drive, until, caplog):
    lamp.error = ConnectionRefusedError(111, "Connection refused")
    thread = drive()
    thread.set(RED)
    until(lambda: len(lamp.asked_s) >= 5)
    assert caplog.messages == ["no response from fake://lamp (Connection refused); retrying"]
    lamp.error = None
    until(lambda: lamp.shown == [RED])
    thread.set(BLUE)
    until(lambda: lamp.shown == [RED, BLUE])
    assert caplog.messages[1:] == ["connection to fake://lamp restored"]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_pauses_grow_and_the_last_stands_for_all_that_follow(lamp, drive, until):
    assert PAUSES_S == (1, 2, 4, 8, 16, 32, 60)
    lamp.error = OSError("gone")
    thread = drive(pauses_s=(0.02, 0.04, 0.08))
    thread.set(RED)
    until(lambda: len(lamp.asked_s) >= 6)
    steps = [later - earlier for earlier, later in zip(lamp.asked_s, lamp.asked_s[1:], strict=False)]
    assert all(step >= pause - 0.001 for step, pause in zip(steps, (0.02, 0.04, 0.08, 0.08, 0.08), strict=False))


def test_in_the_end_the_lamp_has_the_last_light(lamp, drive, until):
    thread = drive()
    thread.set(RED)
    until(lambda: lamp.shown)
    thread.close(OFF)
    assert lamp.shown == [RED, OFF]
    assert lamp.closed.is_set()


def test_in_the_end_it_may_stay_as_it_is(lamp, drive, until):
    thread = drive()
    thread.set(RED)
    until(lambda: lamp.shown)
    thread.close()
    assert lamp.shown == [RED]
    assert lamp.closed.is_set()


def test_a_lamp_that_showed_nothing_is_left_alone(lamp, drive, until):
    drive().close(OFF)
    assert lamp.shown == []
    lamp.error = OSError("gone")
    thread = drive(pauses_s=(60,))
    thread.set(RED)
    until(lambda: lamp.asked_s)
    start_s = time.monotonic()
    thread.close(OFF)
    assert time.monotonic() - start_s < 1.8
    assert len(lamp.asked_s) == 1


def test_closing_does_not_wait_for_a_lamp_that_hangs(lamp, drive, until, monkeypatch):
    monkeypatch.setattr(driver, "_CLOSE_TIMEOUT_S", 0.1)
    lamp.free.clear()
    thread = drive()
    thread.set(RED)
    until(lambda: lamp.asked_s)
    start_s = time.monotonic()
    thread.close(OFF)
    assert time.monotonic() - start_s < 3
