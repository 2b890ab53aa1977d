"""The charts of a report, drawn with plotly (extra `report`)."""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from ..errors import JournalError
from ._summary import Summary

__all__ = ["charts"]

_Line: TypeAlias = tuple[str, Sequence[float | None]]
"""A colour, and a value for each time bucket. The line has a gap where the value is None."""

_STATUSES: Final = {
    "updated": "#3c8d5a",
    "failed": "#b3434f",
    "uncertain": "#c9793a",
    "conflict": "#7a6ca8",
    "skipped": "#9aa3ad",
}


def charts(summary: Summary) -> Sequence[str]:
    """Return the charts as HTML. The first one contains plotly's script, so that the page needs no network access."""
    try:
        from plotly.io import to_html  # type: ignore[import-untyped]  # plotly has no types
    except ImportError:
        hint = "install it with pip install 'aiorooms[report]'"
        raise JournalError("a report needs plotly", hint=hint, reason="missing_extra") from None
    options = {"displaylogo": False, "displayModeBar": False, "responsive": True}
    return [
        str(to_html(figure, full_html=False, include_plotlyjs=number == 0, config=options, div_id=f"chart{number}"))
        for number, figure in enumerate(_figures(summary))
    ]


def _figures(summary: Summary) -> Sequence[Mapping[str, object]]:
    buckets, width = summary.buckets, summary.width
    seconds = [number * width for number in range(len(buckets))]
    average = [s.elapsed / total if (total := s.ended.total()) else None for s in buckets]
    slowest = [s.slowest if s.ended else None for s in buckets]
    return [
        _figure(
            "Updates over time",
            "rooms per second",
            seconds,
            {status: (colour, [s.ended[status] / width for s in buckets]) for status, colour in _STATUSES.items()},
            bars=True,
        ),
        _figure(
            "Duration of an update, including waits",
            "seconds",
            seconds,
            {"average": ("#2f6f9f", average), "slowest": ("#c9793a", slowest)},
            bars=False,
        ),
        _figure(
            "Rate-limited requests and retries",
            "requests per second",
            seconds,
            {
                "rate limited (429)": ("#b3434f", [s.rate_limited / width for s in buckets]),
                "retries": ("#7a6ca8", [s.retries / width for s in buckets]),
            },
            bars=True,
        ),
    ]


def _figure(
    title: str, unit: str, seconds: Sequence[float], lines: Mapping[str, _Line], *, bars: bool
) -> Mapping[str, object]:
    """Return a chart in plotly's JSON format."""
    traces: list[Mapping[str, object]] = []
    for name, (colour, values) in lines.items():
        if any(values):
            style: Mapping[str, object] = (
                {"type": "bar", "marker": {"color": colour}}
                if bars
                else {"type": "scatter", "line": {"color": colour, "shape": "hv"}}
            )
            traces.append({"x": seconds, "y": values, "name": name, **style})
    layout = {
        "title": {"text": title},
        "barmode": "stack",
        "template": "plotly_white",
        "height": 320,
        "margin": {"l": 60, "r": 20, "t": 50, "b": 45},
        "xaxis": {"title": {"text": "active time in seconds"}},
        "yaxis": {"title": {"text": unit}, "rangemode": "tozero"},
        "showlegend": True,
    }
    return {"data": traces, "layout": layout}
