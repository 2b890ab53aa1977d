"""Values of options as people type them: rates, times and checksums."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms.cli._values import SHORTEST, read_checksum, read_duration, read_patience, read_rate

SHA = "39695a0b12cd" + "0123456789abcdef" * 3 + "abcd"


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        *(("10", 10), ("0.5", 0.5), ("1e3", 1000), ("10/s", 10), ("10 /s", 10), (" 10 / s ", 10), ("10/sec", 10)),
        *(("600/m", 10), ("600/min", 10), ("600/minute", 10), ("36000/h", 10), ("100/1s", 100), ("100/10s", 10)),
        *(("10/S", 10), ("1/500ms", 2), ("90/1.5m", 1)),
    ],
)
def test_a_rate_may_have_a_unit(text: str, rate: float) -> None:
    assert math.isclose(read_rate(text), rate)


@pytest.mark.parametrize(
    "text", ["", "/", "/s", "10/", "10/x", "10/s/s", "10/0s", "ten", "nan", "inf", "10s", "10/-1s"]
)
def test_what_is_no_rate_is_rejected_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number of requests per second, such as 10, 10/s or 600/m"):
        read_rate(text)


@pytest.mark.parametrize("text", ["0", "-1", "0.0001", "0/s", "1/h"])
def test_a_rate_that_is_too_low_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="less than 0.001 requests per second"):
        read_rate(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("60", 60), ("90s", 90), ("5m", 300), ("1h", 3600), ("1.5m", 90), ("1.5 m", 90), ("500ms", 0.5)),
        *(("2 hours", 7200), ("5MIN", 300), (" 60 ", 60), ("off", 0), ("OFF", 0)),
    ],
)
def test_a_patience_may_have_a_unit(text: str, seconds: float) -> None:
    assert math.isclose(read_patience(text), seconds)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *(
            (text, "is not a time such as 10, 10s, 500ms or 5m, or off")
            for text in ("", "s", "-1", "1..2", "1d", "9" * 400)
        ),
        *((text, "give off if the run must not wait") for text in ("0", "0s", "0.0m")),
        ("none", "give off not to wait, or a long time such as 24h"),
        ("None", "can be read in two ways"),
    ],
)
def test_what_is_no_patience_is_rejected_with_advice(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_patience(text)


read_interval = read_duration(0.1, 86_400, off=math.inf, advice="give off for no lines")
"""As for `--stats`."""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("10", 10), ("10s", 10), ("10 s", 10), (" 10S ", 10), ("10 seconds", 10), ("1e3", 1000), (".5", 0.5)),
        *(("500ms", 0.5), ("1m", 60), ("1min", 60), ("1.5m", 90), ("24h", 86_400), ("1 hour", 3600)),
        *(("off", math.inf), ("OFF", math.inf)),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert read_interval(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "1d", "inf", "nan", "1:30", "\u0661s", "s", "1e400", "1e5e5"])
def test_another_word_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a time such as 10, 10s, 500ms or 5m, or off$"):
        read_interval(text)


def test_off_is_no_duration_if_the_option_has_no_off() -> None:
    with pytest.raises(ValueError, match=r"'off' is not a time such as 10, 10s, 500ms or 5m$"):
        read_duration(SHORTEST)("off")


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        *((text, "less than 0.1 s; give off for no lines") for text in ("0", "0s", "99ms")),
        *((text, "more than 1 day; give off for no lines") for text in ("25h", "100000")),
    ],
)
def test_a_duration_has_limits(text: str, limit: str) -> None:
    with pytest.raises(ValueError, match=f"^'{text}' is {limit}$"):
        read_interval(text)


@given(st.integers(100, 86_400_000))
def test_all_units_mean_the_same(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert read_interval(f"{milliseconds}ms") == pytest.approx(seconds)
    assert read_interval(f"{seconds}s") == read_interval(f"{seconds}") == pytest.approx(seconds)


@given(st.text(max_size=10))
def test_any_text_is_a_finite_value_or_a_problem(text: str) -> None:
    for read in (read_rate, read_patience, read_duration(0)):
        try:
            assert 0 <= read(text) < math.inf
        except ValueError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(("text", "digits"), [(SHA, SHA), (SHA[:12], SHA[:12]), (f" {SHA.upper()} ", SHA)])
def test_a_checksum_may_be_shortened(text: str, digits: str) -> None:
    assert read_checksum(text) == digits


@pytest.mark.parametrize("text", ["", SHA[:11], SHA + "0", "x" * 12, "rooms.plan", f"{SHA[:6]} {SHA[6:12]}"])
def test_what_is_no_checksum_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="is not a checksum of 12 to 64 hexadecimal digits"):
        read_checksum(text)
