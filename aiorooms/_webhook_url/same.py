"""Tell whether two URLs point to the same place, although they may be written differently (RFC 3986, 6.2).

Example: `https://x.io/~a` and `HTTPS://X.IO:443/%7Ea` point to the same place; `https://x.io/~a` and `https://x.io/~A`
do not.
"""

from functools import lru_cache
from typing import TypeAlias

from yarl import URL

from .host import YARL_ERRORS, comparable_host
from .plain import split_plain

__all__ = ["Origin", "certainly_differ", "normal_form", "origin_of", "same_url"]

Origin: TypeAlias = tuple[str | int | None, ...]
"""The normal form of an origin (see `plain`): scheme, user name, password, host and port."""


def same_url(first: str, second: str) -> bool:
    """Return whether two URLs point to the same place, even if they are written differently.

    Texts that are not URLs are the same only if they are equal. No text raises an exception.
    """
    if first == second:
        return True
    one, other = split_plain(first), split_plain(second)
    try:
        if one is not None and other is not None:
            (origin, path), (other_origin, other_path) = one, other
            if certainly_differ((origin_of(origin), path), (origin_of(other_origin), other_path)):
                return False
        return normal_form(first) == normal_form(second)
    except YARL_ERRORS:
        return False


# A bulk run compares URLs with the same origins for every room.
@lru_cache(maxsize=1024)
def origin_of(origin: str) -> Origin:
    """Return the normal form of the origin of a plain URL. Raises as `normal_form` does."""
    return normal_form(f"{origin}/")[:5]


def certainly_differ(one: tuple[Origin, str], other: tuple[Origin, str]) -> bool:
    """Return True if two plain URLs certainly differ, and False if only `normal_form` can tell.

    A URL is given as its origin and its path.
    """
    if one[0] != other[0]:
        return True
    return one[1] != other[1] and _has_one_spelling(one[1]) and _has_one_spelling(other[1])


def _has_one_spelling(path: str) -> bool:
    """Return whether a plain path can be written in one way only.

    It is not empty, and has no empty query, escape, `+` or dot segment.
    """
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
