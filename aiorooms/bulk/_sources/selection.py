"""Select rooms of the account by conditions, and define their new values by edits and rewrites.

A room is selected if it meets all conditions (module `conditions`). An edit is `FIELD=VALUE`, where `null` clears the
field. A rewrite is `OLD=NEW`: in webhook and failover URLs, it replaces the host OLD with NEW. All other parts of the
URL, such as its path and query, stay unchanged. With NEW as `https://new.example.com:8443`, it also replaces the scheme
and the port.
"""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast

import attrs

from ..._text import quoted
from ..._unset import UNSET
from ..._webhook_url import DEFAULT_POLICY, HostRewrite, WebhookUrlPolicy, host_of, policy_of
from ...errors import BulkInputError, ClientSettingsError, InputCode, InputProblem, InvalidRequestError
from ...models import Room, RoomUpdate
from ...models._fields import FIELDS, read_value
from .._planning import Change
from .._problems import input_problem, room_error
from .conditions import Condition, read_condition

__all__ = ["Selection", "select"]

_EDIT: Final = re.compile(r"\s*([A-Za-z_]+)\s*=\s*(.*?)\s*", re.DOTALL)

_REWRITE: Final = re.compile(r"([^=]*)=\s*(?:([^:/\s]*)://)?(.*?)(?::([0-9]{1,9}))?\s*")
"""The old host, the new scheme, the new host and the new port. The end of an IPv6 address is a bracket, and no port."""


@attrs.frozen(kw_only=True)
class Selection:
    """A selection of rooms and their new values, made by `select`, as an input for `make_plan`."""

    source: str
    conditions: Sequence[Condition]
    fields: Mapping[str, object]
    """The new values of every selected room."""
    rewrites: Mapping[str, HostRewrite]
    """The rewrites of webhook and failover URLs by the old host, which is normalized for comparison."""
    webhook_url_policy: WebhookUrlPolicy = DEFAULT_POLICY

    def change_of(self, room: Room) -> Change | None:
        """Return the change for a room, or None if the room isn't selected.

        Raises `BulkInputError` if a new value is invalid, or if a URL to rewrite can't be read.
        """
        if not all(condition(room) for condition in self.conditions):
            return None
        wanted = dict(self.fields)
        for name in ("webhook_event_url", "webhook_event_failover_url"):
            url: str | None = getattr(room, name)
            if self.rewrites and name not in wanted and name in room.unreadable:
                text = f"the server's answer has no readable {name}; try again later"
                raise BulkInputError([InputProblem(f"room {room.id}", None, name, text, code="room_unreadable")])
            if name not in wanted and url and (other := self._rewritten(url)) is not None:
                wanted[name] = other
        try:
            return Change(RoomUpdate.from_dict(wanted, webhook_url_policy=self.webhook_url_policy))
        except InvalidRequestError as error:
            raise room_error(room, error) from None

    def not_met(self) -> Iterator[InputProblem]:
        """Yield nothing, because a selection does not name rooms that could be missing."""
        return iter(())

    def _rewritten(self, url: str) -> str | None:
        rewrite = self.rewrites.get(host_of(url) or "")
        other = url if rewrite is None else rewrite(url)
        return None if other == url else other


def select(
    *,
    where: Sequence[str | Condition] = (),
    set_fields: Sequence[str] = (),
    rewrite_webhook_host: Sequence[str] = (),
    webhook_url_policy: WebhookUrlPolicy = DEFAULT_POLICY,
    policy: WebhookUrlPolicy | None = None,
) -> Selection:
    """Return a selection of rooms, as the input for `make_plan`.

    `where` contains conditions: texts, such as `name=support-*`, and functions that take a `Room` and return a bool.
    Without conditions, all rooms are selected. `set_fields` contains edits, such as `max_participants=20`.
    `rewrite_webhook_host` contains rewrites, such as `old.example.com=new.example.com`. The new host may have a scheme
    and a port, as in `old.example.com=https://new.example.com:8443`; otherwise these stay unchanged. Raises
    `BulkInputError`, with all problems, if a condition, edit or rewrite is invalid, or if there are neither edits nor
    rewrites. `policy` is the deprecated name of `webhook_url_policy`.
    """
    chosen = policy_of(webhook_url_policy, policy)
    problems: list[InputProblem] = []
    conditions = _conditions(where, problems)
    fields = _fields(set_fields, problems)
    rewrites = _rewrites(rewrite_webhook_host, problems)
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
    source = [f"where {_named(condition)}" for condition in where] + [f"set {text}" for text in set_fields]
    source += [f"rewrite {text}" for text in rewrite_webhook_host]
    return Selection(
        source=", ".join(source), conditions=conditions, fields=fields, rewrites=rewrites, webhook_url_policy=chosen
    )


_SET: Final = "set_fields"


def _named(condition: str | Condition) -> str:
    return condition if isinstance(condition, str) else f"{getattr(condition, '__qualname__', repr(condition))}()"


def _not_a_list(name: str, given: object, what: str, code: InputCode) -> InputProblem:
    text = f"{quoted(given)} is a single {what}; give a list of {what}s"
    return InputProblem(name, None, None, text, code=code, value=given)


def _conditions(where: Sequence[str | Condition], problems: list[InputProblem]) -> list[Condition]:
    conditions: list[Condition] = []
    if isinstance(where, str) or callable(where):
        problems.append(_not_a_list("where", where, "condition", "bad_condition"))
        return conditions
    for condition in where:
        try:
            conditions.append(read_condition(condition) if isinstance(condition, str) else _function(condition))
        except ValueError as error:
            problems.append(InputProblem("where", None, None, str(error), code="bad_condition", value=condition))
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


def _fields(set_fields: Sequence[str], problems: list[InputProblem]) -> dict[str, object]:
    fields: dict[str, object] = {}
    if isinstance(set_fields, str):
        problems.append(_not_a_list(_SET, set_fields, "edit", "bad_edit"))
        return fields
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


def _rewrites(rewrite_webhook_host: Sequence[str], problems: list[InputProblem]) -> dict[str, HostRewrite]:
    rewrites: dict[str, HostRewrite] = {}
    if isinstance(rewrite_webhook_host, str):
        problems.append(_not_a_list("rewrite_webhook_host", rewrite_webhook_host, "rewrite", "bad_rewrite"))
        return rewrites
    for text in rewrite_webhook_host:
        try:
            rewrite = _read_rewrite(text)
        except ClientSettingsError as error:
            wrong = f"{quoted(text)} is not OLD=NEW with two hosts, such as old.example.com=new.example.com"
            if error.setting == "port":
                wrong = f"{quoted(text)} has the port {error.value}; give a port from 1 to 65535"
        else:
            if rewrite.old not in rewrites:
                rewrites[rewrite.old] = rewrite
                continue
            wrong = f"{quoted(text.partition('=')[0].strip())} is rewritten twice"
        problems.append(InputProblem("rewrite_webhook_host", None, None, wrong, code="bad_rewrite", value=text))
    return rewrites


def _read_rewrite(text: str) -> HostRewrite:
    found = _REWRITE.fullmatch(text)
    old, scheme, new, port = ("", None, "", None) if found is None else found.groups()
    return HostRewrite.of(old.strip(), new, scheme=scheme, port=UNSET if port is None else int(port))
