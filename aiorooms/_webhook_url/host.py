"""Hosts: the one form in which they are compared, and whether the public internet can reach them.

A host must mean the same to every program. `normal_host` gives that meaning, or says why there is none: names after
RFC 1123 and IDNA, IPv4 addresses in every notation that inet_aton and browsers read, IPv6 addresses in brackets.

Nothing here does I/O. So a public name that leads to a private address is not noticed: that takes DNS.
"""

import ipaddress
import re
import unicodedata
from urllib.parse import unquote

import idna
from yarl import URL

from .characters import named

__all__ = [
    "YARL_ERRORS",
    "HostError",
    "comparable_host",
    "is_ipv6",
    "is_loopback",
    "is_public",
    "matches",
    "normal_host",
    "read_address",
]

_MAX_HOST = 253  # RFC 1035, 2.3.4: 255 octets with the bytes of length
_MAX_LABEL = 63  # RFC 1035, 2.3.4

_BAD_IN_HOST = re.compile(r"(?![A-Za-z0-9\-._])[\x00-\x7f]")  # RFC 1123, 2.1, and the underscore; IDNA sees to the rest
_DOTS = re.compile("[\u3002\uff0e\uff61]")  # IDNA takes them for dots: RFC 3490, 3.1
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")  # WHATWG URL standard, "ends in a number"

# RFC 6761, RFC 6762, RFC 8375, ICANN on .internal (2024); localdomain stands in many a hosts file.
_PRIVATE_NAMES = ("localhost", "local", "home.arpa", "internal", "localdomain")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # all that IANA has given out of IPv6
# RFC 6890, RFC 7526 and RFC 9637: not public, or no more, but not all releases of Python know.
_ALSO_NOT_PUBLIC = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2002::/16", "3fff::/20")))

YARL_ERRORS = (ValueError, IndexError)  # UnicodeError is a ValueError; `https://[]@` is an IndexError


class HostError(ValueError):
    """What is wrong with a host, and the host that it probably stands for, if any."""

    def __init__(self, wrong: str, right: str, meant: str = "") -> None:
        super().__init__(wrong)
        self.wrong = wrong
        self.right = right
        self.meant = meant


def is_loopback(host: str) -> bool:
    """Whether a host, without brackets, is this very machine: `localhost` (RFC 6761), 127.0.0.0/8 or ::1."""
    address = read_address(host)
    if address is not None:
        return address.is_loopback
    return f".{host.lower().removesuffix('.')}".endswith(".localhost")


def normal_host(host: str) -> str:
    """Give the form in which hosts are compared: IDNA, lower case, no trailing dot, IPv6 in brackets and compressed.

    Raises HostError if it is no host, or if one program would take it for this host and another for that.
    """
    if len(host) > _MAX_HOST + 1:
        raise _host_too_long(len(host))
    if host.startswith("["):
        return _normal_ipv6(host)
    if is_ipv6(host):
        raise HostError("has an IPv6 address without brackets", "write it as [address]", f"[{host}]")
    if ":" in host:
        raise HostError("has a ':' too many after its host", "only one ':' and a port may come after a host")
    if "%" in host:
        plain = unquote(host)
        meant = "" if _BAD_IN_HOST.search(plain) else plain
        raise HostError("has a host with percent escapes, which not all programs decode", "write it plainly", meant)
    if bad := _BAD_IN_HOST.search(host):
        right = "a host name has letters, digits, '-' and '.' (RFC 1123)"
        raise HostError(f"has a character in its host that no host name has ({named(bad.group())})", right)
    labels = _DOTS.sub(".", host).removesuffix(".").split(".")
    if "" in labels:
        right = "a host name has something before, after and between its dots"
        raise HostError("has an empty label in its host", right, ".".join(filter(None, labels)))
    name = _to_ascii(labels)
    if len(name) > _MAX_HOST:
        raise _host_too_long(len(name))
    for label in name.split("."):
        if len(label) > _MAX_LABEL:
            right = f"between two dots there are {_MAX_LABEL} at most (RFC 1035)"
            raise HostError(f"has a host name with a label of {len(label)} characters", right)
        if label.startswith("-") or label.endswith("-"):
            raise HostError("has a label in its host that begins or ends with '-'", "leave the '-' out (RFC 1123)")
    plain = _read_ipv4(name) or name
    if not host.isascii() and "xn--" not in name:
        raise HostError("has ASCII letters, digits or dots of its host in another script", "write them plainly", plain)
    return plain


def _host_too_long(length: int) -> HostError:
    return HostError(f"has a host of {length} characters", f"a host name has {_MAX_HOST} at most (RFC 1035)")


def is_ipv6(text: str) -> bool:
    """Whether this is an IPv6 address without brackets."""
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _normal_ipv6(host: str) -> str:
    address, percent, _ = host.strip("[]").partition("%")
    if percent and is_ipv6(address):
        right = "a zone means something on one machine only (RFC 9844)"
        raise HostError("has an IPv6 address with a zone", right, f"[{ipaddress.IPv6Address(address)}]")
    if host != f"[{address}]" or not is_ipv6(address):
        raise HostError("has a broken IPv6 address", "write it as [2001:db8::1], and only ':' and a port after it")
    return f"[{ipaddress.IPv6Address(address)}]"


def _to_ascii(labels: list[str]) -> str:
    name = ".".join(labels)
    if name.isascii() and "xn--" not in name.lower():
        return name.lower()
    bad = HostError("has a host name that IDNA does not allow", "write it as it is registered (RFC 5891)")
    try:
        # With the last dot yarl decodes a name that ends in a digit too, and so finds a broken `xn--`.
        seen = URL(f"https://{name}./")
        ascii_name, decoded = (seen.raw_host or "").removesuffix(".").lower(), (seen.host or "").removesuffix(".")
    except YARL_ERRORS:
        raise bad from None
    if not {"ß", "ẞ", "ς"}.isdisjoint(unicodedata.normalize("NFKC", name)):
        wrong = "has 'ß' or 'ς' in its host, which IDNA 2003 replaces and IDNA 2008 keeps"
        meant = "" if {"ß", "ς"}.isdisjoint(decoded) else ascii_name
        raise HostError(wrong, "write the form that begins with 'xn--' (RFC 5894, 7.2)", meant)
    if not ascii_name.isascii() or _BAD_IN_HOST.search(ascii_name) or not _is_sound_idna(name, decoded):
        raise bad
    return ascii_name


def _is_sound_idna(name: str, decoded: str) -> bool:
    """Whether yarl read a host name as UTS 46 does, and with it the programs of today.

    What IDNA 2008 rejects yarl tries with IDNA 2003. Emoji need that, but it knows no Unicode after 3.2, and makes dots
    and slashes of some characters.
    """
    given, seen = name.split("."), decoded.split(".")
    if len(given) != len(seen) or "" in seen or any(label.startswith("-") or label.endswith("-") for label in seen):
        return False
    try:
        for label in seen:
            idna.check_nfc(label)
            idna.check_initial_combiner(label)
        # A label that begins with `xn--` has to hold what UTS 46 leaves as it is; IDNA 2003 leaves the case of ASCII.
        return all(
            idna.uts46_remap(label, std3_rules=False) == label
            if written.lower().startswith("xn--")
            else idna.uts46_remap(written, std3_rules=False) in (label, label.lower())
            for written, label in zip(given, seen, strict=True)
        )
    except idna.IDNAError:
        return False


def _read_ipv4(name: str) -> str:
    """Read a host that ends in a number as the WHATWG URL standard and inet_aton do; empty if it doesn't end so."""
    labels = name.split(".")
    if not _NUMBER.fullmatch(labels[-1]):
        return ""
    wrong = "has a host that ends in a number and is no IPv4 address"
    bad = HostError(wrong, "an address has four numbers from 0 to 255, and no domain ends in a number")
    if len(labels) > 4 or not all(map(_NUMBER.fullmatch, labels)):
        raise bad
    try:
        *front, last = [_read_number(label) for label in labels]
    except ValueError:
        raise bad from None
    if max(front, default=0) > 255 or last >= 256 ** (4 - len(front)):
        raise bad
    value = last + sum(number * 256 ** (3 - index) for index, number in enumerate(front))
    return str(ipaddress.IPv4Address(value))


def _read_number(label: str) -> int:
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    return int(label, 8 if label.startswith("0") else 10)


def read_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host is, with or without brackets; None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def is_public(host: str) -> bool:
    """Whether the public internet can reach a normal host, as far as the host itself says."""
    address = read_address(host)
    if address is None:
        return "." in host and not any(f".{host}".endswith(f".{name}") for name in _PRIVATE_NAMES)
    if any(address in network for network in _ALSO_NOT_PUBLIC):
        return False
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def comparable_host(url: URL) -> str:
    """Return the host of a URL in the form in which hosts are compared; of one that is no host, what yarl reads."""
    host = url.host_subcomponent or ""
    try:
        return normal_host(host)
    except HostError:
        return host.removesuffix(".").lower()


def matches(host: str, patterns: tuple[str, ...]) -> bool:
    """Whether one of the patterns of a policy fits a normal host."""
    names = [host]
    address = read_address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        # `[::ffff:192.0.2.1]` leads to 192.0.2.1, so a pattern for the one must not miss the other.
        names.append(str(address.ipv4_mapped))
    return any(host.endswith(pattern[1:]) if pattern.startswith("*.") else pattern in names for pattern in patterns)
