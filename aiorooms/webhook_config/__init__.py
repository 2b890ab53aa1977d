"""Helpers for webhook settings: check, audit, probe, fix and rewrite them.

`check_webhook_url` returns the problems of a URL, and `WebhookUrlPolicy` says which URLs are accepted. `rewrite_host`
replaces the host of a URL. `WebhookConfig` combines the three webhook fields of a room. `audit` finds the rooms of an
account whose webhook can't work or is at risk, and `FixRules` fixes them. `probe` sends a test event to a webhook URL.
The folder's README.md is a guide.
"""

from typing import TYPE_CHECKING

from .._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy, check_webhook_url, check_webhook_urls, rewrite_host
from .config import WebhookConfig

if TYPE_CHECKING:
    from ._audit import Audit, audit
    from ._dns import Resolve
    from ._findings import MEANINGS, SEVERITIES, AuditFinding, FindingKind, Severity, WebhookField
    from ._fixes import FixRules
    from ._probe import probe, probe_many
    from ._signing import EventSigner
    from ._verdicts import ProbeCause, ProbeReport, ProbeResult, ProbeVerdict, TlsInfo

__all__ = [
    "DEFAULT_POLICY",
    "MEANINGS",
    "SEVERITIES",
    "Audit",
    "AuditFinding",
    "EventSigner",
    "FindingKind",
    "FixRules",
    "ProbeCause",
    "ProbeReport",
    "ProbeResult",
    "ProbeVerdict",
    "Resolve",
    "Severity",
    "TlsInfo",
    "WebhookConfig",
    "WebhookField",
    "WebhookUrlPolicy",
    "audit",
    "check_webhook_url",
    "check_webhook_urls",
    "probe",
    "probe_many",
    "rewrite_host",
]

_LAZY = {
    "MEANINGS": "_findings",
    "SEVERITIES": "_findings",
    "Audit": "_audit",
    "AuditFinding": "_findings",
    "FindingKind": "_findings",
    "FixRules": "_fixes",
    "EventSigner": "_signing",
    "ProbeCause": "_verdicts",
    "ProbeReport": "_verdicts",
    "ProbeResult": "_verdicts",
    "ProbeVerdict": "_verdicts",
    "Resolve": "_dns",
    "Severity": "_findings",
    "TlsInfo": "_verdicts",
    "WebhookField": "_findings",
    "audit": "_audit",
    "probe": "_probe",
    "probe_many": "_probe",
}
"""The names that are imported on first use, each with its module. Most programs don't need them at every start."""


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
