"""Which requests are broken, and how. Pure: decides from counts and a seed, touches no socket.

A fault is either *not applied* (the request changes nothing) or *applied* (the request is carried out as ever, and
only the answer is lost or spoilt). To a client the two often look the same, which is the point.

Not applied:

| kind | what the client sees |
|---|---|
| `reset_before` | the connection is reset (RST) |
| `close_before` | the connection is closed (FIN) without an answer |
| `stall_before` | nothing, until it gives up or `stall_seconds` have passed; then the connection is closed |
| `408` | 408 with an errors list (10008), then the connection is closed |
| `500` | 500 with an errors list (10007) |
| `502`, `504`, `520` | the HTML page of a proxy |
| `503` | an HTML page, with `Retry-After` if `Faults(retry_after=...)` is set |
| `bad_http` | bytes that are not HTTP (a TLS alert), then the connection is closed |
| `429` (odd) | the HTML 429 of a gateway, with no `x-ratelimit-*` of its own; `Retry-After` as with `503` |
| `redirect` (odd) | 307 to `/elsewhere` on the same server, which does not exist |

Applied:

| kind | what the client sees |
|---|---|
| `reset_after`, `close_after`, `stall_after` | as before, but the request was carried out |
| `500_after`, `502_after`, `503_after`, `504_after`, `524_after` | as before, but the request was carried out |
| `truncated` | the right head with the full Content-Length, half of the body, then FIN |
| `truncated_chunked` | a chunked answer that ends with half of the body and no last chunk |
| `cut_head` | half of the head, then FIN |
| `garbage` | random bytes as the body, labelled as JSON |
| `html_200` | 200 with an HTML page |
| `empty_200` | 200 without a body |
| `wrong_type` | well-formed JSON in which one field has the wrong type |
| `cut_json` | well-formed HTTP around half of the JSON |
| `error_200` | 200 around an errors list |
| `bad_gzip` | the body is labelled `Content-Encoding: gzip` and is not |
| `long_header` | a header field of 20,000 characters |
| `mislabeled` | the right answer with the content type `text/plain` |
| `until_close` | the right answer without a length: it ends where the connection is closed |
| `early_hints` | the right answer after an informational 103 |
| `slow` | the right answer in small pieces, `slow_seconds` in all |
| `stale` | the right answer; the connection is closed when the next request is sent on it, which is never read |
| `wrong_room` (odd) | the answer for some other room |
| `surplus` (odd) | the right answer, with a second one, for nothing, right behind it on the same connection |

`ALL` holds the faults that go away, or do no harm, when the request is sent again. The odd ones (`ODD`) have to be
asked for: a client can't be expected to get through them, only not to be fooled.

Kinds that spoil the body of an answer keep its status, except that a 204 becomes a 200. Only requests that got past
the key check and the rate limit are broken.
"""

from collections import Counter, deque
from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import Literal, get_args

import attrs

FaultKind = Literal[
    "reset_before",
    "close_before",
    "stall_before",
    "408",
    "429",
    "500",
    "502",
    "503",
    "504",
    "520",
    "bad_http",
    "redirect",
    "reset_after",
    "close_after",
    "stall_after",
    "500_after",
    "502_after",
    "503_after",
    "504_after",
    "524_after",
    "truncated",
    "truncated_chunked",
    "cut_head",
    "garbage",
    "html_200",
    "empty_200",
    "wrong_type",
    "cut_json",
    "error_200",
    "bad_gzip",
    "long_header",
    "mislabeled",
    "until_close",
    "early_hints",
    "slow",
    "stale",
    "wrong_room",
    "surplus",
]

_EVERY: tuple[FaultKind, ...] = get_args(FaultKind)

ODD: tuple[FaultKind, ...] = ("429", "redirect", "wrong_room", "surplus")
"""Faults that sending again does not help against, or that are hard to tell from the truth; not in `ALL`."""
ALL: tuple[FaultKind, ...] = tuple(kind for kind in _EVERY if kind not in ODD)
"""Every fault that a good client gets through by sending again."""
NOT_APPLIED: frozenset[FaultKind] = frozenset(
    {
        "reset_before",
        "close_before",
        "stall_before",
        "408",
        "429",
        "500",
        "502",
        "503",
        "504",
        "520",
        "bad_http",
        "redirect",
    }
)
"""Faults that come before the request is carried out: it changes nothing."""
APPLIED: frozenset[FaultKind] = frozenset(_EVERY) - NOT_APPLIED
"""Faults that come after the request was carried out: only the answer suffers."""


def _known_kinds(kinds: Sequence[FaultKind]) -> tuple[FaultKind, ...]:
    _check_kinds(kinds)
    return tuple(kinds)


def _known_script(script: Sequence[FaultKind | None]) -> tuple[FaultKind | None, ...]:
    _check_kinds(script)
    return tuple(script)


def _check_kinds(kinds: Sequence[FaultKind | None]) -> None:
    unknown = [kind for kind in kinds if kind is not None and kind not in _EVERY]
    if unknown or isinstance(kinds, str):
        raise ValueError(f"not a kind of fault: {unknown or kinds!r}; there are {', '.join(_EVERY)}")


def _upper(methods: Collection[str] | None) -> frozenset[str] | None:
    if isinstance(methods, str):
        raise TypeError(f"methods is a collection of methods, such as {{{methods!r}}}, not one string")
    return None if methods is None else frozenset(method.upper() for method in methods)


def _check_rate(instance: "Faults", _attribute: "attrs.Attribute[float]", value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"rate is a probability from 0 to 1, not {value}")
    if value and not instance.kinds:
        raise ValueError("a rate needs kinds to draw from")


def _check_seconds(_instance: object, attribute: "attrs.Attribute[float]", value: float) -> None:
    if not value >= 0:
        raise ValueError(f"{attribute.name} is a number of seconds, 0 or more, not {value}")


@attrs.frozen
class Faults:
    """How often and how requests are broken.

    The draw for a request depends on the seed, the method, the room and how many times that room was asked before,
    and on nothing else: not on the order in which concurrent requests arrive, nor on the clock. (For a list the
    query stands in for the room, for a create the body.)
    """

    rate: float = attrs.field(default=0.0, validator=_check_rate)
    """Probability that a request is broken, 0 to 1."""
    kinds: Sequence[FaultKind] = attrs.field(default=ALL, kw_only=True, converter=_known_kinds)
    """The faults to draw from, all equally likely. Name one twice to have it twice as often."""
    first_tries: int | None = attrs.field(default=None, kw_only=True)
    """Only the first so many requests of each method for each room may be broken at random; None for no end."""
    script: Sequence[FaultKind | None] = attrs.field(default=(), kw_only=True, converter=_known_script)
    """Faults for the first requests, one each, in the order of arrival, before any chance; None answers normally."""
    methods: Collection[str] | None = attrs.field(default=None, kw_only=True, converter=_upper)
    """Only these HTTP methods are broken, by chance or by `script`; None for all."""
    stall_seconds: float = attrs.field(default=30.0, kw_only=True, validator=_check_seconds)
    """How long a stalled request is kept waiting, if the client does not give up before."""
    slow_seconds: float = attrs.field(default=0.2, kw_only=True, validator=_check_seconds)
    """How long a slow answer takes."""
    retry_after: str | int | None = attrs.field(default=None, kw_only=True)
    """The `Retry-After` of `503`, `503_after` and `429`, sent as it is given; None for none."""


@attrs.frozen
class Draw:
    """A fault that a request is to meet."""

    kind: FaultKind
    noise: int
    """64 random bits, the same under the same seed, for whatever the fault has to choose."""


class FaultPlan:
    """Decides for one request after the other; remembers the scripts and the tries of each room."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self.faults = faults
        self._seed = seed
        self._tries: Counter[tuple[str, str]] = Counter()
        self._opening = deque(faults.script)
        self._scripts: dict[tuple[str | None, str | None], deque[FaultKind | None]] = {}
        self._scripted = 0

    @property
    def active(self) -> bool:
        """Whether any request could be broken at all."""
        return bool(self.faults.rate or self._opening or self._scripts)

    def add_script(self, kinds: Sequence[FaultKind | None], room_id: str | None, method: str | None) -> None:
        """Append to the script for one room, one method, both, or all requests."""
        key = (room_id, None if method is None else method.upper())
        self._scripts.setdefault(key, deque()).extend(_known_script(kinds))

    def take_scripts(self, other: "FaultPlan") -> None:
        """Go on with what is left of the scripts that were added to another plan."""
        self._scripts = other._scripts  # noqa: SLF001 - the same class

    def draw(self, method: str, room_id: str | None, target: str) -> Draw | None:
        """Decide on one request; `target` is what its tries are counted by: the room, the query, or the body."""
        faults = self.faults
        matches = faults.methods is None or method in faults.methods
        tries = 0
        if faults.rate and matches:
            tries = self._tries[method, target] = self._tries[method, target] + 1
        if self._scripts:
            for key in ((room_id, method), (room_id, None), (None, method), (None, None)):
                script = self._scripts.get(key)
                if script is not None:
                    kind = script.popleft()
                    if not script:
                        del self._scripts[key]
                    return self._scripted_draw(kind)
        if not matches:
            return None
        if self._opening:
            return self._scripted_draw(self._opening.popleft())
        if not tries or (faults.first_tries is not None and tries > faults.first_tries):
            return None
        bits = self._hash(f"{method}\0{target}\0{tries}")
        if (bits >> 75) / (1 << 53) >= faults.rate:  # the upper 53 of 128 bits decide whether, the lower 64 which
            return None
        low = bits & ((1 << 64) - 1)
        return Draw(faults.kinds[low % len(faults.kinds)], low // len(faults.kinds))

    def _scripted_draw(self, kind: FaultKind | None) -> Draw | None:
        if kind is None:
            return None
        self._scripted += 1
        return Draw(kind, self._hash(f"script\0{self._scripted}") & ((1 << 64) - 1))

    def _hash(self, text: str) -> int:
        data = f"{self._seed}\0{text}".encode("utf-8", "surrogateescape")
        return int.from_bytes(blake2b(data, digest_size=16).digest(), "big")
