"""The command update: its input, what it sends, the report of each room, and signals."""

import errno
import io
import json
import re
import signal
import types
from collections.abc import Callable
from typing import Any

import pytest

from aiorooms.cli import _run, _streams
from aiorooms.simulator import Faults, RoomsSimulator

from ..conftest import times
from ..samples import ROOM_ID
from .conftest import KEY, Invoke, lines, run, signals_when

UNKNOWN_ROOM = ROOM_ID


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        (["--unique-name", "lobby"], "unique_name", "lobby"),
        (["--max-participants", "20"], "max_participants", 20),
        (["--enable-recording"], "enable_recording", True),
        (["--no-enable-recording"], "enable_recording", False),
        (["--webhook-event-url", "https://new.example.com/a"], "webhook_event_url", "https://new.example.com/a"),
        (["--webhook-event-failover-url", "https://b.example/"], "webhook_event_failover_url", "https://b.example/"),
        (["--webhook-event-failover-url", "null"], "webhook_event_failover_url", None),
        (["--webhook-timeout-secs", "0"], "webhook_timeout_secs", 0),
        (["--webhook-timeout-secs", "null"], "webhook_timeout_secs", None),
    ],
)
def test_an_option_sends_its_field_and_no_other(
    sim: RoomsSimulator, invoke: Invoke, options: list[str], field: str, value: object
) -> None:
    sim.record = True
    room_id = sim.room_ids[0]
    result = invoke("update", room_id, *options)
    assert result.exit_code == 0, result.output
    (request,) = sim.recorded
    assert json.loads(request.body) == {field: value}
    assert sim.rooms[room_id][field] == value


def test_an_updated_room_is_printed_as_one_line(sim: RoomsSimulator, invoke: Invoke) -> None:
    room_id = sim.room_ids[0]
    result = invoke("update", room_id, "--max-participants", "20")
    assert result.stdout == f"{room_id}\tupdated\troom-000001\n"
    assert result.stderr == ""


def test_all_problems_are_reported_together_and_nothing_is_sent(sim: RoomsSimulator, invoke: Invoke) -> None:
    result = invoke(
        *["update", "abc", "-", "--unique-name", " ", "--max-participants", "99", "--webhook-event-url", "null"],
        *["--webhook-event-failover-url", "https:/x", "--webhook-timeout-secs", "soon", "--concurrency", "0"],
        *["--max-failures", "none", "--timeout", "-1", "--base-url", "http://example.com"],
        stdin=f"{sim.room_ids[0]}\nxyz\n",
    )
    assert result.exit_code == 2
    assert result.stdout == ""
    for named in (
        "ROOM_ID: 'abc'",
        "standard input, line 2: 'xyz'",
        "--unique-name: ",
        "--max-participants: 99",
        "--webhook-event-url: null can't clear",
        "--webhook-timeout-secs: 'soon'",
        "--concurrency: 0",
        "--max-failures: 'none'",
        "--timeout: '-1'",
        "--base-url 'http://example.com'",
        "problems; nothing was changed",
    ):
        assert f"aiorooms: {named}" in result.stderr or named in lines(result.stderr)[-1], f"{named} is missing"
    assert all(line.startswith("aiorooms: ") for line in lines(result.stderr))
    assert sim.stats.requests == 0, "something was sent"


@pytest.mark.parametrize("option", ["--unique-name", "--max-participants", "--webhook-event-url"])
def test_null_is_invalid_where_a_field_cannot_be_cleared(sim: RoomsSimulator, invoke: Invoke, option: str) -> None:
    result = invoke("update", sim.room_ids[0], option, "null")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"aiorooms: {option}: null can't clear this field")
    assert sim.stats.requests == 0


def test_messages_name_options_instead_of_python_arguments(sim: RoomsSimulator, invoke: Invoke) -> None:
    result = invoke(
        *["update", sim.room_ids[0], "--webhook-event-url", "https://a.example/x"],
        *["--webhook-event-failover-url", "https://a.example/x", "--base-url", "http://example.com/?x=1"],
    )
    assert result.exit_code == 2
    assert "--webhook-event-failover-url: " in result.stderr, "the pair of URLs is not checked"
    assert not re.search(r"\bNone\b|_url|api_key=|allow_insecure", result.stderr), result.stderr


def test_an_update_that_changes_nothing_is_invalid(sim: RoomsSimulator, invoke: Invoke) -> None:
    result = invoke("update", sim.room_ids[0])
    assert result.exit_code == 2
    assert "there is nothing to change" in result.stderr
    assert "--webhook-event-failover-url" in result.stderr


def test_a_missing_key_is_invalid_input(sim: RoomsSimulator, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TELNYX_API_KEY")
    result = invoke("update", sim.room_ids[0], "--max-participants", "3")
    assert result.exit_code == 2
    assert lines(result.stderr) == [
        "aiorooms: TELNYX_API_KEY is not set; set it to your API key (`aiorooms demo` needs none)"
    ]
    assert sim.stats.requests == 0


def test_a_unique_name_for_two_rooms_is_invalid(sim: RoomsSimulator, invoke: Invoke) -> None:
    result = invoke("update", *sim.room_ids[:2], "--unique-name", "lobby")
    assert result.exit_code == 2
    assert "--unique-name: a unique name belongs to only one room, but 2 rooms were given" in result.stderr


# --- ids on standard input ---


@pytest.mark.parametrize("form", ["{}\n{}\n", "{}\r\n{}\r\n", "\ufeff{}\n\n  {}  \n\n", "{}\n{}"])
def test_ids_are_read_from_standard_input(sim: RoomsSimulator, invoke: Invoke, form: str) -> None:
    ids = sim.room_ids[:2]
    result = invoke("update", "-", "--max-participants", "20", stdin=form.format(*ids).encode())
    assert result.exit_code == 0, result.output
    assert {line.split("\t")[0] for line in lines(result.stdout)} == set(ids)


def test_an_id_given_twice_is_updated_once(sim: RoomsSimulator, invoke: Invoke) -> None:
    first, second = sim.room_ids[:2]
    result = invoke("update", first, first.upper(), "-", "-", "--enable-recording", stdin=f"{first}\n{second}\n")
    assert result.exit_code == 0
    assert len(lines(result.stdout)) == 2
    assert "duplicate room ids: 2" in result.stderr
    assert set(sim.stats.updates_applied.values()) == {1}


def test_standard_input_that_cannot_be_read_is_an_error(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.BytesIO):
        def __next__(self) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(_streams, "sys", types.SimpleNamespace(stdin=io.TextIOWrapper(Broken())))
    result = invoke("update", "-", "--enable-recording")
    assert result.exit_code == 2
    assert lines(result.stderr) == ["aiorooms: standard input: reading failed: Input/output error"]


@pytest.mark.parametrize("stdin", ["", "\n \n"])
def test_standard_input_without_ids_is_invalid(invoke: Invoke, stdin: str) -> None:
    result = invoke("update", "-", "--enable-recording", stdin=stdin)
    assert result.exit_code == 2
    assert lines(result.stderr) == ["aiorooms: standard input: there are no room ids; give one on each line"]


def test_only_50_problems_of_standard_input_are_shown(invoke: Invoke) -> None:
    result = invoke("update", "-", "--enable-recording", stdin=b"\xff\x00\x1b[31m,,\n" * 5000)
    assert result.exit_code == 2
    assert len(lines(result.stderr)) == 51
    assert lines(result.stderr)[-1] == "aiorooms: 5,000 problems (4,950 not shown); nothing was changed"
    assert "\x1b" not in result.stderr


# --- outcomes ---


def test_a_failed_update_exits_with_1_and_the_others_are_updated(sim: RoomsSimulator, invoke: Invoke) -> None:
    result = invoke("update", *sim.room_ids[:3], UNKNOWN_ROOM, "--max-participants", "20")
    assert result.exit_code == 1
    assert len(lines(result.stdout)) == 3
    failure, summary = lines(result.stderr)
    assert failure.startswith(f"aiorooms: 404 room {UNKNOWN_ROOM} not found (10005")
    assert summary.startswith("3 updated, 1 failed in ")


def test_an_update_that_cannot_be_read_back_is_uncertain(sim: RoomsSimulator, invoke: Invoke) -> None:
    room_id = sim.room_ids[0]
    sim.faults = Faults(1, kinds=["close_after"])
    result = invoke("update", room_id, "--max-participants", "20", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["status"] == "uncertain"
    assert "check the room before sending the request again" in result.stderr


def test_a_wrong_key_is_reported_once_and_stops_the_run(
    sim: RoomsSimulator, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELNYX_API_KEY", "KEY_revoked")
    result = invoke("update", *sim.room_ids, "--max-participants", "20", "--concurrency", "5")
    assert result.exit_code == 3
    assert result.stdout == ""
    rejected, sent, summary = lines(result.stderr)
    assert rejected.startswith("aiorooms: 401 room ")
    assert sent.startswith("aiorooms: 5 rooms were skipped: 401 room ...: request rejected: check the API key")
    assert sent.count(", ") == 2, "three rooms are named"
    assert summary.startswith("0 updated, 20 skipped in ")
    assert sim.stats.requests <= 5


def test_a_key_without_permission_exits_with_3(sim: RoomsSimulator, invoke: Invoke) -> None:
    sim.forbidden_keys = {KEY}
    sim.api_key = "KEY_other"
    result = invoke("update", *sim.room_ids, "--max-participants", "20")
    assert result.exit_code == 3
    assert "aiorooms: 403 room " in result.stderr


@pytest.mark.parametrize("option", ["--max-failures", "--stop-after-failures"])
def test_max_failures_and_the_old_name_of_this_option_stop_the_run(
    sim: RoomsSimulator, invoke: Invoke, option: str
) -> None:
    ids = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(50)]
    options = ["--enable-recording", option, "3", "--concurrency", "1", "--json"]
    result = invoke("update", "-", *options, stdin="\n".join(ids))
    assert result.exit_code == 1
    assert sim.stats.requests == 3
    results = [json.loads(line) for line in lines(result.stdout)]
    assert [one["status"] for one in results] == ["failed"] * 3 + ["skipped"] * 47
    assert lines(result.stderr)[-1].startswith("0 updated, 3 failed, 47 skipped in ")
    warnings = [line for line in lines(result.stderr) if "--max-failures" in line]
    is_old = option == "--stop-after-failures"
    assert warnings == ["aiorooms: --stop-after-failures is deprecated; use --max-failures"] * is_old


def test_a_deprecated_option_is_hidden_in_the_help_and_named_in_error_messages(invoke: Invoke) -> None:
    assert "--stop-after-failures" not in invoke("update", "--help").output
    result = invoke("update", UNKNOWN_ROOM, "--enable-recording", "--stop-after-failures", "0")
    assert result.exit_code == 2
    assert lines(result.stderr) == ["aiorooms: --stop-after-failures: 0 is not in the range 1 to 1000000"]


def test_an_update_succeeds_despite_faults(sim: RoomsSimulator, invoke: Invoke) -> None:
    sim.faults = Faults(0.5, kinds=["reset_before", "reset_after", "503", "garbage"], first_tries=3)
    result = invoke("update", *sim.room_ids, "--max-participants", "20", "--json")
    assert result.exit_code == 0, result.stderr
    results = [json.loads(line) for line in lines(result.stdout)]
    assert {one["room_id"] for one in results} == set(sim.room_ids)
    assert max(one["attempts"] for one in results) > 1
    assert all(room["max_participants"] == 20 for room in sim.rooms.values())


def test_json_has_an_object_for_each_room(sim: RoomsSimulator, invoke: Invoke) -> None:
    room_id = sim.room_ids[0]
    result = invoke("update", room_id, UNKNOWN_ROOM, "--max-participants", "20", "--json")
    by_room = {one["room_id"]: one for one in map(json.loads, lines(result.stdout))}
    updated, failed = by_room[room_id], by_room[UNKNOWN_ROOM]
    assert list(updated) == ["room_id", "status", "attempts", "elapsed", "request_id", "error", "room"]
    assert (updated["status"], updated["attempts"], updated["error"]) == ("updated", 1, None)
    assert 0 < updated["elapsed"] < 5
    assert updated["room"]["max_participants"] == 20
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", updated["room"]["updated_at"])
    assert (failed["status"], failed["room"]) == ("failed", None)
    assert failed["error"]["type"] == "NotFoundError"
    assert failed["error"]["status"] == 404
    assert failed["error"]["codes"] == ["10005"]
    assert failed["error"]["request_id"]
    assert failed["error"]["message"].startswith("404 room")


def test_concurrency_limits_the_updates_in_flight(sim: RoomsSimulator, invoke: Invoke) -> None:
    sim.latency = 0.02
    assert invoke("update", *sim.room_ids, "--enable-recording", "--concurrency", "3").exit_code == 0
    assert sim.stats.peak_in_flight == 3


def test_a_concurrency_above_100_raises_the_number_of_connections(use: Callable[[RoomsSimulator], None]) -> None:
    """The first 200 requests are answered, which completes slow start. The others are not, so they stay in flight."""
    faults = Faults(script=[*[None] * 200, *times("stall_before", 200)], stall_seconds=600)
    with RoomsSimulator(rooms=400, api_key=KEY, faults=faults) as sim:
        use(sim)
        options = ["--enable-recording", "--concurrency", "150"]
        with signals_when(in_flight(sim, 150), signal.SIGINT, signal.SIGINT):
            result = run("update", "-", *options, stdin="\n".join(sim.room_ids))
        assert result.exit_code == 130
        assert sim.stats.peak_in_flight == 150


def test_timeout_limits_each_attempt(sim: RoomsSimulator, invoke: Invoke) -> None:
    sim.latency = 30
    result = invoke("update", sim.room_ids[0], "--enable-recording", "--timeout", "0.05", "--json")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert (data["error"]["type"], data["attempts"]) == ("APITimeoutError", 4)


# --- Ctrl-C ---


def in_flight(sim: RoomsSimulator, count: int) -> Callable[[], bool]:
    return lambda: sim.stats.in_flight >= count


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_updates_in_flight_and_starts_nothing_new(
    sim: RoomsSimulator, invoke: Invoke, number: int
) -> None:
    sim.latency = 0.3
    with signals_when(in_flight(sim, 5), number):
        result = invoke("update", *sim.room_ids, "--max-participants", "20", "--concurrency", "5")
    assert result.exit_code == 130
    done = len(lines(result.stdout))
    # In slow start, one request is sent, then two, then four. Five are in flight only after at least seven were sent.
    assert 5 <= done < 20
    stopping, summary, hint = lines(result.stderr)
    assert stopping == "aiorooms: stopping: waiting up to 5 s for 5 requests in flight; press Ctrl-C again to abort"
    assert summary.startswith(f"interrupted: {done} updated, {20 - done} skipped in ")
    assert hint == "Run the same command again to update the rest. Updating a room twice is safe."
    assert sim.stats.requests == done


def outcomes(stdout: str) -> dict[str, dict[str, Any]]:
    results = [json.loads(line) for line in lines(stdout)]
    by_room = {one["room_id"]: one for one in results}
    assert len(by_room) == len(results), "a room has two outcomes"
    return by_room


@pytest.mark.usefixtures("short_slow_start")
@pytest.mark.parametrize(("grace", "signals"), [(0.1, 1), (50.0, 2)])
def test_aborted_updates_are_uncertain_and_every_room_has_one_outcome(
    sim: RoomsSimulator, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, grace: float, signals: int
) -> None:
    sim.latency = 60
    monkeypatch.setattr(_run, "GRACE", grace)
    with signals_when(in_flight(sim, 5), *[signal.SIGINT] * signals):
        result = invoke("update", *sim.room_ids, "--max-participants", "20", "--concurrency", "5", "--json")
    assert result.exit_code == 130
    by_room = outcomes(result.stdout)
    assert set(by_room) == set(sim.room_ids)
    statuses = [by_room[room_id]["status"] for room_id in sim.room_ids]
    assert statuses == ["uncertain"] * 5 + ["skipped"] * 15
    assert by_room[sim.room_ids[0]]["error"]["type"] == "Interrupted"
    assert f"aiorooms: room {sim.room_ids[0]}: the update was interrupted, so its outcome is uncertain" in result.stderr
    assert "interrupted: 0 updated, 5 uncertain, 15 skipped in " in result.stderr


# --- on a terminal ---


def test_a_few_rooms_are_shown_as_lines_on_a_terminal(
    sim: RoomsSimulator, invoke: Invoke, on_terminal: Callable[..., tuple[int, str]]
) -> None:
    code, text = on_terminal("update", *sim.room_ids[:2], "--max-participants", "20")
    assert code == 0
    first, second, summary = lines(text)
    assert {first.split("\t")[0], second.split("\t")[0]} == set(sim.room_ids[:2])
    assert summary.startswith("2 updated in ")


def test_many_rooms_are_shown_as_a_bar_on_a_terminal(
    sim: RoomsSimulator, invoke: Invoke, on_terminal: Callable[..., tuple[int, str]]
) -> None:
    code, text = on_terminal("update", *sim.room_ids, UNKNOWN_ROOM, "--max-participants", "20")
    assert code == 1
    assert "21/21" in text, "no bar was shown"
    assert "1 failed" in text
    assert f"aiorooms: 404 room {UNKNOWN_ROOM}" in text
    assert "20 updated, 1 failed in " in text
    assert f"{sim.room_ids[0]}\tupdated" not in text, "a line was printed in addition to the bar"
