"""Checks of webhook and failover URLs, and the webhook settings of a room as one value.

`check_webhook_url` and `WebhookUrlPolicy` say whether a URL may be sent. `WebhookConfig` combines the three webhook
fields of a room, to copy them from room to room or to keep them in your own settings.
"""

from typing import Self

import attrs

from .._unset import UNSET, Unset
from .._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy, check_webhook_url, check_webhook_urls
from ..models import Room, RoomUpdate

__all__ = ["DEFAULT_POLICY", "WebhookConfig", "WebhookUrlPolicy", "check_webhook_url", "check_webhook_urls"]


@attrs.frozen
class WebhookConfig:
    """The webhook settings of a room. In an update, `UNSET` leaves a setting unchanged, and None clears it.

    The values are checked by `to_update` and not before, because a room may have URLs that the check would reject.
    """

    url: str | Unset = UNSET
    """The URL that receives the events of the room."""
    failover_url: str | Unset | None = UNSET
    """The URL that receives the events if `url` fails."""
    timeout_secs: int | Unset | None = UNSET
    """Seconds before a webhook times out, 0 to 30 inclusive."""

    @classmethod
    def from_room(cls, room: Room) -> Self:
        """Return the settings of a room. Without a failover URL, `failover_url` is None.

        Without a webhook URL, `url` is `UNSET`, because a webhook URL can't be cleared.
        """
        return cls(
            url=room.webhook_event_url or UNSET,
            failover_url=room.webhook_event_failover_url or None,
            timeout_secs=room.webhook_timeout_secs,
        )

    def to_update(self, *, webhook_url_policy: WebhookUrlPolicy = DEFAULT_POLICY) -> RoomUpdate:
        """Return the update that applies these settings to a room. Raises `InvalidRequestError` if any is invalid."""
        return RoomUpdate(
            webhook_event_url=self.url,
            webhook_event_failover_url=self.failover_url,
            webhook_timeout_secs=self.timeout_secs,
            webhook_url_policy=webhook_url_policy,
        )
