"""Fix by rule what an audit finds: pairs of a room and the update that fixes its webhook settings.

    rules = FixRules(https=True, failover_url="https://backup.example.com/rooms", timeout_secs=10)
    updates = rules.updates(client.rooms.list())
    async with aclosing(client.rooms.update_many(updates)) as results:
        ...

To review the updates first, and to be able to roll them back, write them as a plan: pass `bulk.computed(rules)` to
`bulk.make_plan`.
"""

from collections.abc import AsyncGenerator, AsyncIterable

import attrs

from .._aio import close
from .._checks import instance_of, setting_error
from .._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy, host_of, masked_repr, same_url, with_scheme
from ..errors import InvalidRequestError
from ..models import Room, RoomUpdate
from ..models._fields import unreadable_fields

__all__ = ["FixRules"]

_URL = "webhook_event_url"
_FAILOVER = "webhook_event_failover_url"
_TIMEOUT = "webhook_timeout_secs"


@attrs.frozen(kw_only=True)
class FixRules:
    """The rules that fix the webhook settings of rooms. Only rooms with a webhook URL are fixed.

    Raises `ClientSettingsError` if no rule is given, and `InvalidRequestError` if the failover URL or the timeout is
    invalid.
    """

    https: bool = attrs.field(default=False, validator=instance_of(bool))
    """Whether URLs with `http` get `https`. The port 80 is removed; other ports stay."""
    failover_url: str | None = attrs.field(default=None, repr=masked_repr)
    """The failover URL of rooms that have none, or one on the host of their webhook URL. None changes no room.

    Rooms whose webhook URL is on the host of this URL are not changed."""
    timeout_secs: int | None = None
    """The timeout of rooms whose timeout is not set or 0, in seconds, 1 to 30. None changes no room."""
    webhook_url_policy: WebhookUrlPolicy = attrs.field(default=DEFAULT_POLICY, validator=instance_of(WebhookUrlPolicy))
    """The rules for URLs. A fix that they reject is left out."""

    def __attrs_post_init__(self) -> None:
        """Check the rules together."""
        if not self.https and self.failover_url is None and self.timeout_secs is None:
            raise setting_error("FixRules", "has no rule", "give https=True, failover_url or timeout_secs")
        if self.timeout_secs == 0:
            raise setting_error("FixRules(timeout_secs=)", "is 0", "give 1 to 30 seconds", 0)
        given = {_FAILOVER: self.failover_url, _TIMEOUT: self.timeout_secs}
        RoomUpdate.from_dict(
            {name: value for name, value in given.items() if value is not None},
            webhook_url_policy=self.webhook_url_policy,
        )

    def __call__(self, room: Room) -> RoomUpdate | None:
        """Return the update that fixes a room, or None if these rules change nothing in it."""
        if not room.webhook_event_url or unreadable_fields(room, (_URL, _FAILOVER, _TIMEOUT)):
            return None
        wanted = self._urls(room.webhook_event_url, room.webhook_event_failover_url or None)
        if self.timeout_secs is not None and not room.webhook_timeout_secs:
            wanted[_TIMEOUT] = self.timeout_secs
        return self._valid(wanted)

    def _urls(self, url: str, failover: str | None) -> dict[str, object]:
        new_url, new_failover = url, failover
        if self.https:
            new_url = _with_https(url)
            new_failover = None if failover is None else _with_https(failover)
        host = host_of(url)
        shares_host = new_failover is None or (host is not None and host_of(new_failover) == host)
        if shares_host and self.failover_url is not None and host_of(self.failover_url) != host:
            new_failover = self.failover_url
        if new_failover is not None and same_url(new_url, new_failover):
            new_url, new_failover = url, failover  # the server could not use both
        urls = {_URL: (url, new_url), _FAILOVER: (failover, new_failover)}
        return {name: new for name, (old, new) in urls.items() if new != old}

    def _valid(self, wanted: dict[str, object]) -> RoomUpdate | None:
        try:
            update = RoomUpdate.from_dict(wanted, webhook_url_policy=self.webhook_url_policy)
        except InvalidRequestError as error:
            rejected = {problem.field for problem in error.problems}
            return self._valid({name: value for name, value in wanted.items() if name not in rejected})
        return update if wanted else None

    async def updates(self, rooms: AsyncIterable[Room]) -> AsyncGenerator[tuple[Room, RoomUpdate]]:
        """Yield the rooms that these rules change, each with its update, as the input for `update_many`."""
        source = aiter(rooms)
        try:
            async for room in source:
                if (update := self(room)) is not None:
                    yield room, update
        finally:
            await close(source)


def _with_https(url: str) -> str:
    return with_scheme(url, "https") if url[:5].lower() == "http:" else url
