"""The headers that report rate limits, in each style. The client reads each of them."""

from email.utils import formatdate
from typing import Any, get_args

import attrs
import pytest

from aiorooms._pacing.headers import Report, read_rate_limit
from aiorooms.simulator import RateLimit
from aiorooms.simulator._limit_headers import State, limit_headers
from aiorooms.simulator._limiters import Style, Verdict

NOW = 1_445_412_480.75
"""Wed, 21 Oct 2015 07:28:00.75 GMT"""

SECOND = (RateLimit(10, 1.0), Verdict(True, 9, 0.5, 0.0))
HOUR = (RateLimit(1000, 3600.0), Verdict(True, 7, 1800.25, 0.0))


def reported(states: list[State], **settings: Any) -> dict[str, str]:
    """Return the header fields for these limits with other settings."""
    return dict(limit_headers([(attrs.evolve(rule, **settings), verdict) for rule, verdict in states], NOW))


@pytest.mark.parametrize(
    ("style", "one", "two"),
    [
        (
            "x-ratelimit",
            {"x-ratelimit-limit": "10", "x-ratelimit-remaining": "9", "x-ratelimit-reset": "1"},
            {"x-ratelimit-limit": "10, 1000", "x-ratelimit-remaining": "9, 7", "x-ratelimit-reset": "1, 1801"},
        ),
        (
            "ietf-fields",
            {
                "ratelimit-limit": "10", "ratelimit-remaining": "9", "ratelimit-reset": "1",
                "ratelimit-policy": "10;w=1",
            },
            {
                "ratelimit-limit": "1000", "ratelimit-remaining": "7", "ratelimit-reset": "1801",
                "ratelimit-policy": "10;w=1, 1000;w=3600",
            },
        ),
        (
            "ietf-dictionary",
            {"ratelimit": "limit=10, remaining=9, reset=1", "ratelimit-policy": "10;w=1"},
            {"ratelimit": "limit=1000, remaining=7, reset=1801", "ratelimit-policy": "10;w=1, 1000;w=3600"},
        ),
        (
            "ietf-policy",
            {"ratelimit": '"10-in-1s";r=9;t=1', "ratelimit-policy": '"10-in-1s";q=10;w=1'},
            {
                "ratelimit": '"10-in-1s";r=9;t=1, "1000-in-3600s";r=7;t=1801',
                "ratelimit-policy": '"10-in-1s";q=10;w=1, "1000-in-3600s";q=1000;w=3600',
            },
        ),
        (
            "kong",
            {
                "x-ratelimit-limit-second": "10", "x-ratelimit-remaining-second": "9",
                "ratelimit-limit": "10", "ratelimit-remaining": "9", "ratelimit-reset": "1",
            },
            {
                "x-ratelimit-limit-second": "10", "x-ratelimit-remaining-second": "9",
                "x-ratelimit-limit-hour": "1000", "x-ratelimit-remaining-hour": "7",
                "ratelimit-limit": "1000", "ratelimit-remaining": "7", "ratelimit-reset": "1801",
            },
        ),
    ],
)  # fmt: skip
def test_each_style_reports_one_limit_or_two(style: Style, one: dict[str, str], two: dict[str, str]) -> None:
    assert reported([SECOND], style=style) == one
    assert reported([SECOND, HOUR], style=style) == two
    assert reported([SECOND, HOUR], style=style, headers=False) == {}


@pytest.mark.parametrize(
    ("style", "reports"),
    [
        ("x-ratelimit", [Report(10, 9, 1.0), Report(1000, 7, 1801.0, name="2")]),
        ("ietf-fields", [Report(1000, 7, 1801.0, name="1000;w=3600", window=3600.0)]),
        ("ietf-dictionary", [Report(1000, 7, 1801.0, name="1000;w=3600", window=3600.0)]),
        (
            "ietf-policy",
            [
                Report(10, 9, 1.0, name="10-in-1s", window=1.0),
                Report(1000, 7, 1801.0, name="1000-in-3600s", window=3600.0),
            ],
        ),
        (
            "kong",
            [
                Report(10, 9, name="second", window=1.0),
                Report(1000, 7, 1801.0, name="hour", window=3600.0),
            ],
        ),
    ],
)
def test_the_client_reads_each_style(style: Style, reports: list[Report]) -> None:
    headers = reported([SECOND, HOUR], style=style)
    assert read_rate_limit(headers, rate_limited=False).reports == tuple(reports)


@pytest.mark.parametrize(
    ("reset", "rounding", "shown"),
    [
        ("unix", "up", "1445414281"),
        ("unix", "down", "1445414281"),
        ("unix", "fractional", "1445414281.000000"),
        ("date", "up", "Wed, 21 Oct 2015 07:58:01 GMT"),
        ("date", "down", "Wed, 21 Oct 2015 07:58:01 GMT"),
        ("none", "up", None),
    ],
)
@pytest.mark.parametrize("style", ["x-ratelimit", "ietf-fields"])
def test_the_reset_may_be_a_time_a_date_or_missing(style: Style, reset: Any, rounding: Any, shown: str | None) -> None:
    headers = reported([HOUR], style=style, reset=reset, reset_rounding=rounding)
    prefix = "x-" if style == "x-ratelimit" else ""
    assert headers.get(f"{prefix}ratelimit-reset") == shown
    (report,) = read_rate_limit({"date": formatdate(NOW, usegmt=True), **headers}, rate_limited=False).reports
    assert report.reset == (None if shown is None else 1801.0)


@pytest.mark.parametrize("style", get_args(Style))
def test_no_style_needs_a_reset(style: Style) -> None:
    headers = reported([SECOND, HOUR], style=style, reset="none")
    assert not any("reset" in text or ";t=" in text for field in headers.items() for text in field)
    assert not headers.keys() & {"ratelimit-limit", "ratelimit-remaining"} or style == "ietf-fields"
    assert all(report.reset is None for report in read_rate_limit(headers, rate_limited=False).reports)


def test_a_window_that_is_not_in_whole_seconds_is_not_reported() -> None:
    state = (RateLimit(5, 0.25, style="ietf-policy"), Verdict(True, 4, 0.25, 0.0))
    assert dict(limit_headers([state], NOW))["ratelimit-policy"] == '"5-in-0.25s";q=5'


def test_retry_after_is_the_longest_wait_of_the_limits_that_are_used_up() -> None:
    states = [
        (RateLimit(10, 1.0, retry_after="seconds"), Verdict(False, 0, 0.5, 0.5)),
        (RateLimit(1000, 3600.0), Verdict(False, 0, 1800.25, 1800.25)),
        (RateLimit(9000, 86400.0, retry_after="ms"), Verdict(True, 3, 50_000.0, 0.0)),
    ]
    assert reported(states, headers=False) == {"Retry-After": "1801"}


def test_limits_of_different_styles_are_reported_side_by_side() -> None:
    states = [SECOND, (RateLimit(1000, 3600.0, style="ietf-policy"), HOUR[1])]
    assert [name for name, _ in limit_headers(states, NOW)] == [
        *("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit", "ratelimit-policy")
    ]


@pytest.mark.parametrize(
    ("settings", "problems"),
    [
        ({"style": "kong", "window": 2.0}, ["needs a window of 1, 60, 3600 or 86400 seconds, not 2"]),
        ({"style": "ietf-policy", "reset": "date"}, ["style 'ietf-policy' can't report a reset of 'date'"]),
        ({"reset": "date", "reset_rounding": "fractional"}, ["a reset of 'date' has whole seconds"]),
        (
            {"style": "kong", "window": 2.0, "reset": "date", "reset_rounding": "fractional"},
            ["needs a window of", "can't report a reset of 'date'", "has whole seconds"],
        ),
    ],
)
def test_settings_that_exclude_each_other_are_reported_together(settings: Any, problems: list[str]) -> None:
    with pytest.raises(ValueError, match=problems[0]) as caught:
        RateLimit(**settings)
    reported = str(caught.value).split("; ")
    assert all(any(problem in one for one in reported) for problem in problems)
