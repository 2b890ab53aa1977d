"""A limit on the requests in flight for a process that has run out of file descriptors or ports.

Each connection needs one. If the system grants no more of them, the requests in flight are as many as fit. So no more
than these may be in flight, and a request that could not be sent waits until one of them is answered. Other parts of
the program may release descriptors, so the limit grows by 1 each second, until it reaches the number of connections.

Example: 50 workers share 12 descriptors that are left, so the 13th request fails, with 12 in flight. From then on 12
may be in flight. A second later the limit is 13, one more request fails, and the limit is 12 again.
"""

import math
from typing import Final

from .gate import Gate

__all__ = ["Sockets"]

_WIDEN_AFTER: Final = 1.0
"""Seconds after which the limit grows by 1."""


class Sockets(Gate):
    """Allows as many requests in flight as the system has granted sockets for."""

    def __init__(self, max_in_flight: int) -> None:
        self._max_in_flight = max_in_flight
        self._width = math.inf
        """The maximum number of requests in flight; infinite if the system has granted all sockets so far."""
        self._widen_at = math.inf

    @property
    def is_idle(self) -> bool:
        """Whether there is no limit."""
        return self._width == math.inf

    def narrow(self, now: float, in_flight: int) -> None:
        """Record that the system granted no further socket while `in_flight` requests had one."""
        self._width = max(1, in_flight)
        self._widen_at = now + _WIDEN_AFTER

    def may_send_at(self, now: float, in_flight: int) -> float:
        """Return when one more request may be in flight."""
        if now >= self._widen_at:
            seconds = 1 + int((now - self._widen_at) / _WIDEN_AFTER)
            self._width += seconds
            self._widen_at += seconds * _WIDEN_AFTER
            if self._width >= self._max_in_flight:
                self._width = self._widen_at = math.inf
        return now if in_flight < self._width else self._widen_at
