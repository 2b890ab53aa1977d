"""Check webhook URLs and failover URLs. No I/O."""

from .check import check_webhook_url, check_webhook_urls, masked_url
from .host import YARL_ERRORS, comparable_host, is_loopback, matches
from .plain import split_plain
from .policy import DEFAULT_POLICY, WebhookUrlPolicy, policy_of
from .same import same_url

__all__ = [
    "DEFAULT_POLICY",
    "YARL_ERRORS",
    "WebhookUrlPolicy",
    "check_webhook_url",
    "check_webhook_urls",
    "comparable_host",
    "is_loopback",
    "masked_url",
    "matches",
    "policy_of",
    "same_url",
    "split_plain",
]
