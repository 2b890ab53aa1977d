"""The permits of one client: when it may send, when it exchanges, and what it reports."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiorooms._pacing import NO_INFO, Permit, RateLimitInfo
from aiorooms._pacing.gate import Known
from aiorooms._pacing.headers import Report as Limit
from aiorooms._pacing.shared.account import ASKING, Granted, Outlook, Report, Want
from aiorooms._pacing.shared.gate import SharedGate

from .clients import EPOCH, LIST, LOW, NORMAL, UPDATE, Clients, opened, permits

SHIFT: Final = -1000.0
"""The account's clock minus the local clock: the account was opened when the local clock showed 1000."""

START: Final = 1000.0
NOBODY: Final[Mapping[Want, int]] = {}
LISTING: Final[Want] = ("normal", LIST)
WINDOW: Final = RateLimitInfo(False, None, (Limit(100, 50, 0.5),))

# These decide when an exchange is due. They are copies on purpose: who changes one must look at the tables here.
REPORT_AFTER: Final = 0.1
RETURN_AFTER: Final = 0.15
KEEP_ALIVE: Final = 0.8
REFRESH: Final = 1.0
HEARTBEAT: Final = 10.0
APART: Final = 0.01
GUARD: Final = 1.5


def lease(number: int, *when: tuple[float, int], operation: str = UPDATE, at: float = 0.0) -> Granted:
    """Return a lease. Its times are those of the account."""
    return Granted(number, operation, at, [*when])


class Client:
    """A gate, and a clock that a test turns. Its jitter is 1."""

    def __init__(self, outlook: Outlook | None = None, *leases: Granted, random: float = 1.0) -> None:
        self.gate = SharedGate(lambda: random)
        self.now = START
        self.outlook = Outlook() if outlook is None else outlook
        self.gate.joins()
        self.exchange()
        if leases:
            self.hear(*leases)

    def exchange(self, waiting: Mapping[Want, int] = NOBODY, *leases: Granted) -> Report:
        """Report, and hear from the account."""
        report = self.gate.report(self.now, waiting)
        self.gate.listens(EPOCH, SHIFT, self.outlook)
        self.gate.granted(leases, self.now)
        self.gate.recorded(self.now)
        return report

    def hear(self, *leases: Granted, **changes: Any) -> None:
        """Hear a notice."""
        self.outlook = attrs.evolve(self.outlook, **changes)
        self.gate.listens(EPOCH, SHIFT, self.outlook)
        self.gate.granted(leases, self.now)

    def send(self, operation: str = UPDATE) -> Permit:
        """Send a request."""
        permit = Permit(self.now, operation)
        self.gate.sent(permit)
        return permit

    def may_send(self, operation: str = UPDATE) -> float:
        """Return how many seconds from now the next request may be sent."""
        return self.gate.may_send_at(self.now, operation) - self.now

    def due(self, waiting: Mapping[Want, int] = NOBODY) -> float:
        """Return how many seconds from now the next exchange is due."""
        return round(self.gate.exchange_at(self.now, waiting) - self.now, 9)


# --- permits ---


def test_nothing_may_be_sent_before_the_client_has_joined() -> None:
    gate = SharedGate(lambda: 0.5)
    gate.joins()
    assert gate.status == "joining"
    assert gate.is_used
    assert gate.is_dry
    assert gate.may_send_at(START, UPDATE) == math.inf
    assert gate.exchange_at(START, NOBODY) == START


def test_permits_are_used_from_their_time_on() -> None:
    client = Client(None, lease(1, (0.0, 1), (0.05, 2)))
    assert client.may_send() == -0.0
    client.send()
    assert client.may_send() == pytest.approx(0.05)
    client.now += 0.05
    for _ in range(2):
        assert client.may_send() == pytest.approx(0.0)
        assert not client.gate.is_dry
        client.send()
    assert client.may_send() == math.inf
    assert client.gate.is_dry


def test_leases_are_used_in_their_order_and_only_for_their_operation() -> None:
    client = Client(None, lease(1, (0.0, 1)), lease(2, (0.01, 1), operation=LIST), lease(3, (0.02, 1)))
    assert client.may_send("DELETE /rooms/{room_id}") == math.inf
    assert client.may_send(LIST) == pytest.approx(0.01)
    client.send()
    assert client.may_send() == pytest.approx(0.02)
    client.now += 0.02
    first, second = client.send(LIST), client.send()
    for permit in (first, second):
        client.gate.ended(permit, NO_INFO, client.now)
    report = client.exchange()
    assert [(answer.lease, answer.operation) for answer in report.answers] == [(2, LIST), (3, UPDATE)]


def test_a_lease_is_recorded_once() -> None:
    client = Client(None, lease(1, (0.0, 2)))
    client.hear(lease(1, (0.0, 2)))
    client.send()
    client.send()
    client.hear(lease(1, (0.0, 2)))
    assert client.may_send() == math.inf
    client.hear(lease(1, (0.0, 2)), lease(2, (0.0, 1)))
    assert client.may_send() <= 0


def test_without_a_permit_the_next_one_is_expected_when_an_exchange_can_grant_it() -> None:
    client = Client(Outlook(ask_at=0.3))
    assert client.may_send() == pytest.approx(0.3)
    client.now += 0.4
    client.gate.recorded(client.now)
    assert client.may_send() == math.inf


def test_old_permits_are_not_used() -> None:
    client = Client(None, lease(1, (0.0, 5)))
    client.now = START + GUARD
    assert client.may_send() <= 0
    client.now += 0.001
    assert client.may_send() == math.inf, "the account may have given these permits to others"
    report = client.exchange()
    assert report.returned == {1: 5}
    assert client.may_send() == math.inf


def test_permits_of_an_exchange_count_from_its_report_on_and_not_from_its_end() -> None:
    client = Client(None)
    client.now += 1.0
    client.hear(lease(1, (1.0, 1)))
    client.now = START + GUARD + 0.001
    assert client.may_send() == math.inf


def test_if_no_limit_is_known_no_permits_are_needed() -> None:
    client = Client(Outlook(is_open=True))
    assert client.may_send() == 0
    assert not client.gate.is_dry
    client.now += 100
    assert client.may_send() == 0
    permit = client.send()
    report = client.exchange()
    assert (report.sent, report.unleased, report.wants) == (1, {UPDATE: 1}, {})
    assert not client.gate.ended(permit, NO_INFO, client.now)
    report = client.exchange()
    assert (report.sent, report.unleased, report.answers) == (0, {}, [])


def test_permits_are_returned_as_soon_as_none_are_needed() -> None:
    client = Client(None, lease(1, (0.0, 5)))
    permit = client.send()
    client.hear(lease(1, (0.0, 5)), lease(2, (0.0, 3)), is_open=True)
    client.gate.ended(permit, NO_INFO, client.now)
    report = client.exchange()
    assert report.returned == {1: 4, 2: 3}
    assert [answer.lease for answer in report.answers] == [1], "the account would count this permit for ever"


def test_callers_are_not_asked_for_if_no_limit_is_known() -> None:
    client = Client(Outlook(is_open=True))
    assert client.due({LOW: 5}) == HEARTBEAT
    assert client.exchange({LOW: 5}).wants == {}


@pytest.mark.parametrize("info", [WINDOW, RateLimitInfo(True), RateLimitInfo(True, 0.2)])
def test_an_answer_that_shows_a_limit_ends_the_open_state_at_once(info: RateLimitInfo) -> None:
    client = Client(Outlook(is_open=True))
    permit = client.send()
    client.now += 0.01
    assert client.gate.ended(permit, info, client.now)
    assert client.may_send() == pytest.approx(info.retry_after or math.inf)
    assert client.due() == 0
    (answer,) = client.exchange().answers
    assert answer.info == info
    assert answer.lease is None
    assert (answer.sent_at, answer.at) == pytest.approx((0.0, 0.01))


def test_a_pause_of_all_clients_comes_first() -> None:
    client = Client(Outlook(paused_until=2.0), lease(1, (0.0, 3)))
    assert client.may_send() == pytest.approx(2.0)
    client.hear(is_open=True)
    assert client.may_send() == pytest.approx(2.0)
    client.now += 2.0
    assert client.may_send() <= 0


# --- answers ---


@pytest.mark.parametrize(("retry_after", "wait"), [(None, math.inf), (0.0, math.inf), (3.0, 3.0)])
def test_a_429_returns_the_unused_permits_and_makes_an_exchange_urgent(retry_after: float | None, wait: float) -> None:
    client = Client(None, lease(1, (0.0, 5)), lease(2, (0.0, 4), operation=LIST))
    permit = client.send()
    client.now += 0.01
    assert client.due() > 0
    assert client.gate.ended(permit, RateLimitInfo(True, retry_after), client.now)
    assert client.due() == 0
    assert client.may_send() == pytest.approx(wait)
    assert client.may_send(LIST) == pytest.approx(wait)
    report = client.exchange()
    assert report.returned == {1: 4, 2: 4}
    assert len(report.answers) == 1
    assert client.exchange().returned == {}, "permits were returned twice"


def test_a_429_blocks_calls_until_its_wait_is_over() -> None:
    client = Client(Outlook(blocked={"": 1.0, LIST: 5.0}), lease(1, (0.0, 1)))
    assert client.gate.blocked_until(client.now, UPDATE) == START + 1
    assert client.gate.blocked_until(client.now, LIST) == START + 5
    client.gate.ended(client.send(), RateLimitInfo(True, 3.0), client.now)
    assert client.gate.blocked_until(client.now, UPDATE) == START + 3
    assert client.gate.blocked_until(client.now, LIST) == START + 5


def test_nothing_is_blocked_if_the_account_says_nothing() -> None:
    assert Client().gate.blocked_until(START, UPDATE) == -math.inf


def test_an_answer_is_reported_with_the_times_of_the_account() -> None:
    known = {"": Known(7, 1, 9, 0.5)}
    client = Client(Outlook(known={"": known}), lease(1, (0.25, 1), at=0.125))
    client.now += 0.5
    permit = client.send()
    client.now += 0.25
    assert client.gate.ended(permit, WINDOW, client.now)
    (answer,) = client.exchange().answers
    assert answer[:5] == (1, UPDATE, 0.125, 0.5, 0.75)
    assert answer.info == WINDOW
    assert answer.known == known


def test_what_was_known_is_that_of_the_operation_if_limits_are_separate() -> None:
    known = {"": Known(7, 1, 9, 0.5)}
    client = Client(Outlook(known={LIST: known}), lease(1, (0.0, 1)), lease(2, (0.0, 1), operation=LIST))
    for operation in (UPDATE, LIST):
        client.gate.ended(client.send(operation), WINDOW, client.now)
    assert [answer.known for answer in client.exchange().answers] == [None, known]


def test_a_lost_answer_is_reported() -> None:
    client = Client(None, lease(1, (0.0, 1)))
    assert client.gate.ended(client.send(), None, client.now)
    (answer,) = client.exchange().answers
    assert answer.info is None
    assert answer.lease == 1


def test_only_the_first_answer_can_make_an_exchange_due_earlier() -> None:
    client = Client(None, lease(1, (0.0, 3)))
    first, second, third = (client.send() for _ in range(3))
    assert client.gate.ended(first, WINDOW, client.now)
    assert not client.gate.ended(second, WINDOW, client.now)
    client.hear(is_learning=True)
    assert client.gate.ended(third, WINDOW, client.now), "permits depend on each answer"


def test_requests_without_a_lease_are_reported_until_they_end() -> None:
    client = Client()
    permits_ = [client.send(), client.send(), client.send(LIST)]
    report = client.exchange()
    assert (report.sent, report.unleased) == (3, {UPDATE: 2, LIST: 1})
    client.gate.ended(permits_[0], NO_INFO, client.now)
    client.gate.ended(permits_[2], NO_INFO, client.now)
    report = client.exchange()
    assert (report.sent, report.unleased) == (0, {UPDATE: 1})
    assert [answer.lease for answer in report.answers] == [None, None]


# --- when the next exchange is due ---


def answered(client: Client) -> None:
    client.gate.ended(client.send(), WINDOW, client.now)


def limited(client: Client) -> None:
    client.gate.ended(client.send(), RateLimitInfo(True), client.now)


def nothing(_client: Client) -> None:
    pass


def asked(client: Client) -> None:
    client.exchange({LOW: 5})


def returned(client: Client) -> None:
    client.hear(revoked=1)


def finds_out(client: Client) -> None:
    client.gate.found_out(is_separate=True)


def sends(client: Client) -> None:
    client.send()


ONE: Final = lease(1, (0.0, 1))
TWO: Final = lease(1, (0.0, 2))


@pytest.mark.parametrize(
    ("case", "outlook", "leases", "event", "waiting", "due"),
    [
        ("idle", Outlook(), [], nothing, NOBODY, HEARTBEAT),
        ("a new caller", Outlook(), [], nothing, {LOW: 1}, 0.0),
        ("a caller of another operation", Outlook(), [ONE], nothing, {LISTING: 1}, 0.0),
        ("a caller who finds a permit", Outlook(), [ONE], nothing, {NORMAL: 1}, RETURN_AFTER),
        ("the account knows the caller", Outlook(), [], asked, {LOW: 5}, KEEP_ALIVE),
        ("more callers of the same kind", Outlook(), [], asked, {LOW: 50}, KEEP_ALIVE),
        ("another priority", Outlook(), [], asked, {LOW: 5, NORMAL: 1}, 0.0),
        ("permits are expected", Outlook(ask_at=0.3), [], asked, {LOW: 5}, 0.3),
        ("second in the queue", Outlook(ask_at=0.3, place=1), [], asked, {LOW: 5}, 0.3 + APART),
        ("others ask", Outlook(ask_at=0.3, place=ASKING), [], asked, {LOW: 5}, KEEP_ALIVE),
        ("permits are expected late", Outlook(ask_at=60.0), [], asked, {LOW: 5}, KEEP_ALIVE),
        ("expected permits but nobody waits", Outlook(ask_at=0.3), [], nothing, NOBODY, HEARTBEAT),
        ("an answer", Outlook(), [ONE], answered, NOBODY, REPORT_AFTER),
        ("an answer on which permits depend", Outlook(is_learning=True), [ONE], answered, NOBODY, 0.0),
        ("a 429", Outlook(), [ONE], limited, NOBODY, 0.0),
        ("unused permits", Outlook(), [ONE], nothing, NOBODY, RETURN_AFTER),
        ("unused permits for later", Outlook(), [lease(1, (0.08, 1))], nothing, NOBODY, 0.08 + RETURN_AFTER),
        ("permits that were just used", Outlook(), [TWO], sends, NOBODY, RETURN_AFTER),
        ("permits to return", Outlook(), [ONE], returned, NOBODY, REPORT_AFTER),
        ("a request in flight", Outlook(), [ONE], sends, NOBODY, KEEP_ALIVE),
        ("a request in flight without a limit", Outlook(is_open=True), [], sends, NOBODY, REFRESH),
        ("callers without a limit", Outlook(is_open=True), [], nothing, {LOW: 9}, HEARTBEAT),
        ("separate limits", Outlook(), [], finds_out, NOBODY, 0.0),
    ],
)
def test_when_an_exchange_is_due(
    case: str, outlook: Outlook, leases: Sequence[Granted], event: Any, waiting: Mapping[Want, int], due: float
) -> None:
    client = Client(outlook, *leases)
    event(client)
    assert client.due(waiting) == pytest.approx(due), case


def test_a_time_that_has_passed_makes_an_exchange_due_once() -> None:
    client = Client(Outlook(ask_at=0.3))
    client.exchange({LOW: 5})
    client.now += 0.35
    assert client.due({LOW: 5}) < 0
    client.exchange({LOW: 5})
    client.now += 0.001
    assert client.due({LOW: 5}) < 0, "permits are still expected, so it asks again"
    client.outlook = Outlook(ask_at=math.inf)
    client.exchange({LOW: 5})
    assert client.due({LOW: 5}) == KEEP_ALIVE


def test_jitter_spreads_the_exchanges_of_clients() -> None:
    dues: set[float] = set()
    for random in (0.0, 0.5, 1.0):
        client = Client(None, ONE, random=random)
        client.gate.ended(client.send(), WINDOW, client.now)
        dues.add(client.due())
    assert dues == {0.05, 0.075, 0.1}


def test_an_answer_is_reported_soon_after_the_first_one_and_not_after_the_last() -> None:
    client = Client(None, lease(1, (0.0, 5)))
    requests = [client.send() for _ in range(5)]
    for permit in requests:
        client.gate.ended(permit, WINDOW, client.now)
        client.now += 0.02
    assert client.due() == pytest.approx(REPORT_AFTER - 5 * 0.02)


# --- what is reported ---


def test_the_first_report_joins() -> None:
    gate = SharedGate(lambda: 0.5)
    gate.joins()
    report = gate.report(START, {LOW: 5})
    assert (report.number, report.joins, report.epoch, report.wants) == (1, True, 0.0, {LOW: 5})
    gate.listens(EPOCH, SHIFT, Outlook())
    report = gate.report(START + 0.5, {LOW: 5})
    assert (report.number, report.joins, report.epoch, report.made_at) == (2, False, EPOCH, 0.5)
    assert report.wants == {LOW: 5}


def test_only_callers_that_find_no_permit_are_reported() -> None:
    client = Client(None, lease(1, (0.0, 3)), lease(2, (0.0, 1)))
    assert client.exchange({NORMAL: 1, LOW: 9, LISTING: 2}).wants == {LOW: 6, LISTING: 2}


def test_a_caller_is_known_until_its_permit_is_granted() -> None:
    client = Client()
    client.exchange({LOW: 3, NORMAL: 1})
    assert client.gate.knows(LOW)
    assert client.gate.knows(NORMAL)
    assert not client.gate.knows(LISTING)
    client.hear(lease(1, (0.0, 3)))
    client.hear(lease(1, (0.0, 3)), lease(2, (0.0, 1)))
    assert not client.gate.knows(LOW)
    assert not client.gate.knows(NORMAL)


def test_unused_permits_are_returned_after_a_while() -> None:
    client = Client(None, lease(1, (0.0, 5)))
    client.now += 0.1
    client.send()
    client.now += RETURN_AFTER * 0.8
    assert client.exchange().returned == {}
    client.now += RETURN_AFTER * 0.2
    assert client.due() == pytest.approx(0.0, abs=1e-6)
    assert client.exchange().returned == {1: 4}
    assert client.may_send() == math.inf


def test_revoked_permits_are_returned_and_later_ones_are_not() -> None:
    client = Client(None, lease(1, (0.0, 5)))
    client.send()
    client.hear(lease(1, (0.0, 5)), lease(2, (0.0, 2)), lease(3, (0.0, 1)), revoked=2)
    assert client.may_send() <= 0
    client.send()
    assert client.may_send() == math.inf
    assert client.exchange().returned == {1: 4, 2: 2}


def test_a_revocation_applies_once() -> None:
    client = Client(Outlook(revoked=1))
    client.hear(lease(2, (0.0, 2)))
    client.hear(lease(2, (0.0, 2)))
    assert client.may_send() <= 0
    assert client.exchange().returned == {}


def test_separate_limits_are_reported_once_after_each_joining() -> None:
    client = Client()
    client.gate.found_out(is_separate=True)
    assert client.exchange().separate is True
    assert client.exchange().separate is None
    client.gate.joins()
    assert client.exchange().separate is True
    assert client.exchange().separate is None
    client.gate.found_out(is_separate=False)
    assert client.exchange().separate is False
    client.gate.joins()
    assert [client.exchange().separate for _ in range(3)] == [None, None, None]


def test_a_pause_for_one_operation_with_limits_of_its_own_does_not_delay_the_others() -> None:
    client = Client(None, lease(1, (0.0, 2)), lease(2, (0.0, 2), operation=LIST))
    client.gate.found_out(is_separate=True)
    used_up = RateLimitInfo(True, 3.0, (Limit(100, 0, 3.0),))
    client.gate.ended(client.send(), used_up, client.now)
    client.hear(lease(3, (0.0, 2)), lease(4, (0.0, 2), operation=LIST))
    assert client.may_send() == pytest.approx(3.0)
    assert client.may_send(LIST) <= 0
    assert client.gate.blocked_until(client.now, LIST) == -math.inf


def test_answers_of_which_nothing_is_learned_are_condensed() -> None:
    client = Client(None, lease(1, (0.0, 9)))
    for remaining in range(9, 0, -1):
        info = RateLimitInfo(False, None, (Limit(10, remaining, 1.5, exact=True),))
        client.gate.ended(client.send(), info, client.now)
    answers = client.exchange().answers
    assert [answer.is_counted for answer in answers] == [False, *[True] * 7, False]


# --- failures ---


def test_if_the_store_is_lost_all_permits_are_dropped() -> None:
    client = Client(Outlook(ask_at=0.5, paused_until=3.0, blocked={"": 3.0}), lease(1, (0.0, 5)))
    permit = client.send()
    client.gate.ended(client.send(), WINDOW, client.now)
    client.gate.loses()
    gate = client.gate
    assert gate.status == "unavailable"
    assert not gate.is_used
    assert not gate.is_dry
    assert client.may_send() == math.inf
    assert gate.blocked_until(client.now, UPDATE) == -math.inf
    assert not gate.knows(LOW)
    assert not gate.ended(permit, WINDOW, client.now)
    client.outlook = Outlook()
    report = client.exchange()
    assert (report.joins, report.epoch, report.answers, report.returned) == (True, 0.0, [], {})
    assert report.unleased == {}, "the request has ended"


def test_requests_in_flight_are_reported_without_a_lease_after_joining_again() -> None:
    client = Client(None, lease(1, (0.0, 5)))
    permit = client.send()
    client.gate.loses()
    client.gate.joins()
    report = client.exchange()
    assert (report.joins, report.unleased, report.sent) == (True, {UPDATE: 1}, 0)
    client.gate.ended(permit, WINDOW, client.now)
    report = client.exchange()
    assert report.unleased == {}
    (answer,) = report.answers
    assert answer.lease is None, "the lease is one of another account"
    assert answer.known is None


def test_after_joining_again_lease_numbers_begin_anew() -> None:
    client = Client(Outlook(revoked=7), lease(9, (0.0, 5)))
    client.gate.joins()
    client.outlook = Outlook()
    client.exchange()
    client.hear(lease(1, (0.0, 1)))
    assert client.may_send() <= 0


@settings(max_examples=60, derandomize=True)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["send", "answer", "limited", "lose", "report", "exchange", "wait", "drop", "revoke"]),
            st.integers(0, 5),
        ),
        max_size=60,
    )
)
def test_every_permit_is_answered_returned_or_held(steps: list[tuple[str, int]]) -> None:
    client = Client()
    granted = number = answers = returns = 0
    flying: list[Permit] = []
    for step, size in steps:
        if step == "send" and client.may_send() <= 0:
            flying.append(client.send())
        elif step in ("answer", "limited", "lose") and flying:
            info = None if step == "lose" else RateLimitInfo(step == "limited")
            client.gate.ended(flying.pop(0), info, client.now)
        elif step == "wait":
            client.now += size / 50
        elif step == "revoke":
            client.hear(revoked=number)
        elif step == "drop":
            client.gate.joins()
            granted = number = answers = returns = 0
            client.outlook = Outlook()
            client.exchange()
        elif step in ("report", "exchange"):
            leases = [lease(number + 1, (client.now + SHIFT, size))] if size and step == "exchange" else []
            number, granted = number + len(leases), granted + (size if leases else 0)
            report = client.exchange({LOW: size}, *leases)
            answers += sum(answer.lease is not None for answer in report.answers)
            returns += sum(report.returned.values())
        gate = client.gate
        unused = sum(count for held in gate._held.values() for one in held for _, count in one.permits)
        flown = sum(permit.lease[0] == gate._generation and permit.lease[1] is not None for permit in flying)  # type: ignore[index]
        unreported = sum(answer.lease is not None for answer in gate._answers)
        assert granted == unused + flown + unreported + answers + returns + gate._returned.total()
        assert gate._in_flight.total() == len(flying)
        assert sum(gate._unleased.values()) == len(flying) - flown


def test_a_gate_and_an_account_understand_each_other() -> None:
    clients = Clients()
    account = clients.account = opened()
    gate = SharedGate(lambda: 0.5)
    gate.joins()
    sent = 0
    for now in range(12):
        report = gate.report(float(now) / 100, {LOW: 20})
        account.begin(now / 100)
        account.record("a", report)
        account.finish()
        gate.listens(account.epoch, 0.0, account.outlook("a"))
        gate.granted(account.granted("a"), now / 100)
        gate.recorded(now / 100)
        while gate.may_send_at(now / 100, UPDATE) <= now / 100:
            permit = Permit(now / 100, UPDATE)
            gate.sent(permit)
            sent += 1
            limit = Limit(1000, 1000 - sent, 60.5, exact=True)
            gate.ended(permit, RateLimitInfo(False, None, (limit,)), now / 100 + 0.001)
    assert sent > 100
    assert permits(account.granted("a")) <= 50


def test_requests_that_were_accepted_without_the_store_are_counted_after_joining_again() -> None:
    client = Client(None, lease(1, (0.0, 3)))
    accepted, limited, unanswered = client.send(), client.send(), client.send()
    client.gate.loses()
    client.now += 0.1
    client.gate.ended(accepted, WINDOW, client.now)
    client.gate.ended(limited, RateLimitInfo(True), client.now)
    client.gate.ended(unanswered, None, client.now)
    joining = client.exchange()
    assert joining.joins
    assert joining.answers == [], "the client does not know the clock of the account yet"
    (answer,) = client.exchange().answers
    assert (answer.is_counted, answer.lease, answer.at) == (True, None, client.now + SHIFT)
    assert client.exchange().answers == []


def test_answers_and_permits_count_as_later_by_what_the_clocks_may_differ() -> None:
    client = Client()
    client.gate.listens(EPOCH, SHIFT, Outlook(), 0.03)
    client.gate.granted([lease(1, (client.now + SHIFT, 2))], client.now)
    assert client.may_send() == pytest.approx(0.03)
    client.now += 0.05
    client.gate.ended(client.send(), WINDOW, client.now)
    (answer,) = client.exchange().answers
    assert answer.at == pytest.approx(client.now + SHIFT + 0.03)
    assert answer.sent_at == pytest.approx(client.now + SHIFT)
