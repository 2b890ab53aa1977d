"""The checks of a webhook URL and its failover URL, before anything is sent.

Check the very string that will be sent, and let through only what all programs read alike. First the characters
(`characters`). Then a small regex after RFC 3986 splits the string, and each part is checked by itself, so that all
problems come out at once. `host` judges hosts, and `policy` holds what the user accepts. Last, yarl reads the URL too,
and must see the scheme, host and port that were checked.
"""

import re
from functools import lru_cache
from typing import cast
from urllib.parse import quote

import attrs
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
    named,
    percent_encoded,
    quote_text,
)
from .host import YARL_ERRORS, HostError, comparable_host, is_public, matches, normal_host
from .policy import DEFAULT_POLICY, SCHEME, WebhookUrlPolicy, policy_of

__all__ = ["check_webhook_url", "check_webhook_urls", "same_url"]

_ABSOLUTE = re.compile(rf"({SCHEME.pattern})://([^/?#]*)([^#]*)(#.*)?")  # RFC 3986, appendix B
_HOST_AND_PORT = re.compile(r"(\[[^\[\]]*\]|[^:]*)(:[^:]*)?")
_PORT = re.compile("(:[0-9]*)?")
_AT_IN_PATH = re.compile(r"[^:/?#@\\]+://[^:/?#@\\]+[/?#][^:]*@[^@]*")


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
    url: str,
    webhook_url_policy: WebhookUrlPolicy = DEFAULT_POLICY,
    *,
    pointer: str = "/webhook_event_url",
    policy: WebhookUrlPolicy | None = None,
) -> tuple[Problem, ...]:
    """Say everything that is wrong with a webhook URL; an empty tuple means that it can be sent as it is.

    This raises for nothing that is given as `url`; what isn't a str is a problem like others. Each message is one line
    that shows what was given, what is wrong and what would be right. User names and passwords are shown as `***`.
    `pointer` is the JSON pointer that the problems get. `policy` is the old name of `webhook_url_policy`.

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
    webhook_url_policy = policy_of(webhook_url_policy, policy)
    text = _as_str(url)
    if text is None:
        return (_wrong_type(pointer, url),)
    # What is too long is not worth its room in the cache.
    problems = _cached_problems if len(text) <= MAX_URL else _problems
    return problems(text, webhook_url_policy, pointer)


def check_webhook_urls(
    url: object,
    failover_url: object,
    webhook_url_policy: WebhookUrlPolicy = DEFAULT_POLICY,
    *,
    policy: WebhookUrlPolicy | None = None,
) -> tuple[Problem, ...]:
    """Check a webhook URL and its failover URL, each as `check_webhook_url` does, and then as a pair.

    A failover URL is there for when the webhook URL fails, so one that leads to the same place is a problem, also if it
    is written in another way (RFC 3986, 6.2: case of the host, default port, percent escapes, no path for `/`).
    None and `UNSET` are skipped. All else may be given and raises nothing, as there. `policy` is the old name of
    `webhook_url_policy`.
    """
    webhook_url_policy = policy_of(webhook_url_policy, policy)
    # What is too long is not worth its room in the cache, and a subclass of str may lie about what it equals.
    if type(url) is str and type(failover_url) is str and len(url) <= MAX_URL and len(failover_url) <= MAX_URL:
        return _cached_pair_problems(url, failover_url, webhook_url_policy)
    return _pair_problems(url, failover_url, webhook_url_policy)


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
        shown = quote_text(_masked(second))
        message = f"{shown} leads to the same place as the webhook URL; give another one, or clear it"
        problems.append(Problem("/webhook_event_failover_url", message, code="same_url"))
    return tuple(problems)


# A bulk run gives the same pair with every room. That takes 0.4 us with this cache and 2 us with that of single URLs.
_cached_pair_problems = lru_cache(maxsize=1024)(_pair_problems)


def same_url(first: str, second: str) -> bool:
    """Whether two URLs lead to the same place, however they are written (RFC 3986, 6.2). Raises for no text.

    Two texts that are no URLs are the same only if all their characters are.
    """
    try:
        return first == second or _normal_form(first) == _normal_form(second)
    except YARL_ERRORS:
        return False


# For a bulk run, as with the cache of messages.
@lru_cache(maxsize=1024)
def _normal_form(url: str) -> tuple[str | int | None, ...]:
    seen = URL(url)
    if not seen.raw_host:
        raise ValueError("only URLs with a host have a normal form")
    return (
        seen.scheme,
        seen.user,
        seen.password,
        comparable_host(seen),
        seen.port,
        seen.raw_path,
        seen.raw_query_string,
        seen.raw_fragment,
    )


def _as_str(value: object) -> str | None:
    """Give the characters that JSON would hold, or None if it's no str. A mock may lie with its `__class__`."""
    return str.__str__(cast("str", value)) if issubclass(type(value), str) else None


def _wrong_type(pointer: str, value: object) -> Problem:
    # No value is kept: it may hold a password.
    if value is None:
        return not_nullable(pointer, _EXPECTED)
    given = type(value)
    if given is URL:
        message = "a yarl.URL was given, where a str is wanted; pass str(url)"
    elif issubclass(given, bytes | bytearray):
        message = "bytes were given, where a str is wanted; pass url.decode()"
    else:
        # A metaclass may lie about its name, or raise.
        name = type.__repr__(given).removeprefix("<class '").removesuffix("'>")
        message = f"a value of type {quote_text(name)} was given, where a str is wanted"
    return Problem(pointer, message, code="wrong_type", expected=_EXPECTED)


_EXPECTED = "a URL"


def _problems(url: str, policy: WebhookUrlPolicy, pointer: str) -> tuple[Problem, ...]:
    return tuple(
        Problem(pointer, _message(url, finding, policy), code=finding.code, setting=finding.setting)
        for finding in _findings(url, policy)
    )


# A bulk run gives the same URL with every room. That takes 0.6 us with this cache and 50 us without it (python -m
# timeit, CPython 3.11).
_cached_problems = lru_cache(maxsize=1024)(_problems)


def _message(url: str, finding: Finding, policy: WebhookUrlPolicy) -> str:
    shown, right, fix = _masked(url), finding.right, finding.fix
    # Where credentials had to be hidden, a suggestion would show them or lose them.
    if fix is not None and shown == url and quote_text(fix) == repr(fix) and not _findings(fix, policy):
        right = f"did you mean {fix!r}?"
    setting = "" if finding.setting is None else f" ({finding.setting})"
    return f"{quote_text(shown)} {finding.wrong}; {right}{setting}"


def _masked(url: str) -> str:
    """Hide a user name and password, also if a `/`, `?`, `#` or `@` in the password makes parsers see other parts.

    So all up to the last `@` is hidden, unless each `@` is in the path or query and no `:` stands before the last one.
    """
    if "@" not in url or _AT_IN_PATH.fullmatch(url):
        return url
    scheme = re.match(f"{SCHEME.pattern}://", url)
    return f"{scheme.group() if scheme else ''}***{url[url.rindex('@') :]}"


def _findings(url: str, policy: WebhookUrlPolicy) -> list[Finding]:
    found: list[Finding] = []
    if len(url) > MAX_URL:
        found.append(Finding("too_long", f"has {len(url)} characters", f"Telnyx takes {MAX_URL} at most (error 10003)"))
    if bad := character_findings(url):
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
        found.append(Finding("fragment", "has a fragment", right, str(attrs.evolve(parts, fragment=""))))
    if not found and not _seen_alike(url, parts):
        right = "write its scheme, host and port more plainly"
        found.append(Finding("ambiguous_url", "is not read alike by all programs", right))
    return found


def _split(absolute: re.Match[str]) -> _Parts:
    scheme, authority, path, fragment = absolute.groups(default="")
    userinfo, at, host_and_port = authority.rpartition("@")
    match = _HOST_AND_PORT.fullmatch(host_and_port)
    # With a bracket or colon too many it is all taken for the host, whose check tells what is wrong.
    host, port = match.groups(default="") if match else (host_and_port, "")
    return _Parts(scheme, userinfo + at, host, port, path, fragment)


def _torn(parts: _Parts, policy: WebhookUrlPolicy) -> Finding | None:
    """Find mistakes after which no part is what it seems to be."""
    if parts.host.lower() in policy.schemes and parts.port in ("", ":") and parts.path.startswith("//"):
        fix = f"{parts.host}:{parts.path}{parts.fragment}"
        return Finding("bad_scheme", "has two schemes", "leave one out", fix)
    if not _PORT.fullmatch(parts.port) and "@" in parts.path + parts.fragment:
        wrong = "has a port that is not in plain digits, or a password that is not percent-encoded"
        return Finding("bad_port", wrong, "in a password, write '%2F' for '/', '%3F' for '?' and '%23' for '#'")
    return None


def _not_absolute(url: str, policy: WebhookUrlPolicy) -> Finding:
    """Say why a URL does not begin with a scheme, `://` and an authority."""
    begin = f"begin it with {_beginnings(policy)}"
    scheme = _best_scheme(policy)
    if not url:
        return Finding("not_absolute", "is empty", f"{begin} and a host")
    # `https:example.com`, `https:/example.com` and `https//example.com`
    if torn := re.match(f"({'|'.join(map(re.escape, policy.schemes))})[:/]+", url, re.IGNORECASE):
        fix = f"{torn[1]}://{url[torn.end() :]}"
        return Finding("not_absolute", "has a scheme but no host", f"{begin} and a host", fix)
    if url.startswith(("//", "://")):
        return Finding("not_absolute", "has no scheme", begin, f"{scheme}://{url.lstrip(':/')}")
    if url.startswith(("/", "?", "#", "./", "../")):
        return Finding("not_absolute", "is relative, it has no scheme and no host", f"{begin} and a host")
    # After RFC 3986 `localhost:8080/hook` has the scheme `localhost`, which nobody means.
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
    fix = str(attrs.evolve(parts, scheme=_best_scheme(policy)))
    wrong = f"has the scheme {quote_text(parts.scheme)}"
    return [Finding("bad_scheme", wrong, f"begin it with {_beginnings(policy)}", fix)]


def _userinfo_findings(parts: _Parts, policy: WebhookUrlPolicy) -> list[Finding]:
    userinfo = parts.userinfo[:-1]
    if parts.userinfo and not policy.allow_credentials:
        wrong = "has a user name or password"
        return [Finding("bad_credentials", wrong, "leave them out", setting="allow_credentials=False")]
    if BAD_ESCAPE.search(userinfo) or BAD_IN_USERINFO.search(userinfo):
        wrong = "has characters in its user name or password that must be percent-encoded"
        return [Finding("bad_credentials", wrong, "write '%40' for '@', '%25' for '%'")]
    return []


def _host_findings(parts: _Parts, policy: WebhookUrlPolicy) -> list[Finding]:
    if not parts.host:
        # `https:///example.com` has a slash too many; `https:///hook` lacks a host.
        fix = f"{parts.scheme}://{parts.path.lstrip('/')}" if "." in parts.path.lstrip("/").partition("/")[0] else None
        return [Finding("bad_host", "has no host", "a host comes after '://'", fix)]
    try:
        return _host_policy_findings(normal_host(parts.host), policy)
    except HostError as error:
        found = [Finding("bad_host", error.wrong, error.right, str(attrs.evolve(parts, host=error.meant)))]
        try:
            return found + _host_policy_findings(normal_host(error.meant), policy)
        except HostError:
            return found


def _host_policy_findings(host: str, policy: WebhookUrlPolicy) -> list[Finding]:
    found: list[Finding] = []
    if not policy.allow_private_hosts and not is_public(host):
        wrong, setting = "has a host that is not on the public internet", "allow_private_hosts=False"
        found.append(Finding("private_host", wrong, "give one that is", setting=setting))
    if matches(host, policy.denied_hosts):
        found.append(Finding("denied_host", "has a host that is denied", "give another", setting="denied_hosts"))
    elif policy.allowed_hosts and not matches(host, policy.allowed_hosts):
        allowed = quote_text(", ".join(policy.allowed_hosts))
        wrong = "has a host that is not allowed"
        found.append(Finding("denied_host", wrong, f"allowed are {allowed}", setting="allowed_hosts"))
    return found


def _port_findings(parts: _Parts) -> list[Finding]:
    right = "a port is a number from 1 to 65535"
    if not parts.port:
        return []
    if parts.port == ":":
        return [Finding("bad_port", "has an empty port", right, str(attrs.evolve(parts, port="")))]
    # int() would take `+80`, `8_0` and the digits of every script.
    if not _PORT.fullmatch(parts.port):
        return [Finding("bad_port", "has a port that is not in plain digits", right)]
    number = parts.port[1:].lstrip("0")
    if not number:
        return [Finding("bad_port", "has the port 0", right)]
    if len(number) > 5 or int(number) > 65535:
        return [Finding("bad_port", "has a port over 65535", right)]
    return []


def _path_findings(parts: _Parts) -> list[Finding]:
    found: list[Finding] = []
    fix = percent_encoded(BAD_IN_PATH, BAD_ESCAPE.sub("%25", parts.path))
    fix = str(attrs.evolve(parts, path=fix))
    if BAD_ESCAPE.search(parts.path):
        wrong = "has a '%' without two hex digits after it"
        found.append(Finding("bad_path", wrong, "write '%25' if a '%' is meant", fix))
    if bad := BAD_IN_PATH.search(parts.path):
        wrong = f"has a character in its path or query that must be percent-encoded ({named(bad.group())})"
        found.append(Finding("bad_path", wrong, f"write it as '{quote(bad.group(), safe='')}'", fix))
    return found


def _seen_alike(url: str, parts: _Parts) -> bool:
    """Whether yarl sees the scheme, host and port that were checked."""
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
