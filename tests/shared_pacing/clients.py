"""Clients that share an account, computed with a turned clock: no store, no event loop, no waiting."""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from typing import Any, Final

import attrs

from aiorooms._pacing import NO_INFO, RateLimitInfo, read_rate_limit
from aiorooms._pacing.headers import Report as Limit
from aiorooms._pacing.shared.account import Account, Answer, Granted, KnownLimits, Report, Want
from aiorooms.simulator import RateLimit
from aiorooms.simulator._limit_headers import limit_headers
from aiorooms.simulator._limiters import make_limiter

EPOCH: Final = 1_700_000_000.0
UPDATE: Final = "PATCH /rooms/{room_id}"
LIST: Final = "GET /rooms"
LOW: Final[Want] = ("low", UPDATE)
NORMAL: Final[Want] = ("normal", UPDATE)


def opened(random_of: Callable[[], float] = lambda: 0.5) -> Account:
    """Return a new account."""
    account = Account(random_of)
    account.epoch = EPOCH
    return account


def reports(
    remaining: int, limit: int = 100, reset: float | None = 500.5, *, limited: bool = False, name: str = ""
) -> RateLimitInfo:
    """Return what an answer says that reports one limit."""
    return RateLimitInfo(limited, None, (Limit(limit, remaining, reset, exact=True, name=name),))


def permits(leases: list[Granted]) -> int:
    """Return how many permits the leases contain."""
    return sum(number for lease in leases for _, number in lease.permits)


class Clients:
    """Clients of one account that exchange when a test says so. `now` is the account's clock."""

    def __init__(self, *names: str) -> None:
        self.account = opened()
        self.now = 0.0
        self.numbers: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        for name in names:
            self.join(name)

    def join(self, name: str) -> None:
        """Send the first report of a client."""
        self.exchange((name, Report(number=1, joins=True)))
        self.numbers[name] = 1

    def exchange(self, *reported: tuple[str, Report]) -> None:
        """Record reports in one exchange."""
        self.account.begin(self.now)
        for name, report in reported:
            self.account.record(name, report)
        self.account.finish()

    def report(self, name: str, wants: Mapping[Want, int] | None = None, **fields: Any) -> Report:
        """Return the next report of a client."""
        self.numbers[name] += 1
        values: dict[str, Any] = {"epoch": EPOCH, "made_at": self.now, "wants": wants or {}, **fields}
        return Report(number=self.numbers[name], **values)

    def ask(self, name: str, wants: Mapping[Want, int] | None = None, **fields: Any) -> list[Granted]:
        """Exchange, and return the new leases of the client."""
        self.tell(name, wants, **fields)
        return self.new(name)

    def tell(self, name: str, wants: Mapping[Want, int] | None = None, **fields: Any) -> None:
        """Exchange. `new` returns the leases."""
        self.exchange((name, self.report(name, wants, **fields)))

    def new(self, name: str) -> list[Granted]:
        """Return the leases of a client that this method has not returned yet."""
        leases = [lease for lease in self.account.granted(name) if lease.number > self._seen[name]]
        if leases:
            self._seen[name] = leases[-1].number
        return leases

    def answer(
        self,
        lease: Granted | None,
        info: RateLimitInfo | None = NO_INFO,
        *,
        operation: str = UPDATE,
        after: float = 0.005,
    ) -> Answer:
        """Return an answer that arrives now, to a request that was sent `after` seconds ago."""
        sent_at = self.now - after
        number, operation, granted_at = (None, operation, sent_at) if lease is None else lease[:3]
        return Answer(number, operation, granted_at, sent_at, self.now, info, None)

    def learn(self, name: str, remaining: int, limit: int = 100, reset: float = 500.5) -> None:
        """Let a client send the first requests, until so many remain. The window ends `reset` seconds from now."""
        ends_at = self.now + reset
        left = limit
        while left > remaining:
            leases = self.ask(name, {LOW: left - remaining})
            self.now += 0.01
            answers: list[Answer] = []
            for lease in leases:
                for _ in range(permits([lease])):
                    left -= 1
                    answers.append(self.answer(lease, reports(left, limit, round(ends_at - self.now, 6))))
            assert answers
            self.tell(name, answers=answers)

    def held(self, *names: str) -> int:
        """Return how many permits clients hold."""
        return sum(lease.held for name in names for lease in self.account._clients[name].leases.values())


@attrs.define(eq=False)
class _Member:
    name: str
    callers: int
    number: int = 0
    last_lease: int = 0
    unused: list[tuple[Granted, float, int]] = attrs.Factory(list[tuple[Granted, float, int]])
    answers: list[Answer] = attrs.Factory(list[Answer])
    in_flight: int = 0
    unprocessed: int = 0
    known: KnownLimits = attrs.Factory(dict[str, Any])
    is_silent: bool = False


class Swarm:
    """Clients with callers that send one request after another, and a limiter. All is random, and repeatable."""

    def __init__(
        self, rule: RateLimit, clients: int, seed: int, *, callers: int = 30, priority: str = "low", others: float = 0.0
    ) -> None:
        self.chance = random.Random(seed)
        self.now = 0.0
        self.rule = rule
        self.limiter = make_limiter(rule, lambda: round(self.now * 1e9))
        self.account = opened()
        self.members = [_Member(f"client-{number}", callers) for number in range(clients)]
        self.accepted = self.limited = 0
        self.want: Want = LOW if priority == "low" else NORMAL
        self.largest = 0
        """The size of the largest state, in bytes."""
        self.each: Callable[[Swarm], None] = lambda _: None
        """Called after each exchange."""
        self.before: Callable[[str, Report], None] = lambda _name, _report: None
        """Called before each exchange."""
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        for member in self.members:
            self._at(self.chance.uniform(0, 0.3), partial(self._exchange, member))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            self.now, _, callback = heapq.heappop(self._events)
            callback()
        self.now = until

    @property
    def usable(self) -> int:
        """How many requests the server could receive now: those in flight and those with a permit for now."""
        unused = sum(number for member in self.members for _, at, number in member.unused if at <= self.now)
        return unused + sum(member.unprocessed for member in self.members)

    def _at(self, at: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at, next(self._order), callback))

    def _exchange(self, member: _Member) -> None:
        if member.is_silent:
            return
        member.number += 1
        waiting = member.callers - member.in_flight - sum(number for _, _, number in member.unused)
        is_first = member.number == 1
        report = Report(
            joins=member.number == 1,
            number=member.number,
            epoch=0.0 if is_first else EPOCH,
            made_at=self.now,
            answers=tuple(member.answers),
            wants={} if is_first or waiting <= 0 else {self.want: waiting},
        )
        member.answers = []
        self.before(member.name, report)
        self.account.begin(self.now)
        self.account.record(member.name, report)
        self.account.finish()
        self.largest = max(self.largest, len(self.account.dump()))
        for one in self.members:
            if one.name in self.account.woken:
                self._hear(one)
        self.each(self)
        self._at(self.now + self.chance.uniform(0.01, 0.08), partial(self._exchange, member))

    def _hear(self, member: _Member) -> None:
        outlook = self.account.outlook(member.name)
        member.known = outlook.known.get("") or outlook.known.get(UPDATE) or {}
        for lease in self.account.granted(member.name):
            if lease.number > member.last_lease:
                member.last_lease = lease.number
                for at, number in lease.permits:
                    member.unused.append((lease, at, number))
                    self._at(max(at, self.now), partial(self._use, member))

    def _use(self, member: _Member) -> None:
        due = [one for one in member.unused if one[1] <= self.now]
        member.unused = [one for one in member.unused if one[1] > self.now]
        for lease, _, number in due:
            for _ in range(number):
                member.in_flight += 1
                member.unprocessed += 1
                arrives_at = self.now + self.chance.uniform(0.001, 0.02)
                self._at(arrives_at, partial(self._arrive, member, lease, self.now, member.known))

    def _arrive(self, member: _Member, lease: Granted, sent_at: float, known: KnownLimits) -> None:
        verdict = self.limiter.take()
        member.unprocessed -= 1
        self.accepted += verdict.allowed
        self.limited += not verdict.allowed
        headers = {name.lower(): text for name, text in limit_headers([(self.rule, verdict)], EPOCH + self.now)}
        info = read_rate_limit(headers, rate_limited=not verdict.allowed)
        at = self.now + self.chance.uniform(0.001, 0.02)
        self._at(at, partial(self._answer, member, lease, sent_at, info, known))

    def _answer(self, member: _Member, lease: Granted, sent_at: float, info: RateLimitInfo, known: KnownLimits) -> None:
        member.in_flight -= 1
        member.answers.append(Answer(lease.number, lease.operation, lease.granted_at, sent_at, self.now, info, known))
