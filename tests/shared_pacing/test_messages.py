"""What clients send to each other: nothing is lost on the way, and damaged messages are detected."""

import json
import math
from collections.abc import Callable
from typing import Any, Final

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiorooms._pacing import NO_INFO, Priority, RateLimitInfo
from aiorooms._pacing.gate import Known
from aiorooms._pacing.headers import Report as Limit
from aiorooms._pacing.shared.account import Answer, Granted, Outlook, Overview, Report
from aiorooms._pacing.shared.messages import (
    Notice,
    condense,
    notice_to,
    read_notice,
    read_report,
    write_notice,
    write_report,
)

from .clients import EPOCH, LIST, LOW, NORMAL, UPDATE, Clients, reports

BOTH: Final[tuple[Priority, ...]] = ("normal", "low")

# --- strategies ---

moments = st.integers(0, 10**9).map(lambda number: number / 1e6)
"""Times in whole microseconds, as they are written."""

counts = st.integers(0, 10**6)
operations = st.sampled_from([UPDATE, LIST, "", "GET /ö"])
names = st.sampled_from(["", "2", "minute", "50;w=60", "größe"])
seconds = st.none() | st.floats(0, 1e6)
limits = st.builds(Limit, counts, counts, seconds, st.booleans(), names, seconds)
infos = st.builds(RateLimitInfo, st.booleans(), seconds, st.lists(limits, max_size=3).map(tuple))
knowns = st.dictionaries(names, st.builds(Known, counts, counts, st.none() | counts, st.floats(0, 1e6)), max_size=3)
answers = st.builds(
    Answer,
    st.none() | counts,
    operations,
    moments,
    moments,
    moments,
    st.none() | infos,
    st.none() | knowns,
    is_counted=st.just(False),
)
wants = st.dictionaries(st.tuples(st.sampled_from(BOTH), operations), st.integers(1, 10**5), max_size=4)
report_values = st.builds(
    Report,
    number=counts,
    epoch=st.floats(0, 2e9),
    made_at=moments,
    answers=st.lists(answers, max_size=6),
    returned=st.dictionaries(counts, counts, max_size=3),
    unleased=st.dictionaries(operations, counts, max_size=3),
    sent=counts,
    wants=wants,
    separate=st.sampled_from([None, True, False]),
    leaves=st.booleans(),
)
infinite = st.floats(-1e6, 1e6) | st.sampled_from([math.inf, -math.inf])
granted = st.builds(Granted, counts, operations, moments, st.lists(st.tuples(moments, counts), min_size=1, max_size=4))
overviews = st.builds(Overview, counts, seconds, st.none() | counts, st.none() | counts, infinite, infinite)
outlooks = st.builds(
    Outlook,
    is_open=st.booleans(),
    ask_at=infinite,
    is_learning=st.booleans(),
    place=counts,
    paused_until=infinite,
    revoked=counts,
    blocked=st.dictionaries(operations, infinite, max_size=3),
    known=st.dictionaries(operations, knowns, max_size=3),
)
notices = st.builds(Notice, st.floats(0, 2e9), moments, counts, overviews, st.lists(granted, max_size=4), outlooks)


# --- there and back ---


@settings(max_examples=60, derandomize=True)
@given(client=st.text(max_size=20), report=report_values)
def test_a_report_arrives_as_it_was_sent(client: str, report: Report) -> None:
    name, read = read_report(write_report(client, report))
    assert name == client
    assert attrs.evolve(read, answers=[*read.answers]) == report


@settings(max_examples=60, derandomize=True)
@given(answer=answers)
def test_a_counted_answer_arrives_without_what_it_reported(answer: Answer) -> None:
    counted = answer._replace(is_counted=True)
    _, read = read_report(write_report("a", Report(answers=[counted])))
    assert read.answers == [counted._replace(info=None, known=None)]


@settings(max_examples=60, derandomize=True)
@given(notice=notices)
def test_a_notice_arrives_as_it_was_sent(notice: Notice) -> None:
    read = read_notice(write_notice(notice))
    leases = [
        one._replace(permits=[(at, count) for at, count in one.permits])
        for one in (Granted(*lease) for lease in read.granted)
    ]
    assert read._replace(granted=leases) == notice


def test_limits_that_several_answers_share_are_written_once_and_are_equal_again() -> None:
    known = {"": Known(7, 1, 9, 0.5)}
    several = [Answer(1, UPDATE, 0.0, 0.1, 0.2, NO_INFO, known) for _ in range(50)]
    other = Answer(1, UPDATE, 0.0, 0.1, 0.2, NO_INFO, {"": Known()})
    data = write_report("a", Report(answers=[*several, other]))
    _, report = read_report(data)
    assert report.answers == [*several, other]
    assert len(json.loads(data)[2]) == 2


def test_times_are_written_in_microseconds() -> None:
    answer = Answer(1, UPDATE, 1 / 3, 2 / 3, 1.0000004, NO_INFO, None)
    _, report = read_report(write_report("a", Report(answers=[answer], made_at=1 / 7)))
    (read,) = report.answers
    assert read[2:5] == (0.333333, 0.666667, 1.0)
    assert report.made_at == 0.142857


def test_a_report_of_many_answers_is_small() -> None:
    known = {"": Known(7, 1, 9, 0.5)}
    infos = [reports(99 - number) for number in range(50)]
    many = condense([Answer(1, UPDATE, 0.5, 0.51, 0.6 + n / 1000, info, known) for n, info in enumerate(infos)])
    assert len(write_report("0123456789ab", Report(answers=many, wants={LOW: 50, NORMAL: 1}))) < 4000


def test_an_account_says_the_same_through_the_store() -> None:
    clients = Clients("a", "b")
    clients.learn("a", remaining=50)
    clients.ask("b", {LOW: 20})
    for name in ("a", "b", "stranger"):
        notice = notice_to(clients.account, name)
        read = read_notice(write_notice(notice))
        assert (read.epoch, read.recorded, read.overview, read.outlook) == (
            EPOCH,
            clients.account.recorded(name),
            notice.overview,
            notice.outlook,
        )
        assert [tuple(one[:3]) for one in read.granted] == [one[:3] for one in notice.granted]
    assert read_notice(write_notice(notice_to(clients.account, "b"))).granted != []


# --- condensing ---


def answer(
    remaining: int | None,
    *,
    limited: bool = False,
    limit: int = 100,
    reset: float | None = 1.5,
    exact: bool = True,
    name: str = "",
    operation: str = UPDATE,
    more: tuple[Limit, ...] = (),
) -> Answer:
    """Return an answer; one that reports nothing if `remaining` is None."""
    own = () if remaining is None else (Limit(limit, remaining, reset, exact, name),)
    return Answer(1, operation, 0.0, 0.1, 0.2, RateLimitInfo(limited, None, (*own, *more)), None)


LOST: Final = Answer(1, UPDATE, 0.0, 0.1, 0.2, None, None)


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("number", [0, 1, 2, 3, 20])
def test_only_answers_between_two_that_follow_are_counted(number: int, odd: bool) -> None:
    many = condense([answer(50 - n, exact=odd) for n in range(number)])
    assert [one.is_counted for one in many] == [0 < n < number - 1 for n in range(number)]


@pytest.mark.parametrize(
    "odd",
    [
        LOST,
        answer(None),
        answer(48, limited=True),
        answer(None, limited=True),
        answer(48, limit=200),
        answer(48, name="minute"),
        answer(48, operation=LIST),
        answer(48, more=(Limit(1000, 500, 60.0, name="minute"),)),
    ],
)
def test_an_odd_answer_and_those_beside_it_are_kept(odd: Answer) -> None:
    history = [answer(51), answer(50), answer(49), odd, answer(47), answer(46), answer(45)]
    marked = condense(history)
    assert not marked[3].is_counted
    assert [one.is_counted for one in marked] == [False, True, False, False, False, True, False]


@pytest.mark.parametrize("remaining", [49, 50, 99])
def test_answers_are_kept_if_as_much_or_more_remains_than_before(remaining: int) -> None:
    marked = condense([answer(51), answer(50), answer(49), answer(remaining), answer(48), answer(47), answer(46)])
    assert [one.is_counted for one in marked] == [False, True, False, False, True, True, False]


def test_a_change_of_a_rounded_reset_is_kept() -> None:
    resets = (2, 2, 2, 1, 1, 1, 1)
    marked = condense([answer(50 - n, reset=reset, exact=False) for n, reset in enumerate(resets)])
    assert [one.is_counted for one in marked] == [False, True, False, False, True, True, False]


def test_a_change_of_an_exact_reset_is_not_kept() -> None:
    marked = condense([answer(50 - n, reset=1.5 - n / 10) for n in range(5)])
    assert [one.is_counted for one in marked] == [False, True, True, True, False]


def test_condensing_leaves_the_given_answers_unchanged() -> None:
    history = [answer(50 - n) for n in range(5)]
    before = [*history]
    marked = condense(history)
    assert history == before
    assert [one._replace(is_counted=False) for one in marked] == before


@settings(max_examples=60, derandomize=True)
@given(history=st.lists(answers, max_size=12))
def test_the_first_and_the_last_answer_and_all_429s_are_kept(history: list[Answer]) -> None:
    marked = condense(history)
    assert len(marked) == len(history)
    for number, one in enumerate(marked):
        if one.is_counted:
            assert 0 < number < len(history) - 1
            assert one.info is not None
            assert not one.info.rate_limited
            assert len(one.info.reports) == 1
            before, after = history[number - 1].info, history[number + 1].info
            assert before is not None
            assert after is not None
            assert before.reports[0].remaining > one.info.reports[0].remaining > after.reports[0].remaining


# --- damaged messages ---

GOOD_REPORT: Final = write_report("a", Report(number=3, answers=[answer(50), LOST], wants={LOW: 3}, returned={4: 5}))
GOOD_NOTICE: Final = write_notice(
    Notice(
        EPOCH,
        7.5,
        3,
        Overview(2, 1.5, 3, 4, 5.0, 6.0),
        [Granted(1, UPDATE, 0.5, [(0.5, 3)])],
        Outlook(blocked={"": 3.0}),
    )
)
READERS: Final[list[tuple[Callable[[bytes], Any], bytes]]] = [(read_report, GOOD_REPORT), (read_notice, GOOD_NOTICE)]


@pytest.mark.parametrize(("read", "good"), READERS)
def test_undamaged_messages_can_be_read(read: Callable[[bytes], Any], good: bytes) -> None:
    assert read(good)


@pytest.mark.parametrize(("read", "good"), READERS)
@pytest.mark.parametrize(
    "data", [b"", b"null", b"1", b'"text"', b"{}", b"[]", b"[[]]", b"\xff", b"[1,2,3,4,5,6]", b"x"]
)
def test_what_is_no_message_is_an_error(read: Callable[[bytes], Any], good: bytes, data: bytes) -> None:
    assert data != good
    with pytest.raises(ValueError, match=".+"):
        read(data)


@pytest.mark.parametrize(("read", "good"), READERS)
def test_a_part_of_a_message_is_an_error(read: Callable[[bytes], Any], good: bytes) -> None:
    for length in range(len(good)):
        with pytest.raises(ValueError, match=".+"):
            read(good[:length])


def test_one_kind_of_message_is_not_read_as_the_other() -> None:
    with pytest.raises(ValueError, match=".+"):
        read_report(GOOD_NOTICE)
    with pytest.raises(ValueError, match=".+"):
        read_notice(GOOD_REPORT)


@pytest.mark.parametrize(("read", "good"), READERS)
@settings(max_examples=70, derandomize=True)
@given(data=st.data())
def test_a_damaged_message_raises_nothing_but_value_errors(
    read: Callable[[bytes], Any], good: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(good) - 1))
    length = data.draw(st.integers(0, 12))
    piece = data.draw(st.binary(max_size=6) | st.sampled_from([b"null", b"[]", b"{}", b'"a"', b"1e999", b"-1", b"[["]))
    damaged = good[:at] + piece + good[at + length :]
    try:
        read(damaged)
    except ValueError as error:
        assert str(error)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=25,
)


@pytest.mark.parametrize("read", [read_report, read_notice])
@settings(max_examples=70, derandomize=True)
@given(values=junk)
def test_any_other_json_raises_nothing_but_value_errors(read: Callable[[bytes], Any], values: Any) -> None:
    with pytest.raises(ValueError, match=".+"):
        read(json.dumps(values).encode())


@pytest.mark.parametrize("read", [read_report, read_notice])
def test_deeply_nested_json_is_an_error(read: Callable[[bytes], Any]) -> None:
    with pytest.raises(ValueError, match="not a"):
        read(b"[" * 100_000)
