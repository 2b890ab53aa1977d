"""The charts of a report."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ..errors import JournalError
from ._summary import Summary

__all__ = ["charts"]

_STATUSES: Final = ("updated", "failed", "uncertain", "conflict", "skipped")


def charts(summary: Summary) -> Sequence[str]:
    """Draw with plotly; the first chart brings its program with it, so that the page needs no network."""
    try:
        go: Any = importlib.import_module("plotly.graph_objects")
    except ImportError:
        raise JournalError("a report needs plotly; pip install 'aiorooms[report]'") from None
    stretches, width = summary.stretches, summary.width
    seconds = [number * width for number in range(len(stretches))]

    def figure(title: str, unit: str, lines: Mapping[str, tuple[str, Sequence[float | None]]], *, bars: bool) -> Any:  # noqa: ANN401 - plotly's own
        made = go.Figure()
        for name, (colour, values) in lines.items():
            if any(values):
                trace = go.Bar if bars else go.Scatter
                look = {"marker_color": colour} if bars else {"line": {"color": colour, "shape": "hv"}}
                made.add_trace(trace(x=seconds, y=list(values), name=name, **look))
        made.update_layout(
            title=title,
            barmode="stack",
            template="plotly_white",
            height=320,
            margin={"l": 60, "r": 20, "t": 50, "b": 45},
            xaxis={"title": "seconds of work"},
            yaxis={"title": unit, "rangemode": "tozero"},
            showlegend=True,
        )
        return made

    figures = [
        figure(
            "Updates over time",
            "rooms per second",
            {status: (_COLOURS[status], [s.ended[status] / width for s in stretches]) for status in _STATUSES},
            bars=True,
        ),
        figure(
            "How long an update took, waits included",
            "seconds",
            {
                "on average": (
                    "#2f6f9f",
                    [s.elapsed / total if (total := s.ended.total()) else None for s in stretches],
                ),
                "the slowest": ("#c9793a", [s.slowest if s.ended else None for s in stretches]),
            },
            bars=False,
        ),
        figure(
            "Refused for the rate limit, and sent again",
            "requests per second",
            {
                "refused (429)": ("#b3434f", [s.refused / width for s in stretches]),
                "sent again": ("#7a6ca8", [s.retries / width for s in stretches]),
            },
            bars=True,
        ),
    ]
    options = {"displaylogo": False, "displayModeBar": False, "responsive": True}
    to_html: Callable[..., str] = importlib.import_module("plotly.io").to_html
    return [
        to_html(made, full_html=False, include_plotlyjs=number == 0, config=options, div_id=f"chart{number}")
        for number, made in enumerate(figures)
    ]


_COLOURS: Final = {
    "updated": "#3c8d5a",
    "failed": "#b3434f",
    "uncertain": "#c9793a",
    "conflict": "#7a6ca8",
    "skipped": "#9aa3ad",
}
