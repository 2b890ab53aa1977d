"""Select rooms of the account by conditions, and define their new values by edits and rewrites.

A room is selected if it meets all conditions (module `conditions`). An edit is `FIELD=VALUE`, where `null` clears the
field. A rewrite is `OLD=NEW`: in webhook and failover URLs, it replaces the host OLD with NEW. All other parts of the
URL, such as its scheme, port, path and query, stay unchanged.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs

from ..._text import quoted
from ..._unset import UNSET
from ..._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy, policy_of
from ...errors import BulkInputError, InputProblem, InvalidRequestError
from ...models import Room, RoomUpdate
from ...models._fields import FIELDS, read_value
from .._planning import Change
from .._problems import input_problem
from .conditions import Condition, host_of, read_condition, read_host

__all__ = ["Selection", "select"]
_EDIT: Final = re.compile(r"\s*([A-Za-z_]+)\s*=\s*(.*?)\s*", re.DOTALL)


@attrs.frozen(kw_only=True)
class Selection:
    """A selection of rooms and their new values, made by `select`, as an input for `make_plan`."""

    source: str
    conditions: Sequence[Condition]
    fields: Mapping[str, object]
    """The new values of every selected room."""
    hosts: Mapping[str, str]
    """The new host for each old host in webhook and failover URLs. Old hosts are normalized for comparison."""
    webhook_url_policy: WebhookUrlPolicy = DEFAULT_POLICY

    def change_of(self, room: Room) -> Change | None:
        """Return the change for a room, or None if the room isn't selected.

        Raises `BulkInputError` if a new value is invalid.
        """
        if not all(condition(room) for condition in self.conditions):
            return None
        wanted = dict(self.fields)
        for name in ("webhook_event_url", "webhook_event_failover_url"):
            url: str | None = getattr(room, name)
            if name not in wanted and url and (other := self._rewritten(url)) is not None:
                wanted[name] = other
        try:
            return Change(RoomUpdate.from_dict(wanted, webhook_url_policy=self.webhook_url_policy))
        except InvalidRequestError as error:
            where = f"room {room.id}"
            raise BulkInputError([input_problem(problem, where) for problem in error.problems]) from None

    def not_met(self) -> Iterator[InputProblem]:
        """Yield nothing, because a selection does not name rooms that could be missing."""
        return iter(())

    def _rewritten(self, url: str) -> str | None:
        host = host_of(url)
        other = None if host is None else self.hosts.get(host)
        if other is None or (authority := _AUTHORITY.match(url)) is None:
            return None
        # Replace the host in the text, because parsing and rebuilding the URL could change its other parts.
        port = re.search(r":[0-9]*$", authority[2])
        return f"{authority[1]}{other}{port.group() if port else ''}{url[authority.end() :]}"


_AUTHORITY: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#]*@)?)([^/?#@]*)")
"""Group 1 is the part of a URL before its host; group 2 is its host and port."""


def select(
    *,
    where: Sequence[str] = (),
    set_fields: Sequence[str] = (),
    rewrite_webhook_host: Sequence[str] = (),
    webhook_url_policy: WebhookUrlPolicy = DEFAULT_POLICY,
    policy: WebhookUrlPolicy | None = None,
) -> Selection:
    """Return a selection of rooms, as the input for `make_plan`.

    `where` contains conditions, such as `name=support-*`. Without conditions, all rooms are selected. `set_fields`
    contains edits, such as `max_participants=20`. `rewrite_webhook_host` contains rewrites, such as
    `old.example.com=new.example.com`. Raises `BulkInputError`, with all problems, if a condition, edit or rewrite is
    invalid, or if there are neither edits nor rewrites. `policy` is the deprecated name of `webhook_url_policy`.
    """
    chosen = policy_of(webhook_url_policy, policy)
    problems: list[InputProblem] = []
    conditions = _conditions(where, problems)
    fields = _fields(set_fields, problems)
    hosts = _hosts(rewrite_webhook_host, problems)
    if not set_fields and not rewrite_webhook_host:
        text = "there is nothing to change; give set_fields or rewrite_webhook_host"
        problems.append(InputProblem(_SET, None, None, text, code="nothing_to_change"))
    if fields.get("unique_name", UNSET) is not UNSET:
        text = "a name belongs to one room only; set names in a file, or with rooms.update()"
        problems.append(InputProblem(_SET, None, "unique_name", text, code="one_room_only"))
    try:
        RoomUpdate.from_dict(fields, webhook_url_policy=chosen)
    except InvalidRequestError as error:
        problems += [input_problem(problem, _SET) for problem in error.problems]
    if problems:
        raise BulkInputError(problems)
    source = [f"where {text}" for text in where] + [f"set {text}" for text in set_fields]
    source += [f"rewrite {text}" for text in rewrite_webhook_host]
    return Selection(
        source=", ".join(source), conditions=conditions, fields=fields, hosts=hosts, webhook_url_policy=chosen
    )


_SET: Final = "set_fields"


def _conditions(where: Sequence[str], problems: list[InputProblem]) -> list[Condition]:
    conditions: list[Condition] = []
    for text in where:
        try:
            conditions.append(read_condition(text))
        except ValueError as error:
            problems.append(InputProblem("where", None, None, str(error), code="bad_condition", value=text))
    return conditions


def _fields(set_fields: Sequence[str], problems: list[InputProblem]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for text in set_fields:
        match = _EDIT.fullmatch(text)
        if match is None or match[1] not in FIELDS:
            wrong = f"{quoted(text)} is not FIELD=VALUE; the fields are {', '.join(FIELDS)}"
        elif match[1] in fields:
            wrong = f"{match[1]} is set twice"
        else:
            fields[match[1]] = read_value(match[1], match[2])
            continue
        problems.append(InputProblem(_SET, None, None, wrong, code="bad_edit", value=text))
    return fields


def _hosts(rewrite_webhook_host: Sequence[str], problems: list[InputProblem]) -> dict[str, str]:
    hosts: dict[str, str] = {}
    for text in rewrite_webhook_host:
        old, equals, new = (part.strip() for part in text.partition("="))
        host = read_host(old)
        if not equals or host is None or read_host(new) is None:
            wrong = f"{quoted(text)} is not OLD=NEW with two hosts, such as old.example.com=new.example.com"
        elif host in hosts:
            wrong = f"{quoted(old)} is rewritten twice"
        else:
            hosts[host] = new
            continue
        problems.append(InputProblem("rewrite_webhook_host", None, None, wrong, code="bad_rewrite", value=text))
    return hosts
