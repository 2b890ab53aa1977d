"""Which webhook URLs a user accepts, among those that are URLs at all."""

import re
import warnings
from collections.abc import Iterable
from typing import cast

import attrs

from .._checks import instance_of, setting_error, wrong_type
from ..errors import ClientSettingsError
from .characters import character_findings, quote_text
from .host import HostError, is_ipv6, normal_host, read_address

__all__ = ["DEFAULT_POLICY", "SCHEME", "WebhookUrlPolicy", "policy_of"]

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")  # RFC 3986, 3.1


def _setting(field: str) -> str:
    return f"WebhookUrlPolicy({field}=)"


def _strings(field: str, value: object) -> tuple[str, ...]:
    # A str is an iterable of str, so no type checker sees what is wrong with `schemes="https"`.
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise wrong_type(_setting(field), value, "a tuple or another iterable of str")
    items = tuple(cast("Iterable[object]", value))
    if not all(isinstance(item, str) for item in items):
        raise wrong_type(_setting(field), items, "nothing but str")
    return cast("tuple[str, ...]", items)


def _to_schemes(value: Iterable[str]) -> tuple[str, ...]:
    schemes = tuple(scheme.lower() for scheme in _strings("schemes", value))
    if not schemes:
        raise setting_error(_setting("schemes"), "is empty", "give at least one scheme, or no URL could pass", value)
    for scheme in schemes:
        if not SCHEME.fullmatch(scheme):
            wrong = f"has {quote_text(scheme)}, which is not a scheme"
            raise setting_error(_setting("schemes"), wrong, "write one like 'https', without '://'", scheme)
    return schemes


def _to_patterns(field: str, value: Iterable[str]) -> tuple[str, ...]:
    patterns: list[str] = []

    def error(pattern: str, wrong: str, right: str) -> ClientSettingsError:
        return setting_error(_setting(field), f"has {quote_text(pattern)}, which {wrong}", right, pattern)

    for pattern in _strings(field, value):
        star = "*." if pattern.startswith("*.") else ""
        host = pattern.removeprefix(star)
        if unseen := character_findings(host):
            raise error(pattern, unseen[0].wrong, "leave it out")
        try:
            name = normal_host(f"[{host}]" if is_ipv6(host) else host)
        except HostError as wrong_host:
            raise error(pattern, wrong_host.wrong, wrong_host.right) from None
        if star and read_address(name):
            raise error(pattern, "has '*.' before an address", "only names have names below them")
        patterns.append(star + name)
    return tuple(patterns)


def _to_allowed_hosts(value: Iterable[str]) -> tuple[str, ...]:
    return _to_patterns("allowed_hosts", value)


def _to_denied_hosts(value: Iterable[str]) -> tuple[str, ...]:
    return _to_patterns("denied_hosts", value)


@attrs.frozen(kw_only=True, cache_hash=True)
class WebhookUrlPolicy:
    """Which webhook URLs you accept, among those that are URLs at all.

    Each setting is checked when the policy is made. Raises `ClientSettingsError`, a `ValueError`, which names the
    setting; it is also a `TypeError` if the setting is of a wrong type. Any iterable of str may be given for a tuple,
    but not a bare str.

    A host pattern is a host (`example.com`, `203.0.113.7`, `[2001:db8::1]`), or `*.` and a name. `*.example.com`
    matches `a.example.com` and `a.b.example.com` but not `example.com` itself; give both to mean both. Hosts and
    patterns are compared after IDNA, in lower case and without a trailing dot.
    """

    schemes: tuple[str, ...] = attrs.field(default=("https", "http"), converter=_to_schemes)
    """The schemes a URL may have, in any case (RFC 3986, 3.1); `("https",)` lets only encrypted webhooks through."""
    allow_credentials: bool = attrs.field(default=False, validator=instance_of(bool))
    """Whether a URL may hold a user name and password (RFC 3986, 3.2.1), as in `https://user:secret@example.com/`."""
    allow_private_hosts: bool = attrs.field(default=True, validator=instance_of(bool))
    """Whether a URL may have a host that the public internet can't reach. False refuses

    - addresses that are private, shared, loopback, link-local (among them the metadata service of clouds), reserved,
      multicast or unspecified, also as inet_aton and browsers read them: `127.1`, `0x7f.1`, `0177.0.0.1`, `2130706433`;
    - IPv6 addresses outside 2000::/3, and all that hold an IPv4 address: mapped, compatible, NAT64, 6to4 and Teredo;
    - `localhost`, `local`, `internal`, `home.arpa`, `localdomain`, all names below these, and names of one label.

    `allowed_hosts` does not override it. A public name that leads to a private address is not noticed."""
    allowed_hosts: tuple[str, ...] = attrs.field(default=(), converter=_to_allowed_hosts)
    """Patterns of the only hosts a URL may have; empty allows all."""
    denied_hosts: tuple[str, ...] = attrs.field(default=(), converter=_to_denied_hosts)
    """Patterns of hosts a URL must not have, even if `allowed_hosts` has them."""


DEFAULT_POLICY = WebhookUrlPolicy()
"""https and http, every host, no credentials."""


def policy_of(webhook_url_policy: WebhookUrlPolicy, policy: WebhookUrlPolicy | None) -> WebhookUrlPolicy:
    """Return the policy that was given; with a warning if it was given by its old name."""
    if policy is None:
        return webhook_url_policy
    warnings.warn("policy= is called `webhook_url_policy=` now", DeprecationWarning, stacklevel=3)
    return policy
