"""What to change where, said in a few words: which rooms of the account, and what in each.

A condition is `FIELD=VALUE` or `FIELD!=VALUE`; a room is selected if it meets all of them:

    name=support-*                  the unique name, with * and ? as in file names, in any case
    webhook_host=old.example.com    the host of the webhook URL or of the failover URL; *.example.com is any below it
    recording=on                    on or off
    created>=2024-05-01             a day in UTC; also <= and =, and `updated` alike

An edit is `FIELD=VALUE`, `null` clearing a field that can be cleared, or another host for the webhook URLs, of which
scheme, port, path and query stay as they are.
"""

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Final, TypeAlias

import attrs
from yarl import URL

from ..._text import quoted
from ..._unset import UNSET
from ..._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy
from ...errors import BulkInputError, InputProblem, InvalidRequestError
from ...models import FIELD_NAMES, Room, RoomUpdate
from .._plan_file import Change

__all__ = ["Selection", "select"]

Condition: TypeAlias = Callable[[Room], bool]

_NAMES: Final = ("name", "webhook_host", "recording", "created", "updated")

_CONDITION: Final = re.compile(r"\s*([A-Za-z_]+)\s*(!=|>=|<=|=)\s*(.*?)\s*", re.DOTALL)

_EDIT: Final = re.compile(r"\s*([A-Za-z_]+)\s*=\s*(.*?)\s*", re.DOTALL)


@attrs.frozen(kw_only=True)
class Selection:
    """Rooms of the account and what is wanted of them; `select` makes it. It is what `make_plan` takes."""

    source: str
    conditions: Sequence[Condition]
    fields: Mapping[str, object]
    """What every selected room gets."""
    hosts: Mapping[str, str]
    """Hosts of webhook and failover URLs, in lower case, and what stands in their place."""
    policy: WebhookUrlPolicy = DEFAULT_POLICY

    def change_of(self, room: Room) -> Change | None:
        """Say what is wanted of a room; None if it isn't selected. Raises `BulkInputError` if that can't be."""
        if not all(condition(room) for condition in self.conditions):
            return None
        wanted = dict(self.fields)
        for name in ("webhook_event_url", "webhook_event_failover_url"):
            url: str | None = getattr(room, name)
            if name not in wanted and url and (other := self._rewritten(url)) is not None:
                wanted[name] = other
        try:
            return Change(RoomUpdate.from_dict(wanted, webhook_url_policy=self.policy))
        except InvalidRequestError as error:
            where = f"room {room.id}"
            raise BulkInputError(
                [InputProblem(where, None, p.pointer[1:] or None, p.message) for p in error.problems]
            ) from None

    def not_met(self) -> Iterator[InputProblem]:
        """Nothing is named here that could be missing."""
        return iter(())

    def _rewritten(self, url: str) -> str | None:
        host = _host(url)
        other = None if host is None else self.hosts.get(host)
        place = _PLACE.match(url)
        if other is None or place is None:
            return None
        # Only the host is replaced in the very text, so that nothing else is written in another way.
        port = re.search(r":[0-9]*$", place[2])
        return f"{place[1]}{other}{port.group() if port else ''}{url[place.end() :]}"


_PLACE: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#]*@)?)([^/?#@]*)")
"""A URL up to its host, and host and port."""


def select(
    *,
    where: Sequence[str] = (),
    set_fields: Sequence[str] = (),
    rewrite_webhook_host: Sequence[str] = (),
    policy: WebhookUrlPolicy = DEFAULT_POLICY,
) -> Selection:
    """Read conditions (`name=support-*`), edits (`max_participants=20`) and rewrites (`old.example.com=example.com`).

    Raises `BulkInputError` with everything that is wrong with them.
    """
    problems: list[InputProblem] = []

    def wrong(option: str, message: str) -> None:
        problems.append(InputProblem(option, None, None, message))

    conditions: list[Condition] = []
    for text in where:
        try:
            conditions.append(_condition(text))
        except ValueError as error:
            wrong("--where", str(error))
    fields: dict[str, object] = {}
    for text in set_fields:
        match = _EDIT.fullmatch(text)
        if match is None or match[1] not in FIELD_NAMES:
            wrong("--set", f"{quoted(text)} is not FIELD=VALUE with a field of {', '.join(FIELD_NAMES)}")
        elif match[1] in fields:
            wrong("--set", f"{match[1]} is set twice")
        else:
            fields[match[1]] = _value(match[1], match[2])
    hosts: dict[str, str] = {}
    for text in rewrite_webhook_host:
        old, equals, new = (part.strip() for part in text.partition("="))
        host = _read_host(old)
        if not equals or host is None or _read_host(new) is None:
            wrong(
                "--rewrite-webhook-host",
                f"{quoted(text)} is not OLD=NEW with two hosts, such as old.example.com=new.example.com",
            )
        elif host in hosts:
            wrong("--rewrite-webhook-host", f"{quoted(old)} is rewritten twice")
        else:
            hosts[host] = new
    if not set_fields and not rewrite_webhook_host:
        wrong("--set", "there is nothing to change; give at least one --set or --rewrite-webhook-host")
    if fields.get("unique_name", UNSET) is not UNSET:
        wrong("--set", "a name belongs to one room only; use `aiorooms update` or a file")
    try:
        RoomUpdate.from_dict(fields, webhook_url_policy=policy)
    except InvalidRequestError as error:
        for problem in error.problems:
            # Who says `null` here is not to be told of Python's word for it.
            message = re.sub(r"(?<!')\bNone\b", "null", problem.message)
            wrong("--set", f"{problem.pointer[1:]}: {message}")
    if problems:
        raise BulkInputError(problems)
    told = [*(f"where {text}" for text in where), *(f"set {text}" for text in set_fields)]
    told += [f"rewrite {text}" for text in rewrite_webhook_host]
    return Selection(source=", ".join(told), conditions=conditions, fields=fields, hosts=hosts, policy=policy)


def _value(name: str, text: str) -> object:
    """Read a value as JSON writes it; what is no number or truth value where one belongs is left for the check."""
    if text == "null":
        return None
    if name in ("max_participants", "webhook_timeout_secs") and re.fullmatch("[0-9]{1,9}", text, re.ASCII):
        return int(text)
    if name == "enable_recording" and text.lower() in _TRUTHS:
        return _TRUTHS[text.lower()]
    return text


_TRUTHS: Final = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}


def _condition(text: str) -> Condition:
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
    wanted = _read_host(pattern.removeprefix("*."))
    if wanted is None:
        raise ValueError(f"webhook_host={pattern}: give a host, such as old.example.com or *.example.com")
    below = f".{wanted}" if pattern.startswith("*.") else None

    def meets(room: Room) -> bool:
        hosts = (_host(url) for url in (room.webhook_event_url, room.webhook_event_failover_url) if url)
        if below is not None:
            return any(host is not None and host.endswith(below) for host in hosts)
        return wanted in hosts

    return meets


def _recorded(value: str) -> Condition:
    if (wanted := _TRUTHS.get(value.lower())) is None:
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


def _read_host(text: str) -> str | None:
    """Read a host as somebody writes it, an IPv6 address in brackets; None if it is none."""
    return _host(f"https://{text}/") if _HOST.fullmatch(text) else None


def _host(url: str) -> str | None:
    """The host of a URL after IDNA, in lower case and without a dot at its end; None if it has none, or is none."""
    try:
        host = URL(url).raw_host
    except (ValueError, IndexError):  # yarl raises both
        return None
    return host.lower().rstrip(".") if host else None
