"""Select rooms of the account by conditions, and define their new values by edits and rewrites.

A room is selected if it meets all conditions (module `conditions`). An edit is `FIELD=VALUE`, where `null` clears the
field. A rewrite is `OLD=NEW`: in webhook and failover URLs, it replaces the host OLD with NEW. All other parts of the
URL, such as its path and query, stay unchanged. With NEW as `https://new.example.com:8443`, it also replaces the scheme
and the port.

If there are only rewrites, a room is concerned if one of its URLs has an old host, or has the new host already. A
rewrite whose old host no room has is probably mistyped, so it is a problem, unless a room has the new host. So when the
plan of a rewrite has been applied, the same rewrite makes an empty plan.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs

from ..._checks import text_message
from ..._text import counted, quoted
from ..._unset import UNSET
from ..._webhook_url import (
    DEFAULT_POLICY,
    HostRewrite,
    WebhookUrlPolicy,
    check_webhook_url,
    host_of,
    masked_repr,
    policy_of,
    read_host,
)
from ...errors import BulkInputError, ClientSettingsError, InputCode, InputProblem, InvalidRequestError
from ...models import Room, RoomUpdate
from ...models._fields import FIELDS, read_value
from .._planning import Change
from .._problems import Problems, input_problem, room_error
from .conditions import Condition, read_conditions

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
    renames: bool = attrs.field(default=False, init=False)
    """See `Wanted`."""
    _hosts: "_Hosts" = attrs.field(
        default=attrs.Factory(lambda self: _hosts_of(self), takes_self=True), init=False, eq=False, repr=False
    )

    def change_of(self, room: Room) -> Change | None:
        """Return the change for a room, or None if the room isn't selected.

        Raises `BulkInputError` if a new value is invalid, or if a URL to rewrite can't be read.
        """
        hosts = self._hosts
        if self.rewrites:
            hosts.add(room)
        if not all(condition(room) for condition in self.conditions):
            return None
        wanted = dict(self.fields)
        is_concerned = bool(self.fields)
        for name in _URLS if self.rewrites else ():
            url: str | None = getattr(room, name)
            if name not in wanted and name in room.unreadable:
                text = f"the server's answer has no readable {name}; try again later"
                raise BulkInputError([InputProblem(f"room {room.id}", None, name, text, code="room_unreadable")])
            if name in wanted or not url:
                continue
            if hosts.lacks_scheme(url):
                text = f"{masked_repr(url)} has no scheme, so its host can't be replaced; set a whole URL"
                raise BulkInputError([InputProblem(f"room {room.id}", None, name, text, code="not_absolute")])
            if (other := hosts.rewritten(url)) is not None:
                is_concerned = True
                if other != url:
                    wanted[name] = other
        if not is_concerned:
            return None
        try:
            return Change(RoomUpdate.from_dict(wanted, webhook_url_policy=self.webhook_url_policy))
        except InvalidRequestError as error:
            raise room_error(room, error) from None

    def warnings(self) -> Iterator[str]:
        """Yield a warning for each rewrite whose old host no selected room has, if a room has its new host."""
        for rewrite in self._hosts.not_found(but_done=True):
            advice = self._hosts.advice(rewrite.old)
            yield f"no selected room has the host {quoted(rewrite.old)}, but some have {rewrite.new} already; {advice}"

    def not_met(self) -> Iterator[InputProblem]:
        """Yield a problem for each rewrite whose old and new host no selected room has."""
        for rewrite in self._hosts.not_found():
            text = f"no room has the host {quoted(rewrite.old)}"
            if self.conditions:
                text = f"no room that meets the conditions has the host {quoted(rewrite.old)}"
            advice = self._hosts.advice(rewrite.old)
            yield InputProblem(_REWRITES, None, None, f"{text}; {advice}", code="host_not_found", value=rewrite.old)


_URLS: Final = ("webhook_event_url", "webhook_event_failover_url")

_MAX_HOSTS: Final = 10_000
"""Maximum number of hosts to count. Rooms with other hosts are ignored."""

_MAX_HINTS: Final = 3


_SCHEME: Final = re.compile("[A-Za-z][A-Za-z0-9+.-]*://")


class _Hosts:
    """The hosts of the rooms' URLs, and the rewrites that have found a URL."""

    def __init__(self, rewrites: Mapping[str, HostRewrite]) -> None:
        self._rewrites = rewrites
        # Applied to a URL with the new host, such a rewrite leaves it unchanged if it has the new scheme and port too.
        self._done = {
            new: rewrite._replace(old=new)
            for rewrite in rewrites.values()
            if (new := read_host(rewrite.new)) is not None
        }
        self._found: set[str] = set()
        """The old and new hosts that a selected room has."""
        self._rooms: Counter[str] = Counter()
        """The number of rooms in the account by host."""

    def add(self, room: Room) -> None:
        """Count the hosts of a room."""
        for host in {host_of(url) for url in (room.webhook_event_url, room.webhook_event_failover_url) if url}:
            if host is not None and (host in self._rooms or len(self._rooms) < _MAX_HOSTS):
                self._rooms[host] += 1

    def rewritten(self, url: str) -> str | None:
        """Return the rewritten URL, or the URL itself if it is as wanted already; None if no rewrite concerns it."""
        host = host_of(url) or ""
        if (rewrite := self._rewrites.get(host)) is not None:
            self._found.add(host)
            return rewrite(url)
        if (done := self._done.get(host)) is not None and done(url) == url:
            self._found.add(host)
            return url
        return None

    def lacks_scheme(self, url: str) -> bool:
        """Return whether a URL without a scheme has a host to replace."""
        return _SCHEME.match(url) is None and host_of(f"https://{url.lstrip('/')}") in self._rewrites

    def not_found(self, *, but_done: bool = False) -> Iterator[HostRewrite]:
        """Yield the rewrites whose old host no selected room has. `but_done` says whether a room has the new host."""
        for rewrite in self._rewrites.values():
            if rewrite.old not in self._found and (read_host(rewrite.new) in self._found) is but_done:
                yield rewrite

    def advice(self, host: str) -> str:
        """Return which hosts the rooms have: those that are similar to this one, or the most frequent ones."""
        if not self._rooms:
            return "no room has a webhook URL with a host"
        if host in self._rooms:
            return (
                f"{counted(self._rooms[host], 'room')} of the account {'has' if self._rooms[host] == 1 else 'have'} it"
            )
        close = sorted(difflib.get_close_matches(host, self._rooms, _MAX_HINTS), key=lambda name: -self._rooms[name])
        known = close or [name for name, _ in self._rooms.most_common(_MAX_HINTS)]
        named = ", ".join(f"{name} ({counted(self._rooms[name], 'room')})" for name in known)
        return f"{'did you mean' if close else 'the most frequent hosts are'} {named}{'?' * bool(close)}"


def _hosts_of(selection: Selection) -> _Hosts:
    return _Hosts(selection.rewrites)


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
    found = Problems("where")
    conditions = read_conditions(where, found)
    problems = found.listed()
    fields = _fields(set_fields, problems)
    rewrites = _rewrites(rewrite_webhook_host, problems, chosen)
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


def _rewrites(
    rewrite_webhook_host: Sequence[str], problems: list[InputProblem], policy: WebhookUrlPolicy
) -> dict[str, HostRewrite]:
    rewrites: dict[str, HostRewrite] = {}
    if isinstance(rewrite_webhook_host, str):
        problems.append(_not_a_list(_REWRITES, rewrite_webhook_host, "rewrite", "bad_rewrite"))
        return rewrites
    for text in rewrite_webhook_host:
        try:
            rewrite = _read_rewrite(text)
        except ClientSettingsError as error:
            wrong = f"{quoted(text)} is not OLD=NEW with two hosts, such as old.example.com=new.example.com"
            if error.setting == "port":
                wrong = f"{quoted(text)} has the port {error.value}; give a port from 1 to 65535"
        else:
            wrong = _wrong_target(rewrite, policy)
            if rewrite.old in rewrites:
                wrong = f"{quoted(text.partition('=')[0].strip())} is rewritten twice"
            if not wrong:
                rewrites[rewrite.old] = rewrite
                continue
        problems.append(InputProblem(_REWRITES, None, None, wrong, code="bad_rewrite", value=text))
    return rewrites


_REWRITES: Final = "rewrite_webhook_host"


def _wrong_target(rewrite: HostRewrite, policy: WebhookUrlPolicy) -> str:
    """Return why no URL may have the new host; empty if a URL may have it.

    Without this check, each room with the old host would have the same problem.
    """
    port = f":{rewrite.port}" if isinstance(rewrite.port, int) else ""
    url = f"{rewrite.scheme or policy.schemes[0]}://{rewrite.new}{port}/"
    return "; ".join(text_message(problem) for problem in check_webhook_url(url, policy))


def _read_rewrite(text: str) -> HostRewrite:
    found = _REWRITE.fullmatch(text)
    old, scheme, new, port = ("", None, "", None) if found is None else found.groups()
    return HostRewrite.of(old.strip(), new, scheme=scheme, port=UNSET if port is None else int(port))
