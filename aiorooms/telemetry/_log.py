"""Write events as log lines, with the fields of the event as attributes of the log record."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Final

import attrs

from ..errors import ClientSettingsError
from ._events import (
    PAUSE_WORDS,
    AttemptEnded,
    AttemptStarted,
    CallEnded,
    Event,
    OutageBegan,
    OutageEnded,
    RateLimitPaused,
    RetryScheduled,
    RunStopped,
    SharedPacingChanged,
    UpdateEnded,
)

__all__ = ["HTTP", "ROOT", "is_logged", "level_in_environment", "level_of_wait", "log", "log_to_stderr"]

_LONG: Final = 10.0
"""Seconds. A longer wait is logged as a warning."""


ROOT: Final = logging.getLogger("aiorooms")
HTTP: Final = logging.getLogger("aiorooms.http")
_PACING: Final = logging.getLogger("aiorooms.pacing")
_BULK: Final = logging.getLogger("aiorooms.bulk")
ROOT.addHandler(logging.NullHandler())

_VARIABLE: Final = "AIOROOMS_LOG"
_HANDLER: Final = "aiorooms, standard error"
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}


def is_logged(event: Event) -> bool:
    """Return whether the loggers accept the line of an event."""
    logger, level, _ = _line(event)
    return logger.isEnabledFor(level)


def log(event: Event) -> None:
    """Log an event, if anyone is interested in its level."""
    logger, level, text = _line(event)
    if logger.isEnabledFor(level):
        fields = {field.name: getattr(event, field.name) for field in attrs.fields(type(event))}
        extra = {"event": type(event).__name__, **fields}
        try:
            logger.log(level, text(), extra=extra)
        except KeyError:  # the application's record factory sets an attribute with the same name
            logger.log(level, text(), extra={f"aiorooms_{name}": value for name, value in extra.items()})


def level_of_wait(seconds: float) -> int:
    """Return the level at which a wait is logged."""
    return logging.WARNING if seconds > _LONG else logging.INFO


def _line(event: Event) -> tuple[logging.Logger, int, Callable[[], str]]:
    """Return the logger and the level of an event, and a function that makes its text."""
    match event:
        case AttemptStarted():
            return HTTP, logging.DEBUG, lambda: f"{_request(event)}: sent after a wait of {event.waited:.3f} s"
        case AttemptEnded():
            return HTTP, logging.DEBUG, lambda: _ended(event)
        case RetryScheduled():
            return (
                HTTP,
                level_of_wait(event.delay),
                lambda: f"{_request(event)}: retry in {event.delay:.3g} s: {event.reason}",
            )
        case CallEnded():
            return HTTP, logging.DEBUG, lambda: _call_ended(event)
        case RateLimitPaused():
            return _PACING, level_of_wait(event.seconds), lambda: _paused(event)
        case SharedPacingChanged():
            return _PACING, logging.INFO if event.is_shared else logging.WARNING, lambda: _shared(event)
        case OutageBegan():
            return _BULK, logging.INFO, lambda: f"an outage began, and one update at a time is sent: {event.reason}"
        case OutageEnded():
            return _BULK, logging.INFO, lambda: f"the outage ended after {event.seconds:.1f} s"
        case UpdateEnded():
            level = logging.WARNING if event.status == "uncertain" else logging.DEBUG
            return HTTP, level, lambda: _updated(event)
        case RunStopped():
            return _BULK, logging.INFO, lambda: f"update_many sends no more updates: {event.reason}"


def _request(event: AttemptStarted | AttemptEnded | RetryScheduled) -> str:
    return f"{event.method} {event.path} (call {event.call}, attempt {event.attempt})"


def _ended(event: AttemptEnded) -> str:
    what = event.error if event.status is None else f"{event.status}" + (f" {event.error}" if event.error else "")
    identifier = f" [request id {event.request_id}]" if event.request_id else ""
    return f"{_request(event)}: {what} after {event.duration:.3f} s{identifier}"


def _call_ended(event: CallEnded) -> str:
    what = f"{event.error or 'ended'} after {event.attempts} attempts and {event.elapsed:.3f} s"
    return f"{event.method} {event.path} (call {event.call}): {what}"


def _paused(event: RateLimitPaused) -> str:
    why = PAUSE_WORDS[event.reason]
    return f"the rate limit allows no call for {event.seconds:.3g} s ({event.waiting:,} waiting): {why}"


def _shared(event: SharedPacingChanged) -> str:
    if event.is_shared:
        return "the rate limit is shared with other clients"
    return f"the rate limit can't be shared, so this client paces itself: the store fails ({event.why})"


def _updated(event: UpdateEnded) -> str:
    error = f": {event.error}" if event.error else ""
    attempts = "" if event.status == "cancelled" else f"{event.attempts} attempts and "
    return f"room {event.room_id}: {event.status} after {attempts}{event.elapsed:.3f} s{error}"


def log_to_stderr(level: int, handler: logging.Handler | None = None) -> None:
    """Write the log lines of aiorooms from this level on to standard error. Further calls do nothing.

    `handler` writes them; None means one that writes them as they are.
    """
    if any(present.name == _HANDLER for present in ROOT.handlers):
        return
    handler = handler or logging.StreamHandler(sys.stderr)
    handler.set_name(_HANDLER)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    ROOT.addHandler(handler)
    ROOT.setLevel(level)


def level_in_environment() -> int | None:
    """Return the level that `AIOROOMS_LOG` names: `debug`, `info` or `warning`; None if it is not set.

    Raises `ClientSettingsError` for another value.
    """
    value = os.environ.get(_VARIABLE)
    if not value:
        return None
    level = _LEVELS.get(value.strip().lower())
    if level is None:
        wrong, hint = f"is {value[:40]!r}", f"set it to {', '.join(_LEVELS)}, or remove it"
        raise ClientSettingsError(f"{_VARIABLE} {wrong}", setting=_VARIABLE, value=value, wrong=wrong, hint=hint)
    return level
