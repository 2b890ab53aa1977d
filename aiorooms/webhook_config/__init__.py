"""Helpers on the webhook settings of rooms."""

from .config import DEFAULT_POLICY, WebhookConfig, WebhookUrlPolicy, check_webhook_url, check_webhook_urls

__all__ = ["DEFAULT_POLICY", "WebhookConfig", "WebhookUrlPolicy", "check_webhook_url", "check_webhook_urls"]
