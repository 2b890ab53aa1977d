"""The part of sharing that one client does without the store: use its permits, and decide when to exchange.

The client holds leases from the account (`account`). A caller gets a permit from them at once, without the store. If
none is left, it waits, and the next exchange asks for more. The gate decides when an exchange is due:

- at once, if a caller waits and the account does not know it yet, or if a 429 arrived;
- when the account expects that permits can be leased (`Outlook.ask_at`). Clients that wait ask one after another, in
  the order of their places, because the first one that asks leases permits to all;
- half of `REPORT_AFTER` to `REPORT_AFTER` after an answer arrived, at random, or at once if permits depend on it;
- when permits have been unused for `RETURN_AFTER` seconds, to return them;
- regularly, so that the account knows that the client still runs.

If the store does not answer, the gate is *unavailable*, and the pacer uses what the client has learned by itself. It
then drops its permits, because the account will record them as lost. If the last exchange is older than `_GUARD`,
permits are not used, because the account may soon give them to others. The next exchange returns them.

Example: 50 workers wait. The exchange at t = 0 leases 20 permits, which is all that remains until t = 0.8 s. So 20
workers send. At t = 0.004 s their answers have arrived, and they wait again. The account knows that callers of this
client wait, so the next exchange only reports the answers. It is between t = 0.054 s and t = 0.104 s, and the one after
that at t = 0.8 s.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias, cast

import attrs

from ..gate import Permit
from ..headers import RateLimitInfo
from .account import ASKING, EXPIRY, Answer, Granted, KnownLimits, Outlook, Report, Want
from .messages import condense

__all__ = ["LIVENESS", "SharedGate", "Status"]

Status: TypeAlias = Literal["joining", "used", "unavailable"]
"""Whether permits come from the store: not yet, yes, or no because it does not answer."""

REPORT_AFTER: Final = 0.1
RETURN_AFTER: Final = 0.15
LIVENESS: Final = 0.08
"""Seconds without an answer from the store, while callers wait, after which the link checks whether it answers."""

_KEEP_ALIVE: Final = 0.8
"""Seconds between two exchanges of a client that holds permits. Much less than `EXPIRY`."""

_REFRESH: Final = 1.0
"""Seconds between two exchanges of a client that sends while no limit is known."""

_HEARTBEAT: Final = 10.0
"""Seconds between two exchanges of a client that sends nothing."""

_APART: Final = 0.01
"""Seconds between the exchanges of two clients that wait for the same moment."""

_GUARD: Final = EXPIRY - 0.5
"""Seconds after the last exchange in which permits may be used."""


_MAX_ELSEWHERE: Final = 1000
"""The number of accepted requests that are remembered while the store is not used."""


class _Use(NamedTuple):
    """What the gate stores in a permit."""

    generation: int
    """How many times the client had joined when the permit was granted."""
    lease: int | None
    granted_at: float
    known: KnownLimits | None


@attrs.define
class _Held:
    """The unused permits of a lease. Times are local."""

    lease: int
    granted_at: float
    """On the account's clock."""
    permits: deque[tuple[float, int]]


class SharedGate:
    """Keeps to the permits that the client has leased. Times are seconds on the pacer's clock."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._jitter = 1.0
        """Between 0.5 and 1: clients that were granted permits at the same time don't exchange at the same time."""
        self.status: Status = "joining"
        self.outlook: Outlook = Outlook()
        """What the account expects. Its times are those of the account."""
        self._shift = self._error = 0.0
        """The account's clock minus the local clock, and how wrong that may be, in seconds."""
        self._generation = 0
        self._last_lease = 0
        """The number of the last lease that was seen."""
        self._revoked = 0
        """The number of the last lease whose unused permits were revoked."""
        self._held: dict[str, deque[_Held]] = {}
        """The leases with unused permits, by operation."""
        self._in_flight: Counter[str] = Counter()
        self._unleased: Counter[str] = Counter()
        """The requests in flight that the account has not granted, by operation."""
        self._sent = 0
        """The number of requests sent without a lease since the last exchange."""
        self._elsewhere: deque[tuple[str, float, float]] = deque(maxlen=_MAX_ELSEWHERE)
        """Operation, start and end of accepted requests while the store was not used. They count for the limit too."""
        self._answers: list[Answer] = []
        self._answered_at = math.inf
        """When the first answer arrived that was not reported yet."""
        self._wanted: dict[Want, int] = {}
        """The callers that the account knows and has granted no permits yet."""
        self._returned: Counter[int] = Counter()
        self._used_at = -math.inf
        """When the last permit was granted, became usable, or was used."""
        self._reports = 0
        """The number of the last report. It grows even if the client joins again: late reports are ignored."""
        self._is_joining = True
        self._reported_at = -math.inf
        """When the last report was made."""
        self._recorded_at = -math.inf
        """When the last report was made that the account has recorded."""
        self._epoch = 0.0
        self._is_urgent = False
        self._stopped_until: dict[str, float] = {}
        """The ends of the pauses that 429s asked for, by operation. The empty text means all operations."""
        self._is_separate = False
        """Whether the client has found out that operations have limits of their own."""
        self._separate: bool | None = None
        """What the client has found out about the limits of operations and not reported yet."""

    # --- for the pacer ---

    @property
    def is_used(self) -> bool:
        """Whether callers wait for permits from the store. If not, the pacer decides by itself."""
        return self.status != "unavailable"

    def is_open(self, now: float) -> bool:
        """Whether no permits are needed, until the next notice or the next answer that says something."""
        return (
            self.status == "used"
            and self.outlook.is_open
            and max(self.outlook.paused_until - self._shift, *self._stopped_until.values(), -math.inf) <= now
        )

    def may_send_at(self, now: float, operation: str) -> float:
        """Return when the next request may be sent; infinity if an exchange must come first."""
        if self.status != "used":
            return math.inf
        stopped_until = max(self._stop_of(operation), self.outlook.paused_until - self._shift)
        if stopped_until > now:
            return stopped_until
        if self.outlook.is_open:
            return now
        if now > self._recorded_at + _GUARD:
            return math.inf
        held = self._held.get(operation)
        if held:
            return held[0].permits[0][0]
        asks_at = self.outlook.ask_at - self._shift
        return asks_at if asks_at > now else math.inf

    @property
    def is_dry(self) -> bool:
        """Whether no caller can get a permit before the next exchange."""
        return not self._held and self.status != "unavailable" and not self.outlook.is_open

    def blocked_until(self, now: float, operation: str) -> float:
        """Return when the server is expected to accept requests again, as `Gate.blocked_until`."""
        blocked = self.outlook.blocked
        until = max(blocked.get("", -math.inf), blocked.get(operation, -math.inf))
        return max(self._stop_of(operation), until - self._shift)

    @property
    def unused(self) -> int:
        """The number of permits that are not used yet."""
        return sum(count for held in self._held.values() for lease in held for _, count in lease.permits)

    def sent(self, permit: Permit) -> None:
        """Use a permit for a request that is sent now."""
        operation, now = permit.operation, permit.sent_at
        self._in_flight[operation] += 1
        known = self.outlook.known
        knows = known.get("") or known.get(operation)
        held = self._held.get(operation) if self.status == "used" and not self.outlook.is_open else None
        if not held:
            self._unleased[operation] += 1
            self._sent += 1
            permit.lease = _Use(self._generation, None, now + self._shift, knows)
            return
        lease = held[0]
        at, count = lease.permits.popleft()
        if count > 1:
            lease.permits.appendleft((at, count - 1))
        elif not lease.permits:
            held.popleft()
            if not held:
                del self._held[operation]
        self._used_at = now
        permit.lease = _Use(self._generation, lease.lease, lease.granted_at, knows)

    def ended(self, permit: Permit, info: RateLimitInfo | None, now: float) -> bool:
        """Record the end of an attempt. Return whether an exchange may be due earlier because of it."""
        use, operation = cast("_Use", permit.lease), permit.operation
        self._in_flight[operation] -= 1
        is_ours = use.generation == self._generation and use.lease is not None
        if not is_ours:
            self._unleased[operation] -= 1
        if self.status != "used":
            if info is not None and not info.rate_limited:
                self._elsewhere.append((operation, permit.sent_at, now))
            return False
        is_news = info is not None and (info.rate_limited or bool(info.reports))
        if self.outlook.is_open and not is_news and not is_ours:
            return False
        shift = self._shift
        known = use.known if use.generation == self._generation else None
        lease, granted_at = (use.lease, use.granted_at) if is_ours else (None, permit.sent_at + shift)
        answered_at = now + shift + self._error
        answer = Answer(lease, operation, granted_at, permit.sent_at + shift, answered_at, info, known)
        self._answers.append(answer)
        self._answered_at = min(self._answered_at, now)
        if self.outlook.is_open and is_news:
            self.outlook = attrs.evolve(self.outlook, is_open=False)
            self._is_urgent = True
        if info is not None and info.rate_limited:
            self._is_urgent = True
            self._return_all()
            if info.retry_after:
                key = operation if self._is_separate and info.is_used_up else ""
                self._stopped_until[key] = max(self._stopped_until.get(key, -math.inf), now + info.retry_after)
        return self._is_urgent or len(self._answers) == 1 or self.outlook.is_learning

    def found_out(self, *, is_separate: bool) -> None:
        """Record that the operations have limits of their own, or the same."""
        self._separate = self._is_separate = is_separate
        self._is_urgent = True

    def knows(self, want: Want) -> bool:
        """Whether the account knows that callers with this priority and operation wait, or need not know it."""
        return want in self._wanted or (self.status == "used" and self.outlook.is_open)

    # --- for the link ---

    def exchange_at(self, now: float, waiting: Mapping[Want, int]) -> float:
        """Return when the next exchange is due. `waiting` are the callers that wait for permits."""
        if self._is_urgent or self._reported_at == -math.inf:
            return now
        last = self._reported_at
        due = last + _HEARTBEAT
        if waiting and not self.outlook.is_open:
            if any(want not in self._wanted and want[1] not in self._held for want in waiting):
                return now
            if self.outlook.place < ASKING:
                due = max(self.outlook.ask_at - self._shift + self.outlook.place * _APART, last)
        if self._answers:
            due = min(due, now if self.outlook.is_learning else self._answered_at + REPORT_AFTER * self._jitter)
        if self._held:
            due = min(due, self._used_at + RETURN_AFTER)
        if self._returned:
            due = min(due, last + REPORT_AFTER)
        if self._held or self._in_flight.total() > 0 or self._wanted:
            due = min(due, last + (_REFRESH if self.outlook.is_open else _KEEP_ALIVE) * self._jitter)
        return due

    def report(self, now: float, waiting: Mapping[Want, int]) -> Report:
        """Return what to report to the account. It counts as reported: if it is lost, the client must join again."""
        if now >= self._used_at + RETURN_AFTER * 0.9:
            self._return_all()
        self._reports += 1
        elsewhere = [] if self._is_joining else self._counted_elsewhere()
        report = Report(
            number=self._reports,
            joins=self._is_joining,
            epoch=self._epoch,
            made_at=now + self._shift,
            answers=[*elsewhere, *condense(self._answers)],
            returned=self._returned,
            unleased={operation: count for operation, count in self._unleased.items() if count > 0},
            sent=self._sent,
            wants={} if self.outlook.is_open else self._asked(waiting),
            separate=self._separate,
        )
        self._answers, self._answered_at = [], math.inf
        self._returned = Counter()
        self._sent = 0
        self._separate, self._is_joining = None, False
        self._wanted = dict(report.wants)
        self._is_urgent = False
        self._reported_at = now
        self._jitter = 0.5 + self._random() / 2
        return report

    def recorded(self, now: float) -> None:
        """Record that the account knows everything that was reported at `now`."""
        self._recorded_at = now
        self.status = "used"

    def listens(self, epoch: float, shift: float, outlook: Outlook, error: float = 0.0) -> None:
        """Record when the account was opened, how its clock differs from the local one, and what it expects.

        `error` is how wrong the difference may be, in seconds. Answers and permits count as that much later.
        """
        self._epoch, self._shift, self.outlook, self._error = epoch, shift, outlook, error
        if outlook.revoked > self._revoked or outlook.is_open:
            self._revoked = outlook.revoked
            self._return_all()

    def granted(self, granted: Sequence[Granted], now: float) -> None:
        """Record the leases of the client, of which some may be known."""
        for lease in granted:
            if lease.number <= self._last_lease:
                continue
            self._last_lease = lease.number
            if lease.number <= self._revoked or self.outlook.is_open:
                self._returned[lease.number] += sum(count for _, count in lease.permits)
                continue
            self._count_granted(lease)
            permits = deque((at - self._shift + self._error, count) for at, count in lease.permits)
            self._held.setdefault(lease.operation, deque()).append(_Held(lease.number, lease.granted_at, permits))
            self._used_at = max(self._used_at, now, permits[-1][0])

    def joins(self) -> None:
        """Prepare for joining: the account knows nothing of this client."""
        self._generation += 1
        self._last_lease = self._revoked = 0
        self._held.clear()
        self._answers.clear()
        self._answered_at = math.inf
        self._returned.clear()
        self._wanted = {}
        self._sent = 0
        self._unleased = Counter({operation: count for operation, count in self._in_flight.items() if count > 0})
        self._is_joining = True
        self._reported_at = self._recorded_at = -math.inf
        self._epoch = 0.0
        self._is_urgent = False
        self._separate = True if self._is_separate else None

    def loses(self) -> None:
        """Record that the store can't be used."""
        self.status = "unavailable"
        self.outlook = Outlook()
        self.joins()

    # --- helpers ---

    def _counted_elsewhere(self) -> list[Answer]:
        """Return the requests that were accepted while the store was not used, as answers that are only counted."""
        shift, late = self._shift, self._shift + self._error
        answers = [
            Answer(None, operation, sent_at + shift, sent_at + shift, at + late, None, None, is_counted=True)
            for operation, sent_at, at in self._elsewhere
        ]
        self._elsewhere.clear()
        return answers

    def _stop_of(self, operation: str) -> float:
        stops = self._stopped_until
        return max(stops.get("", -math.inf), stops.get(operation, -math.inf)) if stops else -math.inf

    def _asked(self, waiting: Mapping[Want, int]) -> Mapping[Want, int]:
        """Return how many permits are wanted: one for each caller that finds none in the leases."""
        wants: dict[Want, int] = {}
        unused = {
            operation: sum(sum(n for _, n in one.permits) for one in held) for operation, held in self._held.items()
        }
        for (priority, operation), count in waiting.items():
            left = unused.get(operation, 0)
            unused[operation] = max(0, left - count)
            if count > left:
                wants[priority, operation] = count - left
        return wants

    def _count_granted(self, lease: Granted) -> None:
        count = sum(number for _, number in lease.permits)
        for want in [*self._wanted]:
            if want[1] == lease.operation and count > 0:
                granted = min(count, self._wanted[want])
                count -= granted
                self._wanted[want] -= granted
                if not self._wanted[want]:
                    del self._wanted[want]

    def _return_all(self) -> None:
        for held in self._held.values():
            for lease in held:
                self._returned[lease.lease] += sum(count for _, count in lease.permits)
        self._held.clear()
