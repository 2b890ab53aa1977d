"""Conditions on rooms: `NAME=VALUE` or `NAME!=VALUE`. Days can also be compared with `>=` and `<=`.

id=7b61*                        the id, ignoring case; * and ? match as in file names
name=support-*                  the unique name, in the same way; null for rooms without a name
webhook_host=old.example.com    the host of the webhook URL or the failover URL; *.example.com matches all subdomains,
                                and null rooms without any of these URLs
failover_host=old.example.com   the host of the failover URL, in the same way
recording=on                    on or off
created>=2024-05-01             a day in UTC; `updated` works the same way
"""

import fnmatch
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeAlias, cast

from ..._text import quoted, read_day
from ..._webhook_url import host_of, matches, read_host
from ...errors import InputProblem
from ...models import Room
from ...models._fields import read_bool
from .._problems import Problems

__all__ = ["Condition", "read_condition", "read_conditions"]

Condition: TypeAlias = Callable[[Room], bool]

_NAMES: Final = ("id", "name", "webhook_host", "failover_host", "recording", "created", "updated")

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


def _matching(value_of: Callable[[Room], str | None], pattern: str) -> Condition:
    if pattern == "null":
        return lambda room: value_of(room) is None
    # `fnmatch.fnmatch` is not used, because it ignores case on Windows only.
    match = re.compile(fnmatch.translate(pattern.casefold())).match
    return lambda room: match((value_of(room) or "").casefold()) is not None


def _on_host(name: str, urls_of: Callable[[Room], tuple[str | None, ...]], pattern: str) -> Condition:
    if pattern == "null":
        return lambda room: not any(urls_of(room))
    wanted = read_host(pattern.removeprefix("*."))
    if wanted is None:
        raise ValueError(f"{name}={pattern}: give a host, such as old.example.com or *.example.com, or null")
    patterns = (f"*.{wanted}" if pattern.startswith("*.") else wanted,)

    def meets(room: Room) -> bool:
        hosts = (host_of(url) for url in urls_of(room) if url)
        return any(host is not None and matches(host, patterns) for host in hosts)

    return meets


def _recorded(value: str) -> Condition:
    if (wanted := read_bool(value)) is None:
        raise ValueError(f"recording={value}: give on or off")
    return lambda room: bool(room.enable_recording) is wanted


_CONDITIONS: Final[Mapping[str, Callable[[str], Condition]]] = {
    "id": partial(_matching, lambda room: room.id),
    "name": partial(_matching, lambda room: room.unique_name),
    "webhook_host": partial(
        _on_host, "webhook_host", lambda room: (room.webhook_event_url, room.webhook_event_failover_url)
    ),
    "failover_host": partial(_on_host, "failover_host", lambda room: (room.webhook_event_failover_url,)),
    "recording": _recorded,
}


def _on_day(field: str, operator: str, value: str) -> Condition:
    day = read_day(value)

    def meets(room: Room) -> bool:
        moment: datetime | None = getattr(room, field)
        if moment is None:
            return False
        at = moment.astimezone(UTC).date()
        return {"=": at == day, "!=": at != day, ">=": at >= day, "<=": at <= day}[operator]

    return meets


def read_conditions(where: Sequence[str | Condition], problems: Problems) -> list[Condition]:
    """Return the conditions that texts and functions stand for. Record a problem for each invalid one."""
    if isinstance(where, str) or callable(where):
        text = f"{quoted(where)} is a single condition; give a list of conditions"
        problems.add(InputProblem("where", None, None, text, code="bad_condition", value=where))
        return []
    conditions: list[Condition] = []
    for condition in where:
        try:
            conditions.append(read_condition(condition) if isinstance(condition, str) else _function(condition))
        except ValueError as error:
            problems.add(InputProblem("where", None, None, str(error), code="bad_condition", value=condition))
    return conditions


def _function(condition: object) -> Condition:
    """Return a condition that is a function. Raises `ValueError`, with the reason, if it can't be called for a bool."""
    if not callable(condition):
        wrong = f"{quoted(condition)} is not a condition; give a text, or a function that takes a Room"
        raise ValueError(wrong)  # noqa: TRY004 - it becomes a problem, like that of a text
    call: object = getattr(condition, "__call__", None)  # noqa: B004 - an instance may have an async `__call__`
    if inspect.iscoroutinefunction(condition) or inspect.iscoroutinefunction(call):
        # The coroutine would count as true, so every room would be selected.
        raise ValueError(f"{quoted(condition)} is a coroutine function; give a function that returns a bool")
    return cast("Condition", condition)
