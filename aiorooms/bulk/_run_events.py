"""Record what holds a run up: pauses of the rate limit, and outages of the server.

For example, a 429 asks for a pause of 30 s at t = 100, and the server goes down at t = 150 for 12 s. The journal then
has these lines among those of the rooms:

    {"pause":30.0,"reason":"retry_after","at":100.0,...}
    {"outage":"room 7b61...: connection refused","at":150.2,...}
    {"outage_end":11.8,"at":162.0,...}

If the process is killed at t = 110, the pause has no other line than its first one, but this line says that the pause
would have lasted until t = 130. An outage that has no `outage_end` line lasted until its run ended.

The client reports both as events. All runs of one client share its rate limit, so each of them records each pause. An
outage belongs to one run, but if two runs use a client at the same time, both record it.
"""

from collections.abc import Callable
from contextlib import suppress

from ..client import RoomsClient, telemetry_of
from ..errors import JournalError
from ..telemetry import Event, OutageBegan, OutageEnded, RateLimitPaused
from ._journal_records import OutageBegin, OutageEnd, Pause, line_of, recordable
from ._journal_writer import JournalWriter, now

__all__ = ["record_events"]

_MAX_PAUSE = 10_000_000.0
"""Longest pause in a line, in seconds. A wait without an end is infinite, which JSON has no number for."""


def record_events(client: RoomsClient, journal: JournalWriter) -> Callable[[], None]:
    """Record the pauses and outages of a client from now on. Return a function that ends this."""

    def record(event: Event) -> None:
        # The error of a line that can't be written isn't lost: writing the next outcome raises it again.
        with suppress(JournalError):
            if (line := _line_of_event(event)) is not None:
                journal.write(line)

    return telemetry_of(client).watch(record)


def _line_of_event(event: Event) -> bytes | None:
    match event:
        case RateLimitPaused():
            seconds = round(min(max(event.seconds, 0.0), _MAX_PAUSE), 3)
            return line_of(Pause(pause=seconds, reason=event.reason, at=now()))
        case OutageBegan():
            return line_of(OutageBegin(outage=recordable(event.reason), at=now()))
        case OutageEnded():
            return line_of(OutageEnd(outage_end=round(max(event.seconds, 0.0), 3), at=now()))
        case _:
            return None
