"""The account: what all clients that share a limit know together, and which of them may send.

The account contains the same gates that a client has for itself (`scope`, `pause`, `probing`, `slow_start`). All
answers of all clients are recorded in them, and where a gate asks how many requests are in flight, it gets the number
of permits that all clients hold together. So the account is the pacing of one big client.

Clients get permits in *leases*. A lease is a number of permits for one operation. Some of them may be for later: if
requests become due one after another, those of the next `AHEAD` seconds are leased in advance, each with its time.

- Clients that want permits queue, one place for each client, priority and operation. The first one gets a lease, and
  then queues again behind the others. Places of both priorities take turns.
- A client that has sent no report for `EXPIRY` seconds has died, or has lost the connection. Its permits are recorded
  as lost, because it may have used them, and its places in the queue are removed.
- A client returns the permits that it does not need.

All times are seconds since the account was opened, on the store's clock.

Example: the limit is 100 requests per second. A and B want 50 permits each. Of the 100 remaining requests A gets 10,
B gets 10, and so on, until 50 are leased to each. Their answers report that nothing remains, and that the window ends
in 0.8 s. At the end of the window the next exchange, from either of them, leases 1 permit to A, because A came first.
Its answer reports 99 remaining requests, and A and B get 10 permits in turns again.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import attrs

from ..gate import Known, Permit
from ..headers import NO_INFO, RateLimitInfo
from ..meter import Meter
from ..needs import Needs
from ..pause import Pause
from ..probing import Probing
from ..quota import Quota
from ..scope import Scope
from ..slow_start import SlowStart
from ..waiting import PRIORITIES, Priority
from . import codec

__all__ = [
    "AHEAD",
    "ASKING",
    "EXPIRY",
    "LAYOUT",
    "Account",
    "Answer",
    "Granted",
    "KnownLimits",
    "Outlook",
    "Overview",
    "Report",
    "Want",
]

EXPIRY: Final = 2.0
"""Seconds after which a client that was not heard of loses its permits."""

_STALE: Final = 0.5
"""Seconds after which a report is too old to be recorded."""

FORGOTTEN: Final = 30.0
"""Seconds after which a client that holds no permits and was not heard of is no longer counted."""

AHEAD: Final = 0.1
"""Seconds. Requests that become due one after another are leased this long in advance."""

ASKING: Final = 2
"""The number of clients that ask for the next permits when they are expected. The others get notices."""

LEASE: Final = 10
MAX_LEASE: Final = 50
"""The number of permits in a lease if others wait, and the largest number in a lease."""

_WIDE: Final = 64
"""The number of requests in flight from all clients that ends slow start."""

_CAREFUL_FROM: Final = 8
"""From this number on, slow start is careful: if the server reports no limit, all requests in flight may exceed it."""

_FEW: Final = 12
"""If no more requests are in flight, their answers are reported at once: then it is certain what remains."""

_MIN_TTL: Final = 60.0
_MAX_TTL: Final = 86_400.0
"""How long the store keeps an account that nobody uses, in seconds: as long as what it knows may be of use."""

_ALL: Final = ""
"""The key of the scope of all operations."""

Want: TypeAlias = tuple[Priority, str]
"""The priority and the operation of callers that wait."""

KnownLimits: TypeAlias = Mapping[str, Known]
"""What was known about the limits of an operation when a request was sent, by the name of the limit."""


class Granted(NamedTuple):
    """A lease that a client got."""

    number: int
    operation: str
    granted_at: float
    permits: Sequence[tuple[float, int]]
    """From when on how many permits may be used."""


class Answer(NamedTuple):
    """The end of an attempt, as a client reports it."""

    lease: int | None
    """The number of the lease; None if the attempt was sent without one."""
    operation: str
    granted_at: float
    """When the lease was granted. The account identifies probes by it."""
    sent_at: float
    at: float
    """When the answer arrived."""
    info: RateLimitInfo | None
    """None if no answer arrived."""
    known: KnownLimits | None
    is_counted: bool = False
    """Whether the answer is only counted, because the one before and the one after say more."""


@attrs.define
class Report:
    """What a client reports to the account in an exchange."""

    number: int = 0
    """The reports of a client are numbered from 1 on, so that it can see which of them have been recorded."""
    epoch: float = 0.0
    """When the account was opened that the client knows; 0 if it joins."""
    made_at: float = 0.0
    """When the report was made, on the account's clock. Old ones are ignored, because the store may have hung."""
    joins: bool = False
    """Whether the client joins, for the first time or again. It knows nothing of its leases then."""
    answers: Sequence[Answer] = ()
    returned: Mapping[int, int] = attrs.Factory(dict[int, int])
    """How many permits of which lease are returned."""
    unleased: Mapping[str, int] = attrs.Factory(dict[str, int])
    """How many requests that were sent without a lease are in flight, by operation."""
    sent: int = 0
    """How many requests were sent without a lease since the last exchange."""
    wants: Mapping[Want, int] = attrs.Factory(dict[Want, int])
    """How many callers wait for a permit."""
    separate: bool | None = None
    """Whether operations have limits of their own, if the client has found out since its last exchange."""
    leaves: bool = False
    """Whether the client is closed."""


@attrs.frozen
class Outlook:
    """What the account expects, for the client that has just exchanged, or was granted permits."""

    is_open: bool = False
    """Whether no limit is known, so that no permits are needed."""
    ask_at: float = math.inf
    """When an exchange can grant the next permits; infinity if an answer must arrive first."""
    is_learning: bool = False
    """Whether a client waits for permits that depend on the next answer, so that it should be reported at once."""
    place: int = 0
    """The client's first place in the queue, from 0 on; the length of the queue if it does not wait."""
    paused_until: float = -math.inf
    """The end of a pause that applies to all operations."""
    revoked: int = 0
    """Unused permits of this lease and earlier ones must be returned, because 429s have stopped all calls."""
    blocked: Mapping[str, float] = attrs.Factory(dict[str, float])
    """When the server accepts requests again, if no answer can change it, by operation. The empty text means all."""
    known: Mapping[str, KnownLimits] = attrs.Factory(dict[str, KnownLimits])
    """What is known about the limits, by operation. The empty text means all."""


class Overview(NamedTuple):
    """What the account knows, for a snapshot."""

    clients: int
    rate: float | None
    remaining: int | None
    limit: int | None
    renews_at: float
    paused_until: float


@attrs.define
class _Lease:
    operation: str
    granted_at: float
    held: int
    """The number of permits that were neither answered nor returned."""
    permits: list[tuple[float, int]]


@attrs.define
class _Place:
    count: int
    turn: int
    """The lowest number is served first."""


@attrs.define
class _Client:
    seen_at: float
    report: int = 0
    """The number of its last report."""
    leases: dict[int, _Lease] = attrs.Factory(dict[int, _Lease])
    unleased: dict[str, int] = attrs.Factory(dict[str, int])
    places: dict[Want, _Place] = attrs.Factory(dict[Want, _Place])


class Account:
    """The account at one moment. `random` returns numbers from 0 to 1. Created anew from each state of the store."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._scopes: dict[str, Scope] = {_ALL: self._new_scope(waits=False)}
        self._is_separate = False
        self._pause = Pause()
        self._meter = Meter()
        self._probing = Probing(self._meter, random, is_common=True)
        self._slow_start = SlowStart(_WIDE, careful_from=_CAREFUL_FROM)
        self._clients: dict[str, _Client] = {}
        self._leases = 0
        """The number of leases so far."""
        self._revoked = 0
        """The number of the last lease when calls were stopped the last time."""
        self._turns = 0
        """The number of places in the queue that were given so far."""
        self._low_is_next = False
        self._held: Counter[str] = Counter()
        """The number of permits that all clients hold, by operation."""
        self.epoch: float = 0.0
        """When the account was opened, on the store's clock."""
        self.woken: set[str] = set()
        """The clients that need a notice of the last exchange."""
        self._at = 0.0
        """When the last exchange was."""
        self._was_open = self._was_stopped = False
        self._was_paused_until = 0.0
        self._ask_at = math.inf
        """When the next permits can be leased, after an exchange."""

    # --- the exchange ---

    def begin(self, now: float) -> None:
        """Begin an exchange. `now` is the time of all that follows."""
        self._at = round(max(now, self._at), 6)
        self.woken = set()
        self._was_open, self._was_stopped = self.is_open, self._probing.is_stopped
        self._was_paused_until = self._pause.ends_at
        self._expire(self._at)

    def record(self, name: str, report: Report) -> None:
        """Record what a client reports."""
        now = self._at
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = _Client(now)
        if report.number <= client.report:
            return  # recorded already
        self.woken.add(name)
        is_next = report.number == client.report + 1
        client.report, client.seen_at = report.number, now
        if report.joins:
            self._lose_all(client, now)
            client.places.clear()
        # If a report is missing, the store has lost it, and with it leases that the client may have.
        elif not is_next or report.epoch != self.epoch or now - report.made_at > _STALE:
            self._forget(name, client)  # it must join again
            return
        self._count_unleased(client, report.unleased)
        if report.separate is not None and report.separate != self._is_separate:
            self._separate(report.separate)
        self._meter.sent(now, report.sent)
        for number, count in report.returned.items():
            self._take_back(client, number, count)
        for answer in report.answers:
            self._end(client, answer)
            self._learn(answer)
        for want in [*client.places]:
            if want not in report.wants:
                del client.places[want]
        for want, count in report.wants.items():
            if want not in client.places:
                client.places[want] = _Place(count, self._next_turn())
            client.places[want].count = count
        if report.leaves:
            self._forget(name, client)

    def finish(self) -> None:
        """Lease as many permits as possible to all that wait. Then `woken` are the clients that need a notice."""
        if self._probing.is_stopped and not self._was_stopped:
            self._revoked = self._leases
            self.woken.update(self._clients)
        self._grant(self._at)
        # Those that wait first must know when to ask.
        self.woken.update(one.name for one in self._queue()[:ASKING])
        if self._was_open != self.is_open or self._pause.ends_at > self._was_paused_until:
            self.woken.update(self._clients)

    def granted(self, me: str) -> list[Granted]:
        """Return the leases of a client."""
        client = self._clients.get(me)
        if client is None:
            return []
        return [Granted(number, one.operation, one.granted_at, one.permits) for number, one in client.leases.items()]

    def recorded(self, me: str) -> int:
        """Return the number of a client's last report; 0 if it is not known."""
        client = self._clients.get(me)
        return 0 if client is None else client.report

    def outlook(self, me: str) -> Outlook:
        """Return what a client needs to know until its next exchange."""
        queue = self._queue()
        place = next((number for number, one in enumerate(queue) if one.name == me), len(queue))
        return Outlook(
            is_open=self.is_open,
            ask_at=self._ask_at,
            is_learning=bool(queue) and self._is_learning,
            place=place,
            paused_until=self._pause.ends_at,
            revoked=self._revoked,
            blocked=self._blocked(),
            known=self._known(),
        )

    # --- what is known ---

    @property
    def is_open(self) -> bool:
        """Whether slow start is over, and no limit, pause or unexplained 429 is known. Clients then need no permits."""
        return (
            not self._is_separate
            and self._slow_start.is_idle
            and self._probing.is_idle
            and self._pause.is_idle
            and not self._scopes[_ALL].quotas
        )

    @property
    def exchanged_at(self) -> float:
        """When the last exchange was."""
        return self._at

    @property
    def clients(self) -> int:
        """The number of clients that share the limit."""
        return len(self._clients)

    def overview(self) -> Overview:
        """Return what a snapshot shows."""
        rates = [self._probing.rate, *(scope.rate for scope in self._scopes.values())]
        rate = min((rate for rate in rates if rate is not None), default=None)
        tightest = min(
            (
                (max(0, quota.available - self._held_in(key)), quota.limit, quota.renews_at)
                for key, scope in self._scopes.items()
                for quota in scope.quotas.values()
                if not quota.is_ignored
            ),
            default=(None, None, math.inf),
        )
        paused_until = max([self._pause.ends_at, *(scope.pause.ends_at for scope in self._scopes.values())])
        remaining, limit, renews_at = tightest
        return Overview(self.clients, rate, remaining, limit, renews_at, paused_until)

    @property
    def ttl(self) -> float:
        """How long the store keeps the account after the last exchange, in seconds."""
        windows = [quota.window for scope in self._scopes.values() for quota in scope.quotas.values()]
        return min(max(_MIN_TTL, *(2 * window for window in windows), 0.0), _MAX_TTL)

    @property
    def _is_learning(self) -> bool:
        """Whether the next answer can allow more requests."""
        quotas = [quota for scope in self._scopes.values() for quota in scope.quotas.values()]
        if not quotas:
            return not self._slow_start.is_idle
        return self._held.total() <= _FEW or any(quota.is_learning for quota in quotas)

    def _blocked(self) -> dict[str, float]:
        now = self._at
        blocked = {key: scope.blocked_until(now) for key, scope in self._scopes.items()}
        blocked[_ALL] = max(blocked.get(_ALL, -math.inf), self._pause.ends_at, self._probing.blocked_until(now))
        return {key: at for key, at in blocked.items() if at > now}

    def _known(self) -> dict[str, KnownLimits]:
        return {
            key: {name: quota.known for name, quota in scope.quotas.items()}
            for key, scope in self._scopes.items()
            if scope.quotas
        }

    def _key(self, operation: str) -> str:
        return operation if self._is_separate else _ALL

    def _held_in(self, key: str) -> int:
        return self._held[key] if self._is_separate else self._held.total()

    def _scope(self, operation: str) -> Scope:
        key = self._key(operation)
        scope = self._scopes.get(key)
        if scope is None:
            scope = self._scopes[key] = self._new_scope(waits=True)
        return scope

    def _new_scope(self, *, waits: bool) -> Scope:
        return Scope(self._random, waits=waits, is_common=True)

    def _separate(self, is_separate: bool) -> None:
        self._pause.ends_at = max([self._pause.ends_at, *(scope.pause.ends_at for scope in self._scopes.values())])
        self._is_separate = is_separate
        self._scopes = {} if is_separate else {_ALL: self._new_scope(waits=False)}

    # --- what clients report ---

    def _expire(self, now: float) -> None:
        for name, client in [*self._clients.items()]:
            age = now - client.seen_at
            if age > EXPIRY:
                self._lose_all(client, now)
                client.places.clear()
            if age > FORGOTTEN:
                del self._clients[name]

    def _forget(self, name: str, client: _Client) -> None:
        self._lose_all(client, client.seen_at)
        del self._clients[name]

    def _lose_all(self, client: _Client, now: float) -> None:
        """Record all permits of a client as lost."""
        self._count_unleased(client, {})
        for lease in client.leases.values():
            self._lose(lease, now)
        client.leases.clear()

    def _lose(self, lease: _Lease, now: float) -> None:
        self._held[lease.operation] -= lease.held
        permit = Permit(lease.granted_at, lease.operation)
        scope, held = self._scope(lease.operation), self._held_in(self._key(lease.operation))
        for _ in range(lease.held):
            scope.lost(permit, now, held)
        self._probing.lost(permit, now, held)

    def _count_unleased(self, client: _Client, unleased: Mapping[str, int]) -> None:
        self._held.subtract(client.unleased)
        self._held.update(unleased)
        client.unleased = dict(unleased)

    def _take_back(self, client: _Client, number: int, count: int) -> None:
        lease = client.leases.get(number)
        if lease is None:
            return
        count = min(count, lease.held)
        self._held[lease.operation] -= count
        lease.held -= count
        for quota in self._scope(lease.operation).quotas.values():
            quota.sharing.unsent(count)
        if not lease.held:
            del client.leases[number]
            # If the only permit was for a probe, another client gets it now.
            self._probing.lost(Permit(lease.granted_at, lease.operation), lease.granted_at, 0)

    def _end(self, client: _Client, answer: Answer) -> None:
        number = answer.lease
        lease = None if number is None else client.leases.get(number)
        if lease is not None and number is not None:
            lease.held -= 1
            self._held[lease.operation] -= 1
            if not lease.held:
                del client.leases[number]

    def _learn(self, answer: Answer) -> None:
        operation = answer.operation
        if answer.is_counted:
            self._scope(operation).counted(answer.at)
            self._probing.answered(Permit(answer.granted_at, operation), NO_INFO, self._at, 0)
            return
        scope, held = self._scope(operation), self._held_in(self._key(operation))
        permit = Permit(answer.sent_at, operation)
        known = answer.known or {}
        permit.known = {quota: known[name] for name, quota in scope.quotas.items() if name in known}
        leased = Permit(answer.granted_at, operation)
        if answer.info is None:
            scope.lost(permit, answer.at, held)
            self._probing.lost(leased, answer.at, held)
            self._slow_start.lost(permit, answer.at, held)
            return
        scope.answered(permit, answer.info, answer.at, held)
        is_own = self._is_separate and answer.info.is_used_up
        (scope.pause if is_own else self._pause).answered(permit, answer.info, answer.at, held)
        # Permits that were granted before the account knew of a stop have nothing to do with it.
        self._probing.answered(leased, answer.info, self._at, held)
        self._slow_start.answered(permit, answer.info, answer.at, held)

    # --- granting ---

    def _grant(self, now: float) -> None:
        """Lease permits in the order of the queue, as long as any may be used now or soon.

        `at` runs ahead of now if requests become due one after another. Example: one becomes due every 10 ms, so 10
        permits are leased, for now, in 10 ms, in 20 ms etc. The next exchange is half of `AHEAD` before the first one
        that is not leased.
        """
        at, latest = now, now + AHEAD
        self._ask_at = math.inf
        while queue := self._queue():
            opens_at = {want: self._opens_at(at, want) for want in {one.want for one in queue}}
            chosen = next((one for one in queue if opens_at[one.want] <= at), None)
            if chosen is not None:
                at = self._lease(chosen, at, latest, len(queue))
                continue
            next_at = min(opens_at.values())
            is_spread = self._is_spread(at)
            if not is_spread or next_at > latest:
                # Half of `AHEAD` early, so that no permit comes late.
                self._ask_at = max(next_at - AHEAD / 2, now) if is_spread else next_at
                # When a client has died, its permits can be leased again.
                holders = [one.seen_at for one in self._clients.values() if one.leases]
                self._ask_at = min(self._ask_at, min(holders, default=math.inf) + EXPIRY)
                return
            at = _later(at, next_at)

    def _queue(self) -> "list[_Waiting]":
        first: Priority = "low" if self._low_is_next else "normal"
        waiting = [
            _Waiting(name, client, want, place)
            for name, client in self._clients.items()
            for want, place in client.places.items()
            if place.count
        ]
        if len(waiting) > 1:
            waiting.sort(key=lambda one: (one.want[0] != first, one.place.turn))
        return waiting

    def _next_turn(self) -> int:
        self._turns += 1
        return self._turns

    def _opens_at(self, at: float, want: Want) -> float:
        """Return when the next permit for this priority and operation may be used."""
        priority, operation = want
        scope, held = self._scope(operation), self._held.total()
        if self._pause.ends_at > at:
            return self._pause.ends_at
        if (opens_at := self._probing.may_send_at(at, held)) > at:
            return opens_at
        if not scope.quotas and (opens_at := self._slow_start.may_send_at(at, held)) > at:
            return opens_at
        held_here = self._held_in(self._key(operation))
        if (opens_at := scope.may_send_at(at, held_here)) > at:
            return opens_at
        return at if priority == "normal" else scope.kept_until(at, held_here)

    def _is_spread(self, at: float) -> bool:
        """Whether requests become due one after another."""
        return self._probing.rate is not None or any(scope.is_spread(at) for scope in self._scopes.values())

    def _room(self, at: float, want: Want) -> float:
        """Return how many permits may be used at once, if any."""
        priority, operation = want
        if not self._probing.is_idle:
            return 1
        scope = self._scope(operation)
        room = scope.room(at, self._held_in(self._key(operation)), is_bulk=priority == "low")
        return room if scope.quotas else min(room, self._slow_start.room(self._held.total()))

    def _lease(self, chosen: "_Waiting", at: float, latest: float, waiting: int) -> float:
        """Lease permits to one client. Return the time from which the last of them may be used."""
        client, want, place = chosen.client, chosen.want, chosen.place
        operation = want[1]
        self._leases += 1
        lease = client.leases[self._leases] = _Lease(operation, self._at, 0, [])
        most = LEASE if waiting > 1 else MAX_LEASE
        while True:
            room = self._room(at, want)
            # With few permits for many clients, each gets its part of them.
            share = most if room == math.inf else min(most, max(1, math.ceil(room / waiting)))
            count = int(min(place.count, room, most - lease.held if self._is_spread(at) else share))
            self._sent(want, at, count)
            lease.permits.append((at, count))
            lease.held += count
            place.count -= count
            if not place.count or lease.held >= most or not self._is_spread(at):
                break
            next_at = self._opens_at(at, want)
            if next_at > latest:
                break
            at = _later(at, next_at)
        place.turn = self._next_turn()
        self._low_is_next = want[0] == "normal"
        self.woken.add(chosen.name)
        return at

    def _sent(self, want: Want, at: float, count: int) -> None:
        """Record that permits may be used from now on."""
        priority, operation = want
        held = self._held.total()
        permit = Permit(at, operation)
        self._scope(operation).sent(permit, is_single=priority == "normal", count=count)
        # A probe is identified by the time of its lease.
        self._probing.sent(Permit(self._at, operation) if self._probing.is_stopped else permit, held)
        self._slow_start.sent(permit, held + count - 1)
        self._meter.sent(at, count)
        self._held[operation] += count

    # --- the state in the store ---

    def dump(self) -> bytes:
        """Return the state as bytes."""
        operations = [*dict.fromkeys(self._operations())]
        number = {operation: position for position, operation in enumerate(operations)}
        clients = {
            name: [
                client.report,
                round(client.seen_at, 3),
                [
                    [key, number[lease.operation], lease.granted_at, lease.held, lease.permits]
                    for key, lease in client.leases.items()
                ],
                [[number[operation], count] for operation, count in client.unleased.items()],
                [
                    [PRIORITIES.index(priority), number[operation], place.count, place.turn]
                    for (priority, operation), place in client.places.items()
                ],
            ]
            for name, client in self._clients.items()
        }
        scopes = {
            key: [codec.dump(scope), {name: codec.dump(quota) for name, quota in scope.quotas.items()}]
            for key, scope in self._scopes.items()
        }
        gates = [codec.dump(gate) for gate in self._gates()]
        head = [self.epoch, self._at, self._is_separate, self._low_is_next, self._leases, self._revoked, self._turns]
        state = [head, operations, gates, scopes, clients]
        return json.dumps(state, separators=(",", ":")).encode()

    @classmethod
    def load(cls, state: bytes, random: Callable[[], float]) -> "Account":
        """Return the account with this state. Other bytes raise one of many errors, see `link`."""
        head, operations, gates, scopes, clients = json.loads(state)
        account = cls(random)
        account.epoch, account._at, account._is_separate, account._low_is_next = head[:4]
        account._leases, account._revoked, account._turns = head[4:]
        for gate, values in zip(account._gates(), gates, strict=True):
            codec.load(gate, values)
        account._scopes = {}
        for key, (values, quotas) in scopes.items():
            scope = account._scopes[key] = account._new_scope(waits=False)
            codec.load(scope, values)
            for name, quota_values in quotas.items():
                quota = scope.quotas[name] = Quota(random, Needs(), is_common=True)
                codec.load(quota, quota_values)
        for name, (report, seen_at, its_leases, unleased, places) in clients.items():
            client = account._clients[name] = _Client(seen_at, report)
            for key, number, granted_at, held, permits in its_leases:
                client.leases[key] = _Lease(operations[number], granted_at, held, permits)
                account._held[operations[number]] += held
            for number, count in unleased:
                client.unleased[operations[number]] = count
                account._held[operations[number]] += count
            for priority, number, count, turn in places:
                client.places[PRIORITIES[priority], operations[number]] = _Place(count, turn)
        return account

    def _gates(self) -> tuple[object, ...]:
        return self._pause, self._meter, self._probing, self._slow_start

    def _operations(self) -> Iterator[str]:
        for client in self._clients.values():
            yield from (lease.operation for lease in client.leases.values())
            yield from client.unleased
            yield from (operation for _, operation in client.places)


class _Waiting(NamedTuple):
    """A place in the queue."""

    name: str
    client: _Client
    want: Want
    place: _Place


def _later(at: float, next_at: float) -> float:
    """Return `next_at` in whole microseconds, as it is stored, but later than `at`."""
    return max(math.ceil(next_at * 1e6) / 1e6, at + 1e-6)


FORMAT: Final = 1
"""The version of everything that clients write to the store, except for the attributes of gates."""

_GATES: Final = (Pause(), Meter(), Probing(Meter(), float), SlowStart(1))

LAYOUT: Final = f"{FORMAT}-{codec.layout((*_GATES, Scope(float, waits=False), Quota(float, Needs())))}"
"""Identifies what the state consists of."""
