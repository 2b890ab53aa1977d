"""The settings of a call: those of the client, and the options that replace them for one call."""

import re
from collections.abc import Mapping
from typing import Final, Self, TypedDict, cast

import attrs

from .._checks import check_instance, check_positive, setting_error, wrong_type
from .._text import quoted
from .deadlines import TimeLimits, Timeout, client_timeout
from .retry import RetryPolicy

__all__ = ["OPTION_NAMES", "CallOptions", "CallSettings", "merge_headers"]


class CallOptions(TypedDict, total=False):
    """The options of a call as keyword arguments. An option that is None or not given has the client's value."""

    timeout: Timeout | None
    """The time limit of one attempt: a number of seconds above 0, or an `aiohttp.ClientTimeout`."""
    retry: RetryPolicy | None
    """Whether and when a failed attempt is retried. `RetryPolicy(max_attempts=1)` disables retries."""
    deadline: float | None
    """Seconds for the whole call, above 0: all attempts, the waits between them, and a read-back.

    An attempt that is in flight when the deadline expires is cut off, and an update that may have been applied is then
    `uncertain`. `math.inf` means no deadline. In `list`, it limits each page. In `update_many`, the time of an
    update counts from its first permit, not from the queue.
    """
    extra_headers: Mapping[str, str] | None
    """Further headers, such as `X-Request-Id`. They are added to those of the client, and replace equal ones.

    Tools that show the local variables of a traceback may show their values, so they should not be secrets.
    """


OPTION_NAMES: Final = tuple(CallOptions.__annotations__)
"""The names of the options of a call."""

_RESERVED: Final = (
    "accept", "accept-encoding", "authorization", "connection", "content-encoding", "content-length", "content-type",
    "cookie", "expect", "host", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade",
)  # fmt: skip
"""Headers that the client or aiohttp sets, or that would change how the message is read."""

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
"""A header name (RFC 9110, 5.6.2)."""

_VALUE: Final = re.compile(r"[\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?", re.ASCII)
"""A header value of visible ASCII characters (RFC 9110, 5.5)."""


@attrs.frozen(kw_only=True, eq=False)
class CallSettings:
    """How a call is sent. The options have been checked."""

    limits: TimeLimits
    retry: RetryPolicy
    deadline: float | None = None
    """Seconds for the whole call; None if there is no limit."""
    headers: Mapping[str, str] = attrs.field(default={}, repr=False)
    """The headers that the user has added."""

    def with_options(self, options: CallOptions) -> Self:
        """Return the settings with options replaced. Raises `ClientSettingsError` if an option is invalid."""
        if not options:
            return self
        limits, retry, deadline, headers = self.limits, self.retry, self.deadline, self.headers
        if (timeout := client_timeout(options.get("timeout"))) is not None:
            limits = TimeLimits.of(timeout)
        if (given_retry := options.get("retry")) is not None:
            check_instance(RetryPolicy, "retry", given_retry)
            retry = given_retry
        if (given_deadline := options.get("deadline")) is not None:
            deadline = _deadline(given_deadline)
        if (given_headers := options.get("extra_headers")) is not None:
            headers = merge_headers(headers, _checked_headers(given_headers))
        return attrs.evolve(self, limits=limits, retry=retry, deadline=deadline, headers=headers)


def _deadline(seconds: float) -> float | None:
    if seconds == float("inf"):
        return None
    check_positive("deadline", seconds)
    return seconds


def _checked_headers(extra: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers. Raises `ClientSettingsError` if a name or a value is invalid."""
    if not isinstance(cast("object", extra), Mapping):
        raise wrong_type("extra_headers", extra, "a mapping of names to values")
    for name, value in extra.items():
        _check_header(name, value)
    if len({name.lower() for name in extra}) < len(extra):
        raise setting_error("extra_headers", "names a header twice", "names of headers are not case-sensitive")
    return extra


def merge_headers(headers: Mapping[str, str], further: Mapping[str, str]) -> dict[str, str]:
    """Return all headers. A further one replaces an equal one, such as `User-Agent`."""
    names = {name.lower() for name in further}
    return {**{name: value for name, value in headers.items() if name.lower() not in names}, **further}


def _check_header(name: object, value: object) -> None:
    # A value may be a secret, so no error shows it.
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise setting_error("extra_headers", f"has the invalid name {quoted(name)}", "give a name such as X-Request-Id")
    if name.lower() in _RESERVED:
        raise setting_error("extra_headers", f"contains {name}, which the client sets itself", "remove it")
    if not isinstance(value, str):
        wrong = f"has a value of type {type(value).__name__} for {name}"
        raise setting_error("extra_headers", wrong, "give a str")
    if not _VALUE.fullmatch(value):
        wrong = f"has an invalid value for {name}"
        raise setting_error("extra_headers", wrong, "give visible ASCII characters, without a space at either end")
