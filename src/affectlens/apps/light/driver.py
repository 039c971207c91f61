"""Thread that sends the latest light to a lamp, which may be slow or unreliable."""

import logging
import math
import threading
from collections.abc import Sequence

from affectlens.apps.light.lamp import Lamp
from affectlens.apps.light.palette import Light

logger = logging.getLogger(__name__)

PAUSES_S = (1, 2, 4, 8, 16, 32, 60)
"""Pauses between attempts to reach a lamp that does not respond; the last one is repeated."""

_MIN_VISIBLE_STEP = 2
"""Largest invisible difference, in steps of 255."""
_CLOSE_TIMEOUT_S = 2.0
"""How long `close` waits, and the last light takes."""


class LampThread:
    """Shows the newest light in a thread of its own; older ones that were not sent yet are dropped.

    Lights that look like the one that is shown are not sent. A lamp that does not answer is tried again after
    `pauses_s`; that it is lost and that it is back is logged as a warning, once each. A context manager.

    Args:
        lamp: closed in the end. rate: lights per second at most. pauses_s: after the first failure, the second, ...
    """

    def __init__(self, lamp: Lamp, rate: float = 5.0, pauses_s: Sequence[float] = PAUSES_S) -> None:
        self._lamp, self._step_s, self._pauses_s = lamp, 1 / rate, pauses_s
        self._wanted: Light | None = None
        self._shown: Light | None = None
        self._last: Light | None = None
        self._failures = 0
        self._news = threading.Condition()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="affectlens lamp", daemon=True)
        self._thread.start()

    def set(self, light: Light) -> None:
        """Show it as soon as the lamp can; never waits."""
        with self._news:
            self._wanted = light
            self._news.notify()

    def close(self, last: Light | None = None) -> None:
        """End the thread, after two seconds at most; a lamp that showed something of ours is left with `last`, or as it
        is.
        """
        with self._news:
            self._last = last
            self._ended.set()
            self._news.notify()
        self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while (light := self._next()) is not None:
            if self._send(light, self._step_s):
                self._ended.wait(self._step_s)
            else:
                self._ended.wait(self._pauses_s[min(self._failures, len(self._pauses_s)) - 1])
        if self._last is not None and self._shown is not None and _differ(self._last, self._shown):
            self._send(self._last, _CLOSE_TIMEOUT_S)
        self._lamp.close()

    def _next(self) -> Light | None:
        """The light to send, once there is one; None when it is over."""
        with self._news:
            self._news.wait_for(lambda: self._ended.is_set() or _differ(self._wanted, self._shown))
            return None if self._ended.is_set() else self._wanted

    def _send(self, light: Light, over_s: float) -> bool:
        """Whether the lamp took it."""
        try:
            self._lamp.show(light, over_s)
        except Exception as error:  # whatever is wrong with a lamp, the analysis goes on
            if not self._failures:
                reason = getattr(error, "strerror", None) or error
                logger.warning("no response from %s (%s); retrying", self._lamp.name, reason)
            self._failures += 1
            self._shown = None
            return False
        if self._failures:
            logger.warning("connection to %s restored", self._lamp.name)
        self._failures = 0
        self._shown = light
        return True


def _differ(one: Light | None, other: Light | None) -> bool:
    """Whether it takes sending to get from one to the other."""
    if one is None or other is None:
        return one is not other
    levels = ((*light.rgb, light.brightness * 255) for light in (one, other))
    return math.dist(*levels) > _MIN_VISIBLE_STEP or (one.brightness == 0) != (other.brightness == 0)
