"""The bar stays on one line, however narrow the terminal is, and keeps what matters most."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from aiorooms.cli._bar_layout import MIN_BAR, Part, fit
from aiorooms.cli._notices import Notice
from aiorooms.cli._output import Reading
from aiorooms.cli._progress import Bar, Count
from aiorooms.cli._stats import Sample

from .conftest import lines
from .test_progress import snapshot

PARTS = [
    Part((("900/20,000", 7), ("4 %", 9))),
    Part((("98/s, limit 100/s", 1), ("98/s", 3))),
    Part((("3:12 left", 4),)),
    Part((("0 failed", 2),)),
]


@pytest.mark.parametrize(
    ("width", "texts"),
    [
        (60, ["900/20,000", "98/s, limit 100/s", "3:12 left", "0 failed"]),
        (47, ["900/20,000", "98/s, limit 100/s", "3:12 left", "0 failed"]),
        (46, ["900/20,000", "98/s", "3:12 left", "0 failed"]),
        (34, ["900/20,000", "98/s", "3:12 left", "0 failed"]),
        (33, ["900/20,000", "98/s", "3:12 left"]),
        (20, ["900/20,000", "3:12 left"]),
        (12, ["900/20,000"]),
        (9, ["4 %"]),
        (2, ["4 "]),
    ],
)
def test_the_form_with_the_lowest_rank_gives_way(width: int, texts: list[str]) -> None:
    assert [text for text, _ in fit(PARTS, width).parts] == texts


@pytest.mark.parametrize(("width", "bar"), [(47, 0), (53, 0), (54, 6), (61, 13), (101, 53), (201, 153)])
def test_the_bar_gets_the_columns_that_are_left(width: int, bar: int) -> None:
    assert fit(PARTS, width).bar == bar


TEXTS = st.text(st.sampled_from("abc\u4f1a\u00e9 "), min_size=1, max_size=30)


@st.composite
def parts(draw: st.DrawFn) -> list[Part]:
    return [
        Part(tuple((draw(TEXTS), number * 10 + form) for form in range(draw(st.integers(0, 3)))))
        for number in draw(st.permutations(range(draw(st.integers(1, 6)))))
    ]


@given(parts(), st.integers(1, 150))
def test_whatever_the_parts_are_the_line_fits(given_parts: list[Part], width: int) -> None:
    fitted = fit(given_parts, width)
    texts = [text for text, _ in fitted.parts]
    needed = sum(map(cell_len, texts)) + max(0, len(texts) - 1) + (fitted.bar + 1 if fitted.bar else 0)
    assert needed <= width
    assert not fitted.bar or fitted.bar >= MIN_BAR
    assert bool(texts) == any(part.forms for part in given_parts), "nothing is shown"


@given(parts(), st.integers(1, 150))
def test_a_wider_line_shows_no_less(given_parts: list[Part], width: int) -> None:
    def shown(width: int) -> int:
        return len(fit(given_parts, width).parts)

    assert shown(width) <= shown(width + 1)


NOTICES = [
    None,
    Notice("rate limited, resumes in 18 s", "paused 18 s"),
    Notice("server not answering for 12 s, gives up at 60 s", "no answer 12 s"),
    Notice("\x1b[2J" + "\u4f1a" * 100, "\u4f1a" * 5),
]


@pytest.mark.parametrize("width", [20, 21, 25, 39, 40, 60, 80, 120, 200])
@pytest.mark.parametrize("notice", NOTICES)
@pytest.mark.parametrize("failed", [0, 123_456])
def test_the_bar_is_on_one_line(
    monkeypatch: pytest.MonkeyPatch, width: int, notice: Notice | None, failed: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    sample = Sample(done=654_321, failed=failed, uncertain=failed, conflicts=failed, pacing=snapshot(1234.0))
    bar = Bar(1_000_000, lambda: sample)
    bar.notice = notice
    with bar.console.capture() as drawn:
        bar.console.print(*bar.get_renderables())
    (line,) = lines(drawn.get())
    assert cell_len(line) <= width
    assert "654,321/1,000,000" in line or "65 %" in line
    if failed:
        assert "123,456 failed" in line or "370,368 problems" in line or width < 35
    if notice is NOTICES[1]:
        assert "resumes in 18 s" in line or "paused 18 s" in line


@pytest.mark.parametrize("width", [20, 40, 80, 120])
@pytest.mark.parametrize("notice", NOTICES)
def test_the_count_of_rooms_is_on_one_line(monkeypatch: pytest.MonkeyPatch, width: int, notice: Notice | None) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    reading = Reading()
    reading.add_rooms(123_456)
    reading.add_probe()
    count = Count(reading)
    count.notice = notice
    with count.console.capture() as drawn:
        count.console.print(*count.get_renderables())
    (line,) = lines(drawn.get())
    assert cell_len(line) <= width
    assert "123,456 rooms" in line
    if notice is NOTICES[1] and width >= 40:
        assert "18 s" in line
