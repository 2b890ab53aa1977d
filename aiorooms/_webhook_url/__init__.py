"""The checks of webhook URL and failover URL. Pure: nothing here does I/O."""

from .check import DEFAULT_POLICY, WebhookUrlPolicy, check_webhook_url, check_webhook_urls, is_loopback, same_url

__all__ = ["DEFAULT_POLICY", "WebhookUrlPolicy", "check_webhook_url", "check_webhook_urls", "is_loopback", "same_url"]
