"""Which requests are broken, and by which fault. Pure: decides from counts and a seed, touches no socket.

`_fault_kinds` says what the faults are. Only requests that got past the key check and the rate limit are broken.
"""

from collections import Counter, deque
from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import TypeAlias

import attrs

from ._fault_kinds import ALL, KINDS, FaultKind


def _known_kinds(kinds: Sequence[FaultKind]) -> tuple[FaultKind, ...]:
    _check_kinds(kinds)
    return tuple(kinds)


def _known_script(script: Sequence[FaultKind | None]) -> tuple[FaultKind | None, ...]:
    _check_kinds(script)
    return tuple(script)


def _check_kinds(kinds: Sequence[FaultKind | None]) -> None:
    unknown = [kind for kind in kinds if kind is not None and kind not in KINDS]
    if unknown or isinstance(kinds, str):
        raise ValueError(f"not a kind of fault: {unknown or kinds!r}; there are {', '.join(KINDS)}")


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
    """How often and how requests are broken; `aiorooms simulate --help` lists the kinds.

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
    """Seconds until `stall_before` and `stall_after` close the connection, if the client does not give up before."""
    slow_seconds: float = attrs.field(default=0.2, kw_only=True, validator=_check_seconds)
    """Seconds that the answer of `slow` takes."""
    retry_after: str | int | None = attrs.field(default=None, kw_only=True)
    """The `Retry-After` of `503`, `503_after` and `429`, sent as it is given; None for none."""


@attrs.frozen
class Draw:
    """A fault that a request meets."""

    kind: FaultKind
    noise: int
    """64 random bits, the same under the same seed, for whatever the fault has to choose."""


Scripts: TypeAlias = dict[tuple[str | None, str | None], deque[FaultKind | None]]


class FaultPlan:
    """Decides for one request after the other; keeps the scripts and the number of tries of each room."""

    def __init__(self, faults: Faults, seed: int, scripts: Scripts | None = None) -> None:
        """Begin with what is left of the scripts that were added to an earlier plan."""
        self.faults = faults
        self._seed = seed
        self._tries: Counter[tuple[str, str]] = Counter()
        self._opening = deque(faults.script)
        self.scripts: Scripts = {} if scripts is None else scripts
        """What is left of the scripts that were added, by room and method; None stands for all of them."""
        self._scripted = 0

    @property
    def active(self) -> bool:
        """Whether any request could be broken at all."""
        return bool(self.faults.rate or self._opening or self.scripts)

    def add_script(self, kinds: Sequence[FaultKind | None], room_id: str | None, method: str | None) -> None:
        """Append to the script for one room, one method, both, or all requests."""
        key = (room_id, None if method is None else method.upper())
        self.scripts.setdefault(key, deque()).extend(_known_script(kinds))

    def draw(self, method: str, room_id: str | None, target: str) -> Draw | None:
        """Decide on one request; `target` is what its tries are counted by: the room, the query, or the body."""
        faults = self.faults
        matches = faults.methods is None or method in faults.methods
        tries = 0
        if faults.rate and matches:
            tries = self._tries[method, target] = self._tries[method, target] + 1
        if self.scripts:
            for key in ((room_id, method), (room_id, None), (None, method), (None, None)):
                script = self.scripts.get(key)
                if script is not None:
                    kind = script.popleft()
                    if not script:
                        del self.scripts[key]
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
