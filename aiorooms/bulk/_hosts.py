"""The host of a URL in the words of a review, such as `hooks.example.com`, `hooks.example.com:8443` or `[::1]:8080`.

A URL may contain a password or a token, so a review shows only its host and its port.
"""

from functools import lru_cache
from typing import Final

from yarl import URL

from .._webhook_url import YARL_ERRORS, split_plain

__all__ = ["changed_hosts", "host_of_url"]

_NO_HOST: Final = "(no host)"


def host_of_url(url: object) -> str | None:
    """Return the host of a URL, with its port if it has one; None if there is no URL."""
    if not isinstance(url, str) or not url:
        return None
    parts = split_plain(url)
    return _host_of_origin(parts[0]) if parts is not None else _with_port(url)


def _with_port(url: str) -> str:
    try:
        parsed = URL(url, encoded=True)
        host, port = _in_brackets(parsed.raw_host), parsed.explicit_port
    except YARL_ERRORS:
        return _NO_HOST
    if not host:
        return _NO_HOST
    return host if port is None else f"{host}:{port}"


# The URLs of many rooms have few origins. Without this cache, yarl would parse each of them.
_host_of_origin: Final = lru_cache(maxsize=1024)(_with_port)


def changed_hosts(before: object, after: object) -> tuple[str, str] | None:
    """Return the hosts, without ports, of two URLs that differ only in the host. Return None for all other values."""
    if not isinstance(before, str) or not isinstance(after, str):
        return None
    old, new = split_plain(before), split_plain(after)
    if old is None or new is None:
        return _changed_hosts(before, after)
    return _changed_hosts(old[0], new[0]) if old[1] == new[1] else None


# The URLs of many rooms have few hosts. Without this cache, yarl would parse both URLs of each room.
@lru_cache(maxsize=128)
def _changed_hosts(before: str, after: str) -> tuple[str, str] | None:
    """Return the hosts of two URLs or origins that differ only in the host, by parsing both."""
    try:
        old = _in_brackets(URL(before, encoded=True).raw_host)
        new = _in_brackets(URL(after, encoded=True).raw_host)
    except YARL_ERRORS:
        return None
    if not old or not new or old == new:
        return None
    return (old, new) if before.replace(old, new, 1) == after else None


def _in_brackets(host: str | None) -> str:
    """Return a host as it stands in a URL: an IPv6 address has brackets."""
    return f"[{host}]" if host and ":" in host else host or ""
