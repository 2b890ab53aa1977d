"""Conditions on rooms: `FIELD=VALUE` or `FIELD!=VALUE`.

name=support-*                  the unique name, with * and ? as in file names, in any case
webhook_host=old.example.com    the host of the webhook URL or of the failover URL; *.example.com is any below it
recording=on                    on or off
created>=2024-05-01             a day in UTC; also <= and =, and `updated` alike
"""

import fnmatch
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Final, TypeAlias

from yarl import URL

from ..._text import quoted
from ..._webhook_url import YARL_ERRORS, comparable_host, matches
from ...models import Room
from ...models._fields import read_bool

__all__ = ["Condition", "host_of", "read_condition", "read_host"]

Condition: TypeAlias = Callable[[Room], bool]

_NAMES: Final = ("name", "webhook_host", "recording", "created", "updated")

_CONDITION: Final = re.compile(r"\s*([A-Za-z_]+)\s*(!=|>=|<=|=)\s*(.*?)\s*", re.DOTALL)


def read_condition(text: str) -> Condition:
    """Read a condition. Raises `ValueError`, which says what is wrong."""
    match = _CONDITION.fullmatch(text)
    if match is None or match[1] not in _NAMES:
        raise ValueError(f"{quoted(text)} is not a condition on one of {', '.join(_NAMES)}, such as name=support-*")
    name, sign, value = match.groups()
    if name in ("created", "updated"):
        return _on_day(name + "_at", sign, value)
    if sign not in ("=", "!="):
        raise ValueError(f"{quoted(text)}: only created and updated have a {sign}")
    meets = _CONDITIONS[name](value)
    return meets if sign == "=" else lambda room: not meets(room)


def _named(pattern: str) -> Condition:
    # fnmatch itself would take the case from the system that it runs on.
    matches = re.compile(fnmatch.translate(pattern.casefold())).match
    return lambda room: matches((room.unique_name or "").casefold()) is not None


def _on_host(pattern: str) -> Condition:
    wanted = read_host(pattern.removeprefix("*."))
    if wanted is None:
        raise ValueError(f"webhook_host={pattern}: give a host, such as old.example.com or *.example.com")
    patterns = (f"*.{wanted}" if pattern.startswith("*.") else wanted,)

    def meets(room: Room) -> bool:
        hosts = (host_of(url) for url in (room.webhook_event_url, room.webhook_event_failover_url) if url)
        return any(host is not None and matches(host, patterns) for host in hosts)

    return meets


def _recorded(value: str) -> Condition:
    if (wanted := read_bool(value)) is None:
        raise ValueError(f"recording={value}: give on or off")
    return lambda room: bool(room.enable_recording) is wanted


_CONDITIONS: Final[Mapping[str, Callable[[str], Condition]]] = {
    "name": _named,
    "webhook_host": _on_host,
    "recording": _recorded,
}


def _on_day(field: str, sign: str, value: str) -> Condition:
    try:
        day = date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{quoted(value)} is not a day; write it as YYYY-MM-DD") from None
    if sign == "!=":
        raise ValueError(f"{field.removesuffix('_at')}: give =, >= or <=")

    def meets(room: Room) -> bool:
        moment: datetime | None = getattr(room, field)
        if moment is None:
            return False
        at = moment.astimezone(UTC).date()
        return at == day if sign == "=" else at >= day if sign == ">=" else at <= day

    return meets


_HOST: Final = re.compile(r"[^\s/?#@:\\*=\[\]]+|\[[0-9A-Fa-f:.]+\]")


def read_host(text: str) -> str | None:
    """Read a host as somebody writes it, an IPv6 address in brackets; None if it is none."""
    return host_of(f"https://{text}/") if _HOST.fullmatch(text) else None


def host_of(url: str) -> str | None:
    """Return the host of a URL in the form in which hosts are compared; None if there is none."""
    try:
        return comparable_host(URL(url)) or None
    except YARL_ERRORS:
        return None
