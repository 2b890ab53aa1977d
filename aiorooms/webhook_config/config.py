"""`WebhookConfig` combines the three webhook fields of a room.

So you can copy them to other rooms, keep them in your own settings, or move them to another host.
"""

from typing import Self

import attrs

from .._unset import UNSET, Unset
from .._webhook_url import DEFAULT_POLICY, HostRewrite, WebhookUrlPolicy, masked_repr
from ..models import Room, RoomUpdate

__all__ = ["WebhookConfig"]


@attrs.frozen
class WebhookConfig:
    """The webhook settings of a room. In an update, `UNSET` leaves a setting unchanged, and None clears it.

    Only `to_update` checks the values. Creating a `WebhookConfig` does not, because a room may have URLs that the check
    would reject.
    """

    url: str | Unset = attrs.field(default=UNSET, repr=masked_repr)
    """The URL that receives the events of the room."""
    failover_url: str | Unset | None = attrs.field(default=UNSET, repr=masked_repr)
    """The URL that receives the events if `url` fails."""
    timeout_secs: int | Unset | None = UNSET
    """Seconds before a webhook times out, 0 to 30 inclusive."""

    @classmethod
    def from_room(cls, room: Room) -> Self:
        """Return the settings of a room. If the room has no failover URL, `failover_url` is None.

        If the room has no webhook URL, `url` is `UNSET`, because a webhook URL can't be cleared.
        """
        return cls(
            url=room.webhook_event_url or UNSET,
            failover_url=room.webhook_event_failover_url or None,
            timeout_secs=room.webhook_timeout_secs,
        )

    def rewrite(self, old: str, new: str, *, scheme: str | None = None, port: int | Unset | None = UNSET) -> Self:
        """Return the settings with the host `new` in place of `old`, in the webhook URL and in the failover URL.

        The arguments are those of `rewrite_host`. Raises `ClientSettingsError` if one is invalid.
        """
        rewrite = HostRewrite.of(old, new, scheme=scheme, port=port)
        url = rewrite(self.url) if isinstance(self.url, str) else self.url
        failover_url = rewrite(self.failover_url) if isinstance(self.failover_url, str) else self.failover_url
        return attrs.evolve(self, url=url, failover_url=failover_url)

    def to_update(self, *, webhook_url_policy: WebhookUrlPolicy = DEFAULT_POLICY) -> RoomUpdate:
        """Return the update that applies these settings to a room. Raises `InvalidRequestError` if one is invalid."""
        return RoomUpdate(
            webhook_event_url=self.url,
            webhook_event_failover_url=self.failover_url,
            webhook_timeout_secs=self.timeout_secs,
            webhook_url_policy=webhook_url_policy,
        )
