"""The checks of webhook URL and failover URL. Pure: nothing here does I/O."""

from .check import check_webhook_url, check_webhook_urls, same_url
from .host import is_loopback
from .policy import DEFAULT_POLICY, WebhookUrlPolicy

__all__ = ["DEFAULT_POLICY", "WebhookUrlPolicy", "check_webhook_url", "check_webhook_urls", "is_loopback", "same_url"]
