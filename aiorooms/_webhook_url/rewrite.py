"""Replace the host of a URL, and leave the rest of its text unchanged.

The host is replaced in the text, because parsing and rebuilding the URL could change its other parts, such as its
percent escapes. Example: the host `old.example.com` is rewritten to `new.example.com`.

    https://user:pw@OLD.example.com:8443/a%2fb?x=%20#top
    https://user:pw@new.example.com:8443/a%2fb?x=%20#top
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple, Self

from yarl import URL

from .._checks import setting_error
from .._text import quoted
from .._unset import UNSET, Unset
from .host import YARL_ERRORS, HostError, comparable_host, normal_host
from .plain import split_plain
from .policy import SCHEME

__all__ = ["HostRewrite", "host_of", "read_host", "rewrite_host", "with_scheme"]

_HOST: Final = re.compile(r"[^\s/?#@:\\*=\[\]]+|\[[0-9A-Fa-f:.]+\]")

_AUTHORITY: Final = re.compile(
    rf"(?P<scheme>{SCHEME.pattern})(?P<user>://(?:[^/?#]*@)?)(?P<host>[^/?#@]*?)(?P<port>:[0-9]*)?(?=[/?#]|\Z)"
)
"""The scheme of a URL, the part between its scheme and its host, its host, and its port with the colon."""

_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


def read_host(text: str) -> str | None:
    """Return a host, normalized for comparison; None if the text is not a host. An IPv6 address needs brackets."""
    return host_of(f"https://{text}/") if _HOST.fullmatch(text) else None


def host_of(url: str) -> str | None:
    """Return the host of a URL, normalized for comparison; None if the URL has no host."""
    plain = split_plain(url)
    return _host_of(url if plain is None else plain[0])


# The URLs of many rooms have few hosts. Without this cache, yarl would parse the URL of each room.
@lru_cache(maxsize=128)
def _host_of(url: str) -> str | None:
    try:
        return comparable_host(URL(url)) or None
    except YARL_ERRORS:
        return None


class HostRewrite(NamedTuple):
    """Replaces one host, and optionally the scheme and the port of URLs with this host."""

    old: str
    """The host to replace, normalized for comparison."""
    new: str
    """The new host, as it is written into the URL."""
    scheme: str | None
    port: int | Unset | None

    @classmethod
    def of(cls, old: str, new: str, *, scheme: str | None = None, port: int | Unset | None = UNSET) -> Self:
        """Check the arguments of `rewrite_host`, with the same meaning. Raises `ClientSettingsError`."""
        host = read_host(old)
        for name, text, known in (("old", old, host), ("new", new, read_host(new))):
            if known is None:
                hint = "give a host without scheme and port, such as hooks.example.com"
                raise setting_error(f"rewrite_host({name}=)", f"is {quoted(text)}, which is not a host", hint, text)
        try:
            normal_host(new)
        except HostError as error:
            wrong = f"is {quoted(new)}, which {error.wrong}"
            raise setting_error("rewrite_host(new=)", wrong, error.hint, new) from None
        if scheme is not None and not SCHEME.fullmatch(scheme):
            hint = "give one such as 'https', without '://'"
            raise setting_error("rewrite_host(scheme=)", f"is {quoted(scheme)}, which is not a scheme", hint, scheme)
        if port is not UNSET and port is not None and not _is_port(port):
            hint = "give a port from 1 to 65535, or None"
            raise setting_error("rewrite_host(port=)", f"is {quoted(port)}", hint, port)
        return cls(host or "", new, scheme, port)

    def __call__(self, url: str) -> str:
        """Return the rewritten URL. A URL of another host is returned unchanged."""
        if (found := _AUTHORITY.match(url)) is None or read_host(found["host"]) != self.old:
            return url
        before, port = _with_scheme(found, self.scheme or found["scheme"])
        if self.port is not UNSET:
            port = "" if self.port is None else f":{self.port}"
        return f"{before}{self.new}{port}{url[found.end() :]}"


def _is_port(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535


def with_scheme(url: str, scheme: str) -> str:
    """Return a URL with another scheme, and without a port that is the default of the old scheme."""
    if (found := _AUTHORITY.match(url)) is None:
        return url
    before, port = _with_scheme(found, scheme)
    return f"{before}{found['host']}{port}{url[found.end() :]}"


def _with_scheme(found: re.Match[str], scheme: str) -> tuple[str, str]:
    """Return the part of a URL before its host, with this scheme, and the port that belongs to it."""
    old, port = found["scheme"].lower(), found["port"] or ""
    # `https://x.io:80/` would not work, because a server hardly uses the default port of another scheme.
    if scheme.lower() != old and port == _DEFAULT_PORTS.get(old):
        port = ""
    return scheme + found["user"], port


def rewrite_host(url: str, old: str, new: str, *, scheme: str | None = None, port: int | Unset | None = UNSET) -> str:
    """Return a URL with the host `new` in place of `old`. A URL of another host is returned unchanged.

    Hosts are compared after IDNA encoding, in lower case and without a trailing dot. User name, password, path, query
    and fragment stay as they are, byte for byte. So do the scheme and the port, unless new ones are given: `port=None`
    removes the port. A new scheme also removes a port that is the default of the old one, because `https://x.io:80/`
    would not work. The result is not checked. Raises `ClientSettingsError` if `old`, `new`, `scheme` or `port` is
    invalid.
    """
    return HostRewrite.of(old, new, scheme=scheme, port=port)(url)
