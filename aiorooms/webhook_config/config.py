"""The checks of webhook URL and failover URL, and the webhook settings of a room as one value.

`check_webhook_url` and `WebhookUrlPolicy` say whether a URL would be sent. `WebhookConfig` holds what a room's three
webhook fields say together, to be copied from room to room or kept in a setting of your own.
"""

from typing import Self

import attrs

from .._unset import UNSET, Unset
from .._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy, check_webhook_url, check_webhook_urls
from ..models import Room, RoomUpdate

__all__ = ["DEFAULT_POLICY", "WebhookConfig", "WebhookUrlPolicy", "check_webhook_url", "check_webhook_urls"]


@attrs.frozen
class WebhookConfig:
    """The webhook settings of a room. What is `UNSET` is left alone when they are applied; None clears.

    Any text can be held, as rooms can hold URLs that would not be sent today: it is checked by `to_update`.
    """

    url: str | Unset = UNSET
    """Where events are sent."""
    failover_url: str | Unset | None = UNSET
    """Where events are sent if sending to `url` fails."""
    timeout_secs: int | Unset | None = UNSET
    """Seconds to wait before a webhook times out, 0 to 30."""

    @classmethod
    def from_room(cls, room: Room) -> Self:
        """Take the settings of a room. No failover URL, which the API writes as an empty text, is None.

        A room without a webhook URL gives `UNSET` for it, as a webhook URL can't be cleared.
        """
        return cls(
            url=room.webhook_event_url or UNSET,
            failover_url=room.webhook_event_failover_url or None,
            timeout_secs=room.webhook_timeout_secs,
        )

    def to_update(self, *, webhook_url_policy: WebhookUrlPolicy = DEFAULT_POLICY) -> RoomUpdate:
        """Make the update that gives a room these settings. Raises `InvalidRequestError` with all problems."""
        return RoomUpdate(
            webhook_event_url=self.url,
            webhook_event_failover_url=self.failover_url,
            webhook_timeout_secs=self.timeout_secs,
            webhook_url_policy=webhook_url_policy,
        )
