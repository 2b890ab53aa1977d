"""The receiver of a URL, and the time limit of a room. Pure.

A receiver is a scheme, a host, a port and a path. Example: `https://x.io/rooms?room=1` and `HTTPS://X.io:443/rooms?room=2`
have the same receiver, so one event shows whether it answers.
"""

from typing import Final

from .._webhook_url import YARL_ERRORS, origin_of, split_plain

__all__ = ["DEFAULT_TIMEOUT", "receiver_of", "timeout_of"]

DEFAULT_TIMEOUT: Final = 10.0
"""The time limit for a probe of a room without a timeout, in seconds."""

_MAX_TIMEOUT: Final = 30
"""The longest timeout of a room, in seconds."""


def receiver_of(url: str) -> str:
    """Return a text that is the same for all URLs with the same receiver. For an invalid URL, it is the URL itself."""
    if (plain := split_plain(url)) is None:
        return url
    origin, path = plain
    try:
        scheme, _, _, host, port = origin_of(origin)
    except YARL_ERRORS:
        return url
    return f"{scheme}://{host}:{port}{path.partition('?')[0] or '/'}"


def timeout_of(timeout_secs: object) -> float:
    """Return the time limit for a room with this timeout, in seconds. The server's value may be out of range."""
    if type(timeout_secs) is int and 1 <= timeout_secs <= _MAX_TIMEOUT:
        return float(timeout_secs)
    return DEFAULT_TIMEOUT
