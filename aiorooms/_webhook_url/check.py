"""Check a webhook URL and its failover URL before they are sent.

The check works on the exact string that will be sent, and accepts only URLs that all parsers read the same way. First
the characters are checked (`characters`). Then a small regex from RFC 3986 splits the string, and each part is checked
separately, so that all problems are reported together. `host` checks hosts, and `policy` says which valid URLs the user
accepts. Finally yarl parses the URL too, and must find the same scheme, host and port.

Example: `ftp://x..io:99999/#top` has four problems: the scheme, an empty label in the host, the port and the fragment.

Most URLs are plain (see `plain`): only their origin needs this full check, and the result is cached. Example: 10,000
rooms have the webhook URLs `https://hooks.example.com/rooms/1`, `.../2` and so on. The full check runs once, for the
origin `https://hooks.example.com`. After that, each URL is only matched against one regular expression.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, cast
from urllib.parse import quote

from yarl import URL

from .._checks import not_nullable
from .._unset import UNSET
from ..errors import Problem
from .characters import (
    BAD_ESCAPE,
    BAD_IN_PATH,
    BAD_IN_USERINFO,
    MAX_URL,
    Finding,
    character_findings,
    code_point,
    percent_encoded,
    quote_text,
)
from .host import YARL_ERRORS, HostError, matches, normal_host
from .plain import split_plain
from .policy import DEFAULT_POLICY, SCHEME, WebhookUrlPolicy, policy_of
from .public import is_public
from .same import Origin, certainly_differ, origin_of, same_url

__all__ = ["check_webhook_url", "check_webhook_urls", "findings", "masked_repr", "masked_url", "split_valid"]

_ABSOLUTE = re.compile(rf"({SCHEME.pattern})://([^/?#]*)([^#]*)(#.*)?")  # RFC 3986, appendix B
_HOST_AND_PORT = re.compile(r"(\[[^\[\]]*\]|[^:]*)(:[^:]*)?")
_PORT = re.compile("(:[0-9]*)?")
_AT_IN_PATH = re.compile(r"[^:/?#@\\]+://[^:/?#@\\]+[/?#][^:]*@[^@]*")


class _Parts(NamedTuple):
    """A URL, split according to RFC 3986. The parts include their `@`, `:` and `#`. A missing part is empty."""

    scheme: str
    userinfo: str
    host: str
    port: str
    path: str
    """The path and the query."""
    fragment: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.userinfo}{self.host}{self.port}{self.path}{self.fragment}"


def check_webhook_url(
    url: str,
    webhook_url_policy: WebhookUrlPolicy = DEFAULT_POLICY,
    *,
    pointer: str = "/webhook_event_url",
    policy: WebhookUrlPolicy | None = None,
) -> tuple[Problem, ...]:
    """Return all problems of a webhook URL. An empty tuple means that the URL can be sent as it is.

    No value of `url` raises an exception. A value that is not a str is reported as a problem. Each message is one line:
    the URL, what is wrong with it, and what would be valid. User names and passwords are shown as `***`. `pointer` is
    used as the JSON pointer of the problems. `policy` is the deprecated name of `webhook_url_policy`.

    Every policy rejects a URL with

    - forbidden characters: control characters, whitespace, invisible characters, lone surrogates, backslashes,
      characters that RFC 3986 does not allow, a `%` without two hex digits, and non-ASCII characters outside the host;
    - a wrong form: no scheme, no `://`, no host, a fragment, more than 2000 characters (Telnyx, error 10003);
    - a port that is empty, 0, above 65535, or has characters other than `0` to `9`;
    - a host name that RFC 1123 or IDNA does not allow, such as a name of more than 253 characters, or one with a label
      that is empty or has more than 63 characters (underscores are accepted, because existing names use them);
    - an invalid IPv6 address, or one with a zone;
    - a host that parsers read in different ways, because it contains lookalikes of ASCII characters (fullwidth letters,
      ideographic full stops), percent escapes, or a `ß` or `ς` that is not in the `xn--` form;
    - a host that ends in a number but is not an IPv4 address, such as `1.2.3.4.5` or `256.1.1.1` (WHATWG).
    """
    webhook_url_policy = policy_of(webhook_url_policy, policy)
    text = _as_str(url)
    if text is None:
        return (_wrong_type(pointer, url),)
    if split_valid(text, webhook_url_policy) is not None:
        return ()
    return _problems(text, webhook_url_policy, pointer)


def check_webhook_urls(
    url: object,
    failover_url: object,
    webhook_url_policy: WebhookUrlPolicy = DEFAULT_POLICY,
    *,
    policy: WebhookUrlPolicy | None = None,
) -> tuple[Problem, ...]:
    """Return all problems of a webhook URL, of its failover URL, and of the pair.

    The failover URL must not point to the same place as the webhook URL, or both would fail together. URLs can point
    to the same place although they differ in the case of the host, a default port, percent escapes, or an empty path in
    place of `/` (RFC 3986, 6.2). None and `UNSET` are skipped. No value raises an exception. `policy` is the deprecated
    name of `webhook_url_policy`.
    """
    webhook_url_policy = policy_of(webhook_url_policy, policy)
    # Most pairs are two valid plain URLs that certainly differ.
    one, other = split_valid(url, webhook_url_policy), split_valid(failover_url, webhook_url_policy)
    if one is not None and other is not None and certainly_differ(one, other):
        return ()
    problems: list[Problem] = []
    if url is not None and url is not UNSET:
        problems += check_webhook_url(cast("str", url), webhook_url_policy)
    if failover_url is not None and failover_url is not UNSET:
        pointer = "/webhook_event_failover_url"
        problems += check_webhook_url(cast("str", failover_url), webhook_url_policy, pointer=pointer)
    first, second = _as_str(url), _as_str(failover_url)
    # Only URLs that passed the check can be compared by meaning.
    if first is not None and second is not None and (first == second or (not problems and same_url(first, second))):
        shown = quote_text(masked_url(second))
        message = f"{shown} points to the same place as the webhook URL; give a different failover URL"
        problems.append(Problem("/webhook_event_failover_url", message, code="same_url"))
    return tuple(problems)


def _as_str(value: object) -> str | None:
    """Return the value as a plain str, as JSON would send it, or None if the value is not a str.

    `isinstance` would accept a mock that fakes its `__class__`, so `type` is used.
    """
    return str.__str__(cast("str", value)) if issubclass(type(value), str) else None


def _wrong_type(pointer: str, value: object) -> Problem:
    # The problem does not keep the value, which may contain a password.
    if value is None:
        return not_nullable(pointer, _EXPECTED)
    given = type(value)
    # A metaclass may define a wrong `__name__`, or one that raises an exception.
    name = type.__repr__(given).removeprefix("<class '").removesuffix("'>")
    if given is URL:
        message = "got a yarl.URL instead of a str; pass str(url)"
    elif name.startswith("pydantic"):  # such as HttpUrl and AnyUrl
        message = f"got {name.rpartition('.')[2]} of pydantic instead of a str; pass str(url)"
    elif issubclass(given, bytes | bytearray):
        message = "got bytes instead of a str; pass url.decode()"
    else:
        message = f"got a value of type {quote_text(name)} instead of a str"
    return Problem(pointer, message, code="wrong_type", expected=_EXPECTED)


_EXPECTED = "a URL"


def _problems(url: str, policy: WebhookUrlPolicy, pointer: str) -> tuple[Problem, ...]:
    found = findings(url, policy)
    fix = _valid_fix(url, found, policy)
    shown = quote_text(masked_url(url))

    def message(finding: Finding) -> str:
        hint = finding.hint if fix is None else f"did you mean {fix!r}?"
        setting = "" if finding.setting is None else f" ({finding.setting})"
        return f"{shown} {finding.wrong}; {hint}{setting}"

    return tuple(Problem(pointer, message(one), code=one.code, setting=one.setting) for one in found)


def _valid_fix(url: str, found: Sequence[Finding], policy: WebhookUrlPolicy) -> str | None:
    """Return the URL that was probably meant, if it is short and valid."""
    # A fix repairs one part of the URL. So if the findings have different fixes, hardly any of these is valid.
    fixes = {finding.fix for finding in found}
    fix = fixes.pop() if len(fixes) == 1 else None
    # No fix is suggested for a URL with credentials, because the message would either show or drop them.
    if fix is None or masked_url(url) != url or quote_text(fix) != repr(fix) or not _is_valid(fix, policy):
        return None
    return fix


def masked_url(url: str) -> str:
    """Hide a user name and password, even if the password contains a `/`, `?`, `#` or `@` that splits the URL wrongly.

    Everything before the last `@` is replaced with `***`, except the scheme. There is one exception: nothing is hidden
    if every `@` is in the path, query or fragment, and there is no `:` between `://` and the last `@`.
    """
    if "@" not in url or _AT_IN_PATH.fullmatch(url):
        return url
    scheme = re.match(f"{SCHEME.pattern}://", url)
    return f"{scheme.group() if scheme else ''}***{url[url.rindex('@') :]}"


def masked_repr(url: object) -> str:
    """Return the `repr` of the value of a URL field, without user name and password."""
    return repr(masked_url(url) if isinstance(url, str) else url)


def _is_valid(url: str, policy: WebhookUrlPolicy) -> bool:
    # A fix often has a known origin. Then this takes a third less time than the full check.
    return split_valid(url, policy) is not None or not findings(url, policy)


def split_valid(url: object, policy: WebhookUrlPolicy) -> tuple[Origin, str] | None:
    """Split a valid plain URL into the normal form of its origin, and its path. Return None for all other values."""
    if type(url) is not str or (plain := split_plain(url)) is None:
        return None
    origin = _valid_origin(plain[0], policy)
    return None if origin is None else (origin, plain[1])


@lru_cache(maxsize=1024)
def _valid_origin(text: str, policy: WebhookUrlPolicy) -> Origin | None:
    """Return the normal form of an origin; None if it is invalid, alone or with some path.

    The path `//` is the strictest: only with it is `https://https` rejected, as the beginning of `https://https://x.io`.
    """
    return None if findings(f"{text}//", policy) else origin_of(text)


def findings(url: str, policy: WebhookUrlPolicy) -> list[Finding]:
    """Return all mistakes of a URL. This is the full check."""
    found: list[Finding] = []
    if len(url) > MAX_URL:
        hint = f"Telnyx accepts at most {MAX_URL} (error 10003)"
        found.append(Finding("too_long", f"has {len(url)} characters", hint))
    if bad := character_findings(url):
        return found + bad
    absolute = _ABSOLUTE.fullmatch(url)
    if absolute is None:
        return [*found, _not_absolute(url, policy)]
    parts = _split(absolute)
    if finding := _unreliable_split(parts, policy):
        return [*found, finding]
    found += _scheme_findings(parts, policy)
    found += _userinfo_findings(parts, policy)
    found += _host_findings(parts, policy)
    found += _port_findings(parts)
    found += _path_findings(parts)
    if parts.fragment:
        hint = "fragments are never sent to a server: remove the fragment, or write '#' as '%23'"
        found.append(Finding("fragment", "has a fragment", hint, str(parts._replace(fragment=""))))
    if not found and not _yarl_agrees(url, parts):
        hint = "write its scheme, host and port in a simpler form"
        found.append(Finding("ambiguous_url", "is ambiguous: parsers read it in different ways", hint))
    return found


def _split(absolute: re.Match[str]) -> _Parts:
    scheme, authority, path, fragment = absolute.groups(default="")
    userinfo, at, host_and_port = authority.rpartition("@")
    match = _HOST_AND_PORT.fullmatch(host_and_port)
    # An extra bracket or colon becomes part of the host, so that the check of the host reports it.
    host, port = match.groups(default="") if match else (host_and_port, "")
    return _Parts(scheme, userinfo + at, host, port, path, fragment)


def _unreliable_split(parts: _Parts, policy: WebhookUrlPolicy) -> Finding | None:
    """Return a finding if a mistake has caused the URL to be split in the wrong place."""
    if parts.host.lower() in policy.schemes and parts.port in ("", ":") and parts.path.startswith("//"):
        fix = f"{parts.host}:{parts.path}{parts.fragment}"
        return Finding("bad_scheme", "has two schemes", "remove one", fix)
    if not _PORT.fullmatch(parts.port) and "@" in parts.path + parts.fragment:
        wrong = "has a port with characters other than 0 to 9, or a password that is not percent-encoded"
        return Finding("bad_port", wrong, "in a password, write '%2F' for '/', '%3F' for '?' and '%23' for '#'")
    return None


def _not_absolute(url: str, policy: WebhookUrlPolicy) -> Finding:
    """Return the finding for a URL that does not begin with a scheme, `://` and a host."""
    begin = f"begin it with {_beginnings(policy)}"
    scheme = _best_scheme(policy)
    if not url:
        return Finding("not_absolute", "is empty", f"{begin} and a host")
    # `https:example.com`, `https:/example.com` and `https//example.com`
    if match := re.match(f"({'|'.join(map(re.escape, policy.schemes))})[:/]+", url, re.IGNORECASE):
        fix = f"{match[1]}://{url[match.end() :]}"
        return Finding("not_absolute", "has a scheme but no host", f"{begin} and a host", fix)
    if url.startswith(("//", "://")):
        return Finding("not_absolute", "has no scheme", begin, f"{scheme}://{url.lstrip(':/')}")
    if url.startswith(("/", "?", "#", "./", "../")):
        return Finding("not_absolute", "is relative: it has no scheme and no host", f"{begin} and a host")
    # According to RFC 3986, `localhost:8080/hook` has the scheme `localhost`, but the user means a host and a port.
    host, colon, port = re.split("[/?#]", url, maxsplit=1)[0].partition(":")
    if port.isdigit() if colon else "." in host.rstrip(".") or host == "localhost":
        return Finding("not_absolute", "has no scheme", begin, f"{scheme}://{url}")
    return Finding("not_absolute", f"does not begin with {_beginnings(policy)}", "give a full URL")


def _beginnings(policy: WebhookUrlPolicy) -> str:
    return " or ".join(f"'{scheme}://'" for scheme in policy.schemes)


def _best_scheme(policy: WebhookUrlPolicy) -> str:
    return "https" if "https" in policy.schemes else policy.schemes[0]


def _scheme_findings(parts: _Parts, policy: WebhookUrlPolicy) -> list[Finding]:
    if parts.scheme.lower() in policy.schemes:
        return []
    fix = str(parts._replace(scheme=_best_scheme(policy)))
    wrong = f"has the scheme {quote_text(parts.scheme)}"
    return [Finding("bad_scheme", wrong, f"begin it with {_beginnings(policy)}", fix)]


def _userinfo_findings(parts: _Parts, policy: WebhookUrlPolicy) -> list[Finding]:
    userinfo = parts.userinfo[:-1]
    if parts.userinfo and not policy.allow_credentials:
        wrong = "has a user name or password"
        return [Finding("bad_credentials", wrong, "remove it", setting="allow_credentials=False")]
    if BAD_ESCAPE.search(userinfo) or BAD_IN_USERINFO.search(userinfo):
        wrong = "has characters in its user name or password that must be percent-encoded"
        return [Finding("bad_credentials", wrong, "write '%40' for '@', '%25' for '%'")]
    return []


def _host_findings(parts: _Parts, policy: WebhookUrlPolicy) -> list[Finding]:
    if not parts.host:
        # `https:///example.com` has one slash too many; `https:///hook` has no host.
        fix = f"{parts.scheme}://{parts.path.lstrip('/')}" if "." in parts.path.lstrip("/").partition("/")[0] else None
        return [Finding("bad_host", "has no host", "write one after '://'", fix)]
    try:
        return _host_policy_findings(normal_host(parts.host), policy)
    except HostError as error:
        found = [Finding("bad_host", error.wrong, error.hint, str(parts._replace(host=error.meant)))]
        try:
            return found + _host_policy_findings(normal_host(error.meant), policy)
        except HostError:
            return found


def _host_policy_findings(host: str, policy: WebhookUrlPolicy) -> list[Finding]:
    found: list[Finding] = []
    if not policy.allow_private_hosts and not is_public(host):
        wrong, setting = "has a host that is not on the public internet", "allow_private_hosts=False"
        found.append(Finding("private_host", wrong, "give a public host", setting=setting))
    if matches(host, policy.denied_hosts):
        found.append(Finding("denied_host", "has a host that is denied", "give another one", setting="denied_hosts"))
    elif policy.allowed_hosts and not matches(host, policy.allowed_hosts):
        allowed = quote_text(", ".join(policy.allowed_hosts))
        wrong = "has a host that is not allowed"
        found.append(Finding("denied_host", wrong, f"the allowed hosts are {allowed}", setting="allowed_hosts"))
    return found


def _port_findings(parts: _Parts) -> list[Finding]:
    hint = "a port is a number from 1 to 65535"
    # In `https://://x.io`, the empty port is only a consequence of the missing host.
    if not parts.port or (parts.port == ":" and not parts.host):
        return []
    if parts.port == ":":
        return [Finding("bad_port", "has an empty port", hint, str(parts._replace(port="")))]
    # int() would accept `+80`, `8_0` and the digits of every script.
    if not _PORT.fullmatch(parts.port):
        return [Finding("bad_port", "has a port with characters other than 0 to 9", hint)]
    number = parts.port[1:].lstrip("0")
    if not number:
        return [Finding("bad_port", "has the port 0", hint)]
    if len(number) > 5 or int(number) > 65535:
        return [Finding("bad_port", "has a port above 65535", hint)]
    return []


def _path_findings(parts: _Parts) -> list[Finding]:
    found: list[Finding] = []
    bad_escape, bad = BAD_ESCAPE.search(parts.path), BAD_IN_PATH.search(parts.path)
    if not bad_escape and not bad:
        return found
    fix = percent_encoded(BAD_IN_PATH, BAD_ESCAPE.sub("%25", parts.path))
    fix = str(parts._replace(path=fix))
    if bad_escape:
        wrong = "has a '%' without two hex digits after it"
        found.append(Finding("bad_path", wrong, "write '%25' if a '%' is meant", fix))
    if bad:
        wrong = f"has a character in its path or query that must be percent-encoded ({code_point(bad.group())})"
        found.append(Finding("bad_path", wrong, f"write it as '{quote(bad.group(), safe='')}'", fix))
    return found


def _yarl_agrees(url: str, parts: _Parts) -> bool:
    """Return whether yarl finds the same scheme, host and port as this check."""
    try:
        seen = URL(url)
    except YARL_ERRORS:
        return False
    port = int(parts.port[1:]) if parts.port else None
    try:
        host = normal_host(seen.host_subcomponent or "")
    except HostError:
        return False
    return (seen.scheme, host, seen.explicit_port) == (parts.scheme.lower(), normal_host(parts.host), port)
