"""The checks of a webhook URL and its failover URL, before anything is sent.

The idea: check the very string that will be sent, and let through only what all programs read alike. aiorooms sends
what the caller gave. A parser would repair it silently (yarl drops newlines, browsers turn backslashes into slashes),
so a parsed URL says nothing about the string. Therefore the raw characters come first; if one of them is bad, nothing
that is read out of the rest can be trusted, and the check ends there. Then a small regex after RFC 3986 splits the
string, and each part is checked by itself, so that all problems come out at once. In the end yarl reads the URL too,
and must see the scheme, host and port that were checked.

Nothing here does I/O. So a public name that leads to a private address is not noticed: that takes DNS.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import cast
from urllib.parse import quote, unquote

import attrs
from attrs.validators import instance_of
from yarl import URL

from .._unset import UNSET
from ..errors import Problem

__all__ = ["DEFAULT_POLICY", "WebhookUrlPolicy", "check_webhook_url", "check_webhook_urls", "is_loopback", "same_url"]

_MAX_URL = 2000  # Telnyx, error 10003
_MAX_HOST = 253  # RFC 1035, 2.3.4: 255 octets with the bytes of length
_MAX_LABEL = 63  # RFC 1035, 2.3.4
_SHOWN = 80  # no message shows more characters of what was given

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")  # RFC 3986, 3.1
_ABSOLUTE = re.compile(rf"({_SCHEME.pattern})://([^/?#]*)([^#]*)(#.*)?")  # RFC 3986, appendix B
_HOST_AND_PORT = re.compile(r"(\[[^\[\]]*\]|[^:]*)(:[^:]*)?")
_PORT = re.compile("(:[0-9]*)?")
_AT_IN_PATH = re.compile(r"[^:/?#@\\]+://[^:/?#@\\]+[/?#][^:]*@[^@]*")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BLANK = re.compile(r"[^\S\x00-\x1f\x7f-\x9f]")  # the white space of Unicode, without the control characters
# Zero-width and bidi characters and whatever else shows nothing. IDNA deletes most of them from a host silently.
_INVISIBLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u1806\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800"
    r"\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_BAD_CHARACTERS = (
    (_CONTROL, "a control character", "leave it out"),
    (_BLANK, "a blank", "leave it out, or write it as '%20'"),
    (_INVISIBLE, "an invisible character", "leave it out"),
    (re.compile(r"[\ud800-\udfff]"), "half of a surrogate pair", "leave it out, it can't be sent as UTF-8"),
    (re.compile(r"\\"), "a backslash", "write '/', or '%5C' if a backslash is meant"),
    # No suggestion encodes these: who writes `https://{host}/` or `<https://...>` means something else.
    (re.compile(r'[<>"{}|^`]'), "a character that no URL may have", "leave it out or percent-encode it (RFC 3986, 2)"),
)

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")  # RFC 3986, 2.1
_BAD_IN_USERINFO = re.compile(r"[^A-Za-z0-9\-._~!$&'()*+,;=:%]")  # RFC 3986, 3.2.1
_BAD_IN_PATH = re.compile(r"[^A-Za-z0-9\-._~!$&'()*+,;=:%@/?]")  # RFC 3986, 3.3 and 3.4
_BAD_IN_HOST = re.compile(r"(?![A-Za-z0-9\-._])[\x00-\x7f]")  # RFC 1123, 2.1, and the underscore; IDNA sees to the rest
_DOTS = re.compile("[\u3002\uff0e\uff61]")  # IDNA takes them for dots: RFC 3490, 3.1
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")  # WHATWG URL standard, "ends in a number"

# RFC 6761, RFC 6762, RFC 8375, ICANN on .internal (2024); localdomain stands in many a hosts file.
_PRIVATE_NAMES = ("localhost", "local", "home.arpa", "internal", "localdomain")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # all that IANA has given out of IPv6
# RFC 6890, RFC 7526 and RFC 9637: not public, or no more, but not all releases of Python know.
_ALSO_NOT_PUBLIC = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2002::/16", "3fff::/20")))

_YARL_ERRORS = (ValueError, IndexError)  # UnicodeError is a ValueError; `https://[]@` is an IndexError


class _HostError(ValueError):
    """What is wrong with a host, and the host that it probably stands for, if any."""

    def __init__(self, wrong: str, right: str, meant: str = "") -> None:
        super().__init__(wrong)
        self.wrong = wrong
        self.right = right
        self.meant = meant


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
        if not _SCHEME.fullmatch(scheme):
            raise ValueError(f"schemes: {_quote(scheme)} is not a scheme; one is written like 'https', without '://'")
    return schemes


def _to_patterns(field: str, value: Iterable[str]) -> tuple[str, ...]:
    patterns: list[str] = []
    for pattern in _strings(field, value):
        star = "*." if pattern.startswith("*.") else ""
        host = pattern.removeprefix(star)
        if unseen := _character_findings(host):
            raise ValueError(f"{field}: {_quote(pattern)} {unseen[0].wrong}; leave it out")
        try:
            name = _normal_host(f"[{host}]" if _is_ipv6(host) else host)
        except _HostError as error:
            raise ValueError(f"{field}: {_quote(pattern)} {error.wrong}; {error.right}") from None
        if star and _address(name):
            raise ValueError(f"{field}: {_quote(pattern)} has '*.' before an address; only names have names below them")
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


@attrs.frozen
class _Finding:
    """What is wrong, what would be right, and a repaired URL to suggest if that passes the check itself."""

    wrong: str
    right: str
    fix: str | None = None


@attrs.frozen
class _Parts:
    """A URL cut up after RFC 3986. The parts keep their `@`, `:` and `#` and are empty if absent."""

    scheme: str
    userinfo: str
    host: str
    port: str
    path: str
    """Together with the query."""
    fragment: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.userinfo}{self.host}{self.port}{self.path}{self.fragment}"


def check_webhook_url(
    url: str, policy: WebhookUrlPolicy = DEFAULT_POLICY, *, pointer: str = "/webhook_event_url"
) -> tuple[Problem, ...]:
    """Say everything that is wrong with a webhook URL; an empty tuple means that it can be sent as it is.

    This raises for nothing that is given as `url`; what isn't a str is a problem like others. Each message is one line
    that shows what was given, what is wrong and what would be right. User names and passwords are shown as `***`.
    `pointer` is the JSON pointer that the problems get.

    Whatever the policy, a URL is refused for

    - its characters: control characters, blanks, invisible ones, lone surrogates, backslashes, whatever RFC 3986 does
      not allow, a `%` without two hex digits, and anything but ASCII outside the host;
    - its form: no scheme, no `://`, no host, a fragment, more than 2000 characters (Telnyx, error 10003);
    - a port that is empty, 0, over 65535 or not in plain digits;
    - a host that is no host name after RFC 1123 and IDNA (253 characters, 1 to 63 between two dots; underscores pass,
      since such names are in use), or a broken IPv6 address, or one with a zone;
    - a host that not all programs read alike: one with percent escapes, one that is ASCII in another guise (fullwidth
      letters, ideographic full stops), and one with `ß` or `ς` that is not in its `xn--` form;
    - a host that ends in a number and is no IPv4 address at all, such as `1.2.3.4.5` or `256.1.1.1` (WHATWG).
    """
    text = _as_str(url)
    if text is None:
        return (Problem(pointer, _wrong_type(url)),)
    # What is too long is not worth its room in the cache.
    messages = _cached_messages(text, policy) if len(text) <= _MAX_URL else _messages(text, policy)
    return tuple(Problem(pointer, message) for message in messages)


def check_webhook_urls(
    url: object, failover_url: object, policy: WebhookUrlPolicy = DEFAULT_POLICY
) -> tuple[Problem, ...]:
    """Check a webhook URL and its failover URL, each as `check_webhook_url` does, and then as a pair.

    A failover URL is there for when the webhook URL fails, so one that leads to the same place is a problem, also if it
    is written in another way (RFC 3986, 6.2: case of the host, default port, percent escapes, no path for `/`).
    None and `UNSET` are skipped. All else may be given and raises nothing, as there.
    """
    # What is too long is not worth its room in the cache, and a subclass of str may lie about what it equals.
    if type(url) is str and type(failover_url) is str and len(url) <= _MAX_URL and len(failover_url) <= _MAX_URL:
        return _cached_pair_problems(url, failover_url, policy)
    return _pair_problems(url, failover_url, policy)


def _pair_problems(url: object, failover_url: object, policy: WebhookUrlPolicy) -> tuple[Problem, ...]:
    given = {"/webhook_event_url": url, "/webhook_event_failover_url": failover_url}
    problems = [
        problem
        for pointer, value in given.items()
        if value is not None and value is not UNSET
        for problem in check_webhook_url(cast("str", value), policy, pointer=pointer)
    ]
    first, second = _as_str(url), _as_str(failover_url)
    # What a URL leads to is known only if it passed the check.
    if first is not None and second is not None and (first == second or (not problems and same_url(first, second))):
        shown = _quote(_masked(second))
        message = f"{shown} leads to the same place as the webhook URL; give another one, or None for no failover"
        problems.append(Problem("/webhook_event_failover_url", message))
    return tuple(problems)


# A bulk run gives the same pair with every room. That takes 0.4 us with this cache and 2 us with that of single URLs.
_cached_pair_problems = lru_cache(maxsize=1024)(_pair_problems)


def same_url(first: str, second: str) -> bool:
    """Whether two URLs lead to the same place, however they are written (RFC 3986, 6.2). Raises for no text.

    Two texts that are no URLs are the same only if all their characters are.
    """
    try:
        return first == second or _normal_form(first) == _normal_form(second)
    except _YARL_ERRORS:
        return False


# For a bulk run, as with the cache of messages.
@lru_cache(maxsize=1024)
def _normal_form(url: str) -> tuple[str | int | None, ...]:
    seen = URL(url)
    if not seen.raw_host:
        raise ValueError("only URLs with a host have a normal form")
    host = (seen.host_subcomponent or "").removesuffix(".").lower()
    return (
        seen.scheme,
        seen.user,
        seen.password,
        host,
        seen.port,
        seen.raw_path,
        seen.raw_query_string,
        seen.raw_fragment,
    )


def is_loopback(host: str) -> bool:
    """Whether a host, without brackets, is this very machine: `localhost` (RFC 6761), 127.0.0.0/8 or ::1."""
    address = _address(host)
    if address is not None:
        return address.is_loopback
    return f".{host.lower().removesuffix('.')}".endswith(".localhost")


def _as_str(value: object) -> str | None:
    """Give the characters that JSON would hold, or None if it's no str. A mock may lie with its `__class__`."""
    return str.__str__(cast("str", value)) if issubclass(type(value), str) else None


def _wrong_type(value: object) -> str:
    given = type(value)
    if given is URL:
        return "a yarl.URL was given, where a str is wanted; pass str(url)"
    if issubclass(given, bytes | bytearray):
        return "bytes were given, where a str is wanted; pass url.decode()"
    if value is None:
        return "None was given, where a str is wanted; leave the field out to keep the URL that is set"
    # A metaclass may lie about its name, or raise.
    name = type.__repr__(given).removeprefix("<class '").removesuffix("'>")
    return f"a value of type {_quote(name)} was given, where a str is wanted"


def _messages(url: str, policy: WebhookUrlPolicy) -> tuple[str, ...]:
    return tuple(_message(url, finding, policy) for finding in _findings(url, policy))


# A bulk run gives the same URL with every room. That takes 0.7 us with this cache and 20 us without it, 26 us if yarl
# has not seen it either (python -m timeit, CPython 3.11).
_cached_messages = lru_cache(maxsize=1024)(_messages)


def _message(url: str, finding: _Finding, policy: WebhookUrlPolicy) -> str:
    shown, right, fix = _masked(url), finding.right, finding.fix
    # Where credentials had to be hidden, a suggestion would show them or lose them.
    if fix is not None and shown == url and _quote(fix) == repr(fix) and not _findings(fix, policy):
        right = f"did you mean {fix!r}?"
    return f"{_quote(shown)} {finding.wrong}; {right}"


def _masked(url: str) -> str:
    """Hide a user name and password, also if a `/`, `?`, `#` or `@` in the password makes parsers see other parts.

    So all up to the last `@` is hidden, unless each `@` is in the path or query and no `:` stands before the last one.
    """
    if "@" not in url or _AT_IN_PATH.fullmatch(url):
        return url
    scheme = re.match(f"{_SCHEME.pattern}://", url)
    return f"{scheme.group() if scheme else ''}***{url[url.rindex('@') :]}"


def _quote(text: str) -> str:
    """Quote as repr does, so that no character breaks the line. The end of a long text is left out."""
    quoted = repr(text[:_SHOWN])
    if len(text) <= _SHOWN and len(quoted) <= _SHOWN + 2:
        return quoted
    return f"{quoted[: _SHOWN - 2]}...{quoted[0]}"


def _named(character: str) -> str:
    return f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()


def _percent_encoded(bad: re.Pattern[str], text: str) -> str:
    # What is too long is never suggested.
    return bad.sub(lambda found: quote(found.group(), safe=""), text) if len(text) <= _MAX_URL else text


def _findings(url: str, policy: WebhookUrlPolicy) -> list[_Finding]:
    found: list[_Finding] = []
    if len(url) > _MAX_URL:
        found.append(_Finding(f"has {len(url)} characters", f"Telnyx takes {_MAX_URL} at most (error 10003)"))
    if bad := _character_findings(url):
        return found + bad
    absolute = _ABSOLUTE.fullmatch(url)
    if absolute is None:
        return [*found, _not_absolute(url, policy)]
    parts = _split(absolute)
    if torn := _torn(parts, policy):
        return [*found, torn]
    found += _scheme_findings(parts, policy)
    found += _userinfo_findings(parts, policy)
    found += _host_findings(parts, policy)
    found += _port_findings(parts)
    found += _path_findings(parts)
    if parts.fragment:
        right = "no server ever gets a fragment: leave it out, or write '#' as '%23'"
        found.append(_Finding("has a fragment", right, str(attrs.evolve(parts, fragment=""))))
    if not found and not _seen_alike(url, parts):
        found.append(_Finding("is not read alike by all programs", "write its scheme, host and port more plainly"))
    return found


def _split(absolute: re.Match[str]) -> _Parts:
    scheme, authority, path, fragment = absolute.groups(default="")
    userinfo, at, host_and_port = authority.rpartition("@")
    match = _HOST_AND_PORT.fullmatch(host_and_port)
    # With a bracket or colon too many it is all taken for the host, whose check tells what is wrong.
    host, port = match.groups(default="") if match else (host_and_port, "")
    return _Parts(scheme, userinfo + at, host, port, path, fragment)


def _torn(parts: _Parts, policy: WebhookUrlPolicy) -> _Finding | None:
    """Find mistakes after which no part is what it seems to be."""
    if parts.host.lower() in policy.schemes and parts.port in ("", ":") and parts.path.startswith("//"):
        return _Finding("has two schemes", "leave one out", f"{parts.host}:{parts.path}{parts.fragment}")
    if not _PORT.fullmatch(parts.port) and "@" in parts.path + parts.fragment:
        wrong = "has a port that is not in plain digits, or a password that is not percent-encoded"
        return _Finding(wrong, "in a password, write '%2F' for '/', '%3F' for '?' and '%23' for '#'")
    return None


def _character_findings(url: str) -> list[_Finding]:
    bad = [(match, what, right) for pattern, what, right in _BAD_CHARACTERS if (match := pattern.search(url))]
    if not bad:
        return []
    fix = _INVISIBLE.sub("", _CONTROL.sub("", url)).strip().replace("\\", "/")
    fix = _percent_encoded(_BLANK, fix)
    return [_Finding(f"has {what} at index {m.start()} ({_named(m.group())})", right, fix) for m, what, right in bad]


def _not_absolute(url: str, policy: WebhookUrlPolicy) -> _Finding:
    """Say why a URL does not begin with a scheme, `://` and an authority."""
    begin = f"begin it with {_beginnings(policy)}"
    scheme = _best_scheme(policy)
    if not url:
        return _Finding("is empty", f"{begin} and a host")
    # `https:example.com`, `https:/example.com` and `https//example.com`
    if torn := re.match(f"({'|'.join(map(re.escape, policy.schemes))})[:/]+", url, re.IGNORECASE):
        return _Finding("has a scheme but no host", f"{begin} and a host", f"{torn[1]}://{url[torn.end() :]}")
    if url.startswith(("//", "://")):
        return _Finding("has no scheme", begin, f"{scheme}://{url.lstrip(':/')}")
    if url.startswith(("/", "?", "#", "./", "../")):
        return _Finding("is relative, it has no scheme and no host", f"{begin} and a host")
    # After RFC 3986 `localhost:8080/hook` has the scheme `localhost`, which nobody means.
    host, colon, port = re.split("[/?#]", url, maxsplit=1)[0].partition(":")
    if port.isdigit() if colon else "." in host.rstrip(".") or host == "localhost":
        return _Finding("has no scheme", begin, f"{scheme}://{url}")
    return _Finding(f"does not begin with {_beginnings(policy)}", "give a full URL")


def _beginnings(policy: WebhookUrlPolicy) -> str:
    return " or ".join(f"'{scheme}://'" for scheme in policy.schemes)


def _best_scheme(policy: WebhookUrlPolicy) -> str:
    return "https" if "https" in policy.schemes else policy.schemes[0]


def _scheme_findings(parts: _Parts, policy: WebhookUrlPolicy) -> list[_Finding]:
    if parts.scheme.lower() in policy.schemes:
        return []
    fix = str(attrs.evolve(parts, scheme=_best_scheme(policy)))
    return [_Finding(f"has the scheme {_quote(parts.scheme)}", f"begin it with {_beginnings(policy)}", fix)]


def _userinfo_findings(parts: _Parts, policy: WebhookUrlPolicy) -> list[_Finding]:
    userinfo = parts.userinfo[:-1]
    if parts.userinfo and not policy.allow_credentials:
        return [_Finding("has a user name or password", "leave them out (allow_credentials=False)")]
    if _BAD_ESCAPE.search(userinfo) or _BAD_IN_USERINFO.search(userinfo):
        wrong = "has characters in its user name or password that must be percent-encoded"
        return [_Finding(wrong, "write '%40' for '@', '%25' for '%'")]
    return []


def _host_findings(parts: _Parts, policy: WebhookUrlPolicy) -> list[_Finding]:
    if not parts.host:
        # `https:///example.com` has a slash too many; `https:///hook` lacks a host.
        fix = f"{parts.scheme}://{parts.path.lstrip('/')}" if "." in parts.path.lstrip("/").partition("/")[0] else None
        return [_Finding("has no host", "a host comes after '://'", fix)]
    try:
        return _host_policy_findings(_normal_host(parts.host), policy)
    except _HostError as error:
        found = [_Finding(error.wrong, error.right, str(attrs.evolve(parts, host=error.meant)))]
        try:
            return found + _host_policy_findings(_normal_host(error.meant), policy)
        except _HostError:
            return found


def _host_policy_findings(host: str, policy: WebhookUrlPolicy) -> list[_Finding]:
    found: list[_Finding] = []
    if not policy.allow_private_hosts and not _is_public(host):
        right = "give one that is (allow_private_hosts=False)"
        found.append(_Finding("has a host that is not on the public internet", right))
    if _matches(host, policy.denied_hosts):
        found.append(_Finding("has a host that is denied", "give another (denied_hosts)"))
    elif policy.allowed_hosts and not _matches(host, policy.allowed_hosts):
        allowed = _quote(", ".join(policy.allowed_hosts))
        found.append(_Finding("has a host that is not allowed", f"allowed are {allowed} (allowed_hosts)"))
    return found


def _port_findings(parts: _Parts) -> list[_Finding]:
    right = "a port is a number from 1 to 65535"
    if not parts.port:
        return []
    if parts.port == ":":
        return [_Finding("has an empty port", right, str(attrs.evolve(parts, port="")))]
    # int() would take `+80`, `8_0` and the digits of every script.
    if not _PORT.fullmatch(parts.port):
        return [_Finding("has a port that is not in plain digits", right)]
    number = parts.port[1:].lstrip("0")
    if not number:
        return [_Finding("has the port 0", right)]
    if len(number) > 5 or int(number) > 65535:
        return [_Finding("has a port over 65535", right)]
    return []


def _path_findings(parts: _Parts) -> list[_Finding]:
    found: list[_Finding] = []
    fix = _percent_encoded(_BAD_IN_PATH, _BAD_ESCAPE.sub("%25", parts.path))
    fix = str(attrs.evolve(parts, path=fix))
    if _BAD_ESCAPE.search(parts.path):
        found.append(_Finding("has a '%' without two hex digits after it", "write '%25' if a '%' is meant", fix))
    if bad := _BAD_IN_PATH.search(parts.path):
        wrong = f"has a character in its path or query that must be percent-encoded ({_named(bad.group())})"
        found.append(_Finding(wrong, f"write it as '{quote(bad.group(), safe='')}'", fix))
    return found


def _seen_alike(url: str, parts: _Parts) -> bool:
    """Whether yarl sees the scheme, host and port that were checked."""
    try:
        seen = URL(url)
    except _YARL_ERRORS:
        return False
    port = int(parts.port[1:]) if parts.port else None
    try:
        host = _normal_host(seen.host_subcomponent or "")
    except _HostError:
        return False
    return (seen.scheme, host, seen.explicit_port) == (parts.scheme.lower(), _normal_host(parts.host), port)


def _normal_host(host: str) -> str:
    """Give the form in which hosts are compared: IDNA, lower case, no trailing dot, IPv6 in brackets and compressed.

    Raises _HostError if it is no host, or if one program would take it for this host and another for that.
    """
    if len(host) > _MAX_HOST + 1:
        raise _host_too_long(len(host))
    if host.startswith("["):
        return _normal_ipv6(host)
    if _is_ipv6(host):
        raise _HostError("has an IPv6 address without brackets", "write it as [address]", f"[{host}]")
    if ":" in host:
        raise _HostError("has a ':' too many after its host", "only one ':' and a port may come after a host")
    if "%" in host:
        plain = unquote(host)
        meant = "" if _BAD_IN_HOST.search(plain) else plain
        raise _HostError("has a host with percent escapes, which not all programs decode", "write it plainly", meant)
    if bad := _BAD_IN_HOST.search(host):
        right = "a host name has letters, digits, '-' and '.' (RFC 1123)"
        raise _HostError(f"has a character in its host that no host name has ({_named(bad.group())})", right)
    labels = _DOTS.sub(".", host).removesuffix(".").split(".")
    if "" in labels:
        right = "a host name has something before, after and between its dots"
        raise _HostError("has an empty label in its host", right, ".".join(filter(None, labels)))
    name = _to_ascii(labels)
    if len(name) > _MAX_HOST:
        raise _host_too_long(len(name))
    for label in name.split("."):
        if len(label) > _MAX_LABEL:
            right = f"between two dots there are {_MAX_LABEL} at most (RFC 1035)"
            raise _HostError(f"has a host name with a label of {len(label)} characters", right)
        if label.startswith("-") or label.endswith("-"):
            raise _HostError("has a label in its host that begins or ends with '-'", "leave the '-' out (RFC 1123)")
    plain = _read_ipv4(name) or name
    if not host.isascii() and "xn--" not in name:
        raise _HostError("has ASCII letters, digits or dots of its host in another script", "write them plainly", plain)
    return plain


def _host_too_long(length: int) -> _HostError:
    return _HostError(f"has a host of {length} characters", f"a host name has {_MAX_HOST} at most (RFC 1035)")


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _normal_ipv6(host: str) -> str:
    address, percent, _ = host.strip("[]").partition("%")
    if percent and _is_ipv6(address):
        right = "a zone means something on one machine only (RFC 9844)"
        raise _HostError("has an IPv6 address with a zone", right, f"[{ipaddress.IPv6Address(address)}]")
    if host != f"[{address}]" or not _is_ipv6(address):
        raise _HostError("has a broken IPv6 address", "write it as [2001:db8::1], and only ':' and a port after it")
    return f"[{ipaddress.IPv6Address(address)}]"


def _to_ascii(labels: list[str]) -> str:
    name = ".".join(labels)
    if name.isascii() and "xn--" not in name.lower():
        return name.lower()
    bad = _HostError("has a host name that IDNA does not allow", "write it as it is registered (RFC 5891)")
    try:
        # With the last dot yarl decodes a name that ends in a digit too, and so finds a broken `xn--`.
        seen = URL(f"https://{name}./")
        ascii_name, decoded = (seen.raw_host or "").removesuffix(".").lower(), (seen.host or "").removesuffix(".")
    except _YARL_ERRORS:
        raise bad from None
    if not {"ß", "ẞ", "ς"}.isdisjoint(_nfkc(name)):
        wrong = "has 'ß' or 'ς' in its host, which IDNA 2003 replaces and IDNA 2008 keeps"
        meant = "" if {"ß", "ς"}.isdisjoint(decoded) else ascii_name
        raise _HostError(wrong, "write the form that begins with 'xn--' (RFC 5894, 7.2)", meant)
    if not ascii_name.isascii() or _BAD_IN_HOST.search(ascii_name) or not _is_sound_idna(name, decoded):
        raise bad
    return ascii_name


def _is_sound_idna(name: str, decoded: str) -> bool:
    """Whether yarl read a host name as the programs of today do.

    What IDNA 2008 refuses yarl tries with IDNA 2003. Emoji need that, but it knows no Unicode after 3.2, and makes dots
    and slashes of some characters.
    """
    given, seen = name.split("."), decoded.split(".")
    if len(given) != len(seen) or "" in seen or any(label.startswith("-") or label.endswith("-") for label in seen):
        return False
    if any(unicodedata.category(label[0]).startswith("M") for label in seen):
        return False
    if "Cf" in map(unicodedata.category, name) or not {"Cn", "Co"}.isdisjoint(map(unicodedata.category, decoded)):
        return False
    # UTS 46 maps a name by NFKC and by case folding; IDNA 2003 leaves labels of ASCII as they are.
    return all(
        written.lower().startswith("xn--") or _nfkc(_nfkc(written).casefold()) in (label, label.lower())
        for written, label in zip(given, seen, strict=True)
    )


def _nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _read_ipv4(name: str) -> str:
    """Read a host that ends in a number as the WHATWG URL standard and inet_aton do; empty if it doesn't end so."""
    labels = name.split(".")
    if not _NUMBER.fullmatch(labels[-1]):
        return ""
    wrong = "has a host that ends in a number and is no IPv4 address"
    bad = _HostError(wrong, "an address has four numbers from 0 to 255, and no domain ends in a number")
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


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _is_public(host: str) -> bool:
    address = _address(host)
    if address is None:
        return "." in host and not any(f".{host}".endswith(f".{name}") for name in _PRIVATE_NAMES)
    if any(address in network for network in _ALSO_NOT_PUBLIC):
        return False
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _matches(host: str, patterns: tuple[str, ...]) -> bool:
    names = [host]
    address = _address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        # `[::ffff:192.0.2.1]` leads to 192.0.2.1, so a pattern for the one must not miss the other.
        names.append(str(address.ipv4_mapped))
    return any(host.endswith(pattern[1:]) if pattern.startswith("*.") else pattern in names for pattern in patterns)
