"""The chart of a report, drawn with matplotlib (extra `report`) as static SVG.

The SVG contains no script and no font. Its text stays text, and its colours are CSS variables of the page, so one chart
serves the light, the dark and the printed page. matplotlib writes only plain colours, so each colour is drawn as a code
such as `#0000b1`, which is then replaced by `var(--updated)`.

Text in an SVG shrinks with it, so there are two charts, for wide and for narrow screens. The page shows one of them.
"""

# pyright: reportUnknownMemberType=false
# Some arguments of matplotlib have no types.

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

from ..errors import JournalError
from ._summary import Bucket, Summary, merged_in_pairs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.ticker import Locator

__all__ = ["Chart", "chart", "check_matplotlib"]

_MIN_SECONDS: Final = 2.0
"""Shortest active time that has a chart, in seconds. A shorter one would show a single bar."""

_LONG: Final = 12
"""If there are more buckets than this, they are merged until they are a second wide."""

_MAX_RATIO: Final = 3
"""A rate limit is drawn if it is at most this many times as high as the highest rate."""

_COLOURS: Final[Mapping[str, str]] = {
    "muted": "#0000a1",
    "rule": "#0000a2",
    "updated": "#0000b1",
    "other": "#0000b2",
    "limit": "#0000b3",
    "outage": "#0000b4",
    "pause": "#0000b5",
    "retry": "#0000b6",
    "limited": "#0000b7",
}
"""The names of the CSS variables, and the code that stands for each in what matplotlib draws."""

_WIDE: Final = (9.6, 3.2)
_NARROW: Final = (4.2, 3.0)
"""Width and height in inches of 72 points."""

_COMPANION: Final = 1.2
"""Height of the companion chart of retries and 429s, in inches."""


class Chart(NamedTuple):
    """A chart, and what it shows."""

    wide: str
    """The SVG for a wide screen."""
    narrow: str
    legend: Sequence[tuple[str, str]]
    """Pairs of the name of a CSS variable and the text of what is drawn in its colour."""


def check_matplotlib() -> None:
    """Raise `JournalError` if matplotlib is not installed."""
    try:
        import matplotlib.backends.backend_svg  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError:
        hint = "install it with pip install 'aiorooms[report]'"
        raise JournalError("a report needs matplotlib", hint=hint, reason="missing_extra") from None


def chart(summary: Summary) -> Chart | None:
    """Return the chart of a journal; None if nothing happened, or if it took less than 2 seconds."""
    if summary.seconds < _MIN_SECONDS or not any(bucket.ended or bucket.rate_limited for bucket in summary.buckets):
        return None
    summary = _smoothed(summary)
    drawn = {name: _svg(summary, size, name) for name, size in (("wide", _WIDE), ("narrow", _NARROW))}
    return Chart(drawn["wide"], drawn["narrow"], _legend(summary))


def _smoothed(summary: Summary) -> Summary:
    """Return a summary with buckets of a second or more, unless the run was short.

    Requests are sent in bursts, one at the beginning of each window of the rate limit. In buckets that are shorter than
    the window, each burst would look as if it exceeded the limit.
    """
    buckets, width = summary.buckets, summary.width
    while width < 1 and summary.seconds >= _LONG * width:
        buckets, width = merged_in_pairs(buckets), width * 2
    return attrs.evolve(summary, buckets=buckets, width=width)


def _legend(summary: Summary) -> list[tuple[str, str]]:
    buckets = summary.buckets
    entries = (
        ("updated", "updated rooms per second", any(bucket.ended["updated"] for bucket in buckets)),
        ("other", "other outcomes per second", any(_others(bucket) for bucket in buckets)),
        ("limit", "rate limit, in requests per second", any(limit is not None for limit in _limits(summary))),
        ("outage", "outage", any(span.kind == "outage" for span in summary.spans)),
        ("pause", "pause of the rate limit", any(span.kind == "pause" for span in summary.spans)),
        ("limited", "429s per second", bool(summary.rate_limited)),
        ("retry", "retries per second", bool(summary.retries)),
    )
    return [(name, text) for name, text, is_shown in entries if is_shown]


def _limits(summary: Summary) -> list[float | None]:
    """Return the rate limit of each bucket; None if it is unknown, or so high that the rates would look like zero."""
    highest = max(bucket.ended.total() for bucket in summary.buckets) / summary.width
    return [
        None if bucket.limit is None or bucket.limit > _MAX_RATIO * highest else bucket.limit
        for bucket in summary.buckets
    ]


def _others(bucket: Bucket) -> int:
    return bucket.ended.total() - bucket.ended["updated"]


def _svg(summary: Summary, size: tuple[float, float], salt: str) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    has_companion = bool(summary.retries or summary.rate_limited)
    # The salt makes the ids in the two charts differ, and the ids of the same chart equal.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "font.size": 10.0, "font.family": "sans-serif"}):
        figure = Figure(figsize=(size[0], size[1] + (_COMPANION if has_companion else 0)), layout="constrained")
        figure.patch.set_visible(False)
        if has_companion:
            rates, companion = figure.subplots(2, 1, sharex=True, height_ratios=(size[1], _COMPANION))
            _draw_rates(rates, summary)
            _draw_companion(companion, summary)
            bottom = companion
        else:
            bottom = rates = figure.subplots()
            _draw_rates(rates, summary)
        unit, seconds = _unit(summary.seconds)
        bottom.set_xlabel(f"active time in {unit}", color=_COLOURS["muted"])

        def label(value: float, _: object) -> str:
            return f"{value / seconds:,.6g}"

        bottom.xaxis.set_major_formatter(label)
        bottom.xaxis.set_major_locator(_locator(summary.seconds, seconds, 9 if salt == "wide" else 5))
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _themed(file.getvalue().decode())


def _unit(seconds: float) -> tuple[str, float]:
    if seconds <= 180:
        return "seconds", 1.0
    return ("minutes", 60.0) if seconds <= 3 * 3600 else ("hours", 3600.0)


def _locator(seconds: float, unit: float, ticks: int) -> "Locator":
    from matplotlib.ticker import MultipleLocator

    steps = [step * 10**power for power in range(-1, 5) for step in (1, 2, 5)]
    step = next((step for step in steps if seconds / unit / step <= ticks), steps[-1])
    return MultipleLocator(step * unit)


def _draw_rates(axes: "Axes", summary: Summary) -> None:
    buckets, width = summary.buckets, summary.width
    _style(axes, summary)
    updated = [bucket.ended["updated"] / width for bucket in buckets]
    total = [bucket.ended.total() / width for bucket in buckets]
    edges = [number * width for number in range(len(buckets) + 1)]
    for span in summary.spans:
        opacity = 0.35 if span.kind == "outage" else 0.3
        # A span that is narrower than a bucket would hardly be visible.
        end = max(span.end, span.begin + summary.seconds / 300)
        axes.axvspan(span.begin, end, color=_COLOURS[span.kind], alpha=opacity, linewidth=0)
    axes.stairs(total, edges, fill=True, color=_COLOURS["other"], linewidth=0)
    axes.stairs(updated, edges, fill=True, color=_COLOURS["updated"], linewidth=0)
    limits = [float("nan") if limit is None else limit for limit in _limits(summary)]
    if not all(map(math.isnan, limits)):  # the line has a gap where the limit is NaN
        axes.step(edges, [*limits, limits[-1]], where="post", color=_COLOURS["limit"], linewidth=1.6, linestyle="--")
    highest = max([*total, *(limit for limit in limits if not math.isnan(limit))])
    axes.set_ylim(0, highest * 1.08 or 1)
    axes.set_ylabel("per second", color=_COLOURS["muted"])
    for run in summary.runs[1:20]:
        axes.axvline(run.active_at, color=_COLOURS["muted"], linewidth=0.8, linestyle=":")
        axes.annotate(
            f" run {run.number:,}",
            (run.active_at, 1.0),
            xycoords=("data", "axes fraction"),
            va="top",
            fontsize=9,
            color=_COLOURS["muted"],
        )


def _draw_companion(axes: "Axes", summary: Summary) -> None:
    buckets, width = summary.buckets, summary.width
    _style(axes, summary)
    edges = [number * width for number in range(len(buckets) + 1)]
    limited = [bucket.rate_limited / width for bucket in buckets]
    both = [(bucket.rate_limited + bucket.retries) / width for bucket in buckets]
    axes.stairs(both, edges, fill=True, color=_COLOURS["retry"], linewidth=0)
    axes.stairs(limited, edges, fill=True, color=_COLOURS["limited"], linewidth=0)
    axes.set_ylim(0, max(both) * 1.08 or 1)
    axes.set_ylabel("per second", color=_COLOURS["muted"])


def _style(axes: "Axes", summary: Summary) -> None:
    axes.patch.set_visible(False)
    axes.set_xlim(0, summary.seconds)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_COLOURS["rule"])
    axes.tick_params(colors=_COLOURS["muted"], length=0, labelsize=9)
    axes.grid(axis="y", color=_COLOURS["rule"], linewidth=0.7)
    axes.set_axisbelow(True)


def _themed(svg: str) -> str:
    """Return an SVG as a part of a page, with the colours of the page, and without what only an own file needs."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Two charts on a page would have the same ids. Only ids that the chart itself refers to are needed.
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = re.sub(
        r'(<svg [^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", svg, count=1), count=1
    )
    svg = re.sub(r"'?DejaVu Sans'?[^;\"]*", "system-ui, sans-serif", svg)
    for name, code in _COLOURS.items():
        svg = svg.replace(code, f"var(--{name})")
    return re.sub(r"\n\s*", "\n", svg)
