"""The proxy of a client: the one that is given, or the one that the environment variables name.

The environment is read once, when the client is created. aiohttp would read it for each request, in a thread.
"""

from typing import Final, cast
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from .._checks import setting_error, wrong_type
from .._text import quoted
from .._webhook_url import is_loopback
from ..errors import ClientSettingsError

__all__ = ["find_proxy"]

_EXAMPLE: Final = "give a URL such as http://proxy.example.com:3128"


def find_proxy(base_url: URL, given: str | None, *, trust_env: bool) -> URL | None:
    """Return the URL of the proxy for requests to `base_url`; None if they are sent directly.

    A `given` proxy takes precedence. With `trust_env`, `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` are
    read, in upper or lower case. Loopback addresses never use a proxy of the environment. Raises `ClientSettingsError`
    if the URL of the proxy is invalid.
    """
    if given is not None:
        return _read("proxy", given)
    host = base_url.host or ""
    if not trust_env or is_loopback(host):
        return None
    proxies = getproxies()
    for scheme in (base_url.scheme, "all"):
        if found := proxies.get(scheme):
            netloc = f"[{host}]" if ":" in host else host
            is_bypassed = proxy_bypass(host) or proxy_bypass(f"{netloc}:{base_url.port}")
            return None if is_bypassed else _read(f"{scheme.upper()}_PROXY", found)
    return None


def _read(name: str, text: object) -> URL:
    if not isinstance(text, str):
        raise wrong_type(name, text, "a str")
    # As in curl, a proxy may be written without a scheme.
    url = text if "://" in text or name == "proxy" else f"http://{text}"
    try:
        proxy = URL(url)
        host, _ = proxy.host, proxy.port
    except (ValueError, IndexError):
        raise _error(name, text, "can't be parsed") from None
    if proxy.scheme not in ("http", "https") or not host:
        raise _error(name, text, "is not an http or https URL")
    return proxy


def _error(name: str, text: str, wrong: str) -> ClientSettingsError:
    # It may contain a password.
    shown, value = ("", None) if "@" in text else (f"{quoted(text)} ", text)
    return setting_error(name, f"{shown}{wrong}", _EXAMPLE, cast("object", value))
