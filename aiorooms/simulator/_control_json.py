"""The JSON of the control URL: the state of a simulator, and changes to its settings. This module does no I/O.

| key | value in a change |
|---|---|
| `rate_limit` | null, text such as `50/1s`, an object with settings of `RateLimit`, a list, or these by operation |
| `faults` | null, the share of requests to break from 0 to 1, or an object with settings of `Faults` |
| `outage` | null, `closed`, `503`, `reset` or `hang` |
| `api_key` | the key that the simulator accepts |
| `latency` | null, seconds, or a list of two bounds in seconds |

The state has the same keys, and their values are valid in a change. Settings that an object omits have their defaults,
and a text or a number stands for an object with only that setting. For example, `"50/1s"` is a limit with fixed windows
and headers, even if the limit before it was a bucket without headers.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypedDict, cast, get_args

import attrs

from ._answers import JsonObject, JsonValue
from ._faults import Faults
from ._limit_sets import OneOrMore, RateLimits, read_rate_limits
from ._limiters import RateLimit
from ._pipeline import Outage
from ._simulator import RoomsSimulator

_OUTAGES: tuple[Outage, ...] = get_args(Outage)
_MAX_NUMBER = 1_000_000_000  # far above every useful value, and small enough for every timer and header
_MAX_SHOWN = 60  # characters of a value in a problem


class Changes(TypedDict, total=False):
    """The settings to change, with their new values."""

    rate_limit: RateLimits | None
    faults: Faults | None
    outage: Outage | None
    api_key: str
    latency: float | tuple[float, float]


class InvalidChangesError(Exception):
    """A change is invalid. `.problems` contains one line for each problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


# The state of a simulator


def state_of(simulator: RoomsSimulator) -> JsonObject:
    """Return the settings of a simulator, and its counters in `stats`."""
    stats = simulator.stats
    return {
        **settings_of(simulator),
        "outage": simulator.outage,
        "api_key": simulator.api_key,
        "stats": {
            "requests": stats.requests,
            "connections": stats.connections,
            "in_flight": stats.in_flight,
            "by_status": {str(status): count for status, count in sorted(stats.by_status.items())},
            "rate_limited": stats.refused,
            "unauthorized": stats.unauthorized,
            "faults": dict(sorted(stats.faults.items())),
            "updates_applied": stats.updates_applied.total(),
            "events": dict(sorted(stats.events.items())),
        },
    }


def settings_of(simulator: RoomsSimulator) -> JsonObject:
    """Return the rate limit, the faults and the latency of a simulator."""
    latency = simulator.latency
    return {
        "rate_limit": _limits_data(simulator.rate_limit),
        "faults": _faults_data(simulator.faults),
        "latency": [*latency] if isinstance(latency, tuple) else latency,
    }


def _limits_data(limits: RateLimits | None) -> JsonValue:
    match limits:
        case None:
            return None
        case RateLimit():
            return attrs.asdict(limits)
        case tuple():
            return [attrs.asdict(limit) for limit in limits]
        case _:
            return {key: _limits_data(some) for key, some in limits.items()}


def _faults_data(faults: Faults | None) -> JsonValue:
    """Return the settings of the random faults, or None if there are none."""
    if faults is None or not faults.rate:
        return None
    data = {name: getattr(faults, name) for name in _FIELDS_OF_FAULTS}
    methods = faults.methods
    return {**data, "kinds": [*faults.kinds], "methods": None if methods is None else [*sorted(methods)]}


# Reading changes


def read_changes(body: bytes) -> Changes:
    """Return the changes in a JSON object. Raise `InvalidChangesError` with all problems."""
    try:
        given: JsonValue = json.loads(body, parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidChangesError([f"the body is not JSON: {error}"]) from None
    if not isinstance(given, dict):
        raise InvalidChangesError(['the body must be a JSON object, such as {"faults": 0.1}'])
    changes: dict[str, object] = {}
    problems: list[str] = []
    for name, value in given.items():
        read = _READERS.get(name)
        if read is None:
            problems.append(f"{_shown(name)} can't be changed; choose from {', '.join(_READERS)}")
            continue
        try:
            changes[name] = read(value)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise InvalidChangesError(problems)
    return cast("Changes", changes)


def _reject_constant(name: str) -> JsonValue:
    raise ValueError(f"{name} is not a number in JSON")


def _read_rate_limit(value: JsonValue) -> RateLimits | None:
    if not isinstance(value, dict) or value.keys() & _FIELDS_OF_A_LIMIT.keys():
        return read_rate_limits(_read_limits(value))
    problems: list[str] = []
    by_key: dict[str, OneOrMore | None] = {}
    for key, some in value.items():
        try:
            by_key[key] = _read_limits(some)
        except ValueError as error:
            problems.append(f"{key}: {error}")
            by_key[key] = None
    try:
        limits = read_rate_limits(by_key)
    except ValueError as error:
        problems.append(str(error))
    else:
        if not problems:
            return limits
    raise ValueError("; ".join(problems))


def _read_limits(value: JsonValue) -> OneOrMore | None:
    if not isinstance(value, list):
        return None if value is None else _read_limit(value)
    problems: list[str] = []
    limits: list[RateLimit] = []
    for one in value:
        try:
            limits.append(_read_limit(one))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("; ".join(problems))
    return limits


def _read_limit(value: JsonValue) -> RateLimit:
    if isinstance(value, str):
        return RateLimit.parse(value)
    return RateLimit(**_read_object(value, _FIELDS_OF_A_LIMIT, "text such as '50/1s'"))


def _read_faults(value: JsonValue) -> Faults | None:
    if value is None:
        return None
    given: JsonValue = {"rate": value} if _is_number(value) else value
    return Faults(**_read_object(given, _FIELDS_OF_FAULTS, "null, a share from 0 to 1"))


def _read_outage(value: JsonValue) -> Outage | None:
    for outage in (None, *_OUTAGES):
        if value == outage:
            return outage
    raise ValueError(f"{_shown(value)} is not one of null, {', '.join(map(_shown, _OUTAGES))}")


def _read_api_key(value: JsonValue) -> str:
    if not (isinstance(value, str) and value and value.isascii() and value.isprintable() and " " not in value):
        raise ValueError("a key consists of printable ASCII characters without spaces")
    return value


def _read_latency(value: JsonValue) -> float | tuple[float, float]:
    bounds: list[Any] = [*value] if isinstance(value, list) else [0 if value is None else value] * 2
    if len(bounds) != 2 or not all(map(_is_number, bounds)) or not 0 <= bounds[0] <= bounds[1]:
        raise ValueError(f"{_shown(value)} is not null, a number of seconds, or a list of a lower and an upper bound")
    return bounds[0], bounds[1]


_READERS: Mapping[str, Callable[[JsonValue], object]] = {
    "rate_limit": _read_rate_limit,
    "faults": _read_faults,
    "outage": _read_outage,
    "api_key": _read_api_key,
    "latency": _read_latency,
}


# The settings in an object

_Check: TypeAlias = Callable[[object], bool]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MAX_NUMBER


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable()


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, cast("list[object]", value)))


def _or_null(words: str, check: _Check) -> tuple[str, _Check]:
    return f"null or {words}", lambda value: value is None or check(value)


def _number(words: str, low: float, high: float = _MAX_NUMBER) -> tuple[str, _Check]:
    return f"{words} from {low} to {high}", lambda value: _is_number(value) and low <= cast("float", value) <= high


def _whole(low: int) -> tuple[str, _Check]:
    words, check = _number("a whole number", low)
    return words, lambda value: isinstance(value, int) and check(value)


def _word(name: str) -> tuple[str, _Check]:
    """Return the words and the check for a setting of `RateLimit` that is one of several words."""
    words = get_args(getattr(attrs.fields(RateLimit), name).type)
    return f"one of {', '.join(words)}", lambda value: value in words


_SECONDS = _number("a number of seconds", 0)

_FIELDS_OF_A_LIMIT: Mapping[str, tuple[str, _Check]] = {
    "limit": _whole(1),
    "window": _number("a number of seconds", 1e-6),
    "reset_rounding": _word("reset_rounding"),
    "headers": ("true or false", lambda value: isinstance(value, bool)),
    "retry_after": _word("retry_after"),
    "kind": _word("kind"),
    "style": _word("style"),
    "reset": _word("reset"),
}
"""The settings of `RateLimit`, each with the words for its valid values and a check."""
_FIELDS_OF_FAULTS: Mapping[str, tuple[str, _Check]] = {
    "rate": _number("a share", 0, 1),
    "kinds": ("a list of kinds of faults", _is_texts),
    "first_tries": _or_null(*_whole(0)),
    "methods": _or_null("a list of methods", _is_texts),
    "stall_seconds": _SECONDS,
    "slow_seconds": _SECONDS,
    "retry_after": _or_null(
        "printable ASCII text or a whole number", lambda value: _is_text(value) or _whole(0)[1](value)
    ),
}
"""The settings of `Faults`, without the script."""


def _read_object(value: JsonValue, fields: Mapping[str, tuple[str, _Check]], shorter: str) -> dict[str, Any]:
    """Return the settings in an object. Raise ValueError with all problems."""
    if not isinstance(value, dict):
        raise ValueError(f"{_shown(value)} is not {shorter} or an object")  # noqa: TRY004 - a problem in a text
    problems: list[str] = []
    for name, some in value.items():
        if name not in fields:
            problems.append(f"{_shown(name)} is not one of {', '.join(fields)}")
            continue
        words, is_valid = fields[name]
        if not is_valid(some):
            problems.append(f"{name} is {_shown(some)}, not {words}")
    if problems:
        raise ValueError("; ".join(problems))
    return {**value}


def _shown(value: JsonValue) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


# Applying changes


def apply_changes(simulator: RoomsSimulator, changes: Changes) -> None:
    """Change the settings of a simulator."""
    for name, value in changes.items():
        setattr(simulator, name, value)
