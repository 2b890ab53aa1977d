"""Helpers for webhook settings: check URLs, rewrite their hosts, and combine the settings of a room in one object.

`check_webhook_url` returns the problems of a URL, and `WebhookUrlPolicy` says which URLs are accepted. `rewrite_host`
replaces the host of a URL. `WebhookConfig` combines the three webhook fields of a room.
"""

from .._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy, check_webhook_url, check_webhook_urls, rewrite_host
from .config import WebhookConfig

__all__ = [
    "DEFAULT_POLICY",
    "WebhookConfig",
    "WebhookUrlPolicy",
    "check_webhook_url",
    "check_webhook_urls",
    "rewrite_host",
]
