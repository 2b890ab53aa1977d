"""Check webhook URLs and failover URLs. No I/O."""

from .check import check_webhook_url, check_webhook_urls, masked_repr, masked_url
from .host import YARL_ERRORS, comparable_host, matches, read_address
from .plain import split_plain
from .policy import DEFAULT_POLICY, LENIENT_POLICY, WebhookUrlPolicy, policy_of
from .public import is_loopback, is_public, special_use_name
from .rewrite import HostRewrite, host_of, read_host, rewrite_host, with_scheme
from .same import origin_of, same_url

__all__ = [
    "DEFAULT_POLICY",
    "LENIENT_POLICY",
    "YARL_ERRORS",
    "HostRewrite",
    "WebhookUrlPolicy",
    "check_webhook_url",
    "check_webhook_urls",
    "comparable_host",
    "host_of",
    "is_loopback",
    "is_public",
    "masked_repr",
    "masked_url",
    "matches",
    "origin_of",
    "policy_of",
    "read_address",
    "read_host",
    "rewrite_host",
    "same_url",
    "special_use_name",
    "split_plain",
    "with_scheme",
]
