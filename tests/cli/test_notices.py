"""What is said about waits: the line for each event, the notice at each moment, and no spam."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms.cli._notices import Notices
from aiorooms.telemetry import (
    AttemptStarted,
    Event,
    OutageBegan,
    OutageEnded,
    PauseReason,
    RateLimitPaused,
    RetryScheduled,
    RunStopped,
    UpdateEnded,
)

AT = datetime(2026, 11, 27, 12, 3, 10, tzinfo=UTC)


def paused(seconds: float, reason: PauseReason = "retry_after") -> RateLimitPaused:
    return RateLimitPaused(seconds=seconds, reason=reason, waiting=5)


def retried(
    delay: float, elapsed: float = 0.0, *, status: int | None = None, attempt: int = 1, call: int = 1
) -> RetryScheduled:
    return RetryScheduled(
        call=call,
        method="GET",
        route="/rooms",
        path="/rooms",
        attempt=attempt,
        status=status,
        reason="list of rooms: connection refused",
        delay=delay,
        elapsed=elapsed,
    )


def outage(status: int | None = None, patience: float | None = 60.0) -> OutageBegan:
    return OutageBegan(reason="room r: reset", status=status, unavailable_for=3.0, patience=patience)


def shown(notices: Notices, now: float) -> str | None:
    notice = notices.notice(now)
    return None if notice is None else notice.text


LINES: list[tuple[Event, str | None, str | None]] = [
    # the event at t = 0, its line, and the notice at t = 1
    (
        outage(),
        "server not answering since 12:03:07 UTC; the run gives up after 60 s (room r: reset)",
        "server not answering for 4 s, gives up at 60 s",
    ),
    (
        outage(503),
        "server answering 503 since 12:03:07 UTC; the run gives up after 60 s (room r: reset)",
        "server answering 503 for 4 s, gives up at 60 s",
    ),
    (outage(patience=3.5), "server not answering since 12:03:07 UTC; the run gives up after 3.5 s (room r: reset)",
     "server not answering for 4 s, giving up"),
    (OutageEnded(seconds=33.2), "the server answers again after 34 s", None),
    (paused(18), "rate limited, resumes in 18 s (a 429 asked for a pause)", "rate limited, resumes in 17 s"),
    (paused(18, "limit"), "rate limited, resumes in 18 s (the reported limit is used up or shared)",
     "rate limited, resumes in 17 s"),
    (paused(18, "probing"), "rate limited, resumes in 18 s (429s have shown an unreported limit)",
     "rate limited, resumes in 17 s"),
    (paused(1000, "max_rate"), None, None),
    (paused(4.9), None, "rate limited, resumes in 4 s"),
    (paused(1.9), None, None),
    (paused(1200), "rate limited, resumes in 1,200 s (a 429 asked for a pause)", "rate limited, resumes in 1,199 s"),
    (retried(18, status=429), "rate limited, resumes in 18 s (a 429 asked for a pause)",
     "rate limited, resumes in 17 s"),
    (retried(0.3, status=429), None, None),
    (retried(4), "list of rooms: connection refused; trying again in 4 s (attempt 2)",
     "list of rooms: connection refused; trying again in 3 s (attempt 2)"),
    (retried(0.3), None, None),
    (retried(0.3, 30.0, attempt=3), "list of rooms: connection refused; trying again in 1 s (attempt 4)",
     "list of rooms: connection refused; waiting for attempt 4"),
    (RunStopped(reason="401"), None, None),
    (UpdateEnded(room_id="r", status="failed", attempts=1, elapsed=1.0, error="422"), None, None),
    (AttemptStarted(call=1, method="GET", route="/rooms", path="/rooms", attempt=1, waited=0.0), None, None),
]  # fmt: skip


@pytest.mark.parametrize(("event", "line", "notice"), LINES)
def test_an_event_has_a_line_and_a_notice(event: Event, line: str | None, notice: str | None) -> None:
    notices = Notices()
    assert notices.record(event, 0.0, AT) == line
    assert shown(notices, 1.0) == notice


def test_a_pause_counts_down_and_its_end_is_announced() -> None:
    notices = Notices()
    notices.record(paused(18), 100.0, AT)
    assert [shown(notices, 100.0 + second) for second in (0.0, 5.5, 17.9)] == [
        f"rate limited, resumes in {left} s" for left in (18, 13, 1)
    ]
    assert notices.tick(117.9) is None
    assert notices.tick(118.0) == "sending again after a pause of 18 s"
    assert notices.tick(118.5) is None
    assert shown(notices, 118.0) is None


def test_the_end_of_a_pause_is_not_announced_for_a_single_call() -> None:
    notices = Notices(shortest=2.0, ends=False)
    assert notices.record(paused(3), 0.0, AT) is not None
    assert notices.tick(4.0) is None


def test_a_pause_that_is_reported_by_two_events_has_one_line() -> None:
    notices = Notices()
    assert notices.record(retried(18, status=429), 0.0, AT) is not None
    assert notices.record(paused(17.99), 0.01, AT) is None
    assert notices.record(retried(18, status=429, call=2), 0.02, AT) is None


def test_a_pause_that_becomes_longer_is_announced_again_and_ends_once() -> None:
    notices = Notices()
    notices.record(paused(10), 0.0, AT)
    assert notices.record(paused(20), 5.0, AT) == "rate limited, resumes in 20 s (a 429 asked for a pause)"
    assert notices.tick(10.0) is None
    assert notices.tick(25.0) == "sending again after a pause of 25 s"


@pytest.mark.parametrize("reason", ["limit", "probing", "max_rate", "retry_after"])
@pytest.mark.parametrize("pause", [0.9, 1.5, 4.0])
def test_a_pause_in_each_window_gives_no_line(reason: PauseReason, pause: float) -> None:
    notices = Notices()
    lines = [
        line
        for window in range(1000)
        for line in (notices.record(paused(pause, reason), window * 5.0, AT), notices.tick(window * 5.0 + pause))
        if line
    ]
    assert lines == []


@pytest.mark.parametrize("shortest", [2.0, 5.0])
def test_long_windows_of_a_known_limit_are_announced_every_ten_minutes(shortest: float) -> None:
    notices = Notices(shortest=shortest, ends=False)
    lines = [notices.record(paused(7, "limit"), window * 10.0, AT) for window in range(360)]
    assert sum(line is not None for line in lines) == 6


def test_many_calls_that_are_retried_at_the_same_time_have_one_line() -> None:
    notices = Notices()
    lines = [notices.record(retried(0.4, 5.0, call=call), 10 + call / 100, AT) for call in range(50)]
    assert sum(line is not None for line in lines) == 1


def test_progress_removes_the_notice_of_a_retry_but_not_that_of_a_pause() -> None:
    notices = Notices()
    notices.record(retried(8), 0.0, AT)
    notices.progressed()
    assert shown(notices, 1.0) is None
    notices.record(paused(8), 2.0, AT)
    notices.progressed()
    assert shown(notices, 3.0) == "rate limited, resumes in 7 s"


def test_an_outage_comes_first_and_ends_with_the_time_since_the_first_lost_attempt() -> None:
    notices = Notices()
    notices.record(paused(30), 0.0, AT)
    notices.record(outage(), 10.0, AT)
    assert shown(notices, 12.0) == "server not answering for 5 s, gives up at 60 s"
    assert shown(notices, 80.0) == "server not answering for 73 s, giving up"
    assert notices.record(OutageEnded(seconds=5.0), 20.0, AT) == "the server answers again after 13 s"
    assert shown(notices, 21.0) == "rate limited, resumes in 9 s"


def test_a_stopped_run_waits_for_nothing() -> None:
    for event in (outage(), paused(30), retried(30)):
        notices = Notices()
        notices.record(event, 0.0, AT)
        notices.record(RunStopped(reason="stopped"), 1.0, AT)
        assert shown(notices, 2.0) is None
        assert notices.tick(40.0) is None


EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        paused,
        st.floats(1.0, 400.0),
        st.sampled_from(["retry_after", "limit", "probing", "max_rate"]),
    ),
    st.builds(retried, st.floats(0.0, 60.0), st.floats(0.0, 600.0), status=st.sampled_from([None, 429, 503])),
    st.builds(outage, st.sampled_from([None, 500]), st.sampled_from([None, 1.0, 60.0])),
    st.just(OutageEnded(seconds=1.0)),
    st.just(RunStopped(reason="stopped")),
)


@given(st.lists(st.tuples(EVENTS, st.floats(0.0, 30.0)), max_size=30), st.booleans())
def test_any_sequence_of_events(events: list[tuple[Event, float]], ends: bool) -> None:
    """A pause that is announced ends at most once, after its beginning, and every text is one printable line."""
    notices = Notices(ends=ends)
    now, begun = 1000.0, 0
    for event, wait in events:
        for line in (notices.record(event, now, AT), notices.tick(now := now + wait)):
            if line is not None:
                assert line.isprintable()
                begun += line.startswith("rate limited")
                if line.startswith("sending again"):
                    assert ends
                    assert begun, "a pause ended that had not been announced"
                    begun = 0
        notice = notices.notice(now)
        assert notice is None or (notice.text.isprintable() and len(notice.short) <= len(notice.text))
        assert notice is None or " 0 s" not in notice.text.replace("for 0 s", "")
    notices.tick(now + 1000.0)
    final = notices.notice(now + 1000.0)
    assert final is None or "resumes" not in final.text, "a pause that is over is still shown"
