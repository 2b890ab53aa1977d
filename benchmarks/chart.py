"""Draw the results of `compare` as a bar chart. Each bar shows the CPU time of one update with one client and loop.

The scale is linear and starts at 0. Bars more than 8 times as long as the longest bar of aiorooms are cut, and marked
with //. The number next to a bar is the measured value.
"""

# pyright: reportUnknownMemberType=false
# matplotlib's type hints don't cover its keyword arguments.

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ._comparison import OURS, SAME_URLS, Comparison, Row
from ._runs import LOOPS, environment

_COLOURS: Final = {
    (True, "asyncio"): "#0b6e4f",
    (True, "uvloop"): "#5fb894",
    (False, "asyncio"): "#6b7280",
    (False, "uvloop"): "#b6bcc6",
}
"""The colours of the bars. A key is a pair: whether the contestant uses aiorooms, and the name of the loop."""

_OURS: Final = (*OURS, *SAME_URLS)

_SMALL_PRINT: Final = "#4b5563"

_HEIGHT: Final = 0.4
"""Height of a bar, as a share of the space for one contestant. This space has a bar for each loop."""

_MAX_RATIO: Final = 8
"""Maximum length of a bar, as a multiple of the longest bar of aiorooms. Longer bars are cut."""

_CUT: Final = 0.88
"""Length of a cut bar, as a share of the scale. The rest is space for the number."""


def draw(comparison: Comparison, file: Path) -> None:
    """Write the chart to a file whose name ends in .svg or .png."""
    rows = comparison.rows
    labels = list(dict.fromkeys(row.label for row in rows))
    # In an SVG, keep text as text instead of outlines, and always write the same bytes for the same figures.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "aiorooms", "font.size": 9}):
        figure = Figure(figsize=(8, 1.7 + 0.4 * len(labels)), layout="constrained", facecolor="white")
        axes = figure.add_subplot()
        end = _end_of_scale(rows)
        for row in rows:
            _draw_bar(axes, row, labels.index(row.label), end)
        axes.set_yticks(range(len(labels)), labels)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_xlim(0, end)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel(_small_print(comparison, end), loc="left", fontsize=7, color=_SMALL_PRINT, labelpad=8)
        present = {(row.contestant in _OURS, row.loop) for row in rows}
        patches = [
            Patch(color=colour, label=f"{'aiorooms' if ours else 'others'}, on {loop}")
            for (ours, loop), colour in _COLOURS.items()
            if (ours, loop) in present
        ]
        figure.legend(
            handles=patches,
            title="Client CPU time for one update of a room, in microseconds (less is better)",
            title_fontsize=11,
            alignment="left",
            loc="outside upper left",
            ncols=len(patches),
            frameon=False,
        )
        figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)


def _end_of_scale(rows: Sequence[Row]) -> float:
    """Return the end of the scale. It is 1.2 times the longest uncut bar, to leave space for the number."""
    lengths = [row.cpu_us.median for row in rows]
    ours = max((row.cpu_us.median for row in rows if row.contestant in _OURS), default=max(lengths))
    return 1.2 * max(length for length in lengths if length <= _MAX_RATIO * ours)


def _draw_bar(axes: Axes, row: Row, place: int, end: float) -> None:
    ours = row.contestant in _OURS
    y = place + (_HEIGHT / 2 if row.loop == LOOPS[-1] else -_HEIGHT / 2)
    length = min(row.cpu_us.median, _CUT * end)
    axes.barh(y, length, _HEIGHT, color=_COLOURS[ours, row.loop])
    if length < row.cpu_us.median:
        for at in (0.92 * length, 0.94 * length):
            ends = [at - 0.006 * end, at + 0.006 * end]
            axes.plot(ends, [y + _HEIGHT / 2, y - _HEIGHT / 2], color="white", linewidth=2)
    axes.text(
        length + 0.008 * end,
        y,
        f"{row.cpu_us.median:,.0f}",
        va="center",
        fontsize=7.5,
        fontweight="bold" if ours else "normal",
    )


def _small_print(comparison: Comparison, end: float) -> str:
    values = environment()
    packages = ("aiohttp", "httpx", "telnyx", "orjson", "uvloop")
    lines = [
        f"Medians of: python -m benchmarks compare --concurrency {comparison.concurrency} --rounds {comparison.rounds}",
        ", ".join([str(values["python"]), *(f"{name} {values[name]}" for name in packages if name in values)]),
    ]
    if any(row.cpu_us.median > end for row in comparison.rows):
        lines.insert(0, "Bars with // are cut: they are longer than the scale.")
    return "\n".join(lines)
