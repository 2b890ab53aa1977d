"""The events: small immutable objects, one class for each kind.

They contain neither the API key nor what was sent. Of answers, they contain only excerpts of error messages.
"""

from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

import attrs

__all__ = [
    "PAUSE_WORDS",
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

PauseReason: TypeAlias = Literal["retry_after", "limit", "probing", "max_rate"]
"""Why calls wait for the rate limit.

- `retry_after`: a 429 asked for a pause.
- `limit`: the limit that the server reports is used up or shared with other processes, or what remains is kept for
  single calls or other processes.
- `probing`: 429s have shown a limit that the server does not report.
- `max_rate`: the maximum that `Pacing(max_rate=)` sets.
"""

PAUSE_WORDS: Final[Mapping[str, str]] = {
    "retry_after": "a 429 asked for a pause",
    "limit": "the reported limit is used up or shared",
    "probing": "429s have shown an unreported limit",
    "max_rate": "the maximum rate of the client is reached",
}
"""Each `PauseReason` in words. A journal of a later aiorooms may contain others."""

EndStatus: TypeAlias = Literal["updated", "failed", "uncertain", "skipped", "cancelled"]
"""How an update ended: as in `UpdateResult`, or `cancelled` if the caller gave up.

The server may have carried out a cancelled update.
"""


@attrs.frozen(kw_only=True)
class CallEvent:
    """The base of the events of one call."""

    call: int
    """Number of the call within the process. All attempts of a call have the same number."""
    method: str
    route: str
    """The path with placeholders, such as `/rooms/{room_id}`. Use it as a label of metrics."""
    path: str
    """The path without the query."""


@attrs.frozen(kw_only=True)
class AttemptStarted(CallEvent):
    """A request is about to be sent."""

    attempt: int
    """Number of the attempt within its call, from 1."""
    waited: float
    """Seconds that the attempt has waited for the rate limit or a connection."""


@attrs.frozen(kw_only=True)
class AttemptEnded(CallEvent):
    """An attempt has got its answer, has failed, or was cancelled."""

    attempt: int
    status: int | None
    """The HTTP status; None if no readable answer arrived."""
    error: str | None
    """The name of an error class, such as `APITimeoutError`; `CancelledError` if cancelled; None for a success."""
    duration: float
    """Seconds from the beginning of the attempt until its answer was read."""
    request_id: str | None
    """The `x-request-id` of the answer."""


@attrs.frozen(kw_only=True)
class RetryScheduled(CallEvent):
    """An attempt has failed, and another one will follow."""

    attempt: int
    """Number of the failed attempt."""
    status: int | None
    """The HTTP status of the failed attempt; None if no readable answer arrived."""
    reason: str
    """What happened, in one line."""
    delay: float
    """Seconds until the next attempt. It may also have to wait for the rate limit."""
    elapsed: float = 0.0
    """Seconds from the call until now, including waits."""


@attrs.frozen(kw_only=True)
class CallEnded(CallEvent):
    """A call has ended, after any number of attempts. A read-back is a call of its own."""

    attempts: int
    """Number of attempts that were sent, including those over connections that the server had closed."""
    status: int | None
    """The HTTP status of the last attempt; None if no readable answer arrived."""
    error: str | None
    """The name of the class of the error that the call raised; None for a success."""
    elapsed: float
    """Seconds from the call until its end, including waits."""


@attrs.frozen(kw_only=True)
class RateLimitPaused:
    """The rate limit allows none of the waiting calls for a second or longer."""

    seconds: float
    """The expected wait, in seconds."""
    reason: PauseReason
    waiting: int
    """Number of attempts that wait."""


@attrs.frozen(kw_only=True)
class SharedPacingChanged:
    """The client shares the rate limit with others through a store from now on, or paces itself."""

    is_shared: bool
    """Whether the limit is shared now."""
    why: str
    """Why the store can't be used, in one line; empty if it is used."""


@attrs.frozen(kw_only=True)
class OutageBegan:
    """A bulk run assumes that the server is unavailable. From now on it sends one update at a time."""

    reason: str
    """The last failure, in one line."""
    status: int | None = None
    """The HTTP status of the last failure; None if no readable answer arrived."""
    unavailable_for: float = 0.0
    """Seconds since the first attempt began that got no usable answer. `outage_patience` is measured from then."""
    patience: float | None = None
    """The run's `outage_patience` in seconds."""


@attrs.frozen(kw_only=True)
class OutageEnded:
    """The server is available again."""

    seconds: float
    """Duration of the outage, from the moment it was assumed."""


@attrs.frozen(kw_only=True)
class UpdateEnded:
    """An update has its outcome."""

    room_id: str
    status: EndStatus
    attempts: int
    """Number of attempts; 0 if unknown, because the update was cancelled."""
    elapsed: float
    """Seconds from the call until the outcome, including waits. In `update_many`, from when the input was read."""
    error: str | None
    """Why it failed or is uncertain, in one line; `CancelledError` if cancelled; None if it was applied."""


@attrs.frozen(kw_only=True)
class RunStopped:
    """An `update_many` sends no more updates. Those in flight still end."""

    reason: str
    """The error that stopped the run, in one line."""


Event: TypeAlias = (
    AttemptStarted
    | AttemptEnded
    | RetryScheduled
    | CallEnded
    | RateLimitPaused
    | OutageBegan
    | OutageEnded
    | UpdateEnded
    | RunStopped
    | SharedPacingChanged
)

OnEvent: TypeAlias = Callable[[Event], object]
"""A function that is called with each event. What it returns is ignored."""
