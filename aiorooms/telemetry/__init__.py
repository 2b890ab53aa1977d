"""What a client does, as events for your own code and as log lines.

Give `RoomsClient(on_event=...)` a function, and it is called with a small immutable object for each event: an attempt
started or ended, a retry was scheduled, a call or an update ended, the rate limit makes calls wait, an outage began or
ended, a bulk run stopped. The function is called in the event loop, so it must be quick and must not block. For an
attempt or a call it is called in that call's task. What it raises is logged, and never reaches a call.

The same events are logged, under these names:

| logger | level | event |
|---|---|---|
| `aiorooms.http` | DEBUG | `AttemptStarted`, `AttemptEnded`, `CallEnded`, `UpdateEnded` |
| `aiorooms.http` | INFO | `RetryScheduled`, or WARNING if the delay exceeds 10 s |
| `aiorooms.http` | WARNING | `UpdateEnded`, if the outcome is uncertain |
| `aiorooms.pacing` | INFO | `RateLimitPaused`, or WARNING if the wait exceeds 10 s |
| `aiorooms.pacing` | INFO | `SharedPacingChanged`, or WARNING if the store can't be used |
| `aiorooms.bulk` | INFO | `OutageBegan`, `OutageEnded`, `RunStopped` |
| `aiorooms` | ERROR | `on_event` or another listener has raised an exception |

Each log record has the fields of its event as attributes, such as `record.status`, for loggers that write JSON, and
`record.event` is the name of the event. If the record already has such an attribute, all names get the prefix
`aiorooms_`. Without a handler, nothing is written. Neither events nor log lines contain the API key or what was sent,
and of answers they contain only excerpts of error messages.

Example: the server answers the first attempt of an update with 503, and the second one with 200. The events are

    AttemptStarted(call=1, attempt=1, ...), AttemptEnded(call=1, attempt=1, status=503, ...),
    RetryScheduled(call=1, attempt=1, delay=0.31, ...),
    AttemptStarted(call=1, attempt=2, ...), AttemptEnded(call=1, attempt=2, status=200, ...),
    CallEnded(call=1, attempts=2, status=200, ...),
    UpdateEnded(room_id="7b61...", status="updated", attempts=2, ...)
"""

from ._events import (
    AttemptEnded,
    AttemptStarted,
    CallEnded,
    CallEvent,
    EndStatus,
    Event,
    OnEvent,
    OutageBegan,
    OutageEnded,
    PauseReason,
    RateLimitPaused,
    RetryScheduled,
    RunStopped,
    SharedPacingChanged,
    UpdateEnded,
)

__all__ = [
    "AttemptEnded",
    "AttemptStarted",
    "CallEnded",
    "CallEvent",
    "EndStatus",
    "Event",
    "OnEvent",
    "OutageBegan",
    "OutageEnded",
    "PauseReason",
    "RateLimitPaused",
    "RetryScheduled",
    "RunStopped",
    "SharedPacingChanged",
    "UpdateEnded",
]
