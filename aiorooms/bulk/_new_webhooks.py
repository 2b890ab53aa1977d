"""Probe the new webhook URLs of a plan, and name the rooms whose new URL fails.

A receiver is a host and a path; one URL of each is probed. Example: a plan moves 1,000 rooms to
`https://new.example.com/rooms?room=1`, `...?room=2` and so on. One event is sent. If it does not arrive, the plan has
one problem, which names three of the 1,000 rooms. If each room has a path of its own, 1,000 events are sent. The time
limit of an event is the shortest timeout of the rooms.
"""

from collections import defaultdict
from collections.abc import AsyncIterable, Iterable
from typing import Final, Protocol

import attrs

from .._aio import close
from .._text import counted, excerpt
from ..errors import InputProblem
from ..models import Room
from ..models._fields import Values
from ..webhook_config import ProbeResult
from ..webhook_config._receivers import receiver_of, timeout_of
from ._problems import Problems

__all__ = ["NewWebhooks", "ProbeUrls"]


class ProbeUrls(Protocol):
    """A function that probes URLs, such as `webhook_config.probe_many`, or a `functools.partial` of it."""

    def __call__(self, urls: Iterable[str], *, timeout: float) -> AsyncIterable[ProbeResult]:
        """Probe each of the URLs, within `timeout` seconds."""
        ...


_MAX_EXAMPLES: Final = 3
_MAX_NAME: Final = 80


@attrs.define
class _Receiver:
    """A receiver that some rooms get."""

    url: str
    field: str
    timeout: float
    """The shortest timeout of these rooms, in seconds."""
    rooms: int = 0
    examples: list[str] = attrs.Factory(list[str])


class NewWebhooks:
    """The webhook URLs that a plan sets."""

    def __init__(self) -> None:
        self._receivers: dict[str, _Receiver] = {}

    def add(self, room: Room, after: Values) -> None:
        """Add the URLs that a planned update sets."""
        timeout = timeout_of(after.get("webhook_timeout_secs", room.webhook_timeout_secs))
        # Both URLs may have the same receiver, but the room counts once. The first URL of a receiver is the one probed.
        new: dict[str, _Receiver] = {}
        for field in ("webhook_event_url", "webhook_event_failover_url"):
            url = after.get(field)
            if isinstance(url, str) and url:
                new.setdefault(receiver_of(url), _Receiver(url, field, timeout))
        for name, one in new.items():
            receiver = self._receivers.setdefault(name, one)
            receiver.rooms += 1
            receiver.timeout = min(receiver.timeout, timeout)
            if len(receiver.examples) < _MAX_EXAMPLES:
                receiver.examples.append(excerpt(room.unique_name or str(room.id), _MAX_NAME))

    async def check(self, probe: ProbeUrls, problems: Problems) -> None:
        """Probe the URLs, and add a problem for each one that fails."""
        by_timeout: defaultdict[float, list[str]] = defaultdict(list)
        for receiver in self._receivers.values():
            by_timeout[receiver.timeout].append(receiver.url)
        for timeout, urls in by_timeout.items():
            results = aiter(probe(urls, timeout=timeout))
            try:
                async for result in results:
                    if result.verdict == "failed":
                        problems.add(self._problem(result, problems.source))
            finally:
                await close(results)

    def _problem(self, result: ProbeResult, source: str) -> InputProblem:
        receiver = self._receivers[receiver_of(result.url)]
        more = ", ..." * (receiver.rooms > len(receiver.examples))
        rooms = counted(receiver.rooms, "room")
        text = f"{result.message} ({rooms}: {', '.join(receiver.examples)}{more})"
        return InputProblem(source, None, receiver.field, text, code="probe_failed")
