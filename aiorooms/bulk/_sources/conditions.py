"""Conditions on rooms: `NAME=VALUE` or `NAME!=VALUE`. Days are compared with `=`, `>=` or `<=`.

name=support-*                  the unique name, ignoring case; * and ? match as in file names
webhook_host=old.example.com    the host of the webhook URL or the failover URL; *.example.com matches all subdomains
recording=on                    on or off
created>=2024-05-01             a day in UTC; `updated` works the same way
"""

import fnmatch
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, TypeAlias

from ..._text import quoted, read_day
from ..._webhook_url import host_of, matches, read_host
from ...models import Room
from ...models._fields import read_bool

__all__ = ["Condition", "read_condition"]

Condition: TypeAlias = Callable[[Room], bool]

_NAMES: Final = ("name", "webhook_host", "recording", "created", "updated")

_CONDITION: Final = re.compile(r"\s*([A-Za-z_]+)\s*(!=|>=|<=|=)\s*(.*?)\s*", re.DOTALL)


def read_condition(text: str) -> Condition:
    """Parse a condition. Raises `ValueError`, with the reason, if the text is not a condition."""
    match = _CONDITION.fullmatch(text)
    if match is None or match[1] not in _NAMES:
        raise ValueError(f"{quoted(text)} is not a condition; write NAME=VALUE; the names are {', '.join(_NAMES)}")
    name, operator, value = match.groups()
    if name in ("created", "updated"):
        return _on_day(name + "_at", operator, value)
    if operator not in ("=", "!="):
        raise ValueError(f"{quoted(text)}: only created and updated can be compared with {operator}")
    meets = _CONDITIONS[name](value)
    return meets if operator == "=" else lambda room: not meets(room)


def _named(pattern: str) -> Condition:
    # `fnmatch.fnmatch` is not used, because it ignores case on Windows only.
    match = re.compile(fnmatch.translate(pattern.casefold())).match
    return lambda room: match((room.unique_name or "").casefold()) is not None


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


def _on_day(field: str, operator: str, value: str) -> Condition:
    day = read_day(value)
    if operator == "!=":
        raise ValueError(f"{field.removesuffix('_at')} can't be compared with !=; give =, >= or <=")

    def meets(room: Room) -> bool:
        moment: datetime | None = getattr(room, field)
        if moment is None:
            return False
        at = moment.astimezone(UTC).date()
        return at == day if operator == "=" else at >= day if operator == ">=" else at <= day

    return meets
