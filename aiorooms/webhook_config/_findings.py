"""The findings of an audit that concern the webhook settings of one room. Pure: DNS is not queried.

A URL that has a finding of its own kind, such as `http`, is not reported as `rejected_url` too, even if the policy
rejects it for the same reason. Example: the policy allows only https, and a room has the webhook URL
`http://hook.lan/#a` and no failover URL. Its findings are `http`, `special_use_host`, `no_failover`, and `rejected_url`
because of the fragment.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

import attrs
from yarl import URL

from .._webhook_url import (
    LENIENT_POLICY,
    WebhookUrlPolicy,
    check_webhook_url,
    host_of,
    is_public,
    same_url,
    special_use_name,
)
from ..models import Room
from ..models._fields import unreadable_fields

__all__ = [
    "KINDS", "MEANINGS", "SEVERITIES", "AuditFinding", "FindingKind", "Hosts", "Severity", "WebhookField",
    "finding_of", "room_findings",
]  # fmt: skip

FindingKind: TypeAlias = Literal[
    "rejected_url",
    "unresolvable_host",
    "private_host",
    "special_use_host",
    "unreadable",
    "failover_without_url",
    "failover_same_host",
    "no_failover",
    "credentials",
    "http",
    "timeout_zero",
    "timeout_unset",
    "unusual",
]
"""The kind of a finding. `MEANINGS` says what each kind means."""

KINDS: Final[tuple[FindingKind, ...]] = get_args(FindingKind)
"""All kinds, the most severe first."""

Severity: TypeAlias = Literal["error", "warning", "info"]
"""`error`: events can't arrive. `warning`: events are at risk. `info`: probably not intended."""

SEVERITIES: Final[Mapping[FindingKind, Severity]] = MappingProxyType(
    {
        "rejected_url": "error",
        "unresolvable_host": "error",
        "private_host": "error",
        "special_use_host": "error",
        "unreadable": "error",
        "failover_without_url": "warning",
        "failover_same_host": "warning",
        "no_failover": "warning",
        "credentials": "warning",
        "http": "warning",
        "timeout_zero": "warning",
        "timeout_unset": "info",
        "unusual": "info",
    }
)
"""The severity of each kind, the most severe first."""

MEANINGS: Final[Mapping[FindingKind, str]] = MappingProxyType(
    {
        "rejected_url": "the policy would reject the URL today",
        "unresolvable_host": "DNS has no address for the host (only with DNS)",
        "private_host": "the host is a private address or a name without a dot, or with DNS, has a private address",
        "special_use_host": "the host ends with a name such as .local or .corp, which the public DNS never resolves",
        "unreadable": "the server's value is missing or has the wrong type",
        "failover_without_url": "there is a failover URL, but no webhook URL",
        "failover_same_host": "both URLs have the same host, or with DNS, the same addresses, so they fail together",
        "no_failover": "there is a webhook URL, but no failover URL",
        "credentials": "the URL contains a user name or password, which ends up in logs",
        "http": "events are sent without encryption",
        "timeout_zero": "the timeout is 0; what the server does then is not documented",
        "timeout_unset": "the timeout is not set; what the server does then is not documented",
        "unusual": "at least 90 % of the rooms have another host or timeout",
    }
)
"""What each kind means, the most severe kind first."""

WebhookField: TypeAlias = Literal["webhook_event_url", "webhook_event_failover_url", "webhook_timeout_secs"]
"""A setting that findings are about."""


@attrs.frozen(kw_only=True)
class AuditFinding:
    """One finding of an audit."""

    kind: FindingKind
    room_id: str | None
    """The room's id. None if the server sent no readable id, or if the finding is about several rooms."""
    unique_name: str | None
    """The room's name; None if it has none."""
    field: WebhookField
    """The setting that the finding is about."""
    message: str
    """What was found, and why it matters, in one line. User names and passwords are shown as `***`."""

    @property
    def severity(self) -> Severity:
        """How severe findings of this kind are."""
        return SEVERITIES[self.kind]


def finding_of(room: Room, kind: FindingKind, field: WebhookField, message: str) -> AuditFinding:
    """Return a finding about one room."""
    return AuditFinding(kind=kind, room_id=room.id, unique_name=room.unique_name, field=field, message=message)


class Hosts(NamedTuple):
    """The hosts of a room's two URLs, in normal form. None if there is no URL, or if it has no valid host."""

    primary: str | None
    failover: str | None


def room_findings(room: Room, policy: WebhookUrlPolicy) -> tuple[list[AuditFinding], Hosts]:
    """Return the findings of one room, and the hosts of its URLs."""
    found: list[AuditFinding] = []

    def add(kind: FindingKind, field: WebhookField, message: str) -> None:
        found.append(finding_of(room, kind, field, message))

    url, failover = room.webhook_event_url or None, room.webhook_event_failover_url or None
    unreadable: list[WebhookField] = [name for name in _FIELDS if unreadable_fields(room, (name,))]
    for name in unreadable:
        add("unreadable", name, "the server's value is missing or has the wrong type")
    hosts = Hosts(
        _check_url(url, "webhook_event_url", policy, add),
        _check_url(failover, "webhook_event_failover_url", policy, add),
    )
    if "webhook_event_url" in unreadable or "webhook_event_failover_url" in unreadable:
        pass  # whether one of the two is missing is not known
    elif url is None and failover is not None:
        add("failover_without_url", "webhook_event_url", "there is a failover URL, but no webhook URL")
    elif url is not None and failover is None:
        add(
            "no_failover", "webhook_event_failover_url", "there is no failover URL, so events are lost if the URL fails"
        )
    elif url is not None and failover is not None and same_url(url, failover):
        add("failover_same_host", "webhook_event_failover_url", "the failover URL points to the same place as the URL")
    elif hosts.primary is not None and hosts.primary == hosts.failover:
        text = f"both URLs have the host {hosts.primary}, so they fail together"
        add("failover_same_host", "webhook_event_failover_url", text)
    if url is not None and "webhook_timeout_secs" not in unreadable:
        if room.webhook_timeout_secs is None:
            add("timeout_unset", "webhook_timeout_secs", "the timeout is not set")
        elif room.webhook_timeout_secs == 0:
            add("timeout_zero", "webhook_timeout_secs", "the timeout is 0 s")
    return found, hosts


_FIELDS: Final[tuple[WebhookField, ...]] = ("webhook_event_url", "webhook_event_failover_url", "webhook_timeout_secs")

_Add: TypeAlias = Callable[[FindingKind, WebhookField, str], None]


def _check_url(url: str | None, field: WebhookField, policy: WebhookUrlPolicy, add: _Add) -> str | None:
    """Add the findings of one URL. Return its host, or None if it has no valid host."""
    if url is None:
        return None
    match = _ORIGIN.match(url)
    assert match is not None  # every text matches
    origin = _origin_of(match[0])
    for kind, text in origin.findings:
        add(kind, field, text)
    has_own_kind = {kind for kind, _ in origin.findings}
    problems = [
        problem
        for problem in check_webhook_url(url, policy, pointer=f"/{field}")
        if not (
            (problem.setting == "allow_credentials=False" and "credentials" in has_own_kind)
            or (problem.code == "private_host" and has_own_kind & {"private_host", "special_use_host"})
            or (problem.code == "bad_scheme" and "http" in has_own_kind)
        )
    ]
    if problems:
        add("rejected_url", field, "; ".join(problem.message for problem in problems))
    return origin.host


_ORIGIN: Final = re.compile(r"(?:[^/?#]*://)?[^/?#]*")
"""The part of a URL before its path. It matches any text."""


class _Origin(NamedTuple):
    """What the part of a URL before its path shows."""

    host: str | None
    findings: tuple[tuple[FindingKind, str], ...]


# The URLs of many rooms have few origins.
@lru_cache(maxsize=1024)
def _origin_of(origin: str) -> _Origin:
    # The path `//` is the strictest: only with it is `https://https` rejected, as the beginning of `https://https://x.io`.
    if check_webhook_url(f"{origin}//", LENIENT_POLICY):
        return _Origin(None, ())  # every policy rejects the URL
    host = host_of(f"{origin}/")
    if host is None:
        return _Origin(None, ())
    found: list[tuple[FindingKind, str]] = []
    parsed = URL(f"{origin}/")
    if "." in host and (name := special_use_name(host)) is not None:
        found.append(("special_use_host", f"the host {host} ends with .{name}, which the public DNS never resolves"))
    elif not is_public(host):
        found.append(("private_host", f"the host {host} is not on the public internet"))
    if parsed.raw_user is not None or parsed.raw_password is not None:
        shown = f"{parsed.scheme}://***@{host}"
        found.append(("credentials", f"{shown} contains a user name or password, which ends up in logs"))
    if parsed.scheme == "http":
        found.append(("http", f"events are sent to {host} without encryption"))
    return _Origin(host, tuple(found))
