"""The lines of `--stats`."""

from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms.bulk._units import clock, rate_text
from aiorooms.cli._stats import Sample, Stats

from .test_progress import snapshot

AT = datetime(2026, 11, 27, 12, 3, 10, 999_999, tzinfo=UTC)

RUN = Sample(done=11_200, total=20_000)


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        (RUN, "11,200/20,000 rooms (56.0 %), 100/s, 1:28 left, 0 failed"),
        (
            Sample(done=11_200, total=20_000, failed=1_001, uncertain=2, conflicts=3, pacing=snapshot(50.0)),
            "11,200/20,000 rooms (56.0 %), 100/s, limit 50/s, 2:56 left, 1,001 failed, 2 uncertain, 3 in conflict",
        ),
        (attrs.evolve(RUN, pacing=snapshot(None)), "11,200/20,000 rooms (56.0 %), 100/s, 1:28 left, 0 failed"),
        (Sample(done=10_200, total=99_999_999), "10,200/99,999,999 rooms (0.0 %), 0/s, 0 failed"),
        (Sample(done=19_999, total=20_000), "19,999/20,000 rooms (99.9 %), 980/s, 0:00 left, 0 failed"),
        (Sample(done=10_200, total=10_200), "10,200/10,200 rooms (100.0 %), 0/s, 0 failed"),
        (
            Sample(done=0, total=20_000, phase="comparing with the plan, 250 modified rooms read"),
            "0/20,000 rooms (0.0 %), comparing with the plan, 250 modified rooms read",
        ),
        (
            Sample(done=10_200, total=20_000, pacing=snapshot(1 / 360)),
            "10,200/20,000 rooms (51.0 %), 0/s, limit 10/h, 980:00:00 left, 0 failed",
        ),
        (Sample(done=11_200), "11,200 rooms read, 100/s"),
        (Sample(done=10_203, more=", 1 webhook URL probed"), "10,203 rooms read, 1 webhook URL probed, 0.3/s"),
    ],
)  # fmt: skip
def test_a_line_has_all_figures(sample: Sample, text: str) -> None:
    stats = Stats(Sample(done=10_200), 100.0)
    assert stats.line(sample, 110.0, AT) == f"2026-11-27T12:03:10Z {text}"


def test_during_a_wait_the_time_left_is_unknown() -> None:
    stats = Stats(Sample(done=10_200), 100.0)
    line = stats.line(RUN, 110.0, AT, is_waiting=True)
    assert line.endswith("Z 11,200/20,000 rooms (56.0 %), 100/s, 0 failed")


def test_a_few_rooms_have_a_percentage_without_decimals() -> None:
    assert "2/3 rooms (66 %)" in Stats(Sample(done=0), 0.0).line(Sample(done=2, total=3), 1.0, AT)
    assert "0/0 rooms (100 %)" in Stats(Sample(done=0), 0.0).line(Sample(done=0, total=0), 1.0, AT)


def test_the_rate_is_that_of_the_last_30_seconds() -> None:
    stats = Stats(Sample(done=0, total=9_000), 0.0)
    lines = [stats.line(Sample(done=min(10 * second, 300), total=9_000), second, AT) for second in range(10, 100, 10)]
    assert [line.split(", ")[1] for line in lines] == [
        *("10/s", "10/s", "10/s"),  # t = 10 to 30
        *("6.7/s", "3.3/s", "0/s"),  # t = 40 to 60: from t = 30 on, nothing is done
        *("0/s", "0/s", "0/s"),
    ]
    assert "left" not in lines[-1], "without any progress, the time left is unknown"


def test_with_a_long_interval_the_rate_is_that_since_the_last_line() -> None:
    stats = Stats(Sample(done=0, total=9_000), 0.0)
    stats.line(Sample(done=600, total=9_000), 60.0, AT)
    assert ", 5/s, " in stats.line(Sample(done=900, total=9_000), 120.0, AT)


@given(st.floats(0.0, 1e6))
def test_a_rate_has_at_most_one_decimal(rate: float) -> None:
    assert float(rate_text(rate).replace(",", "")) == pytest.approx(rate, abs=0.51)
    assert len(rate_text(rate).partition(".")[2]) <= 1


@given(st.floats(0.0, 1e7))
def test_a_duration_is_hours_minutes_and_seconds(seconds: float) -> None:
    parts = [*map(int, clock(seconds).split(":"))]
    assert sum(part * 60**power for power, part in enumerate(reversed(parts))) == round(seconds)
    assert all(part < 60 for part in parts[1:])


@given(
    st.lists(st.tuples(st.floats(0.1, 100.0), st.integers(0, 500)), min_size=1, max_size=50),
    st.sampled_from([None, 0.5, 100.0]),
)
def test_any_line_is_printable_and_says_how_many_are_done(steps: list[tuple[float, int]], limit: float | None) -> None:
    stats, now, done = Stats(Sample(done=0), 0.0), 0.0, 0
    for wait, more in steps:
        now, done = now + wait, done + more
        line = stats.line(Sample(done=done, total=30_000, pacing=snapshot(limit)), now, AT)
        assert line.isprintable()
        assert f" {done:,}/30,000 rooms (" in line
        assert "-" not in line.partition(" ")[2], "a negative number"
