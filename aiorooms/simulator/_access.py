"""Check the header `Host` (421), the API key (401, 403) and the rate limit (429) of each request.

Requests with a missing or unknown key do not count towards the rate limit. The format of the error body depends only on
the status, not on the operation.

`Host` is checked only if the simulator listens on a loopback address. A web page can make a browser send requests to
such an address by resolving the page's own host to 127.0.0.1 (DNS rebinding). These requests have the page's host as
`Host`.
"""

import time
from ipaddress import ip_address

from ._answers import (
    AUTHENTICATION,
    AUTHORIZATION,
    TOO_MANY_REQUESTS,
    Answer,
    bare_error,
    error_item,
    error_list,
    plain_failure,
)
from ._limit_headers import limit_headers
from ._limit_sets import LimitSets, RateLimits
from ._limiters import make_limiter
from ._routes import Target
from ._stats import Stats


class Access:
    """Checks the host, the API key and the rate limit of each request."""

    def __init__(self, api_key: str, stats: Stats, host: str) -> None:
        """Accept `api_key`, and start without a rate limit. `host` is the address of the simulator."""
        self.api_key = api_key
        self.forbidden_keys: set[str] = set()
        self._stats = stats
        self._checks_host = _is_loopback(host)
        self._rate_limit: RateLimits | None = None
        self._limits = LimitSets({})

    @property
    def rate_limit(self) -> RateLimits | None:
        """The current rate limits. Setting them resets the counts of requests."""
        return self._rate_limit

    @rate_limit.setter
    def rate_limit(self, limits: RateLimits | None) -> None:
        self._rate_limit = limits
        self._limits = LimitSets.of(limits, lambda rule: make_limiter(rule, time.monotonic_ns))

    def check_host(self, header: str | None) -> Answer | None:
        """Return the error answer if `Host` names another host. Return None if the request is allowed."""
        if not self._checks_host or names_loopback(header):
            return None
        return plain_failure(421, "The simulator answers only requests to localhost or a loopback address.")

    def knows_key(self, authorization: str) -> bool:
        """Return whether a request has a key of this account, with permissions or without."""
        scheme, _, key = authorization.partition(" ")
        return scheme.lower() == "bearer" and (key == self.api_key or key in self.forbidden_keys)

    def check(self, authorization: str, method: str, target: Target | None) -> tuple[str, Answer | None]:
        """Return the header lines that report the rate limit, and the error answer (None if the request is allowed)."""
        known = self.knows_key(authorization)
        lines = ""
        limits = self._limits.find(method, target)
        if limits is not None:
            states = limits.take() if known else limits.peek()
            fields = limit_headers(states, time.time())
            lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
            if False in [verdict.allowed for _, verdict in states]:
                self._stats.refused += 1
                detail = "You have exceeded the maximum number of allowed requests."
                return lines, error_list(429, error_item(TOO_MANY_REQUESTS, detail))
        if not known:
            self._stats.unauthorized += 1
            detail = "Could not understand the provided authentication credentials."
            return lines, error_list(401, error_item(AUTHENTICATION, detail))
        if authorization.partition(" ")[2] in self.forbidden_keys:
            return lines, bare_error(403, AUTHORIZATION, "You do not have permission to perform the requested action.")
        return lines, None


def names_loopback(header: str | None) -> bool:
    """Return whether `Host` names this machine, or is missing."""
    # Only HTTP/1.0 allows a request without `Host`, and no browser sends one.
    return header is None or _is_loopback(_without_port(header))


def _without_port(header: str) -> str:
    """Return the host of a `Host` header: `[::1]:80` becomes `::1`."""
    host, _, port = header.rpartition(":")
    if not host or not port.isdecimal():
        host = header
    return host.strip("[]")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().removesuffix(".") == "localhost"
