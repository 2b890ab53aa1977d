"""Choose the fault for each request, if any. The choice depends only on the settings, the seed and the requests.

`_fault_kinds` defines the faults. Only requests that pass the key check and the rate limit can get a fault.
"""

from collections import Counter, deque
from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import TypeAlias

import attrs

from ._fault_kinds import ALL, KINDS, FaultKind
from ._scripted_answer import ScriptedAnswer

ScriptEntry: TypeAlias = FaultKind | ScriptedAnswer | None
"""A fault or an answer for one request. None means a normal answer."""


def _known_kinds(kinds: Sequence[FaultKind]) -> tuple[FaultKind, ...]:
    _check_kinds(kinds)
    return tuple(kinds)


def _known_script(script: Sequence[ScriptEntry]) -> tuple[ScriptEntry, ...]:
    _check_kinds(script)
    return tuple(script)


def _check_kinds(kinds: Sequence[ScriptEntry]) -> None:
    if isinstance(kinds, str):
        raise TypeError(f"kinds must be a sequence of names, not a string; give [{kinds!r}]")
    unknown = [kind for kind in kinds if not (kind is None or isinstance(kind, ScriptedAnswer) or kind in KINDS)]
    if unknown:
        raise ValueError(f"unknown fault kinds: {unknown!r}; give a sequence of names from {', '.join(KINDS)}")


def _upper(methods: Collection[str] | None) -> frozenset[str] | None:
    if isinstance(methods, str):
        raise TypeError(f"methods must be a collection, such as {{{methods!r}}}, not a string")
    return None if methods is None else frozenset(method.upper() for method in methods)


def _check_rate(instance: "Faults", _attribute: "attrs.Attribute[float]", value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"rate must be a probability from 0 to 1, not {value}")
    if value and not instance.kinds:
        raise ValueError(f"kinds must not be empty with rate={value}")


def _check_seconds(_instance: object, attribute: "attrs.Attribute[float]", value: float) -> None:
    if not value >= 0:
        raise ValueError(f"{attribute.name} must be 0 seconds or more, not {value}")


@attrs.frozen
class Faults:
    """The faults to inject, and how often. `aiorooms simulate --help` describes the kinds in `ALL`.

    With the same settings, the random fault of a request depends only on the seed, the method, the room, and the number
    of earlier requests with that method for that room. It does not depend on the clock, or on the order in which
    requests for different rooms arrive. A list or create has no room, so its query and body are used instead.
    """

    rate: float = attrs.field(default=0.0, validator=_check_rate)
    """Probability that a request gets a random fault, 0 to 1."""
    kinds: Sequence[FaultKind] = attrs.field(default=ALL, kw_only=True, converter=_known_kinds)
    """The kinds of random faults, all equally likely. A kind that is listed twice is twice as likely."""
    first_tries: int | None = attrs.field(default=None, kw_only=True)
    """How many requests for each method and room, from the first on, can get a random fault. None means all."""
    script: Sequence[ScriptEntry] = attrs.field(default=(), kw_only=True, converter=_known_script)
    """Faults or answers for the first requests, one entry per request in the order of arrival.

    None means a normal answer. Random faults start when all entries are used up.
    """
    methods: Collection[str] | None = attrs.field(default=None, kw_only=True, converter=_upper)
    """HTTP methods of the requests that can get a random fault or one from `Faults.script`. None means all methods."""
    stall_seconds: float = attrs.field(default=30.0, kw_only=True, validator=_check_seconds)
    """Seconds until `stall_before` and `stall_after` close the connection, unless the client closes it first."""
    slow_seconds: float = attrs.field(default=0.2, kw_only=True, validator=_check_seconds)
    """Time that `slow` takes to send the answer, in seconds."""
    retry_after: str | int | None = attrs.field(default=None, kw_only=True)
    """The `Retry-After` header in the answers of the faults `503`, `503_after` and `429`. None means no header."""


@attrs.frozen
class Draw:
    """The fault or the scripted answer for a request."""

    kind: FaultKind | ScriptedAnswer
    noise: int
    """A random number for the choices of a fault, such as which bytes to send.

    It depends only on the simulator's seed and on the request.
    """


Scripts: TypeAlias = dict[tuple[str | None, str | None], deque[ScriptEntry]]


class FaultPlan:
    """Chooses the fault for each request. It keeps the scripts, and counts the requests by method and room."""

    def __init__(self, faults: Faults, seed: int, scripts: Scripts | None = None) -> None:
        """Start with `scripts`, the unused entries of an earlier plan."""
        self.faults = faults
        self._seed = seed
        self._tries: Counter[tuple[str, str]] = Counter()
        self._initial_script = deque(faults.script)
        self.scripts: Scripts = {} if scripts is None else scripts
        """The unused entries of the scripts from `add_script`, by room and method. None means all rooms or methods."""
        self._script_draws = 0

    @property
    def active(self) -> bool:
        """Whether any request can get a fault."""
        return bool(self.faults.rate or self._initial_script or self.scripts)

    def add_script(self, entries: Sequence[ScriptEntry], room_id: str | None, method: str | None) -> None:
        """Append entries to the script for one room, one method, both, or all requests."""
        if not entries:
            return
        key = (room_id, None if method is None else method.upper())
        self.scripts.setdefault(key, deque()).extend(_known_script(entries))

    def draw(self, method: str, room_id: str | None, target: str) -> Draw | None:
        """Return the fault for a request, or None. Requests with the same method and `target` are counted together."""
        faults = self.faults
        matches = faults.methods is None or method in faults.methods
        tries = 0
        if faults.rate and matches:
            tries = self._tries[method, target] = self._tries[method, target] + 1
        if self.scripts:
            for key in ((room_id, method), (room_id, None), (None, method), (None, None)):
                script = self.scripts.get(key)
                if script is not None:
                    entry = script.popleft()
                    if not script:
                        del self.scripts[key]
                    return self._scripted_draw(entry)
        if not matches:
            return None
        if self._initial_script:
            return self._scripted_draw(self._initial_script.popleft())
        if not tries or (faults.first_tries is not None and tries > faults.first_tries):
            return None
        bits = self._hash(f"{method}\0{target}\0{tries}")
        # Of the 128 bits, the upper 53 decide whether there is a fault, and the lower 64 decide which one.
        if (bits >> 75) / (1 << 53) >= faults.rate:
            return None
        low = bits & ((1 << 64) - 1)
        return Draw(faults.kinds[low % len(faults.kinds)], low // len(faults.kinds))

    def _scripted_draw(self, entry: ScriptEntry) -> Draw | None:
        if entry is None:
            return None
        self._script_draws += 1
        return Draw(entry, self._hash(f"script\0{self._script_draws}") & ((1 << 64) - 1))

    def _hash(self, text: str) -> int:
        data = f"{self._seed}\0{text}".encode("utf-8", "surrogateescape")
        return int.from_bytes(blake2b(data, digest_size=16).digest(), "big")
