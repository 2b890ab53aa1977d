"""The state of a journal: counts, phase, rates, pauses and outages, without a file or a clock."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms.bulk._files import json_object
from aiorooms.bulk._glance import RoomBegin, RoomEnd, Seen, glance
from aiorooms.bulk._journal_records import (
    Ending,
    OutageBegin,
    OutageEnd,
    PacingRecord,
    PacingState,
    Pause,
    Run,
    Stop,
    begin_line,
    end_line,
    line_of,
    record_of,
)
from aiorooms.bulk._line_checksum import sealed
from aiorooms.bulk._plan_records import PLANNED
from aiorooms.bulk._progress import FRESH, Phase, Progress, Snapshot
from aiorooms.bulk._units import duration, utc

from .conftest import planned

AT = 1_000_000.0


def end(room_id: str, status: Ending, at: float = AT, *, attempts: int = 1, found: bool = False) -> RoomEnd:
    return RoomEnd(room_id, at, status, attempts, found)


def snapshot(lines: Sequence[Seen], *, now: float = AT, is_locked: bool | None = False, rooms: int = 10) -> Snapshot:
    progress = Progress(rooms, AT)
    for line in lines:
        progress.add(line)
    return progress.snapshot(now, is_locked=is_locked)


RUN = Run(run=1, at=AT)
STOP = Stop(stop="done", at=AT)


@pytest.mark.parametrize(
    ("lines", "is_locked", "age", "phase"),
    [
        ([RUN], True, 100, "running"),
        ([RUN], False, 0, "killed"),
        ([RUN, STOP], False, 0, "ended"),
        ([RUN, STOP], True, 0, "ended"),  # the next run has the lock, but has not written its line yet
        ([RUN, STOP, Run(run=2, at=AT)], True, 0, "running"),
        ([RUN, Run(run=2, at=AT), STOP], False, 0, "ended"),
        ([], True, 0, "running"),
        ([], False, 0, "killed"),
        ([RUN], None, FRESH, "running"),
        ([RUN], None, FRESH + 0.1, "killed"),
        ([Run(run=1, at=AT, locked=False)], False, FRESH, "running"),
        ([Run(run=1, at=AT, locked=False)], False, FRESH + 0.1, "killed"),
        ([Run(run=1, at=AT, locked=True)], False, 0, "killed"),
    ],
)
def test_the_phase(lines: list[Seen], is_locked: bool | None, age: float, phase: Phase) -> None:
    assert snapshot(lines, now=AT + age, is_locked=is_locked).phase == phase


def test_a_resume_has_to_do_again_what_the_first_run_left() -> None:
    first: list[Seen] = [
        RUN,
        *(RoomBegin(name, AT) for name in "abcde"),
        end("a", "updated"),
        end("b", "failed"),
        end("c", "uncertain"),
        end("d", "skipped"),
        end("x", "conflict", attempts=0),
    ]
    killed = snapshot(first)
    assert killed.counts == {
        "updated": 1, "failed": 1, "uncertain": 1, "conflict": 1, "skipped": 1, "begun": 1, "not_begun": 4,
    }  # fmt: skip
    assert (killed.left, killed.done) == (7, 3)
    second: list[Seen] = [
        *first,
        Run(run=2, at=AT),
        end("c", "updated", found=True),
        RoomBegin("d", AT),
        RoomBegin("f", AT),
    ]
    resumed = snapshot(second, is_locked=True)
    assert resumed.counts["updated"] == 2
    assert resumed.already_right == 1
    assert resumed.left == 6, "d, e and f are in flight or must be read back, and 3 are not begun"
    settled = snapshot([*second, end("d", "uncertain"), end("e", "skipped"), end("f", "updated")], is_locked=True)
    assert settled.left == 3


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["begun", "failed", "skipped", "run"]))))
def test_each_room_counts_once_with_its_last_state(steps: list[tuple[str, str]]) -> None:
    last: dict[str, str] = {}
    lines: list[Seen] = [RUN]
    for room_id, what in steps:
        if what == "run":
            lines.append(Run(run=2, at=AT))
            continue
        last[room_id] = what
        lines.append(RoomBegin(room_id, AT) if what == "begun" else end(room_id, what))  # type: ignore[arg-type]
    now = snapshot(lines, is_locked=True)
    expected = Counter(last.values())
    assert {state: now.counts[state] for state in ("begun", "failed", "skipped")} == {
        state: expected[state] for state in ("begun", "failed", "skipped")
    }
    assert sum(now.counts.values()) == 10
    assert 0 <= now.left <= 10


def test_the_rate_counts_the_updates_of_the_last_seconds() -> None:
    ended = [end(str(number), "updated", AT + number / 10) for number in range(1000)]
    now = snapshot([RUN, *ended], now=AT + 100, is_locked=True, rooms=2000)
    assert now.rate_now == pytest.approx(10)
    assert now.rate_minute == pytest.approx(10)
    assert now.seconds_left == pytest.approx(100)
    later = snapshot([RUN, *ended], now=AT + 130, is_locked=True, rooms=2000)
    assert later.rate_now == 0
    assert later.rate_minute == pytest.approx(5)
    stalled = snapshot([RUN, *ended], now=AT + 300, is_locked=True, rooms=2000)
    assert (stalled.rate_minute, stalled.seconds_left) == (0, None)


def test_rooms_that_needed_no_update_do_not_count_as_rate() -> None:
    found = [end(str(number), "updated", AT + 1, attempts=0, found=True) for number in range(100)]
    assert snapshot([RUN, *found], now=AT + 2, is_locked=True, rooms=200).rate_now == 0


def test_a_limit_below_the_measured_rate_decides_the_time_left() -> None:
    limit = PacingRecord(pacing=PacingState(refused=3, limit=1.0, rate=5.0), at=AT)
    ended = [end(str(number), "updated", AT + number / 10) for number in range(50)]
    now = snapshot([RUN, limit, *ended], now=AT + 5, is_locked=True, rooms=100)
    assert (now.seconds_left, now.limit, now.rate_limited) == (50, 1.0, 3)
    assert snapshot([RUN, limit, STOP]).rate_now is None, "a run that has ended has no rate"


PAUSE = Pause(pause=30.0, reason="retry_after", at=AT)
OUTAGE = OutageBegin(outage="503", at=AT)


@pytest.mark.parametrize(
    ("lines", "age", "is_locked", "expected"),
    [
        ([PAUSE], 29.9, True, "pause"),
        ([PAUSE], 30.0, True, None),
        ([PAUSE], 500.0, False, "pause"),  # killed in the pause, long ago
        ([PAUSE, PacingRecord(pacing=PacingState(refused=0, limit=None, rate=0), at=AT + 31)], 500.0, False, None),
        ([PAUSE, STOP], 1.0, False, None),
        ([Pause(pause=30.0, reason="max_rate", at=AT)], 1.0, True, None),
        ([Pause(pause=4.0, reason="limit", at=AT)], 1.0, True, None),
        ([Pause(pause=30.0, reason="limit", at=AT)], 1.0, True, "pause"),
        ([PAUSE, Run(run=2, at=AT)], 1.0, True, None),
        ([OUTAGE], 500.0, True, "outage"),
        ([OUTAGE], 500.0, False, "outage"),
        ([OUTAGE, OutageEnd(outage_end=3.0, at=AT + 3)], 4.0, True, None),
        ([OUTAGE, STOP], 4.0, False, None),
        ([OUTAGE, Run(run=2, at=AT)], 4.0, True, None),
    ],
)
def test_a_pause_or_outage_in_progress(
    lines: list[Seen], age: float, is_locked: bool, expected: Literal["pause", "outage"] | None
) -> None:
    now = snapshot([RUN, *lines], now=AT + age, is_locked=is_locked)
    found = {"pause": now.pause, "outage": now.outage}
    assert [name for name, value in found.items() if value is not None] == ([expected] if expected else [])


# --- lines ---


@pytest.mark.parametrize("room_id", [planned(3).room_id, 'a"b', "\\", "räum", ""])
@pytest.mark.parametrize("seal", [True, False])
def test_a_glance_reads_what_a_record_says(room_id: str, seal: bool) -> None:
    begin = begin_line(PLANNED.line(planned(1)).replace(planned(1).room_id.encode(), b"ID", 1), 1.5)
    text = begin.replace(b'"ID"', _json(room_id))
    finished = end_line(room_id, 2.5, "failed", attempts=3, error="404", found=False)
    run = line_of(Run(run=1, at=3.5))
    for line, expected in (
        (text, RoomBegin(room_id, 1.5)),
        (finished, RoomEnd(room_id, 2.5, "failed", 3, False)),
        (run, Run(run=1, at=3.5)),
    ):
        assert record_of(json_object(line) or {}) is not None
        assert glance(2, sealed(line) if seal else line, needs_checksum=seal) == (expected, False)


def _json(text: str) -> bytes:
    import json

    return json.dumps(text).encode()


@pytest.mark.parametrize(
    "line",
    [
        sealed(begin_line(PLANNED.line(planned(1)), 1.5)).replace(b"begin", b"bogin"),
        sealed(end_line("a", 1.5, "updated")).replace(b"1.5", b"1.6"),
        end_line("a", 1.5, "updated"),
        b"\0\0\0\n",
        sealed(b'{"end":"a","at":1.5,"status":"eaten"}\n'),
        sealed(b'{"end":7,"at":1.5,"status":"updated"}\n'),
    ],
)
def test_a_damaged_line_says_nothing(line: bytes) -> None:
    assert glance(2, line, needs_checksum=True) == (None, True)


def test_a_line_of_an_unknown_kind_says_nothing_and_is_not_damaged() -> None:
    assert glance(2, sealed(b'{"later":1}\n'), needs_checksum=True) == (None, False)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (-1, "0 s"), (0.44, "0.4 s"), (1, "1 s"), (9.96, "10 s"), (12.3, "12 s"), (59.6, "1 min"),
        (67, "1 min 07 s"), (3600, "1 h"), (3720, "1 h 02 min"), (86_400, "1 day"),
        (3 * 86_400 + 4 * 3600, "3 days 04 h"), (1e7, "115 days 17 h"),
    ],
)  # fmt: skip
def test_a_duration_has_its_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_time_names_its_zone() -> None:
    assert utc(1_000_000.9) == "1970-01-12 13:46:40 UTC"
