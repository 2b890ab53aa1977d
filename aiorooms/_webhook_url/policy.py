"""`WebhookUrlPolicy`: the user's rules for accepting valid webhook and failover URLs."""

import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Self, cast

import attrs

from .._checks import instance_of, setting_error, wrong_type
from ..errors import ClientSettingsError
from .characters import character_findings, quote_text
from .host import HostError, is_ipv6, normal_host, read_address

__all__ = ["DEFAULT_POLICY", "LENIENT_POLICY", "SCHEME", "WebhookUrlPolicy", "policy_of"]

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")  # RFC 3986, 3.1


def _setting(field: str) -> str:
    return f"WebhookUrlPolicy({field}=)"


def _strings(field: str, value: object) -> tuple[str, ...]:
    # A str is an iterable of str, so type checkers accept the mistake `schemes="https"`.
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise wrong_type(_setting(field), value, "a tuple or another iterable of str")
    items = tuple(cast("Iterable[object]", value))
    if not all(isinstance(item, str) for item in items):
        raise wrong_type(_setting(field), items, "only str")
    return cast("tuple[str, ...]", items)


def _to_schemes(value: Iterable[str]) -> tuple[str, ...]:
    schemes = tuple(scheme.lower() for scheme in _strings("schemes", value))
    if not schemes:
        raise setting_error(_setting("schemes"), "is empty", "give at least one scheme, such as 'https'", value)
    for scheme in schemes:
        if not SCHEME.fullmatch(scheme):
            wrong = f"has {quote_text(scheme)}, which is not a scheme"
            raise setting_error(_setting("schemes"), wrong, "give one such as 'https', without '://'", scheme)
    return schemes


def _to_patterns(field: str, value: Iterable[str]) -> tuple[str, ...]:
    patterns: list[str] = []

    def error(pattern: str, wrong: str, hint: str) -> ClientSettingsError:
        return setting_error(_setting(field), f"has {quote_text(pattern)}, which {wrong}", hint, pattern)

    for pattern in _strings(field, value):
        star = "*." if pattern.startswith("*.") else ""
        host = pattern.removeprefix(star)
        if bad := character_findings(host):
            raise error(pattern, bad[0].wrong, "remove it")
        try:
            name = normal_host(f"[{host}]" if is_ipv6(host) else host)
        except HostError as wrong_host:
            raise error(pattern, wrong_host.wrong, wrong_host.hint) from None
        if star and read_address(name):
            raise error(pattern, "has '*.' before an IP address", "'*.' works only before a domain name")
        patterns.append(star + name)
    return tuple(patterns)


def _to_allowed_hosts(value: Iterable[str]) -> tuple[str, ...]:
    return _to_patterns("allowed_hosts", value)


def _to_denied_hosts(value: Iterable[str]) -> tuple[str, ...]:
    return _to_patterns("denied_hosts", value)


@attrs.frozen(kw_only=True, cache_hash=True)
class WebhookUrlPolicy:
    """The rules that decide which valid webhook and failover URLs are accepted.

    A host pattern is a host (`example.com`, `203.0.113.7`, `[2001:db8::1]`), or `*.` and a name. `*.example.com`
    matches `a.example.com` and `a.b.example.com` but not `example.com` itself; give both patterns to match all three.
    Hosts and patterns are compared after IDNA encoding, in lower case and without a trailing dot.

    Each setting is checked when the policy is created. A setting that is a tuple can be given as any iterable of str,
    but not as a single str. An invalid setting raises `ClientSettingsError`, which is a `ValueError` and names the
    setting. If the type is wrong, the error is also a `TypeError`.
    """

    schemes: tuple[str, ...] = attrs.field(default=("https", "http"), converter=_to_schemes)
    """The schemes that a URL may have. Case is ignored (RFC 3986, 3.1). Use `("https",)` to require encryption."""
    allow_credentials: bool = attrs.field(default=False, validator=instance_of(bool))
    """Whether a URL may contain a user name and password (RFC 3986, 3.2.1), as in `https://user:secret@x.io/`."""
    allow_private_hosts: bool = attrs.field(default=True, validator=instance_of(bool))
    """Whether a URL may have a host that the public internet can't reach. False rejects

    - addresses that are private, shared, loopback, link-local (such as the metadata service of clouds), reserved,
      multicast or unspecified, in every notation that inet_aton and browsers read: `127.1`, `0x7f.1`, `0177.0.0.1`,
      `2130706433`;
    - IPv6 addresses outside 2000::/3, and those that embed an IPv4 address: mapped, compatible, NAT64, 6to4 and Teredo;
    - special-use names and all their subdomains: `test`, `invalid`, `example`, `localhost`, `local`, `onion`,
      `home.arpa`, `alt`, `internal`, `corp`, `home`, `mail`, `lan`, `localdomain`, `svc`, `intranet`, `private`;
    - names without a dot.

    `allowed_hosts` does not override this setting. A public name that resolves to a private address is not detected."""
    allowed_hosts: tuple[str, ...] = attrs.field(default=(), converter=_to_allowed_hosts)
    """Patterns of the hosts that are allowed. An empty tuple allows all hosts."""
    denied_hosts: tuple[str, ...] = attrs.field(default=(), converter=_to_denied_hosts)
    """Patterns of the hosts that are not allowed. They take precedence over `allowed_hosts`."""

    @classmethod
    def from_toml(cls, path: str | Path) -> Self:
        """Read a policy from a TOML file whose keys are the settings, such as `schemes = ["https"]`.

        A missing key has its default. Nothing is read unless you call this method. Raises `PolicyFileError`, with all
        problems, if the file can't be read or a setting is unknown or invalid. Reading blocks for a moment, so call
        this method before the event loop runs, or in a thread.
        """
        from .policy_file import read_settings  # imported here, because most programs have no policy file

        return cls(**read_settings(path))


DEFAULT_POLICY = WebhookUrlPolicy()
"""Accepts https and http, all hosts, and no credentials."""
LENIENT_POLICY = WebhookUrlPolicy(allow_credentials=True)
"""Accepts https and http, all hosts, and credentials: every URL that a receiver of webhooks can have."""


def policy_of(webhook_url_policy: WebhookUrlPolicy, policy: WebhookUrlPolicy | None) -> WebhookUrlPolicy:
    """Return the policy from the current argument or from the deprecated `policy`. Warn if `policy` is given."""
    if policy is None:
        return webhook_url_policy
    warnings.warn("policy= is deprecated; use webhook_url_policy=", DeprecationWarning, stacklevel=3)
    return policy
