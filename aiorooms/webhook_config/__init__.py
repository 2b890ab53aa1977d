"""Check webhook and failover URLs, and combine the webhook settings of a room in one object."""

from .config import DEFAULT_POLICY, WebhookConfig, WebhookUrlPolicy, check_webhook_url, check_webhook_urls

__all__ = ["DEFAULT_POLICY", "WebhookConfig", "WebhookUrlPolicy", "check_webhook_url", "check_webhook_urls"]
