"""Read the rate limits and the requested wait from the headers of an answer.

An answer can report several limits, such as one per second and one per hour. Each becomes a `Report`. These fields are
read:

| fields | sent by | `Report.name` |
|---|---|---|
| `x-ratelimit-limit`, `-remaining`, `-reset` | the API | `""` |
| the same fields with lists, such as `x-ratelimit-remaining: 5, 60` | gateways | `""`, `"2"`, `"3"` ... |
| `x-ratelimit-limit-minute`, `x-ratelimit-remaining-minute` | Kong | `"second"`, `"minute"`, `"hour"` ... |
| `ratelimit-limit`, `-remaining`, `-reset` | IETF drafts 00 to 06 | `"ratelimit"` |
| `ratelimit: limit=100, remaining=50, reset=5` | IETF draft 07 | `"ratelimit"` |
| `ratelimit: "burst";r=50;t=30` | IETF drafts 08 to 10 | the name of the policy |

The IETF drafts (draft-ietf-httpapi-ratelimit-headers) state the windows in `ratelimit-policy`, and drafts 00 to 02 in
`ratelimit-limit`: `10;w=1, 50;w=60` or `"burst";q=10;w=1`. Before draft 08, an answer reports only the limit that is
closest to being used up. If several policies are listed, such a report has the name of its policy, like `50;w=60`.

If two sets of fields report the same limit, they become one report. Example: Kong sends `x-ratelimit-limit-minute: 5`,
`x-ratelimit-remaining-minute: 4`, `ratelimit-limit: 5`, `ratelimit-remaining: 4` and `ratelimit-reset: 37`. The report
is `Report(limit=5, remaining=4, reset=37.0, name="minute", window=60.0)`.

Values that can't be right are ignored, because acting on them would stop the client or send too much: negative counts,
counts above a billion, more remaining than the limit, and a reset or a wait of more than a year. Nothing raises, and
long values are ignored unread. The functions use the local clock only if a header contains a point in time and the
answer has no `Date`.

Example: `x-ratelimit-limit: 100`, `x-ratelimit-remaining: 40` and `x-ratelimit-reset: 4` mean that the server still
accepts 40 of 100 requests now, and more in 4 s. The reset is not `exact`, because 4 may be a rounded number. A reset of
4.25 would be exact.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final, NamedTuple

__all__ = ["NO_INFO", "RateLimitInfo", "Report", "read_rate_limit", "reset_after", "retry_after"]


class Report(NamedTuple):
    """One rate limit that an answer reports: its state when the server processed the request."""

    limit: int
    """Requests per window; 0 if not reported."""
    remaining: int
    """Requests that the server still accepts, from all processes with the same key together."""
    reset: float | None = None
    """Seconds until the server accepts more; None if not reported."""
    exact: bool = False
    """Whether `reset` has a fractional part. A whole number may have been rounded up or down."""
    name: str = ""
    """Which of the server's limits this is. The head of the module lists the names. At most 64 characters."""
    window: float | None = None
    """Length of the window in seconds; None if not reported."""


class RateLimitInfo(NamedTuple):
    """What an answer says about rate limits, for the pacer and for the error that the caller gets."""

    rate_limited: bool = False
    """Whether the answer is a 429."""
    retry_after: float | None = None
    """The wait that a 429 asks for in `Retry-After` or `retry-after-ms`, in seconds.

    0 means that the server accepts the request at once. None means that the 429 asks for no wait.
    """
    reports: tuple[Report, ...] = ()
    """The reported limits, at most 4, with different names. The shortest window is first, unknown windows are last."""

    @property
    def report(self) -> Report | None:
        """The report of the limit with the fewest remaining requests, and of several the last one to reset.

        None if there is none.
        """
        reports = self.reports
        if len(reports) < 2:
            return reports[0] if reports else None
        return min(reports, key=lambda report: (report.remaining, -(report.reset or 0.0)))

    @property
    def is_used_up(self) -> bool:
        """Whether a reported limit has nothing left."""
        return any(not report.remaining for report in self.reports)

    @property
    def reset(self) -> float | None:
        """The longest reset of the limits that are used up; None if no limit is, or if no reset is reported."""
        resets = [report.reset for report in self.reports if report.remaining == 0 and report.reset is not None]
        return max(resets, default=None)


NO_INFO: Final = RateLimitInfo()
"""An answer without any information about a rate limit."""

_MAX_REPORTS: Final = 4

_MAX_NAME: Final = 64

_UNNAMED: Final = "ratelimit"
"""The name of a limit that an IETF field reports without a name."""

_MAX_SECONDS: Final = 366 * 86_400.0
"""Longest window, reset and wait."""

_MAX_COUNT: Final = 1e9
"""Largest number of requests."""

_MIN_UNIX_TIME: Final = 1e8
"""Values of at least this number are Unix times. Smaller values are seconds from now."""

_MAX_VALUE: Final = 64
"""Maximum length of a number or date, in characters."""

_MAX_LIST: Final = 8192
"""Maximum length of a list, in characters. By default, aiohttp accepts header fields of at most 8190 bytes."""

_MAX_MEMBERS: Final = 32
"""Maximum number of members of a list that are read."""

_PERIODS: Final = {
    "second": 1.0,
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86_400.0,
    "month": 30 * 86_400.0,
    "year": 365 * 86_400.0,
}
"""The windows of Kong, in seconds."""

# Kong sends `ratelimit-remaining` too, except in old versions. So the rare months and years need no check here.
_OTHER_FIELDS: Final = (
    "ratelimit",
    "ratelimit-remaining",
    "x-ratelimit-remaining-second",
    "x-ratelimit-remaining-minute",
    "x-ratelimit-remaining-hour",
    "x-ratelimit-remaining-day",
)
"""If an answer has none of these fields, it reports a limit only in `x-ratelimit` fields, or no limit."""


def read_rate_limit(headers: Mapping[str, str], *, rate_limited: bool) -> RateLimitInfo:
    """Return what the headers of an answer say about rate limits."""
    remaining = headers.get("x-ratelimit-remaining")
    if not headers.keys().isdisjoint(_OTHER_FIELDS):
        reports = _read_all(headers)
    elif remaining is None:
        reports = ()
    else:
        reports = _read_plain(headers, remaining)
    if rate_limited:
        return RateLimitInfo(True, retry_after(headers), reports)
    return RateLimitInfo(False, None, reports) if reports else NO_INFO


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds the server asks to wait, from `retry-after-ms` or `Retry-After` (RFC 9110, 10.2.3).

    A date is compared with the answer's own `Date`, so the two machines' clocks may differ. Return None if both headers
    are missing or unreadable, and 0 for a time that has passed.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None and milliseconds <= 1000 * _MAX_SECONDS:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None:
        return _seconds(seconds)
    until = _date(value)
    return None if until is None else _from_now((until - _now(headers)).total_seconds())


def reset_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until the rate limit resets, from `x-ratelimit-reset`; None if missing or unreadable.

    The API sends seconds from now. Other servers send a Unix time in seconds or milliseconds, or a date. A value that
    would be more than three years from now is read as a Unix time.
    """
    return _reset(headers.get("x-ratelimit-reset"), headers)


# --- the fields of each kind ---


def _read_plain(headers: Mapping[str, str], remaining: str) -> tuple[Report, ...]:
    """Read an answer that has only `x-ratelimit` fields. Nearly all answers have these, so this is fast."""
    left = _count(remaining)
    text = headers.get("x-ratelimit-limit")
    limit = 0 if text is None else _count(text)
    if left is None or limit is None:
        return _select([*_read_fields(headers, "x-", "")])
    if left > limit > 0:
        return ()
    reset = _reset(headers.get("x-ratelimit-reset"), headers)
    return (Report(limit, left, reset, reset is not None and reset != int(reset)),)


def _read_all(headers: Mapping[str, str]) -> tuple[Report, ...]:
    """Read all fields, and combine reports of the same limit."""
    reports: dict[str, Report] = {}
    for fields in (
        _read_policies(headers),
        _read_periods(headers),
        _read_fields(headers, "x-", ""),
        _read_fields(headers, "", _UNNAMED),
        _read_dictionary(headers),
    ):
        earlier = [*reports.values()]
        for report in fields:
            same = report.name if report.name in reports else None
            if same is None and report.name in ("", _UNNAMED):
                same = next((other.name for other in earlier if _may_be_same(report, other)), None)
            reports[report.name if same is None else same] = report if same is None else _combine(reports[same], report)
    return _select([*reports.values()])


def _may_be_same(report: Report, other: Report) -> bool:
    """Return whether a report without a name and another one can be about the same limit."""
    limits_differ = report.limit > 0 and other.limit > 0 and report.limit != other.limit
    windows_differ = report.window is not None and other.window is not None and report.window != other.window
    return report.remaining == other.remaining and not limits_differ and not windows_differ


def _combine(report: Report, other: Report) -> Report:
    """Add to a report what only another report of the same limit says."""
    if report.remaining != other.remaining:
        return min(report, other, key=lambda one: one.remaining)
    if report.reset is None or (other.exact and not report.exact):
        report = report._replace(reset=other.reset, exact=other.exact)
    return report._replace(limit=report.limit or other.limit, window=report.window or other.window)


def _select(reports: list[Report]) -> tuple[Report, ...]:
    """Order the reports by window and name, and return at most 4. Limits that are used up take precedence."""
    if len(reports) > _MAX_REPORTS:
        reports = sorted(reports, key=lambda report: (report.remaining > 0, report.window or math.inf))[:_MAX_REPORTS]
    return tuple(sorted(reports, key=lambda report: (report.window or math.inf, report.name)))


def _read_periods(headers: Mapping[str, str]) -> Iterator[Report]:
    """Read the fields of Kong, such as `x-ratelimit-remaining-minute`. They have no reset."""
    for name, window in _PERIODS.items():
        remaining = headers.get(f"x-ratelimit-remaining-{name}")
        if remaining is not None:
            limit = headers.get(f"x-ratelimit-limit-{name}")
            yield from _make_report(_count(remaining), _count(limit), None, name, window)


def _read_fields(headers: Mapping[str, str], prefix: str, name: str) -> Iterator[Report]:
    """Read the fields `ratelimit-limit`, `-remaining` and `-reset`, with or without `x-`. Each may be a list."""
    counts = [_count(member.value) for member in _members(_joined(headers, f"{prefix}ratelimit-remaining"))]
    limits = _members(_joined(headers, f"{prefix}ratelimit-limit"))
    reset = headers.get(f"{prefix}ratelimit-reset")
    if len(counts) == 1:
        limit = _count(limits[0].value) if limits else None
        policies = [*limits, *_members(_joined(headers, "ratelimit-policy"))]
        policy_name, window = _window_of(limit, policies, name)
        yield from _make_report(counts[0], limit, _reset(reset, headers), policy_name, window)
        return
    resets = [_reset(text, headers) for text in (reset or "")[:_MAX_LIST].split(",", maxsplit=len(counts))]
    for position, count in enumerate(counts):
        limit = window = None
        if len(limits) == len(counts):
            limit = _count(limits[position].value)
            window = _seconds(_number(limits[position].parameters.get("w")))
        seconds = resets[position] if len(resets) == len(counts) else None
        yield from _make_report(count, limit, seconds, f"{name}{position + 1}" if position else name, window)


def _read_dictionary(headers: Mapping[str, str]) -> Iterator[Report]:
    """Read `ratelimit: limit=100, remaining=50, reset=5`."""
    texts = {member.key: member.value for member in _members(_joined(headers, "ratelimit")) if member.key}
    limit = _count(texts.get("limit"))
    policies = _members(_joined(headers, "ratelimit-policy"))
    name, window = _window_of(limit, policies, _UNNAMED)
    yield from _make_report(_count(texts.get("remaining")), limit, _reset(texts.get("reset"), headers), name, window)


def _read_policies(headers: Mapping[str, str]) -> Iterator[Report]:
    """Read `ratelimit: "burst";r=50;t=30`, with the policies in `ratelimit-policy: "burst";q=100;w=60`."""
    items = [member for member in _members(_joined(headers, "ratelimit")) if "r" in member.parameters]
    if not items:
        return
    policies: dict[tuple[str, str | None], dict[str, str]] = {}
    for member in reversed(_members(_joined(headers, "ratelimit-policy"))):  # so that the first of equal names remains
        policies[member.value, None] = policies[member.value, member.parameters.get("pk")] = member.parameters
    for member in items:
        key = member.parameters.get("pk")
        policy = policies.get((member.value, key)) or policies.get((member.value, None)) or {}
        if {**policy, **member.parameters}.get("qu", "requests") == "requests":
            reset = _reset(member.parameters.get("t"), headers)
            window = _seconds(_number(policy.get("w")))
            count, limit = _count(member.parameters["r"]), _count(policy.get("q"))
            yield from _make_report(count, limit, reset, member.value or _UNNAMED, window)


def _window_of(limit: int | None, policies: "Sequence[_Member]", name: str) -> tuple[str, float | None]:
    """Return the name and the window of the policy with this limit, from a list such as `10;w=1, 50;w=60`.

    The name is `name` if only one policy, or none with this limit, is listed.
    """
    windows: set[tuple[int, float]] = set()
    for policy in policies:
        count, window = _count(policy.value), _seconds(_number(policy.parameters.get("w")))
        if count is not None and window:
            windows.add((count, window))
    matching = [window for count, window in windows if count == limit]
    if len(matching) != 1:
        return name, None
    return (name if len(windows) == 1 else f"{limit};w={matching[0]:g}"), matching[0]


def _make_report(
    remaining: int | None, limit: int | None, reset: float | None, name: str, window: float | None
) -> Iterator[Report]:
    """Yield a report, or nothing if the counts can't be right."""
    if remaining is not None and not remaining > (limit or _MAX_COUNT):
        exact = reset is not None and reset != int(reset)
        yield Report(limit or 0, remaining, reset, exact, name[:_MAX_NAME], window or None)


# --- lists and dictionaries of structured fields (RFC 9651) ---


class _Member(NamedTuple):
    """One member of a list or dictionary: `10;w=1`, `"burst";q=10` or `limit=10`."""

    key: str
    """The key of a member of a dictionary; else empty."""
    value: str
    parameters: dict[str, str]


_VALUE = r'(?:"((?:[ !#-\[\]-~]|\\["\\])*+)"|(:[A-Za-z0-9+/=]*+:|[!#-+\--:<>-~]++))'
_HEAD: Final = re.compile(rf"[ \t]*+(?:([A-Za-z*][A-Za-z0-9_.*-]*+)[ \t]*+=[ \t]*+)?+{_VALUE}")
_PARAMETER: Final = re.compile(rf"[ \t]*+;[ \t]*+([A-Za-z*][A-Za-z0-9_.*-]*+)(?:[ \t]*+=[ \t]*+{_VALUE})?+")
_COMMA: Final = re.compile(r"[ \t]*+,")


@lru_cache(maxsize=32)
def _members(text: str) -> tuple[_Member, ...]:
    """Parse a list or dictionary up to the first error. Cached because the list of policies is always the same."""
    found: list[_Member] = []
    position = 0
    while len(found) < _MAX_MEMBERS and (head := _HEAD.match(text, position)) is not None:
        position = head.end()
        parameters: dict[str, str] = {}
        while (parameter := _PARAMETER.match(text, position)) is not None:
            position = parameter.end()
            parameters[parameter[1].lower()] = _plain(parameter[2], parameter[3])
        found.append(_Member((head[1] or "").lower(), _plain(head[2], head[3]), parameters))
        comma = _COMMA.match(text, position)
        if comma is None:
            break
        position = comma.end()
    return tuple(found)


def _plain(string: str | None, other: str | None) -> str:
    """Return a value without quotes and escapes."""
    return re.sub(r"\\(.)", r"\1", string) if string is not None else other or ""


def _joined(headers: Mapping[str, str], name: str) -> str:
    """Return a list field, which may be split over several lines; an empty string if it is missing or too long."""
    # aiohttp's headers are a multidict. Its `get` would return only the first line.
    getall: Callable[[str, tuple[str, ...]], Sequence[str]] | None = getattr(headers, "getall", None)
    lines = [headers.get(name, "")] if getall is None else getall(name, ())
    return ", ".join(lines) if sum(map(len, lines)) + 2 * len(lines) <= _MAX_LIST else ""


# --- numbers and dates ---


def _reset(text: str | None, headers: Mapping[str, str]) -> float | None:
    """Return the seconds until a reset that is given in seconds from now, as a Unix time or as a date."""
    value = _number(text)
    if value is None:
        date = _date(text)
        if date is None:
            return None
        value = date.timestamp()
    elif value < _MIN_UNIX_TIME:
        return _seconds(value)
    elif value >= 1000 * _MIN_UNIX_TIME:
        value /= 1000
    # `Date` has whole seconds, so a fraction of the difference would be meaningless.
    return _from_now(float(round(value - _now(headers).timestamp())))


def _seconds(value: float | None) -> float | None:
    """Return a number of seconds, or None if it is more than a year."""
    return value if value is not None and value <= _MAX_SECONDS else None


def _from_now(seconds: float) -> float | None:
    """Return the seconds until a point in time: 0 if it has passed, None if it is more than a year away."""
    return max(0.0, seconds) if -_MAX_SECONDS <= seconds <= _MAX_SECONDS else None


def _now(headers: Mapping[str, str]) -> datetime:
    """Return the time of the answer."""
    return _date(headers.get("date")) or datetime.now(UTC)


_NUMBER: Final = re.compile(r"\s*([+-]?[0-9]{1,40}(?:\.[0-9]{0,15})?)\s*", re.ASCII)
_ISO_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9:.]+(?:[Zz]|[+-][0-9:]+)?")


def _number(value: str | None) -> float | None:
    """Parse a plain decimal number of at least 0. Return None for other text, such as `-1`, `inf` or `1e400`."""
    return None if value is None or len(value) > _MAX_VALUE else _cached_number(value)


# Cached because the same numbers recur. The cache saves half of the 2 us that reading the headers takes.
@lru_cache(maxsize=1024)
def _cached_number(value: str) -> float | None:
    match = _NUMBER.fullmatch(value)
    number = -1.0 if match is None else float(match[1])
    return abs(number) if number >= 0 else None


def _count(value: str | None) -> int | None:
    """Parse a number of requests. Return None if there is no number, or if it is above `_MAX_COUNT`."""
    return None if value is None or len(value) > _MAX_VALUE else _cached_count(value)


@lru_cache(maxsize=1024)
def _cached_count(value: str) -> int | None:
    number = _cached_number(value)
    return None if number is None or number > _MAX_COUNT else int(number)


def _date(value: str | None) -> datetime | None:
    """Parse the date of an HTTP header, or a date and time in ISO 8601. Without an offset, the time is in UTC."""
    return None if value is None or len(value) > _MAX_VALUE else _cached_date(value)


# Cached because all answers of one second have the same `Date`.
@lru_cache(maxsize=64)
def _cached_date(value: str) -> datetime | None:
    value = value.strip()
    if not value.isascii():  # `int` would read other digits too
        return None
    try:
        date = datetime.fromisoformat(value.upper()) if _ISO_DATE.fullmatch(value) else parsedate_to_datetime(value)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    # A date with the zone "-0000" is parsed without an offset. HTTP dates are in UTC.
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
