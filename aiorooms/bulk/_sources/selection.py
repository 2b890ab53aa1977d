"""What to change where, said in a few words: which rooms of the account, and what in each.

A condition is `FIELD=VALUE` or `FIELD!=VALUE`; a room is selected if it meets all of them:

    name=support-*                  the unique name, with * and ? as in file names, in any case
    webhook_host=old.example.com    the host of the webhook URL or of the failover URL; *.example.com is any below it
    recording=on                    on or off
    created>=2024-05-01             a day in UTC; also <= and =, and `updated` alike

An edit is `FIELD=VALUE`, `null` clearing a field that can be cleared, or another host for the webhook URLs, of which
scheme, port, path and query stay as they are.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs

from ..._text import quoted
from ..._unset import UNSET
from ..._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy
from ...errors import BulkInputError, InputProblem, InvalidRequestError
from ...models import FIELD_NAMES, Room, RoomUpdate
from .._planning import Change
from .conditions import TRUTHS, Condition, host_of, read_condition, read_host

__all__ = ["Selection", "select"]
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
        host = host_of(url)
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
            conditions.append(read_condition(text))
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
        host = read_host(old)
        if not equals or host is None or read_host(new) is None:
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
    if name == "enable_recording" and text.lower() in TRUTHS:
        return TRUTHS[text.lower()]
    return text
