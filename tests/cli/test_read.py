"""The commands get and list: text, tables and JSON, filters, and errors in one line."""

import json
import re
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from rich.cells import cell_len

from aiorooms._text import timestamp
from aiorooms.cli._json import model_data
from aiorooms.models import Room
from aiorooms.simulator import RoomsSimulator

from ..samples import ROOM_ID
from .conftest import KEY, Invoke, lines, signals_when

UNKNOWN_ROOM = ROOM_ID

OnTerminal = Callable[..., tuple[int, str]]

FIELDS = [
    *["id", "max_participants", "unique_name", "created_at", "updated_at", "active_session_id", "sessions"],
    *["enable_recording", "webhook_event_url", "webhook_event_failover_url", "webhook_timeout_secs", "record_type"],
]


# --- get ---


def test_get_writes_a_field_on_each_line(sim: RoomsSimulator, invoke: Invoke) -> None:
    result = invoke("get", sim.room_ids[0])
    assert result.exit_code == 0
    assert result.stderr == ""
    fields = dict(line.split("\t") for line in lines(result.stdout))
    assert list(fields) == FIELDS
    assert fields["id"] == sim.room_ids[0]
    assert fields["enable_recording"] == "false"
    assert fields["webhook_timeout_secs"] == ""
    assert fields["created_at"] == sim.rooms[sim.room_ids[0]]["created_at"]


def test_get_as_json_writes_all_fields_in_the_format_of_the_api(sim: RoomsSimulator, invoke: Invoke) -> None:
    room_id = sim.room_ids[0]
    data = json.loads(invoke("get", room_id, "--json").stdout)
    assert list(data) == FIELDS
    ours = {name: value for name, value in data.items() if name != "sessions"}
    assert ours == {name: value for name, value in sim.rooms[room_id].items() if name != "sessions"}


def test_get_shows_sessions_if_they_are_requested(sim: RoomsSimulator, invoke: Invoke, on_terminal: OnTerminal) -> None:
    room_id = sim.room_ids[0]
    session_id = sim.add_session(room_id, participants=["Ada", "Bob"])
    fields = dict(line.split("\t") for line in lines(invoke("get", room_id, "--include-sessions").stdout))
    assert fields["active_session_id"] == fields["sessions[0].id"] == session_id
    assert fields["sessions[0].active"] == "true"
    assert fields["sessions[0].participants[1].context"] == "Bob"
    data = json.loads(invoke("get", room_id, "--include-sessions", "--json").stdout)
    assert [one["context"] for one in data["sessions"][0]["participants"]] == ["Ada", "Bob"]
    code, text = on_terminal("get", room_id, "--include-sessions")
    assert code == 0
    assert session_id in text
    assert all(cell_len(plain_line) <= 80 for plain_line in without_colour(text))


def without_colour(text: str) -> list[str]:
    return lines(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text))


def test_get_of_an_unknown_room_is_a_one_line_error(invoke: Invoke) -> None:
    result = invoke("get", UNKNOWN_ROOM, "--json")
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = lines(result.stderr)
    assert line.startswith(f"aiorooms: 404 room {UNKNOWN_ROOM} not found (10005: ")


def test_get_of_an_invalid_id_sends_nothing(sim: RoomsSimulator, invoke: Invoke) -> None:
    result = invoke("get", "lobby", "--timeout", "0")
    assert result.exit_code == 2
    assert lines(result.stderr) == [
        "aiorooms: ROOM_ID: 'lobby' is not a UUID such as '7b61621f-62e0-4aad-ab11-9fd19e272e73'",
        "aiorooms: --timeout: '0' is less than 0.001 s",
        "aiorooms: 2 problems; nothing was changed",
    ]
    assert sim.stats.requests == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("soon", "'soon' is not a time such as 10, 10s, 500ms or 5m"),
        ("inf", "'inf' is not a time such as 10, 10s, 500ms or 5m"),
        ("-1", "'-1' is not a time such as 10, 10s, 500ms or 5m"),
    ],
)
def test_a_timeout_is_a_duration(invoke: Invoke, given: str, message: str) -> None:
    result = invoke("get", UNKNOWN_ROOM, "--timeout", given)
    assert result.exit_code == 2
    assert lines(result.stderr) == [f"aiorooms: --timeout: {message}"]


@pytest.mark.parametrize("command", [["get", UNKNOWN_ROOM], ["list"]])
def test_a_rejected_key_exits_with_3(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.setenv("TELNYX_API_KEY", "KEY_revoked")
    result = invoke(*command)
    assert result.exit_code == 3
    (line,) = lines(result.stderr)
    assert line.startswith("aiorooms: 401 ")
    assert "KEY_revoked" not in line


@pytest.mark.parametrize("command", [["get", UNKNOWN_ROOM], ["list"]])
def test_a_key_with_a_line_end_is_invalid(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.setenv("TELNYX_API_KEY", f"{KEY}\n")
    result = invoke(*command)
    assert result.exit_code == 2
    assert result.stderr.startswith("aiorooms: TELNYX_API_KEY contains spaces")


def test_an_unreachable_server_is_a_one_line_error(invoke: Invoke) -> None:
    with RoomsSimulator() as gone:
        url = gone.url
    result = invoke("list", "--base-url", url)
    assert result.exit_code == 1
    (line,) = lines(result.stderr)
    assert line.startswith("aiorooms: list of rooms: not sent: ")


def test_the_base_url_option_overrides_the_environment(
    sim: RoomsSimulator, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELNYX_BASE_URL", "not a url")
    assert "TELNYX_BASE_URL 'not a url' has whitespace at index 3" in invoke("list").stderr
    assert invoke("list", "--base-url", sim.url).exit_code == 0


# --- list ---


def test_list_writes_a_room_on_each_line(sim: RoomsSimulator, invoke: Invoke) -> None:
    result = invoke("list", "--page-size", "7")
    assert result.exit_code == 0
    assert result.stderr == ""
    rows = [line.split("\t") for line in lines(result.stdout)]
    assert [row[0] for row in rows] == sim.room_ids
    assert rows[0][:7] == [sim.room_ids[0], "room-000001", "10", "false", "https://old.example.com/rooms", "", ""]
    assert {len(row) for row in rows} == {10}
    assert sim.stats.requests == 3


def test_list_writes_json_lines(sim: RoomsSimulator, invoke: Invoke) -> None:
    rooms = [json.loads(line) for line in lines(invoke("list", "--json").stdout)]
    assert [room["id"] for room in rooms] == sim.room_ids
    assert list(rooms[0]) == FIELDS


def test_list_shows_only_rooms_that_match_the_filters(sim: RoomsSimulator, invoke: Invoke) -> None:
    for day in (1, 2, 3):
        sim.add_room(unique_name=f"day-{day}", created_at=f"2031-05-0{day}T12:00:00.000000Z")

    def names(*options: str) -> list[str]:
        return [line.split("\t")[1] for line in lines(invoke("list", *options).stdout)]

    assert names("--created-from", "2031-05-02") == ["day-2", "day-3"]
    assert names("--created-from", "2031-05-01", "--created-to", "2031-05-02") == ["day-1", "day-2"]
    assert names("--created-on", "2031-05-02") == ["day-2"]
    assert names("--updated-from", "2031-05-03") == ["day-3"]
    assert names("--updated-on", "2031-05-01") == ["day-1"]
    assert names("--updated-from", "2031-05-01", "--updated-to", "2031-05-01") == ["day-1"]
    assert names("--unique-name", "room-000003") == ["room-000003"]
    assert names("--unique-name", "no such room") == []


def test_list_reports_all_problems_together(sim: RoomsSimulator, invoke: Invoke) -> None:
    result = invoke(
        *["list", "--created-from", "yesterday", "--updated-to", "20240101", "--created-on", "2024-02-30"],
        *["--page-size", "251", "--unique-name", " "],
    )
    assert result.exit_code == 2
    assert [line.split(": ")[1] for line in lines(result.stderr)[:-1]] == [
        *["--unique-name", "--created-on", "--created-from", "--updated-to", "--page-size"]
    ]
    assert sim.stats.requests == 0


def test_names_can_neither_break_a_line_nor_control_the_terminal(
    sim: RoomsSimulator, invoke: Invoke, on_terminal: OnTerminal
) -> None:
    sim.add_room(unique_name="a\n\t\u202e\x1b[2J[b]", created_at="2031-05-01T12:00:00.000000Z")
    (line,) = lines(invoke("list", "--created-from", "2031-05-01").stdout)
    assert line.split("\t")[1] == r"a\n\t\u202e\x1b[2J[b]"
    _, text = on_terminal("list", "--created-from", "2031-05-01", columns=160)
    assert "\x1b[2J" not in text
    assert r"a\n\t\u202e\x1b[2J[b]" in text


@pytest.mark.parametrize("columns", [60, 80, 120, 160])
def test_list_is_a_table_on_a_terminal(
    sim: RoomsSimulator, invoke: Invoke, on_terminal: OnTerminal, columns: int
) -> None:
    sim.add_room(unique_name="会議室" * 10, webhook_event_url="https://example.com/" + "x" * 200)
    code, text = on_terminal("list", "--page-size", "10", columns=columns)
    assert code == 0
    head, *rows, count = without_colour(text)
    assert head.split()[:3] == ["id", "unique_name", *["webhook_event_url"] * (columns > 60)] or columns > 120
    assert ("webhook_event_failover_url" in head) == (columns > 80)
    assert ("enable_recording" in head) == (columns > 120)
    assert [row[:36] for row in rows] == sim.room_ids
    assert count == "21 rooms"
    for line in (head, *rows):
        assert cell_len(line) <= columns, f"wider than the screen: {line}"


def test_an_empty_list_is_shown_as_0_rooms_on_a_terminal(invoke: Invoke, on_terminal: OnTerminal) -> None:
    assert on_terminal("list", "--unique-name", "no such room") == (0, "0 rooms\n")


def test_json_on_a_terminal_is_json_and_nothing_else(
    sim: RoomsSimulator, invoke: Invoke, on_terminal: OnTerminal
) -> None:
    code, text = on_terminal("list", "--json", "--unique-name", "room-000001")
    assert code == 0
    assert json.loads(text)["id"] == sim.room_ids[0]


@pytest.mark.parametrize("command", [["get", UNKNOWN_ROOM], ["list"]])
def test_ctrl_c_is_reported_in_one_line(sim: RoomsSimulator, invoke: Invoke, command: list[str]) -> None:
    sim.latency = 60
    with signals_when(lambda: sim.stats.in_flight > 0, signal.SIGINT):
        result = invoke(*command)
    assert result.exit_code == 130
    assert lines(result.stderr) == ["aiorooms: interrupted"]


# --- models as JSON ---


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2021, 4, 12, 22, 29, 42, tzinfo=UTC), "2021-04-12T22:29:42Z"),
        (datetime(2021, 4, 12, 22, 29, 42, 5, tzinfo=UTC), "2021-04-12T22:29:42.000005Z"),
        (datetime(2021, 4, 13, 0, 29, 42, tzinfo=timezone(timedelta(hours=2))), "2021-04-12T22:29:42Z"),
    ],
)
def test_timestamps_are_in_utc(moment: datetime, written: str) -> None:
    assert timestamp(moment) == written
    assert model_data(Room(id="r", created_at=moment))["created_at"] == written
