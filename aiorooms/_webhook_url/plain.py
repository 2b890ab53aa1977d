"""Split a plain URL into its origin and its path, with one regular expression.

A URL is plain if it has a scheme, `://`, any authority, and then only a path and a query that RFC 3986 allows. Its
origin is everything before the path. Unlike an origin of RFC 6454, it includes the user name and password. In a bulk
run every room may have a URL of its own, but the URLs of all rooms have few origins. So the result for an origin is
cached, and a plain URL costs little more than this regular expression. `check` and `same` handle all other URLs in
full.

Example: `https://hooks.example.com/rooms/7?team=a` has the origin `https://hooks.example.com` and the path
`/rooms/7?team=a`. The next room's `https://hooks.example.com/rooms/8?team=b` has the same origin. `https://x.io/#top`
is not plain, because it has a fragment.
"""

import re
from typing import Final

from .characters import MAX_URL

__all__ = ["split_plain"]

_PLAIN: Final = re.compile(
    r"([A-Za-z][A-Za-z0-9+.\-]*+://[^/?#]*+)"  # RFC 3986, 3.1 and 3.2
    r"((?:[/?](?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]++|%[0-9A-Fa-f]{2})*+)?)"  # RFC 3986, 3.3 and 3.4
)


def split_plain(url: str) -> tuple[str, str] | None:
    """Return the origin of a plain URL, and its path with its query. Return None for all other texts."""
    match = _PLAIN.fullmatch(url)
    return None if match is None or len(url) > MAX_URL else (match[1], match[2])
