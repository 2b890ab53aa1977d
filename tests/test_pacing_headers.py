"""Reading rate limits and the requested wait from headers."""

import math
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from aiorooms._pacing.headers import NO_INFO, RateLimitInfo, Report, read_rate_limit, reset_after, retry_after

NOW = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": " 3 "}, 3.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "0.0"}, 0.0),
        ({"retry-after": "-0"}, 0.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "31622400"}, 31622400.0),
        ({"retry-after": "31622401"}, None),
        ({"retry-after": "86400"}, 86400.0),
        ({"retry-after": ""}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e400"}, None),
        ({"retry-after": "0x10"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": NOW}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 -0000", "date": NOW}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 09:28:30 +0200", "date": NOW}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:27:30 GMT", "date": NOW}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2013 07:27:30 GMT", "date": NOW}, None),
        ({"retry-after": "Wed, 21 Oct 2017 07:27:30 GMT", "date": NOW}, None),
        ({"retry-after": "Wed, ٢١ Oct 2015 07:28:30 GMT", "date": NOW}, None),
        ({"retry-after": "Wed, 32 Oct 2015 07:28:30 GMT", "date": NOW}, None),
        ({"retry-after": "Wed, 21 Oct 99999 07:28:30 GMT", "date": NOW}, None),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "0"}, 0.0),
        ({"retry-after-ms": "0", "retry-after": "9"}, 0.0),
        ({"retry-after-ms": "-1"}, None),
        ({"retry-after-ms": "9" * 20, "retry-after": "9"}, 9.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_none_if_invalid(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_a_retry_after_date_without_a_date_header_is_compared_with_the_local_clock() -> None:
    soon = datetime.fromtimestamp(datetime.now(UTC).timestamp() + 100, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    seconds = retry_after({"retry-after": soon})
    assert seconds is not None
    assert 90 < seconds <= 100


NOW_SECONDS = datetime(2015, 10, 21, 7, 28, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0), ("1", 1), ("0.25", 0.25), ("-1", None), ("86400", 86400), ("31622400", 31622400), ("31622401", None),
        (f"{NOW_SECONDS + 7:.0f}", 7), (f"{1000 * NOW_SECONDS + 7400:.0f}", 7), (f"{NOW_SECONDS - 7:.0f}", 0),
        (f"{NOW_SECONDS + 7.4:.3f}", 7), ("99999999", None), ("100000000", None), ("9" * 30, None),
        ("Wed, 21 Oct 2015 07:28:07 GMT", 7), ("Wednesday, 21-Oct-15 07:28:07 GMT", 7),
        ("Wed, 21 Oct 2015 07:27:53 GMT", 0), ("Wed, 21 Oct 2026 07:27:53 GMT", None),
        ("2015-10-21T07:28:07Z", 7), ("2015-10-21t07:28:07.400z", 7), (" 2015-10-21 07:28:07 ", 7),
        ("2015-10-21T09:28:07+02:00", 7), ("2015-10-21T07:27:53Z", 0), ("2014-10-19T07:28:07Z", None),
        ("2015-13-21T07:28:07Z", None), ("2015-10-21", None), ("٢015-10-21T07:28:07Z", None),
        ("soon", None), ("", None), ("nan", None), ("inf", None), (None, None),
    ],
)  # fmt: skip
def test_the_reset_is_read_as_seconds_from_now_or_none_if_invalid(value: str | None, seconds: float | None) -> None:
    headers = {"date": NOW} if value is None else {"date": NOW, "x-ratelimit-reset": value}
    assert reset_after(headers) == (None if seconds is None else pytest.approx(seconds))


def test_the_headers_of_an_answer_are_read_into_one_value() -> None:
    reported = {"x-ratelimit-limit": "10", "x-ratelimit-remaining": "3", "x-ratelimit-reset": "0.5"}
    report = Report(limit=10, remaining=3, reset=0.5, exact=True, name="", window=None)
    assert read_rate_limit(reported, rate_limited=False) == RateLimitInfo(reports=(report,))
    limited = read_rate_limit({**reported, "retry-after": "2"}, rate_limited=True)
    assert limited == RateLimitInfo(rate_limited=True, retry_after=2.0, reports=(report,))
    assert limited.report == report
    assert read_rate_limit({"retry-after": "2"}, rate_limited=False) is NO_INFO
    assert NO_INFO.report is None


def read(headers: dict[str, str]) -> tuple[Report, ...]:
    return read_rate_limit({"date": NOW, **headers}, rate_limited=False).reports


def plain(remaining: str, limit: str | None = None, reset: str | None = None, prefix: str = "x-") -> dict[str, str]:
    fields = {"remaining": remaining, "limit": limit, "reset": reset}
    return {f"{prefix}ratelimit-{name}": value for name, value in fields.items() if value is not None}


@pytest.mark.parametrize(
    ("headers", "report"),
    [
        (plain("3"), Report(0, 3)),
        (plain(" 3 ", " 10 ", " 4 "), Report(10, 3, 4.0)),
        (plain("0", "0", "4"), Report(0, 0, 4.0)),
        (plain("3", "10", NOW), Report(10, 3, 0.0)),
        (plain("3", "10", "2015-10-21T07:28:09Z"), Report(10, 3, 9.0)),
        (plain("3", "10", f"{NOW_SECONDS + 7:.0f}"), Report(10, 3, 7.0)),
        # draft-ietf-httpapi-ratelimit-headers-02, 4.1: the tightest limit, then the policies
        (plain("3", "100, 100;w=10", "4"), Report(100, 3, 4.0, window=10.0)),
        (plain("3", "10, 10;w=1, 50;w=60", "1"), Report(10, 3, 1.0, name="10;w=1", window=1.0)),
        (plain("3", "50, 10;w=1, 50;w=60;burst=1", "9"), Report(50, 3, 9.0, name="50;w=60", window=60.0)),
        (plain("3", "10, 10;w=1, 10;w=60", "1"), Report(10, 3, 1.0)),
        (plain("3", '10, 10;w=1;name="a, b"', "1"), Report(10, 3, 1.0, window=1.0)),
        # What can't be right is ignored.
        (plain("3", "-10", "4"), Report(0, 3, 4.0)),
        (plain("3", "many", "4"), Report(0, 3, 4.0)),
        (plain("3", "1000000001", "4"), Report(0, 3, 4.0)),
        (plain("3", "10", "31622401"), Report(10, 3)),
        (plain("3", "10", "-4"), Report(10, 3)),
        (plain("3", "9" * 10_000_000, "9" * 10_000_000), Report(0, 3)),
    ],
)
def test_the_x_ratelimit_fields_are_read(headers: dict[str, str], report: Report) -> None:
    assert read(headers) == (report,)
    ietf = {name.removeprefix("x-"): value for name, value in headers.items()}
    assert read(ietf) == (report._replace(name=report.name or "ratelimit"),)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        plain("11", "10", "4"),
        plain("-1", "10", "4"),
        plain("many", "10", "4"),
        plain("", "10", "4"),
        plain("1000000001"),
        plain("٣", "10"),
        plain("nan", "10"),
        plain("9" * 10_000_000),
        plain("3", "1", "4", prefix=""),
        {"x-ratelimit-limit": "10", "x-ratelimit-reset": "4"},
        {"ratelimit": "limit=100, reset=5"},
        {"ratelimit": "limit=100, remaining=101, reset=5"},
        {"ratelimit": "limit=100; remaining=50; reset=5"},
        {"ratelimit": '"default"'},
        {"ratelimit": '"default";t=30'},
        {"ratelimit": '"default";r=-1;t=30'},
        {"ratelimit": '"default;r=1;t=30'},
        {"ratelimit": "limit=100, remaining=5" + " " * 9000},
        {"ratelimit-policy": '"default";q=100;w=10'},
    ],
)
def test_without_a_credible_count_of_remaining_requests_nothing_is_reported(headers: dict[str, str]) -> None:
    assert read_rate_limit(headers, rate_limited=False) is NO_INFO


# The first five examples are from draft-ietf-httpapi-ratelimit-headers: 07, 2.1; 05, 3; 10, 3.2 and 4.2
@pytest.mark.parametrize(
    ("headers", "reports"),
    [
        (
            {"ratelimit": "limit=100, remaining=50, reset=5", "ratelimit-policy": "100;w=10"},
            [Report(100, 50, 5.0, name="ratelimit", window=10.0)],
        ),
        (
            {**plain("9", "10", "1", ""), "ratelimit-policy": "10;w=1, 50;w=60, 1000;w=3600, 5000;w=86400"},
            [Report(10, 9, 1.0, name="10;w=1", window=1.0)],
        ),
        (
            {"ratelimit": '"default";r=50;t=30', "ratelimit-policy": '"default";q=100;w=10'},
            [Report(100, 50, 30.0, name="default", window=10.0)],
        ),
        ({"ratelimit": '"default";r=999;pk=:dHJpYWwxMjEzMjM=:'}, [Report(0, 999, name="default")]),
        (
            {
                "ratelimit": '"peruser";r=65;t=6;pk=:sdfjLJUOUH==:',
                "ratelimit-policy": '"peruser";q=65535;qu="content-bytes";w=10;pk=:sdfjLJUOUH==:',
            },
            [],
        ),
        (
            {
                "ratelimit": '"perhr";r=900;t=1800,"permin";r=0;t=30',
                "ratelimit-policy": '"permin";q=50;w=60,"perhr";q=1000;w=3600,"other";q=1;w=1',
            },
            [
                Report(50, 0, 30.0, name="permin", window=60.0),
                Report(1000, 900, 1800.0, name="perhr", window=3600.0),
            ],
        ),
        (
            {"ratelimit": '"a" ; r=5 ;t=4 , b;r=6', "ratelimit-policy": '"a"; qu="requests"; q=9, b; q=10;w=1'},
            [Report(10, 6, name="b", window=1.0), Report(9, 5, 4.0, name="a")],
        ),
        # The same policy for two partitions: each has its quota.
        (
            {"ratelimit": '"a";r=5;pk=:Yg==:', "ratelimit-policy": '"a";q=7;pk=:YQ==:, "a";q=9;pk=:Yg==:'},
            [Report(9, 5, name="a")],
        ),
        ({"ratelimit": '"a";r=5;pk=:YQ==:, "a";r=2;pk=:Yg==:, "a";r=9'}, [Report(0, 2, name="a")]),
        ({"ratelimit": '"a";r=50, "b";r=50'}, [Report(0, 50, name="a"), Report(0, 50, name="b")]),
        ({"ratelimit": '"a\\"b, c";r=5;x'}, [Report(0, 5, name='a"b, c')]),
        ({"ratelimit": '"a";r=5, "b";r=6;;t=1, "c";r=7'}, [Report(0, 5, name="a"), Report(0, 6, name="b")]),
        ({"ratelimit": f'"{"a" * 99}";r=5'}, [Report(0, 5, name="a" * 64)]),
        ({"ratelimit": '"";r=5'}, [Report(0, 5, name="ratelimit")]),
        (
            {"ratelimit": '"a";r=5;t=99999999, "b";r=5', "ratelimit-policy": '"a";q=-1;w=1e9, "b";q=4;w=60'},
            [Report(0, 5, name="a")],
        ),
        # Several windows at once in the fields of gateways
        (
            {
                "x-ratelimit-limit-hour": "1000", "x-ratelimit-remaining-hour": "900",
                "x-ratelimit-limit-second": "10", "x-ratelimit-remaining-second": "9",
            },
            [Report(10, 9, name="second", window=1.0), Report(1000, 900, name="hour", window=3600.0)],
        ),
        (
            {
                "x-ratelimit-limit-minute": "5", "x-ratelimit-remaining-minute": "4",
                "x-ratelimit-limit-day": "500", "x-ratelimit-remaining-day": "4",
                **plain("4", "5", "37", prefix=""),
            },
            [
                Report(5, 4, 37.0, name="minute", window=60.0),
                Report(500, 4, name="day", window=86_400.0),
            ],
        ),
        (
            plain("5, 60", "10, 100", "1, 9"),
            [Report(10, 5, 1.0), Report(100, 60, 9.0, name="2")],
        ),
        (
            plain("60, 5", "100;w=60, 10;w=1", "1"),
            [Report(10, 5, name="2", window=1.0), Report(100, 60, window=60.0)],
        ),
        (plain("5, 60", "10"), [Report(0, 5), Report(0, 60, name="2")]),
        # Two sets of fields for one limit, and for two limits
        (
            {**plain("4", "5", "37"), **plain("4", "5", "36.5", prefix="")},
            [Report(5, 4, 36.5, exact=True)],
        ),
        (
            {**plain("4", "5", "37"), **plain("3", "60", "60", prefix="")},
            [Report(5, 4, 37.0), Report(60, 3, 60.0, name="ratelimit")],
        ),
        (
            {**plain("50", "100", "3"), "ratelimit": '"default";r=50;t=3', "ratelimit-policy": '"default";q=100;w=10'},
            [Report(100, 50, 3.0, name="default", window=10.0)],
        ),
        (
            {**plain("9", "10", "1", ""), "ratelimit": "limit=10, remaining=8, reset=1"},
            [Report(10, 8, 1.0, name="ratelimit")],
        ),
    ],
)  # fmt: skip
def test_several_limits_and_the_fields_of_the_ietf_drafts_are_read(
    headers: dict[str, str], reports: list[Report]
) -> None:
    assert read(headers) == tuple(reports)


def test_lists_may_be_split_over_several_lines() -> None:
    headers = CIMultiDict([("RateLimit", '"a";r=5'), ("RateLimit", '"b";r=6'), ("RateLimit-Policy", '"b";q=9')])
    assert read_rate_limit(headers, rate_limited=False).reports == (Report(0, 5, name="a"), Report(9, 6, name="b"))


def test_the_four_shortest_windows_are_reported_and_those_that_are_used_up() -> None:
    names = ["year", "month", "day", "hour", "minute", "second"]
    headers = {f"x-ratelimit-remaining-{name}": "7" for name in names}
    assert [report.name for report in read(headers)] == ["second", "minute", "hour", "day"]
    headers["x-ratelimit-remaining-year"] = "0"
    assert [report.name for report in read(headers)] == ["second", "minute", "hour", "year"]


def test_the_wait_is_the_longest_reset_of_the_limits_that_are_used_up() -> None:
    items = '"a";r=0;t=7, "b";r=0;t=9, "c";r=1;t=20, "d";r=0'
    assert read_rate_limit({"ratelimit": items}, rate_limited=True).reset == 9
    assert read_rate_limit({"ratelimit": '"c";r=1;t=20, "d";r=0'}, rate_limited=True).reset is None


FIELDS = [
    "date", "retry-after", "retry-after-ms", "ratelimit", "ratelimit-policy",
    *[f"{prefix}ratelimit-{name}" for prefix in ("", "x-") for name in ("limit", "remaining", "reset")],
    *[f"x-ratelimit-{name}-{period}" for name in ("limit", "remaining") for period in ("second", "day", "month")],
]  # fmt: skip
pieces = st.sampled_from(
    [
        *('"', "\\", ",", ";", "=", ":", " ", "-", ".", "+", "T", "Z", "é", "٣", "\0", "\r\n", "\ud800"),
        *("r=", "t=", "q=", "w=", "qu=", "pk=", "limit=", "remaining=", "reset=", '"a"', '"b";r=1', "0", "1", "50"),
        *("1e9", "nan", "inf", "9" * 39, NOW, "Wed, 21 Oct 2015", "2015-10-21", "T07:28:00", "GMT", "+9999", "-0000"),
    ]
)
texts = st.one_of(st.text(), st.lists(pieces, max_size=30).map("".join), st.integers(-5, 10**11).map(str))


@given(headers=st.dictionaries(st.sampled_from(FIELDS), texts), rate_limited=st.booleans())
def test_any_text_gives_credible_reports_and_never_raises(headers: dict[str, str], rate_limited: bool) -> None:
    info = read_rate_limit(headers, rate_limited=rate_limited)
    year = 366 * 86_400
    assert info.rate_limited == rate_limited
    assert info.retry_after is None or (rate_limited and 0 <= info.retry_after <= year)
    assert len(info.reports) <= 4
    assert len({report.name for report in info.reports}) == len(info.reports)
    windows = [report.window or math.inf for report in info.reports]
    assert windows == sorted(windows)
    for report in info.reports:
        assert 0 <= report.remaining <= (report.limit or 10**9) <= 10**9
        assert report.reset is None or 0 <= report.reset <= year
        assert report.window is None or 0 < report.window <= year
        assert report.exact == (report.reset is not None and report.reset % 1 != 0)
        assert len(report.name) <= 64
        assert report.name.isascii()
        assert report.name.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        '"a";r=1, ', '"a;', '"\\"', '"\\', "5, ", "5;w=1, ", " ", "\t", ";", ";a", ";a=", "a=", "a", "=", ":", "9", "-",
        ",", "Wed, ", "2015-10-21T", "é",
    ],
)  # fmt: skip
@pytest.mark.parametrize("times", [1000, 1_000_000])
def test_long_values_are_read_in_linear_time(text: str, times: int) -> None:
    headers = dict.fromkeys(FIELDS, text * times)
    began = time.process_time()
    assert len(read_rate_limit(headers, rate_limited=True).reports) <= 4
    assert time.process_time() - began < 0.5
