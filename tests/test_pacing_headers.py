"""Reading the rate limit and the requested wait from headers."""

from datetime import UTC, datetime

import pytest

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
        ({"retry-after": "-5"}, 0.0),
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
        ({"retry-after": "Wed, 32 Oct 2015 07:28:30 GMT", "date": NOW}, None),
        ({"retry-after": "Wed, 21 Oct 99999 07:28:30 GMT", "date": NOW}, None),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "-1"}, 0.0),
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
        ("0", 0), ("1", 1), ("0.25", 0.25), ("-1", 0), ("86400", 86400),
        (f"{NOW_SECONDS + 7:.0f}", 7), (f"{1000 * NOW_SECONDS + 7400:.0f}", 7), (f"{NOW_SECONDS - 7:.0f}", 0),
        ("soon", None), ("", None), ("nan", None), (None, None),
    ],
)  # fmt: skip
def test_the_reset_is_read_as_seconds_from_now_or_none_if_invalid(value: str | None, seconds: float | None) -> None:
    headers = {"date": NOW} if value is None else {"date": NOW, "x-ratelimit-reset": value}
    assert reset_after(headers) == (None if seconds is None else pytest.approx(seconds))


def test_the_headers_of_an_answer_are_read_into_one_value() -> None:
    reported = {"x-ratelimit-limit": "10", "x-ratelimit-remaining": "3", "x-ratelimit-reset": "0.5"}
    report = Report(limit=10, remaining=3, reset=0.5, exact=True)
    assert read_rate_limit(reported, rate_limited=False) == RateLimitInfo(report=report)
    limited = read_rate_limit({**reported, "retry-after": "2"}, rate_limited=True)
    assert limited == RateLimitInfo(rate_limited=True, retry_after=2.0, report=report)
    assert read_rate_limit({"retry-after": "2"}, rate_limited=False) is NO_INFO
