"""The settings of webhook deliveries, and the records of the delivery log. This module does no I/O."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeAlias

import attrs

from ._answers import JsonValue

DEFAULT_TIMEOUT = 10.0
"""Time limit of an attempt in seconds, if the room has none of its own."""
_MAX_RETRIES = 10
_MAX_BACKOFF = 60.0  # seconds

Outcome: TypeAlias = Literal[
    "delivered", "bad_status", "timeout", "unreachable", "not_allowed", "invalid_url", "stopped", "dropped"
]
Quirk: TypeAlias = Literal["bare", "space", "no_zone"]

QUIRKS: tuple[Quirk, ...] = ("bare", "space", "no_zone")


def _check_share(_instance: object, attribute: "attrs.Attribute[float]", value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{attribute.name} must be a probability from 0 to 1, not {value}")


def _check_retries(_instance: object, _attribute: object, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"retries must be a whole number, not {value!r}")
    if not 0 <= value <= _MAX_RETRIES:
        raise ValueError(f"retries must be from 0 to {_MAX_RETRIES}, not {value}")


def _check_backoff(_instance: object, _attribute: object, value: float) -> None:
    if not 0 <= value < math.inf:
        raise ValueError(f"backoff must be 0 seconds or more, and finite, not {value}")


@attrs.frozen(kw_only=True)
class Deliveries:
    """How webhook events are delivered: retries, and the oddities that a receiver must handle.

        RoomsSimulator(deliveries=Deliveries(repeat=0.1, reorder=0.1, quirks=0.1))

    The oddities of an event depend only on the simulator's seed and on the number of earlier events.
    """

    repeat: float = attrs.field(default=0.0, validator=_check_share)
    """Probability that an event is delivered twice, 0 to 1. Half of these pairs are sent at the same time."""
    reorder: float = attrs.field(default=0.0, validator=_check_share)
    """Probability that an event is sent after the next event of its room, 0 to 1.

    If the room has no further event within a second, the event is sent then.
    """
    quirks: float = attrs.field(default=0.0, validator=_check_share)
    """Probability that an event has an unusual format, 0 to 1.

    Such an event has no envelope, or its `occurred_at` has a space instead of the `T`, or a space and no time zone.
    """
    retries: int = attrs.field(default=2, validator=_check_retries)
    """Number of retries for each of the two URLs, 0 to 10. The default makes 3 attempts, as documented for messages."""
    backoff: float = attrs.field(default=1.0, validator=_check_backoff)
    """Wait before the first retry in seconds. It doubles for each further retry of the same URL, up to 60 s."""
    deliver_anywhere: bool = False
    """Whether to deliver to other machines too. By default, only loopback addresses receive events."""


@attrs.frozen
class DeliveryAttempt:
    """One attempt to deliver an event, or why there was no attempt."""

    event_id: str
    event_type: str
    room_id: str
    url: str
    attempt: int
    """The number of the attempt for this event, from 1. It continues at the failover URL."""
    outcome: Outcome
    """The result of the attempt.

    `delivered` means a 2xx, and `bad_status` any other status. After a `timeout`, the receiver may have got the event.
    `unreachable` means that the host could not be resolved, or that the connection failed. Nothing was sent with
    `not_allowed` (not a loopback address), `invalid_url` (no http or https URL) and `dropped` (too many events wait).
    `stopped` means that the simulator was stopped during the attempt.
    """
    status: int | None
    """The status of the receiver's answer. None if there was no answer."""
    error: str
    """What went wrong, as a text. Empty if there was an answer."""
    at: datetime
    """When the attempt began, in UTC."""


@attrs.frozen
class Draw:
    """The random choices for one event."""

    repeats: bool
    overlaps: bool
    """Whether the repetition is sent at the same time as the event."""
    waits: bool
    """Whether the event is sent after the next one."""
    quirk: Quirk | None


def decide(settings: Deliveries, numbers: Sequence[float]) -> Draw:
    """Return the choices for an event. `numbers` are five random numbers from 0 to 1 (exclusive)."""
    repeat, overlap, reorder, quirk, which = numbers
    return Draw(
        repeats=repeat < settings.repeat,
        overlaps=overlap < 1 / 2,
        waits=reorder < settings.reorder,
        quirk=QUIRKS[int(which * len(QUIRKS))] if quirk < settings.quirks else None,
    )


def urls_of(url: JsonValue, failover_url: JsonValue) -> tuple[str, ...]:
    """Return the webhook URLs of a room in the order of their use. Without a primary URL, there are none."""
    if not isinstance(url, str) or not url:
        return ()
    return (url, failover_url) if isinstance(failover_url, str) and failover_url else (url,)


def timeout_of(webhook_timeout_secs: JsonValue) -> float:
    """Return the time limit of an attempt in seconds. A value that is no positive number means the default."""
    if isinstance(webhook_timeout_secs, int | float) and not isinstance(webhook_timeout_secs, bool):
        return float(webhook_timeout_secs) if 0 < webhook_timeout_secs < math.inf else DEFAULT_TIMEOUT
    return DEFAULT_TIMEOUT


def waits_of(settings: Deliveries) -> tuple[float, ...]:
    """Return the waits before the attempts for one URL, in seconds."""
    return (0.0, *(min(_MAX_BACKOFF, settings.backoff * 2**number) for number in range(settings.retries)))
