"""Convert hosts to a normal form, so that they can be compared.

`normal_host` returns the normal form of a host, and raises an error if programs do not agree on the meaning of the
host. It accepts names that RFC 1123 and IDNA allow, IPv4 addresses in every notation that inet_aton and browsers read,
and IPv6 addresses in brackets. Examples: `EXAMPLE.com.` becomes `example.com`, `0x7f.1` becomes `127.0.0.1`, and
`[0:0::1]` becomes `[::1]`.
"""

import ipaddress
import re
import unicodedata
from functools import lru_cache
from urllib.parse import unquote

import idna
from yarl import URL

from .characters import code_point

__all__ = [
    "YARL_ERRORS",
    "HostError",
    "comparable_host",
    "is_ipv6",
    "matches",
    "normal_host",
    "read_address",
]

_MAX_HOST = 253  # RFC 1035, 2.3.4: 255 octets, including the length bytes
_MAX_LABEL = 63  # RFC 1035, 2.3.4

_BAD_IN_HOST = re.compile(r"(?![A-Za-z0-9\-._])[\x00-\x7f]")  # RFC 1123, 2.1, but `_` is allowed; IDNA checks non-ASCII
_DOTS = str.maketrans(dict.fromkeys("\u3002\uff0e\uff61", "."))  # IDNA treats them as dots: RFC 3490, 3.1
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")  # WHATWG URL standard, "ends in a number"

YARL_ERRORS = (ValueError, IndexError)  # UnicodeError is a ValueError; `https://[]@` raises an IndexError


class HostError(ValueError):
    """A host is invalid. `wrong` is the mistake. `meant` is the host that was probably meant, or empty if unknown."""

    def __init__(self, wrong: str, hint: str, meant: str = "") -> None:
        super().__init__(wrong)
        self.wrong = wrong
        self.hint = hint
        self.meant = meant


@lru_cache(maxsize=1024)  # the full check of a URL needs the same host up to four times
def normal_host(host: str) -> str:
    """Return the normal form of a host: IDNA, lower case, no trailing dot, IPv6 compressed and in brackets.

    Raises `HostError` if the text is not a host, or if programs would read it as different hosts.
    """
    if len(host) > _MAX_HOST + 1:
        raise _host_too_long(len(host))
    if host.startswith("["):
        return _normal_ipv6(host)
    if is_ipv6(host):
        raise HostError("has an IPv6 address without brackets", "write it as [address]", f"[{host}]")
    if ":" in host:
        raise HostError("has an extra ':' after its host", "only one ':' and a port may follow a host")
    if "%" in host:
        plain = unquote(host)
        meant = "" if _BAD_IN_HOST.search(plain) else plain
        wrong = "has percent escapes in its host, which not all programs decode"
        raise HostError(wrong, "write the characters themselves", meant)
    if bad := _BAD_IN_HOST.search(host):
        hint = "a host name has letters, digits, '-' and '.' (RFC 1123)"
        raise HostError(f"has an illegal character in its host ({code_point(bad.group())})", hint)
    labels = host.translate(_DOTS).removesuffix(".").split(".")
    if "" in labels:
        hint = "each label, the part between two dots, needs at least one character"
        raise HostError("has an empty label in its host", hint, ".".join(filter(None, labels)))
    name = _to_ascii(labels)
    if len(name) > _MAX_HOST:
        raise _host_too_long(len(name))
    for label in name.split("."):
        if len(label) > _MAX_LABEL:
            hint = f"a label has at most {_MAX_LABEL} (RFC 1035)"
            raise HostError(f"has a label of {len(label)} characters in its host", hint)
        if label.startswith("-") or label.endswith("-"):
            raise HostError("has a label in its host that begins or ends with '-'", "remove the '-' (RFC 1123)")
    plain = _read_ipv4(name) or name
    if not host.isascii() and "xn--" not in name:
        raise HostError("has lookalikes of ASCII characters in its host", "write the host in ASCII", plain)
    return plain


def _host_too_long(length: int) -> HostError:
    return HostError(f"has a host of {length} characters", f"a host name has at most {_MAX_HOST} (RFC 1035)")


def is_ipv6(text: str) -> bool:
    """Return whether a text is an IPv6 address without brackets."""
    if ":" not in text:  # saves most hosts the exception
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _normal_ipv6(host: str) -> str:
    address, percent, _ = host.strip("[]").partition("%")
    if percent and is_ipv6(address):
        hint = "remove the zone, which is valid on one machine only (RFC 9844)"
        raise HostError("has an IPv6 address with a zone", hint, f"[{ipaddress.IPv6Address(address)}]")
    if host != f"[{address}]" or not is_ipv6(address):
        raise HostError("has an invalid IPv6 address", "write it as [2001:db8::1]; only ':' and a port may follow it")
    return f"[{ipaddress.IPv6Address(address)}]"


def _to_ascii(labels: list[str]) -> str:
    name = ".".join(labels)
    if name.isascii() and "xn--" not in name.lower():
        return name.lower()
    bad = HostError("has a host name that IDNA does not allow", "write it as it is registered (RFC 5891)")
    try:
        # With a trailing dot, yarl also decodes names that end in a digit. Decoding reveals an invalid `xn--` label.
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
    """Return whether yarl read a host name in the same way as UTS 46 and current browsers.

    If IDNA 2008 rejects a name, yarl falls back to IDNA 2003. Names with emoji need that fallback. But IDNA 2003 covers
    only Unicode 3.2, and it maps some characters to dots and slashes.
    """
    given, seen = name.split("."), decoded.split(".")
    if len(given) != len(seen) or "" in seen or any(label.startswith("-") or label.endswith("-") for label in seen):
        return False
    try:
        for label in seen:
            idna.check_nfc(label)
            idna.check_initial_combiner(label)
        # UTS 46 must leave a decoded `xn--` label unchanged. IDNA 2003 keeps the case of ASCII labels.
        return all(
            idna.uts46_remap(label, std3_rules=False) == label
            if written.lower().startswith("xn--")
            else idna.uts46_remap(written, std3_rules=False) in (label, label.lower())
            for written, label in zip(given, seen, strict=True)
        )
    except idna.IDNAError:
        return False


def _read_ipv4(name: str) -> str:
    """Return the IPv4 address of a host that ends in a number, or "" for other hosts.

    All notations of inet_aton and the WHATWG URL standard are accepted. Raises `HostError` if the address is invalid.
    """
    labels = name.split(".")
    if not _NUMBER.fullmatch(labels[-1]):
        return ""
    wrong = "has a host that ends in a number but is not an IPv4 address"
    bad = HostError(wrong, "an IPv4 address has four numbers from 0 to 255, and no domain name ends in a number")
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
    """Return the IP address of a host, with or without brackets; None if the host is a name."""
    if ":" not in host and not host[-1:].isdecimal():  # saves most names the exception
        return None
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def comparable_host(url: URL) -> str:
    """Return the host of a URL in normal form. If this is impossible, return it as yarl reads it, in lower case."""
    host = url.host_subcomponent or ""
    try:
        return normal_host(host)
    except HostError:
        return host.removesuffix(".").lower()


def matches(host: str, patterns: tuple[str, ...]) -> bool:
    """Return whether one of a policy's patterns matches a host in normal form."""
    if not patterns:
        return False
    names = [host]
    address = read_address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        # `[::ffff:192.0.2.1]` points to 192.0.2.1, so a pattern for the IPv4 address must match both.
        names.append(str(address.ipv4_mapped))
    return any(host.endswith(pattern[1:]) if pattern.startswith("*.") else pattern in names for pattern in patterns)
