"""The numbers that the progress bar shows."""

import re

import pytest

from aiorooms import PacingSnapshot
from aiorooms.bulk._units import time_left
from aiorooms.cli._progress import Bar
from aiorooms.cli._stats import Sample


def snapshot(rate: float | None) -> PacingSnapshot:
    return PacingSnapshot(
        limit=None,
        remaining=None,
        resets_in=None,
        sustainable_rate=rate,
        rate=0.0,
        paused_until=None,
        in_flight=0,
        waiting=0,
        rate_limited=0,
    )


@pytest.mark.parametrize(
    ("at_this_speed", "rate", "seconds"),
    [
        (None, None, None),
        (7.0, None, 7.0),
        (1.0, 100.0, 9.0),  # after a burst at the start of a window, the limit decides
        (20.0, 100.0, 20.0),  # updates are slower than the limit allows
        (None, 100.0, 9.0),
    ],
)
def test_the_time_left_is_no_less_than_the_limit_allows(
    at_this_speed: float | None, rate: float | None, seconds: float | None
) -> None:
    assert time_left(900, at_this_speed, rate) == seconds


def test_the_bar_shows_the_learned_limit() -> None:
    bar = Bar(1000, lambda: Sample(done=100, failed=3, pacing=snapshot(100.0)))
    with bar.console.capture() as shown:
        bar.console.print(*bar.get_renderables())
    text = shown.get()
    assert "100/1,000" in text
    assert "limit 100/s" in text
    assert re.search(r"0:0[89] left", text)
    assert "3 failed" in text
