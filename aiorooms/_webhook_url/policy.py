"""Which webhook URLs a user accepts, among those that are URLs at all."""

import re
from collections.abc import Iterable
from typing import cast

import attrs
from attrs.validators import instance_of

from .characters import character_findings, quote_text
from .host import HostError, is_ipv6, normal_host, read_address

__all__ = ["DEFAULT_POLICY", "SCHEME", "WebhookUrlPolicy"]

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")  # RFC 3986, 3.1


def _strings(field: str, value: object) -> tuple[str, ...]:
    # A str is an iterable of str, so no type checker sees what is wrong with `schemes="https"`.
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError(f"{field} must be a tuple or another iterable of str, not {value!r:.80}")
    items = tuple(cast("Iterable[object]", value))
    if not all(isinstance(item, str) for item in items):
        raise TypeError(f"{field} must hold nothing but str, not {items!r:.80}")
    return cast("tuple[str, ...]", items)


def _to_schemes(value: Iterable[str]) -> tuple[str, ...]:
    schemes = tuple(scheme.lower() for scheme in _strings("schemes", value))
    if not schemes:
        raise ValueError("schemes must name at least one scheme, or no URL could pass")
    for scheme in schemes:
        if not SCHEME.fullmatch(scheme):
            raise ValueError(
                f"schemes: {quote_text(scheme)} is not a scheme; one is written like 'https', without '://'"
            )
    return schemes


def _to_patterns(field: str, value: Iterable[str]) -> tuple[str, ...]:
    patterns: list[str] = []
    for pattern in _strings(field, value):
        star = "*." if pattern.startswith("*.") else ""
        host = pattern.removeprefix(star)
        if unseen := character_findings(host):
            raise ValueError(f"{field}: {quote_text(pattern)} {unseen[0].wrong}; leave it out")
        try:
            name = normal_host(f"[{host}]" if is_ipv6(host) else host)
        except HostError as error:
            raise ValueError(f"{field}: {quote_text(pattern)} {error.wrong}; {error.right}") from None
        if star and read_address(name):
            raise ValueError(
                f"{field}: {quote_text(pattern)} has '*.' before an address; only names have names below them"
            )
        patterns.append(star + name)
    return tuple(patterns)


def _to_allowed_hosts(value: Iterable[str]) -> tuple[str, ...]:
    return _to_patterns("allowed_hosts", value)


def _to_denied_hosts(value: Iterable[str]) -> tuple[str, ...]:
    return _to_patterns("denied_hosts", value)


@attrs.frozen(kw_only=True, cache_hash=True)
class WebhookUrlPolicy:
    """Which webhook URLs you accept, among those that are URLs at all.

    Each setting is checked when the policy is made: a wrong value is a ValueError and a wrong type a TypeError, and the
    message names the setting. Any iterable of str may be given for a tuple, but not a bare str.

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
