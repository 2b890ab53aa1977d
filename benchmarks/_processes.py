"""Several processes that share one rate limit, computed with a turned clock: no sockets, no event loop, no waiting.

Each process has a pacer of its own and a number of loops, which send one request after another. The limiter is the
simulator's, which shares no code with the pacer, and what a pacer learns comes from headers that were written and read
as real ones are. A second of three processes takes a few milliseconds, so that thousands of limiters can be tried.
"""

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count

import attrs

from aiorooms import Pacing
from aiorooms._pacing import Pacer, Permit, Priority, read_rate_limit
from aiorooms.simulator import RateLimit
from aiorooms.simulator._limit_headers import limit_headers
from aiorooms.simulator._limiters import make_limiter

__all__ = ["Figures", "Scenario", "measure"]


@attrs.frozen(kw_only=True)
class Scenario:
    """Processes with one key, and the limit that they share."""

    limit: RateLimit
    starts: tuple[float, ...]
    """When each process starts, in seconds."""
    seconds: float
    """How long all of them run together, in seconds. Figures are those of the last half of this time."""
    ends: tuple[float | None, ...] = ()
    """When each process ends, in seconds; None or missing if it doesn't."""
    loops: int = 30
    """How many requests each process has in flight at most."""
    latency: tuple[float, float] = (0.03, 0.08)
    """The shortest and the longest time from a request to its answer, in seconds."""
    strays: float = 0.0
    """The fraction of requests that a gateway answers with a bare 429, whatever the rate."""
    seed: int = 0


@attrs.frozen
class Figures:
    """How a limit was shared. All fractions are of the last half of the time that all processes ran."""

    shares: tuple[float, ...]
    """What each process got, as a fraction of an equal share."""
    used: float
    """Accepted requests, as a fraction of those that the limit allows."""
    rate_limited: float
    """429s of the limiter, as a fraction of all requests."""
    entry: float
    """How long the slowest newcomer waited for its first accepted request, in windows."""

    @property
    def smallest(self) -> float:
        """The smallest share."""
        return min(self.shares)


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def __call__(self) -> float:
        return self.now

    def call_at(self, at: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at, next(self._order), callback))

    def run_until(self, end: float) -> None:
        while self._events and self._events[0][0] <= end:
            self.now, _, callback = heapq.heappop(self._events)
            callback()
        self.now = end


class _Pacer(Pacer):
    """A pacer without a queue: loops that have no request in flight ask again and again."""

    loops = 0
    _since: float | None = None

    @property
    def _waiting(self) -> int:
        return self.loops - self._in_flight

    def _calm_at(self, now: float) -> float:
        return math.inf

    def acquire_now(self, priority: Priority = "normal", operation: str = "") -> Permit | None:
        permit = super().acquire_now(priority, operation)
        if permit is not None:
            self._since = None
        elif self._since is None:
            self._since = self._clock()
        return permit

    def _waits_since(self, priority: Priority, operation: str) -> float | None:
        return self._since


class _Process:
    def __init__(self, pacer: _Pacer, loops: int) -> None:
        self.pacer = pacer
        self.pacer.loops = loops
        self.free = loops
        """Loops that have no request in flight."""
        self.ends_at = math.inf
        self.wakes_at = math.inf
        self.accepted: list[float] = []


def measure(scenario: Scenario) -> Figures:
    """Run the processes, and return how they shared the limit."""
    clock, chance, rule = _Clock(), random.Random(scenario.seed), scenario.limit
    limiter = make_limiter(rule, lambda: round(clock.now * 1e9))
    begin, length = max(scenario.starts), scenario.seconds
    counted: Counter[bool] = Counter()

    def send_all(process: _Process) -> None:
        while process.free and clock.now < process.ends_at:
            permit = process.pacer.acquire_now()
            if permit is None:
                sleep(process)
                return
            process.free -= 1
            clock.call_at(clock.now + chance.uniform(*scenario.latency) / 2, partial(arrive, process, permit))

    def sleep(process: _Process) -> None:
        at = process.pacer.may_send_at(clock.now, "normal")
        if clock.now < at < process.wakes_at:
            process.wakes_at = at
            clock.call_at(at, partial(wake, process, at))

    def wake(process: _Process, at: float) -> None:
        if process.wakes_at == at:
            process.wakes_at = math.inf
            send_all(process)

    def arrive(process: _Process, permit: Permit) -> None:
        stray = chance.random() < scenario.strays
        headers: dict[str, str] = {}
        accepted = False
        if not stray:
            verdict = limiter.take()
            accepted = verdict.allowed
            if clock.now >= begin + length / 2:
                counted[accepted] += 1
            headers = {name.lower(): value for name, value in limit_headers([(rule, verdict)], 1e9 + clock.now)}
        if accepted:
            process.accepted.append(clock.now)
        at = clock.now + chance.uniform(*scenario.latency) / 2
        clock.call_at(at, partial(answer, process, permit, accepted, headers))

    def answer(process: _Process, permit: Permit, accepted: bool, headers: dict[str, str]) -> None:
        process.pacer.release(permit, read_rate_limit(headers, rate_limited=not accepted))
        process.free += 1
        process.wakes_at = math.inf
        send_all(process)

    processes: list[_Process] = []
    for number, start in enumerate(scenario.starts):
        random_of = random.Random(f"{scenario.seed} {number}").random
        pacer = _Pacer(Pacing(max_wait=1e6), max_in_flight=100, clock=clock, random=random_of)
        processes.append(_Process(pacer, scenario.loops))
        if number < len(scenario.ends) and (ends_at := scenario.ends[number]) is not None:
            processes[-1].ends_at = ends_at
        clock.call_at(start, partial(send_all, processes[-1]))
    clock.run_until(begin + length)
    return _figures(scenario, [process.accepted for process in processes], counted)


def _figures(scenario: Scenario, accepted: Sequence[Sequence[float]], counted: Counter[bool]) -> Figures:
    rule, begin = scenario.limit, max(scenario.starts)
    since, until = begin + scenario.seconds / 2, begin + scenario.seconds
    late = [sum(since <= at < until for at in each) for each in accepted]
    total = sum(late)
    firsts = [
        (next(iter(each), math.inf) - start) / rule.window
        for each, start in zip(accepted, scenario.starts, strict=True)
    ]
    return Figures(
        shares=tuple(each * len(late) / max(1, total) for each in late),
        used=total / (rule.limit * (until - since) / rule.window),
        rate_limited=counted[False] / max(1, counted.total()),
        entry=max(firsts),
    )
