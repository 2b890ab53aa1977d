"""The summary of a journal: outcomes, time buckets, runs, outages and pauses, for journals of any length."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiorooms.bulk import Journal
from aiorooms.bulk._changes import ChangeCounter, Changed, changes_of
from aiorooms.bulk._summary import _MAX_BUCKETS, _MAX_REASONS, Span, Summary, summarize

AT = 1_000_000.0

PLANNED = {"unique_name": None, "updated_at": None, "before": {"max_participants": 1}, "after": {"max_participants": 2}}

Line = Mapping[str, object]


def rooms(count: int) -> list[str]:
    return [str(UUID(int=number)) for number in range(count)]


def journal(folder: Path, records: Sequence[Line], **header: object) -> Journal:
    first = {
        "aiorooms_journal": 1,
        "plan": "p",
        "plan_file": "/none/tonight.plan",
        "plan_sha256": "s",
        "base_url": "http://localhost/v2",
        "rooms": 10,
        "at": AT,
    }
    path = folder / "a.journal"
    path.write_text("".join(json.dumps(line) + "\n" for line in ({**first, **header}, *records)))
    return Journal.open(path)


def states(summary: Summary) -> Counter[str]:
    counts: Counter[str] = Counter()
    for outcome, count in summary.by_outcome.items():
        counts[outcome.state] += count
    return counts


def end(room_id: str, at: float, status: str = "updated", **more: object) -> Line:
    return {"end": room_id, "at": AT + at, "status": status, "attempts": 1, "elapsed": 0.5, **more}


def pacing(at: float, refused: int = 0, limit: float | None = None) -> Line:
    return {"pacing": {"refused": refused, "limit": limit, "rate": 1.0}, "at": AT + at}


def run(number: int, at: float) -> Line:
    return {"run": number, "at": AT + at}


def stop(at: float, why: str = "done") -> Line:
    return {"stop": why, "at": AT + at}


def test_outcomes_runs_retries_and_429s_are_added_up(tmp_path: Path) -> None:
    first, second, third, fourth, fifth = rooms(5)
    records: list[Line] = [
        run(1, 0),
        {"begin": first, "at": AT + 0.1, **PLANNED},
        end(first, 0.2, attempts=2, elapsed=0.1),
        end(second, 1.2, "failed", error=f"404 room {second} not found"),
        end(third, 1.3, "failed", error=f"404 room {third} not found"),
        end(fifth, 1.3, "failed", error="500"),
        pacing(1.4, 7),
        {"begin": fourth, "at": AT + 1.5, **PLANNED},
        run(2, 50_000),
        end(fifth, 50_000.1, attempts=0, found=True),
        {"later": "unknown kinds of records are ignored", "at": AT + 50_000.2},
        pacing(50_000.3, 2),
        stop(50_000.4),
    ]
    summary = summarize(journal(tmp_path, records))
    assert dict(states(summary)) == {"updated": 2, "failed": 2, "begun": 1}
    assert [(one.number, one.has_end, one.ended) for one in summary.runs] == [
        (1, False, "no end was recorded; the run was killed or is still in progress"),
        (2, True, "done"),
    ]
    assert [dict(one.outcomes) for one in summary.runs] == [{"updated": 1, "failed": 3}, {"updated": 1}]
    assert summary.seconds == pytest.approx(1.9), "the time between the two runs was counted"
    assert (summary.updates, summary.retries, summary.rate_limited) == (4, 1, 9)
    assert (sum(one.retries for one in summary.buckets), sum(one.rate_limited for one in summary.buckets)) == (1, 9)
    assert summary.slowest == 0.5
    assert {outcome.reason for outcome in summary.by_outcome} == {"", "404 room ... not found"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.tuples(st.floats(-100, 1e5), st.sampled_from(rooms(30)), st.sampled_from(["updated", "failed"]))))
def test_every_outcome_is_counted_for_runs_of_any_length(tmp_path: Path, endings: list[tuple[float, str, str]]) -> None:
    at = 0.0
    records: list[Line] = []
    for pause, room_id, status in endings:
        at += pause
        records.append({**end(room_id, at, status), "at": max(0.0, AT + at)})
    summary = summarize(journal(tmp_path, records))
    assert len(summary.buckets) <= _MAX_BUCKETS
    assert sum(bucket.ended.total() for bucket in summary.buckets) == len(endings)
    assert states(summary).total() == len({room_id for _, room_id, _ in endings})


def test_a_run_of_many_hours_has_at_most_200_buckets(tmp_path: Path) -> None:
    summary = summarize(journal(tmp_path, [end(room, 30 * number) for number, room in enumerate(rooms(2000))]))
    assert _MAX_BUCKETS / 2 <= len(summary.buckets) <= _MAX_BUCKETS
    assert sum(bucket.ended.total() for bucket in summary.buckets) == 2000


def test_a_server_with_a_number_in_each_message_has_a_limited_number_of_reasons(tmp_path: Path) -> None:
    records = [end(room, number / 10, "failed", error=f"no. {number}") for number, room in enumerate(rooms(3000))]
    outcomes = summarize(journal(tmp_path, records)).by_outcome
    assert len(outcomes) == _MAX_REASONS + 1
    assert outcomes.total() == 3000


# --- outages and pauses ---


def pause(at: float, seconds: float, reason: str = "retry_after") -> Line:
    return {"pause": seconds, "reason": reason, "at": AT + at}


def outage(at: float) -> Line:
    return {"outage": "503 room ...", "at": AT + at}


def outage_end(at: float, seconds: float = 0.0) -> Line:
    return {"outage_end": seconds, "at": AT + at}


@pytest.mark.parametrize(
    ("records", "spans", "killed_in"),
    [
        ([pause(10, 30), stop(50)], [("pause", 10, 40)], ""),
        ([pause(10, 30), stop(20)], [("pause", 10, 20)], ""),
        ([pause(10, 30), pacing(18)], [("pause", 10, 18)], "a pause of 30 s that had begun 8 s before"),
        ([pause(10, 30), pacing(45)], [("pause", 10, 40)], ""),
        ([pause(10, 30), pause(20, 40), stop(55)], [("pause", 10, 55)], ""),
        ([pause(10, 5), pause(40, 5), stop(50)], [("pause", 10, 15), ("pause", 40, 45)], ""),
        ([pause(10, 30, "max_rate"), stop(50)], [], ""),
        ([pause(10, 4.9, "limit"), stop(50)], [], ""),
        ([pause(10, 5, "limit"), stop(50)], [("pause", 10, 15)], ""),
        ([pause(10, 2, "probing"), stop(50)], [("pause", 10, 12)], ""),
        ([pause(10, 30, "a later reason"), stop(50)], [("pause", 10, 40)], ""),
        ([outage(10), outage_end(22), stop(50)], [("outage", 10, 22)], ""),
        ([outage(10), stop(50, "stopped: outage")], [("outage", 10, 50)], ""),
        ([outage(10), pacing(12)], [("outage", 10, 12)], "an outage that had begun 2 s before"),
        ([outage_end(10), stop(20)], [], ""),
        ([outage(10), pause(12, 3), outage_end(20), stop(30)], [("outage", 10, 20), ("pause", 12, 15)], ""),
    ],
)
def test_outages_and_pauses_are_spans_of_active_time(
    tmp_path: Path, records: list[Line], spans: list[tuple[str, float, float]], killed_in: str
) -> None:
    ticks = [pacing(number) for number in range(60)]
    at: list[Line] = sorted([*ticks, *records], key=lambda line: float(str(line["at"])))
    last = max(float(str(line["at"])) for line in records)
    summary = summarize(journal(tmp_path, [run(1, 0), *(line for line in at if float(str(line["at"])) <= last)]))
    found: list[tuple[str, object, object]] = sorted((span.kind, span.begin, span.end) for span in summary.spans)
    assert found == [(kind, pytest.approx(begin), pytest.approx(end)) for kind, begin, end in spans]
    assert summary.runs[-1].killed_in == killed_in
    total = sum(end - begin for _, begin, end in spans)
    assert summary.pauses.seconds + summary.outages.seconds == pytest.approx(total)


def test_a_kill_in_a_pause_is_seen_although_the_run_was_resumed(tmp_path: Path) -> None:
    records = [run(1, 0), pacing(1), pause(1, 30), pacing(5), run(2, 1000), pacing(1001), stop(1002)]
    summary = summarize(journal(tmp_path, records))
    assert [one.killed_in for one in summary.runs] == ["a pause of 30 s that had begun 4 s before", ""]
    assert summary.spans == [Span("pause", 1.0, 5.0)]


def test_many_short_pauses_are_drawn_as_few_and_counted_as_many(tmp_path: Path) -> None:
    records: list[Line] = [run(1, 0)]
    for number in range(5000):
        records += [pause(number * 10, 2), pacing(number * 10 + 2)]
    summary = summarize(journal(tmp_path, records))
    assert summary.pauses.count == 5000
    assert summary.pauses.seconds == pytest.approx(10_000)
    assert len(summary.spans) <= _MAX_BUCKETS


# --- what was changed ---

URL = "webhook_event_url"


@pytest.mark.parametrize(
    ("name", "before", "after", "words"),
    [
        (URL, "https://old.example.com/a", "https://new.example.com/a", "old.example.com → new.example.com"),
        (
            URL,
            "https://old.example.com/a",
            "https://old.example.com/b",
            "old.example.com → old.example.com (same host)",
        ),
        (URL, None, "https://new.example.com:8443/?token=s3cret", "no URL → new.example.com:8443"),
        (URL, "", "https://new.example.com/", "no URL → new.example.com"),
        (URL, "https://user:pass@old.example.com/a", None, "old.example.com → no URL"),
        (URL, "http://[::1", "https://new.example.com/", "(no host) → new.example.com"),
        (URL, "nonsense", "https://new.example.com/", "(no host) → new.example.com"),
        ("max_participants", 10, 20, "10 → 20"),
        ("enable_recording", False, True, "false → true"),
        ("webhook_timeout_secs", None, 5, "null → 5"),
        ("unique_name", "secret project", "another", "other names"),
        (URL, "http://[::1]:8080/a", "https://new.example.com/", "[::1]:8080 → new.example.com"),
    ],
)
def test_a_change_is_named_without_paths_and_names(name: str, before: object, after: object, words: str) -> None:
    (change,) = changes_of({name: before}, {name: after})  # type: ignore[dict-item]
    assert (change.field, str(change)) == (name, words)


def test_an_account_with_a_host_for_each_room_has_a_limited_number_of_changes() -> None:
    counter = ChangeCounter()
    for number in range(3000):
        counter.add([Changed(URL, f"{number}.example.com", "new.example.com")], is_updated=number % 2 == 0)
    (field,) = counter.fields()
    assert (field.rooms, field.updated, len(field.changes), field.other) == (3000, 1500, 1000, 2000)
    assert sum(change.updated for change in field.changes) == 500
