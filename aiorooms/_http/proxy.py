"""The proxy of a client: the one that is given, or the one that the environment variables name.

The environment is read once, when the client is created. aiohttp would read it for each request, in a thread.

The URL of a proxy may contain a password. So it is split at once into a URL without credentials, which may be shown,
and the header `Proxy-Authorization`. Until then, it is kept in a `Hidden`, because some tools show local variables.
"""

import base64
from collections.abc import Mapping
from typing import Final
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from .._checks import setting_error, wrong_type
from .._text import quoted
from .._webhook_url import is_loopback
from .secret import Hidden

__all__ = ["Proxy", "find_proxy"]


class Proxy:
    """An HTTP proxy."""

    __slots__ = ("headers", "url")

    def __init__(self, url: URL, authorization: str | None) -> None:
        self.url: URL = url
        """The URL without credentials."""
        self.headers: Mapping[str, str] = {} if authorization is None else {"Proxy-Authorization": authorization}
        """The headers for the proxy, with its credentials."""


def find_proxy(base_url: URL, given: Hidden, *, trust_env: bool) -> Proxy | None:
    """Return the proxy for requests to `base_url`; None if they are sent directly.

    `given` contains the argument `proxy`, which takes precedence unless it is None. With `trust_env`, `HTTPS_PROXY`,
    `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` are read, in upper or lower case. Loopback addresses never use a proxy of
    the environment. Raises `ClientSettingsError` if the URL of the proxy is invalid.
    """
    name, chosen = ("proxy", given) if given.value is not None else _in_environment(base_url, trust_env=trust_env)
    if chosen is None:
        return None
    if not isinstance(chosen.value, str):
        raise wrong_type(name, chosen.value, "a str")
    proxy = _read(chosen.value, needs_scheme=chosen is given)
    if isinstance(proxy, str):
        hint = "give a URL such as http://proxy.example.com:3128"
        raise setting_error(name, proxy, hint if chosen is given else f"{hint}, or name the host in NO_PROXY")
    return proxy


def _in_environment(base_url: URL, *, trust_env: bool) -> tuple[str, Hidden | None]:
    """Return the name and the value of the variable that names the proxy; None if there is no proxy."""
    host = base_url.host or ""
    if not trust_env or is_loopback(host):
        return "", None
    proxies = getproxies()
    for scheme in (base_url.scheme, "all"):
        if found := proxies.get(scheme, "").strip():
            netloc = f"[{host}]" if ":" in host else host
            is_bypassed = proxy_bypass(host) or proxy_bypass(f"{netloc}:{base_url.port}")
            return f"{scheme.upper()}_PROXY", None if is_bypassed else Hidden(found)
    return "", None


_SPACES: Final = " \t\r\n"


def _read(text: str, *, needs_scheme: bool) -> Proxy | str:
    """Return the proxy, or what is wrong with its URL. It raises no error, because its variables would be shown."""
    # It may contain a password.
    shown = "" if "@" in text else f"{quoted(text)} "
    # As in curl, a variable may name a proxy without a scheme.
    given = text if needs_scheme or "://" in text else f"http://{text}"
    try:
        url = URL(given)
        host, _ = url.host, url.port
    except (ValueError, IndexError):
        return f"{shown}can't be parsed"
    if url.scheme not in ("http", "https") or not host or any(char in _SPACES for char in text):
        return f"{shown}is not an http or https URL"
    if url.user is None and url.password is None:
        return Proxy(url, None)
    credentials = base64.b64encode(f"{url.user or ''}:{url.password or ''}".encode()).decode()
    return Proxy(url.with_user(None), f"Basic {credentials}")
