"""Tell whether two URLs point to the same place, although they may be written differently (RFC 3986, 6.2).

Example: `https://x.io/~a` and `HTTPS://X.IO:443/%7Ea` point to the same place; `https://x.io/~a` and `https://x.io/~A`
do not.
"""

from functools import lru_cache
from typing import TypeAlias

from yarl import URL

from .host import YARL_ERRORS, comparable_host
from .plain import split_plain

__all__ = ["Origin", "normal_form", "origin_of", "paths_differ", "same_url"]

Origin: TypeAlias = tuple[str | int | None, ...]
"""The normal form of an origin: scheme, user name, password, host and port."""


def same_url(first: str, second: str) -> bool:
    """Return whether two URLs point to the same place, even if they are written differently.

    Texts that are not URLs are the same only if they are equal. No text raises an exception.
    """
    if first == second:
        return True
    one, other = split_plain(first), split_plain(second)
    try:
        if (
            one is not None
            and other is not None
            and (origin_of(one[0]) != origin_of(other[0]) or paths_differ(one[1], other[1]))
        ):
            return False
        return normal_form(first) == normal_form(second)
    except YARL_ERRORS:
        return False


# A bulk run compares URLs with the same origins for every room.
@lru_cache(maxsize=1024)
def origin_of(origin: str) -> Origin:
    """Return the normal form of the origin of a plain URL. Raises as `normal_form` does."""
    return normal_form(f"{origin}/")[:5]


def paths_differ(one: str, other: str) -> bool:
    """Return True if two plain paths differ in any spelling, and False if that takes a closer look."""
    return one != other and _has_one_spelling(one) and _has_one_spelling(other)


def _has_one_spelling(path: str) -> bool:
    """Return whether a plain path has no empty query, escapes or dot segments, which could be written differently."""
    return path[:1] == "/" and path[-1] != "?" and "%" not in path and "+" not in path and "/." not in path


def normal_form(url: str) -> tuple[str | int | None, ...]:
    """Return the parts of a URL in one spelling. Raises one of `YARL_ERRORS` if the text is not a URL with a host."""
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
