"""Distinguish public hosts from private ones. DNS is not queried, so the addresses of a name are unknown.

Example: `hooks.example.com` and `8.8.8.8` are public. `10.0.0.5`, `hooks.corp` and `intranet` are not. A public name
may resolve to a private address; `webhook_config.audit` detects that.
"""

import ipaddress
from typing import Final

from .host import read_address

__all__ = ["is_loopback", "is_public", "special_use_name"]

_SPECIAL_USE: Final = {
    # Reserved by the IETF: no public DNS server answers for these.
    "test": "RFC 6761",
    "invalid": "RFC 6761",
    "example": "RFC 6761",
    "localhost": "RFC 6761",
    "local": "RFC 6762",
    "onion": "RFC 7686",
    "home.arpa": "RFC 8375",
    "alt": "RFC 9476",
    # Never delegated in the public DNS, because private networks use them.
    "internal": "ICANN, 2024",
    "corp": "ICANN, 2018",
    "home": "ICANN, 2018",
    "mail": "ICANN, 2018",
    # Common in private networks, and not delegated: routers, hosts files, Kubernetes, and RFC 6762, appendix G.
    "lan": "customary",
    "localdomain": "customary",
    "svc": "customary",
    "intranet": "customary",
    "private": "customary",
}
"""The names that only private networks resolve, each with its source."""

_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""The only block of global unicast addresses that IANA assigns."""
# Not public according to RFC 6890, RFC 7526 and RFC 9637, although some releases of Python say otherwise.
_ALSO_NOT_PUBLIC: Final = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2002::/16", "3fff::/20")))


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: `localhost`, 127.0.0.0/8 or ::1.

    Subdomains of `localhost` do not count. RFC 6761 reserves them, but some resolvers return addresses of other
    machines.
    """
    address = read_address(host)
    if address is not None:
        return address.is_loopback
    return host.lower().removesuffix(".") == "localhost"


def is_public(host: str) -> bool:
    """Return whether a host in normal form can be reached from the public internet. DNS is not queried."""
    address = read_address(host)
    if address is None:
        return "." in host and special_use_name(host) is None
    if any(address in network for network in _ALSO_NOT_PUBLIC):
        return False
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def special_use_name(host: str) -> str | None:
    """Return the special-use name that a host in normal form is or ends with, such as `corp`; None if there is none."""
    labels = host.rsplit(".", 2)
    for name in (labels[-1], ".".join(labels[-2:])):
        if name in _SPECIAL_USE:
            return name
    return None
