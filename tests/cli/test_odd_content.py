"""Plans, journals and arguments with odd content: each command reports one line, and never a traceback."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import Result

from aiorooms.bulk import Journal, Plan
from aiorooms.bulk._files import path_of, path_text
from aiorooms.simulator import RoomsSimulator

from .conftest import Invoke, lines

Line = dict[str, Any]


def json_lines(path: str) -> list[Line]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def encoded(values: list[Line]) -> bytes:
    return b"".join(json.dumps(value, separators=(",", ":")).encode() + b"\n" for value in values)


def write_plan(path: str, header: Line, rooms: list[Line], totals: Line) -> None:
    """Write a plan whose checksum is right."""
    unsealed = encoded([header, *rooms, {**totals, "sha256": ""}])
    totals = {**totals, "sha256": hashlib.sha256(unsealed).hexdigest()}
    Path(path).write_bytes(encoded([header, *rooms, totals]))


def is_one_line(text: str) -> bool:
    errors = [line for line in lines(text) if line.startswith("aiorooms: ")]
    return len(errors) == 1 and errors[0].isprintable() and "Error" not in errors[0]


def is_reported(result: Result) -> bool:
    """Return whether a command succeeded, reported one error, or found a room that is not as planned or has failed."""
    found = result.exit_code == 1 and (" as planned." in result.stderr or "failed, out of" in result.stderr)
    return result.exit_code == 0 or is_one_line(result.stderr) or found


# -- Times

TIMES: Final = (
    "0001-01-01T00:00:00+05:00",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59-05:00",
    "9999-12-31T23:59:59Z",
    "2024-05-01",
    "2024-05-01T00:00:00+25:00",
    "",
    "yesterday",
)

# -- Plans

ROOMS: Mapping[str, Line] = {
    **{f"updated_at {time}": {"updated_at": time} for time in TIMES},
    "updated_at is a number": {"updated_at": 5},
    "room_id is a path": {"room_id": "../x"},
    "room_id is null": {"room_id": None},
    "room_id is empty": {"room_id": ""},
    "unique_name is a list": {"unique_name": []},
    "unknown field": {"before": {"colour": 1}, "after": {"colour": 2}},
    "unknown field before": {"before": {"colour": 1, "max_participants": 10}},
    "no fields": {"before": {}, "after": {}},
    "no field before": {"before": {}},
    "a list of fields": {"after": []},
    "no object": {"before": None},
    "a value is a list": {"after": {"max_participants": [20]}},
    "a value is an object": {"before": {"max_participants": {}}},
    "a value is a fraction": {"after": {"max_participants": 20.5}},
    "a value is huge": {"after": {"max_participants": 10**30}},
    "a value has the wrong type": {"after": {"max_participants": "twenty"}},
    "a value is out of range": {"after": {"max_participants": 999}},
    "a name with a control character": {"unique_name": "\x1b[31m"},
}

HEADERS: Mapping[str, Line] = {
    "id is a number": {"id": 5},
    "source is null": {"source": None},
    "base_url has a control character": {"base_url": "http://\x1b[31m/"},
    "id has a line break": {"id": "a\nb"},
}

TOTALS: Mapping[str, Line] = {
    **{f"latest_update {time}": {"latest_update": time} for time in TIMES},
    "unchanged is negative": {"unchanged": -1},
    "unchanged is huge": {"unchanged": 10**300},
    "unchanged is a fraction": {"unchanged": 0.5},
    "rooms is a text": {"rooms": "20"},
}

PLAN_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "show": ("show", "odd.plan"),
    "show --all": ("show", "odd.plan", "--all"),
    "show --json": ("show", "odd.plan", "--json", "--all"),
    "apply": ("apply", "odd.plan", "--yes"),
    "verify": ("verify", "odd.plan"),
}


@pytest.mark.parametrize("command", PLAN_COMMANDS)
def test_a_plan_with_a_right_checksum_and_odd_content_is_used_or_rejected_in_one_line(
    invoke: Invoke, sim: RoomsSimulator, command: str
) -> None:
    invoke("plan", "--set", "max_participants=30")
    header, *rooms, totals = json_lines("rooms.plan")
    plans: list[tuple[str, Line, list[Line], Line]] = [
        *((name, header, [*rooms[:2], {**rooms[2], **odd}, *rooms[3:]], totals) for name, odd in ROOMS.items()),
        *((name, {**header, **odd}, rooms, totals) for name, odd in HEADERS.items()),
        *((name, header, rooms, {**totals, **odd}) for name, odd in TOTALS.items()),
    ]
    for name, first, middle, last in plans:
        write_plan("odd.plan", first, middle, last)
        result = invoke(*PLAN_COMMANDS[command])
        assert is_reported(result), (name, result.stderr)
        Path("odd.plan.journal").unlink(missing_ok=True)


def test_a_plan_with_a_wrong_line_is_rejected_before_anything_is_sent(invoke: Invoke, sim: RoomsSimulator) -> None:
    invoke("plan", "--set", "max_participants=30")
    header, *rooms, totals = json_lines("rooms.plan")
    rooms[18]["after"] = {"colour": "blue"}
    write_plan("odd.plan", header, rooms, totals)
    for command in ("show", "apply", "verify"):
        result = invoke(command, "odd.plan", *(("--yes",) * (command == "apply")))
        assert result.stderr.startswith(
            "aiorooms: the plan 'odd.plan' was modified after it was made: line 20 is not the line of a room; edit"
        )
        assert result.exit_code == 2
    assert not sim.stats.updates_applied


# -- Journals

NO_TIMES: tuple[object, ...] = (-1, 1e300, 10**400, 1e12, "now", None, True, [])

RECORDS: Mapping[str, Line] = {
    **{f"at {at!r}": {"run": 2, "at": at} for at in NO_TIMES},
    "huge run": {"run": 10**30, "at": 1.0},
    "huge attempts": {"end": "x", "at": 1.0, "status": "failed", "attempts": 10**30},
    "negative attempts": {"end": "x", "at": 1.0, "status": "failed", "attempts": -5},
    "huge elapsed": {"end": "x", "at": 1.0, "status": "updated", "elapsed": 1e308},
    "unknown status": {"end": "x", "at": 1.0, "status": "\x1b[31m"},
    "error is a list": {"end": "x", "at": 1.0, "status": "failed", "error": []},
    "error has control characters": {"end": "x", "at": 1.0, "status": "failed", "error": "\x1b[31m\n<b>"},
    "huge pacing": {"pacing": {"refused": 10**30, "limit": 1e308, "rate": 1e308}, "at": 1.0},
    "pacing is null": {"pacing": None, "at": 1.0},
    "unknown field": {"begin": "x", "at": 1.0, "before": {"colour": 1}, "after": {"colour": 2}},
    "no fields": {"begin": "x", "at": 1.0, "before": {}, "after": {}},
    "a value is a list": {"begin": "x", "at": 1.0, "before": {"max_participants": []}, "after": {}},
    "a value has the wrong type": {"begin": "x", "at": 1.0, "before": {"max_participants": "a"}, "after": {}},
    "room is a number": {"begin": 5, "at": 1.0, "before": {}, "after": {}},
    "stop is a number": {"stop": 5, "at": 1.0},
    "stop has control characters": {"stop": "\x1b[31m", "at": 1.0},
    **{
        f"updated_at {time}": {"end": "x", "at": 1.0, "status": "updated", "updated_at": time, "attempts": 1}
        for time in TIMES
    },
}

JOURNAL_HEADERS: Mapping[str, Line] = {
    "plan_file with NUL": {"plan_file": "/tmp/a\0b"},
    "plan_file is empty": {"plan_file": ""},
    "plan_file is a bad URI": {"plan_file": "file:%zz%00"},
    "plan_file is long": {"plan_file": "/" + "x" * 5000},
    "plan_file has control characters": {"plan_file": "/tmp/\x1b[31m"},
    "plan_file is a folder": {"plan_file": "/tmp"},
    "plan_file is a number": {"plan_file": 5},
    "plan has control characters": {"plan": "\x1b[31m"},
    "rooms is huge": {"rooms": 10**300},
    "rooms is negative": {"rooms": -5},
    "at is huge": {"at": 1e300},
    "at is negative": {"at": -1e10},
}

JOURNAL_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "report": ("report", "odd.journal", "--out", "odd.html", "--overwrite"),
    "rollback": ("rollback", "odd.journal", "--out", "odd.back", "--overwrite"),
    "resume": ("resume", "odd.journal", "--yes"),
}


@pytest.mark.parametrize("command", JOURNAL_COMMANDS)
def test_a_journal_with_odd_content_is_used_or_rejected_in_one_line(
    invoke: Invoke, sim: RoomsSimulator, applied: None, command: str
) -> None:
    header, *records = json_lines("rooms.plan.journal")
    room_id = sim.room_ids[0]
    for record in records:
        record.pop("c", None)
    header.pop("c", None)
    header["aiorooms_journal"] = 1  # the lines of format 1 have no checksum
    journals = [
        *((name, header, [*_without(records, odd, room_id), _about(room_id, odd)]) for name, odd in RECORDS.items()),
        *((name, {**header, **odd}, records) for name, odd in JOURNAL_HEADERS.items()),
    ]
    for name, first, rest in journals:
        Path("odd.journal").write_bytes(encoded([first, *rest]))
        result = invoke(*JOURNAL_COMMANDS[command])
        assert is_reported(result), (name, result.stderr)


def _without(records: list[Line], odd: Line, room_id: str) -> list[Line]:
    """Return the records without those of the room, if the odd record is the first one of the room."""
    return [one for one in records if "begin" not in odd or room_id not in (one.get("begin"), one.get("end"))]


def _about(room_id: str, record: Line) -> Line:
    return {key: room_id if value == "x" else value for key, value in record.items()}


# -- Times of the server


@pytest.mark.parametrize("time", TIMES[:4])
def test_a_room_with_an_odd_time_is_planned_applied_and_rolled_back(
    invoke: Invoke, sim: RoomsSimulator, time: str
) -> None:
    sim.add_room(unique_name="odd", updated_at=time, created_at=time)
    where = ("--where", f"created<={'0001-01-02' if time.startswith('0') else '9999-12-31'}")
    for step in (
        ("list", "--json"),
        ("export", "rooms.csv"),
        ("plan", "rooms.csv", "--out", "same.plan"),
        ("plan", *where, "--set", "max_participants=31", "--out", "where.plan"),
        ("plan", "--set", "max_participants=30"),
        ("apply", "rooms.plan", "--yes"),
        ("resume", "rooms.plan.journal", "--yes"),
        ("verify", "rooms.plan"),
        ("rollback", "rooms.plan.journal"),
        ("apply", "back.plan", "--yes"),
        ("report", "back.plan.journal"),
    ):
        result = invoke(*step)
        assert result.exit_code == 0, (step, result.stderr)


def test_a_plan_of_rooms_that_were_never_updated_can_be_applied(invoke: Invoke, sim: RoomsSimulator) -> None:
    for room_id in sim.room_ids:
        sim.remove_room(room_id)
    for name in ("a", "b"):
        sim.add_room(unique_name=name, updated_at="0001-01-01T00:00:00Z")
    assert invoke("plan", "--set", "max_participants=30").exit_code == 0
    result = invoke("apply", "rooms.plan", "--yes")
    assert (result.exit_code, lines(result.stderr)[0]) == (0, "2 updated, out of 2.")


# -- Paths and arguments that are not UTF-8

NOT_UTF_8 = os.fsdecode(b"r\xe4ume \xff.plan")


def test_a_path_that_is_not_utf_8_survives_the_round_trip(invoke: Invoke, sim: RoomsSimulator, folder: Path) -> None:
    try:
        (folder / NOT_UTF_8).touch()
    except OSError:
        pytest.skip("the file system accepts only UTF-8")
    (folder / NOT_UTF_8).unlink()
    journal = f"{NOT_UTF_8}.journal"
    for step in (
        ("export", f"{NOT_UTF_8}.csv"),
        ("plan", f"{NOT_UTF_8}.csv", "--out", "same.plan"),
        ("show", "same.plan"),
        ("plan", "--where", f"name!={NOT_UTF_8}", "--set", "max_participants=30", "--out", NOT_UTF_8),
        ("show", NOT_UTF_8),
        ("show", NOT_UTF_8, "--json"),
        ("apply", NOT_UTF_8, "--yes"),
        ("resume", journal, "--yes"),
        ("resume", journal, "--yes", "--json"),
        ("verify", NOT_UTF_8),
        ("report", journal),
        ("rollback", journal, "--out", f"{NOT_UTF_8}.back"),
        ("apply", f"{NOT_UTF_8}.back", "--yes", "--json"),
    ):
        result = invoke(*step)
        assert result.exit_code == 0, (step, result.stderr)
        result.stdout.encode()
        result.stderr.encode()
    assert Journal.open(journal).plan_file == folder / NOT_UTF_8
    assert r"r\udce4ume \udcff" in Plan.open("same.plan").source


@pytest.mark.parametrize(
    "path", ["/a", "/räum 100%.plan", "/file:x", "/a\x1b", f"/{NOT_UTF_8}", "/100%\udcff:"], ids=ascii
)
def test_every_absolute_path_can_be_written_as_text_and_read_again(path: str) -> None:
    text = path_text(Path(path))
    assert path_of(text) == Path(path)
    text.encode()
    assert (text == path) == ("\udcff" not in path)


BAD = os.fsdecode(b"a\xffb")

ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "command": (BAD,),
    "option": ("list", f"--{BAD}"),
    "list": ("list", "--unique-name", BAD),
    "list base url": ("list", "--base-url", f"http://127.0.0.1/{BAD}"),
    "get": ("get", BAD),
    "update": ("update", "7b61621f-62e0-4aad-ab11-9fd19e272e73", "--unique-name", BAD),
    "update url": ("update", "7b61621f-62e0-4aad-ab11-9fd19e272e73", "--webhook-event-url", f"https://a.example/{BAD}"),
    "plan set": ("plan", "--set", f"webhook_event_url=https://a.example/{BAD}"),
    "plan where": ("plan", "--set", "max_participants=5", "--where", f"webhook_host={BAD}"),
    "plan rewrite": ("plan", "--rewrite-webhook-host", f"{BAD}={BAD}"),
    "export format": ("export", "a.csv", "--format", BAD),
    "export": ("export", f"a.{BAD}"),
    "simulate key": ("simulate", "--api-key", BAD),
    "simulate limit": ("simulate", "--rate-limit", BAD),
}


@pytest.mark.parametrize("command", ARGUMENTS)
def test_an_argument_that_is_not_utf_8_is_used_or_rejected_in_one_line(invoke: Invoke, command: str) -> None:
    result = invoke(*ARGUMENTS[command])
    assert result.exit_code == 0 or is_one_line(result.stderr), result.stderr
    result.output.encode()


def test_an_api_key_that_is_not_utf_8_is_rejected_in_one_line(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELNYX_API_KEY", BAD)
    result = invoke("list")
    assert result.exit_code == 2
    assert is_one_line(result.stderr)


# -- Times in an input file

CELLS: tuple[object, ...] = (*TIMES, 5, None, [], {}, True, "\ud800", "x" * 10_000, 10**400)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_an_odd_time_in_an_input_file_is_ignored_or_a_problem(invoke: Invoke, sim: RoomsSimulator, form: str) -> None:
    for cell in CELLS:
        row = {"room_id": sim.room_ids[0], "max_participants": 30, "updated_at": cell}
        if form == "csv":
            text = ",".join(row) + "\n" + ",".join(f'"{value}"' for value in row.values()) + "\n"
        else:
            text = json.dumps(row) + "\n"
        Path(f"odd.{form}").write_bytes(text.encode(errors="surrogatepass"))
        result = invoke("plan", f"odd.{form}", "--overwrite")
        assert is_reported(result), (cell, result.stderr)
