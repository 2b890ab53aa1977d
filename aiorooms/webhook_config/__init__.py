"""Checks of webhook and failover URLs, and the webhook settings of a room as one value."""

from .config import DEFAULT_POLICY, WebhookConfig, WebhookUrlPolicy, check_webhook_url, check_webhook_urls

__all__ = ["DEFAULT_POLICY", "WebhookConfig", "WebhookUrlPolicy", "check_webhook_url", "check_webhook_urls"]
