"""Reports: the totals are correct for any journal, and the page loads nothing from the network."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiorooms.bulk import Journal, JournalError, write_report
from aiorooms.bulk._summary import _MAX_BUCKETS, summarize

PLANNED = {"unique_name": None, "updated_at": None, "before": {"max_participants": 1}, "after": {"max_participants": 2}}

HOSTILE = "</script><script>alert(1)</script><img src=http://x/>&"


def rooms(count: int) -> list[str]:
    return [str(UUID(int=number)) for number in range(count)]


def journal(folder: Path, records: Sequence[Mapping[str, object]], *, planned: int = 10) -> Journal:
    header = {
        "aiorooms_journal": 1,
        "plan": "p",
        "plan_file": f"/tmp/{HOSTILE.replace('/', '')}",
        "plan_sha256": "s",
        "base_url": "http://localhost/v2",
        "rooms": planned,
        "at": 1_000_000.0,
    }
    path = folder / "a.journal"
    path.write_text("".join(json.dumps(line) + "\n" for line in (header, *records)))
    return Journal.open(path)


class Fetched(HTMLParser):
    """The tags of a page, and the addresses that a browser would load for it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]


def test_a_report_has_totals_and_failures_by_reason_and_loads_nothing(tmp_path: Path) -> None:
    first, second, third, fourth, fifth = rooms(5)
    records: list[Mapping[str, object]] = [
        {"run": 1, "at": 1_000_000.0},
        {"begin": first, "at": 1_000_000.1, **PLANNED},
        {"end": first, "at": 1_000_000.2, "status": "updated", "attempts": 2, "elapsed": 0.1},
        {"end": second, "at": 1_000_001.2, "status": "failed", "error": f"404 room {second} not found {HOSTILE}"},
        {"end": third, "at": 1_000_001.3, "status": "failed", "error": f"404 room {third} not found {HOSTILE}"},
        {"end": fifth, "at": 1_000_001.3, "status": "failed", "error": "500"},
        {"pacing": {"refused": 7, "limit": None, "rate": 3.0}, "at": 1_000_001.4},
        {"begin": fourth, "at": 1_000_001.5, **PLANNED},
        {"run": 2, "at": 1_050_000.0},
        {"end": fifth, "at": 1_050_000.1, "status": "updated", "attempts": 1, "elapsed": 0.1},
        {"later": "unknown kinds of records are ignored", "at": 1_050_000.2},
        {"stop": "done", "at": 1_050_000.3},
    ]
    opened = journal(tmp_path, records)
    summary = summarize(opened)
    assert dict(summary.states) == {"updated": 2, "failed": 2, "begun": 1}
    assert summary.runs == ["no end was recorded; the run was killed or is still in progress", "done"]
    assert 1 < summary.seconds < 5, "the pause between the two runs was counted"
    assert sum(bucket.retries for bucket in summary.buckets) == 1
    assert sum(bucket.rate_limited for bucket in summary.buckets) == 7
    assert len(set(summary.reasons.values())) == 1
    write_report(opened, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    fetched = Fetched(page)
    assert fetched.sources == []
    assert "img" not in fetched.tags, "an error message of the server was not escaped"
    assert "<td>2</td><td>failed</td><td>404 room ... not found &lt;/script&gt;" in page
    for text in (
        "<b>2</b> updated or already as planned<",
        "<b>5</b> not begun",
        "Rooms with an uncertain outcome: 1.",
        "1970-01-12 13:46 UTC",
    ):
        assert text in page, text


def test_a_journal_without_records_has_a_report(tmp_path: Path) -> None:
    write_report(journal(tmp_path, []), tmp_path / "a.html")
    assert "<p>None.</p>" in (tmp_path / "a.html").read_text()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.tuples(st.floats(-100, 1e5), st.sampled_from(rooms(30)), st.sampled_from(["updated", "failed"]))))
def test_every_outcome_is_counted_for_runs_of_any_length(tmp_path: Path, endings: list[tuple[float, str, str]]) -> None:
    at = 1_000_000.0
    records: list[dict[str, object]] = []
    for pause, room_id, status in endings:
        at += pause
        records.append({"end": room_id, "at": at, "status": status, "attempts": 1, "elapsed": 0.5})
    summary = summarize(journal(tmp_path, records))
    assert len(summary.buckets) <= _MAX_BUCKETS
    assert sum(bucket.ended.total() for bucket in summary.buckets) == len(endings)
    assert summary.states.total() == len({room_id for _, room_id, _ in endings})


def test_a_run_of_many_hours_has_at_most_200_buckets(tmp_path: Path) -> None:
    records = [{"end": room, "at": 1_000_000.0 + 30 * n, "status": "updated"} for n, room in enumerate(rooms(2000))]
    summary = summarize(journal(tmp_path, records))
    assert _MAX_BUCKETS / 2 <= len(summary.buckets) <= _MAX_BUCKETS
    assert sum(bucket.ended.total() for bucket in summary.buckets) == 2000


def test_without_plotly_the_error_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.io", None)
    with pytest.raises(JournalError, match=re.escape("pip install 'aiorooms[report]'")):
        write_report(journal(tmp_path, []), tmp_path / "a.html")


def test_a_path_that_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="the report .* can't be written: No such file or directory"):
        write_report(journal(tmp_path, []), tmp_path / "none" / "a.html")


def test_a_report_does_not_overwrite_its_journal(tmp_path: Path) -> None:
    opened = journal(tmp_path, [])
    before = opened.path.read_bytes()
    with pytest.raises(JournalError, match="would overwrite the journal"):
        write_report(opened, opened.path)
    assert opened.path.read_bytes() == before
