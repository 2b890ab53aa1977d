"""Bulk commands: Ctrl-C on a real terminal, suggested commands, failures, exit codes and the progress bar."""

import itertools
import json
import os
import re
import signal
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from aiorooms.bulk import Journal
from aiorooms.cli._progress import Bar
from aiorooms.cli._stats import Sample
from aiorooms.errors import APIConnectionError
from aiorooms.models import Room
from aiorooms.resources.rooms import Rooms
from aiorooms.simulator import RoomsSimulator

from .conftest import (
    Invoke,
    Program,
    Start,
    lines,
    planned,
    run,
    signals_when,
    until,
    until_reading,
    without_window,
)


def test_ctrl_c_once_drains_updates_in_flight_and_the_run_can_be_resumed(
    sim: RoomsSimulator, invoke: Invoke, in_terminal: Start
) -> None:
    planned(invoke, "--set", "max_participants=30", "--out", "to night.plan")
    sim.latency = 0.2
    with in_terminal("apply", "to night.plan", "--concurrency", "3") as session:
        session.wait_for("Update 20 rooms at")
        session.press("y\n")
        until(lambda: sim.stats.in_flight == 3, "three updates are in flight")
        session.press("\x03")
        assert session.end() == 130
        assert "stopping: waiting up to 5 s for 3 requests in flight; press Ctrl-C again to abort" in session.text
        assert "uncertain" not in session.text
        assert "To continue: aiorooms resume 'to night.plan.journal'\n" in session.text
        assert "To roll back: aiorooms rollback 'to night.plan.journal'\n" in session.text
    assert set(Journal.open("to night.plan.journal").states().values()) == {"updated"}, (
        "an update in flight has no outcome"
    )
    sim.latency = 0
    assert invoke("resume", "to night.plan.journal", "--yes").exit_code == 0
    assert invoke("verify", "to night.plan").exit_code == 0


def test_ctrl_c_twice_aborts_and_the_run_can_be_resumed(
    sim: RoomsSimulator, invoke: Invoke, in_terminal: Start
) -> None:
    planned(invoke)
    sim.latency = 600
    with in_terminal("apply", "rooms.plan", "--yes", "--concurrency", "3", "--force", grace=600.0) as session:
        until(lambda: sim.stats.in_flight == 3, "three updates are in flight")
        session.press("\x03")
        session.wait_for("stopping")
        session.press("\x03")
        assert session.end() == 130
        assert (
            "the updates in flight were aborted and are uncertain; `aiorooms resume` reads their rooms back"
            in session.text
        )
        assert "To continue: aiorooms resume rooms.plan.journal\n" in session.text
    assert set(Journal.open("rooms.plan.journal").states().values()) == {"begun"}
    sim.latency = 0
    assert invoke("resume", "rooms.plan.journal", "--yes", "--force").exit_code == 0
    assert invoke("verify", "rooms.plan").exit_code == 0


def test_sigterm_works_like_ctrl_c(sim: RoomsSimulator, invoke: Invoke, program: Program) -> None:
    planned(invoke)
    sim.latency = 0.2
    with program("apply", "rooms.plan", "--yes", "--concurrency", "3") as process:
        until(lambda: sim.stats.in_flight == 3, "three updates are in flight")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=10)
        assert process.returncode == 130
    assert lines(errors)[-1] == "To continue: aiorooms resume rooms.plan.journal"
    assert set(Journal.open("rooms.plan.journal").states().values()) == {"updated"}


@pytest.mark.skipif(not Path("/proc/self/syscall").exists(), reason="needs /proc")
@pytest.mark.timeout(120)  # the test starts a process, and the machine may be busy
def test_ctrl_c_at_the_confirmation_changes_nothing(
    sim: RoomsSimulator, invoke: Invoke, in_terminal: Start, folder: Path
) -> None:
    planned(invoke)
    with in_terminal("apply", "rooms.plan") as session:
        session.wait_for("[y/N]: ")
        until_reading(session.process)
        session.press("\x03")
        assert session.end() == 130
        assert lines(session.text)[-1] == "aiorooms: interrupted", "the message is not on a separate line"
    assert not (folder / "rooms.plan.journal").exists()


def test_resume_asks_only_about_the_remaining_rooms(sim: RoomsSimulator, invoke: Invoke, in_terminal: Start) -> None:
    planned(invoke)
    sim.latency = 0.3
    with signals_when(lambda: sim.stats.in_flight >= 5, signal.SIGINT):
        assert invoke("apply", "rooms.plan", "--yes", "--concurrency", "5").exit_code == 130
    sim.latency = 0
    left = 20 - len(Journal.open("rooms.plan.journal").states())
    assert 0 < left < 20
    result = invoke("resume", "rooms.plan.journal")
    assert result.exit_code == 2
    assert f"{left} rooms would change" in result.stderr
    with in_terminal("resume", "rooms.plan.journal") as session:
        session.wait_for(f"Continue with {left} of 20 rooms at ")
        session.press("y\n")
        assert session.end() == 0
    result = invoke("resume", "rooms.plan.journal")
    assert (result.exit_code, result.stderr) == (0, "0 updated, 20 updated in earlier runs, out of 20.\n"), (
        "resume asked for confirmation although no room is left"
    )


@pytest.mark.parametrize(
    "arguments", [("plan", "--set", "max_participants=30", "--overwrite"), ("export", "all.csv", "--overwrite")]
)
def test_rooms_are_counted_on_a_terminal_while_the_account_is_read(
    sim: RoomsSimulator, invoke: Invoke, on_terminal: Callable[..., tuple[int, str]], arguments: tuple[str, ...]
) -> None:
    assert "rooms read" not in invoke(*arguments).output
    code, text = on_terminal(*arguments)
    assert code == 0
    assert "20 rooms read" in text


def test_probed_urls_are_counted_on_a_terminal(
    sim: RoomsSimulator, use: Callable[[RoomsSimulator], None], on_terminal: Callable[..., tuple[int, str]]
) -> None:
    edit = f"webhook_event_url={sim.receiver_url}"
    use(sim)
    code, text = on_terminal("plan", "--set", edit, "--probe", "--allow-private")
    assert code == 0, text
    assert "20 rooms read, 1 webhook URL probed" in text


# --- suggested commands ---


def test_a_suggested_command_can_be_copied(sim: RoomsSimulator, invoke: Invoke, folder: Path) -> None:
    """File names with spaces are quoted, and `--base-url` and `--plan` are repeated if they were given."""
    os.environ.pop("TELNYX_BASE_URL")  # the `invoke` fixture restores it
    server = ("--base-url", sim.url)
    result = invoke("plan", "--set", "max_participants=30", "--out", "a b.plan", *server)
    command = f"aiorooms apply 'a b.plan' --base-url {sim.url}"
    assert result.stderr == f"To apply the plan: {command}\n"
    sim.latency = 0.3
    with signals_when(lambda: sim.stats.in_flight >= 5, signal.SIGINT):
        result = invoke("apply", "a b.plan", "--yes", "--concurrency", "5", *server)
    assert lines(result.stderr)[-1] == f"To continue: aiorooms resume 'a b.plan.journal' --base-url {sim.url}"
    (folder / "a b.plan").rename("moved.plan")
    with signals_when(lambda: sim.stats.in_flight >= 2, signal.SIGINT):
        result = invoke("resume", "a b.plan.journal", "--plan", "moved.plan", "--yes", "--concurrency", "2", *server)
    ending = f"'a b.plan.journal' --plan moved.plan --base-url {sim.url}"
    assert lines(result.stderr)[-1] == f"To continue: aiorooms resume {ending}"


def test_suggested_commands_repeat_the_policy(sim: RoomsSimulator, invoke: Invoke, folder: Path) -> None:
    (folder / "our policy.toml").write_text('schemes = ["https"]\n')
    policy = ("--policy", "our policy.toml")
    result = invoke("plan", "--set", "max_participants=30", *policy)
    assert result.stderr == "To apply the plan: aiorooms apply rooms.plan --policy 'our policy.toml'\n"
    sim.latency = 0.3
    with signals_when(lambda: sim.stats.in_flight >= 5, signal.SIGINT):
        result = invoke("apply", "rooms.plan", "--yes", "--concurrency", "5", *policy)
    ending = "resume rooms.plan.journal --policy 'our policy.toml'"
    assert lines(result.stderr)[-1] == f"To continue: aiorooms {ending}"


# --- failures of the run as a whole ---


@pytest.mark.parametrize(("number", "updated"), [(1, 0), (2, 19)], ids=["before", "after"])
def test_a_failure_to_list_the_rooms_is_reported_with_totals_and_the_next_command(
    sim: RoomsSimulator, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, number: int, updated: int
) -> None:
    """The account is listed before anything is sent, and again at the end, because a room was modified."""
    planned(invoke)
    sim.change_room(sim.room_ids[0], max_participants=7)
    listed = itertools.count(1)
    list_rooms = Rooms.list

    async def failing() -> AsyncGenerator[Room]:
        if number:
            raise APIConnectionError("list of rooms: the connection was reset")
        yield Room(id="r")

    def fail_once(rooms: Rooms, **filters: Any) -> Any:
        return failing() if next(listed) == number else list_rooms(rooms, **filters)

    with monkeypatch.context() as patch:
        patch.setattr(Rooms, "list", fail_once)
        result = invoke("apply", "rooms.plan", "--yes")
    assert result.exit_code == 1
    assert without_window(result.stderr) == [
        "aiorooms: list of rooms: the connection was reset",
        f"{updated} updated, {20 - updated} not begun, out of 20.",
        "To continue: aiorooms resume rooms.plan.journal",
    ]
    assert invoke("resume", "rooms.plan.journal", "--yes", "--force").exit_code == 0


def test_a_closed_pipe_stops_the_run_and_drains_updates_in_flight(
    sim: RoomsSimulator, invoke: Invoke, program: Program
) -> None:
    planned(invoke)
    sim.latency = 0.1
    with program("apply", "rooms.plan", "--yes", "--json", "--concurrency", "3") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["status"] == "updated"
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(10) == 1, "the exit code must be 1, because not all rooms were updated"
    messages = lines(errors)
    assert "aiorooms: stopped: can't write to standard output: Broken pipe" in messages
    assert messages[-1] == "To continue: aiorooms resume rooms.plan.journal"
    states = Journal.open("rooms.plan.journal").states()
    assert set(states.values()) == {"updated"}
    assert len(states) < 20


def test_a_key_that_is_revoked_during_the_run_is_reported_once(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    sim.latency = 0.2

    def revoke() -> None:
        until(lambda: sim.stats.in_flight >= 5, "five updates are in flight")
        sim.api_key = "KEY_other"

    revoking = threading.Thread(target=revoke)
    revoking.start()
    result = invoke("apply", "rooms.plan", "--yes", "--concurrency", "5", "--force")
    revoking.join()
    assert result.exit_code == 3
    assert sum("401" in line for line in lines(result.stderr)) == 1
    assert "aiorooms: stopped: 401 room " in result.stderr
    totals = [line for line in lines(result.stderr) if "out of 20" in line]
    assert "failed" not in totals[0], "a room was blamed for the key"
    assert lines(result.stderr)[-1] == "To continue: aiorooms resume rooms.plan.journal"


# --- JSON and exit codes ---


def test_the_json_of_a_plan_has_every_room_if_the_option_all_is_given(sim: RoomsSimulator, invoke: Invoke) -> None:
    options = ("--set", "max_participants=30", "--json")
    totals = json.loads(invoke("plan", *options).stdout)
    *rooms, last = map(json.loads, lines(invoke("plan", *options, "--all", "--overwrite").stdout))
    assert [room["room_id"] for room in rooms] == sim.room_ids
    assert rooms[0]["before"] == {"max_participants": 10}
    assert rooms[0]["after"] == {"max_participants": 30}
    own = dict.fromkeys(("plan_id", "created_at", "sha256"))
    assert {**last, **own} == {**totals, **own}


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--frob",),
        ("a.csv", "b.csv"),
        ("--set", "max_participants=99"),
        ("none.csv",),
        ("none.csv", "--check"),
        ("--set", "max_participants=30", "--out", "nowhere/a.plan"),
        ("--set", "max_participants=30", "--timeout", "soon"),
    ],
)
def test_with_detailed_exitcode_errors_exit_with_1_because_2_means_changes(
    invoke: Invoke, arguments: tuple[str, ...]
) -> None:
    assert invoke("plan", "--detailed-exitcode", *arguments).exit_code == 1
    assert invoke("plan", *arguments).exit_code == 2


def test_with_detailed_exitcode_a_missing_key_exits_with_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TELNYX_API_KEY", raising=False)
    assert run("plan", "--set", "max_participants=30", "--detailed-exitcode").exit_code == 1


def test_with_detailed_exitcode_the_same_problems_are_shown(folder: Path) -> None:
    rows = "".join(f"room-{number},99\n" for number in range(200))
    (folder / "a.csv").write_text("room,max_participants\n" + rows)
    plain, detailed = run("plan", "a.csv", "--check"), run("plan", "a.csv", "--check", "--detailed-exitcode")
    assert (plain.exit_code, detailed.exit_code) == (2, 1)
    assert plain.stderr == detailed.stderr
    assert lines(plain.stderr)[50:] == ["aiorooms: 200 problems (150 not shown); nothing was changed"]


def test_the_number_of_rows_is_singular_for_one_row(folder: Path) -> None:
    (folder / "a.csv").write_text("room,max_participants\nroom-1,9\n")
    assert run("plan", "a.csv", "--check").stdout == "a.csv: 1 row, no problems.\n"


# --- the bar ---


def test_the_speed_of_a_resume_excludes_earlier_runs() -> None:
    bar = Bar(100, lambda: Sample(done=100, before=90))
    list(bar.get_renderables())
    (task,) = bar.tasks
    task.start_time, task.stop_time = 0.0, 1.0
    with bar.console.capture() as shown:
        bar.console.print(bar.make_tasks_table(bar.tasks))
    assert " 10/s " in shown.get()


def test_the_bar_shows_failed_and_uncertain_rooms_and_conflicts_separately() -> None:
    samples = [Sample(done=10, failed=2)]
    bar = Bar(100, lambda: samples[-1])
    with bar.console.capture() as shown:
        bar.console.print(*bar.get_renderables())
        samples.append(Sample(done=10, failed=2, uncertain=1, conflicts=3))
        bar.console.print(*bar.get_renderables())
    first, second = lines(shown.get())
    assert first.rstrip().endswith("2 failed")
    assert second.rstrip().endswith("2 failed, 1 uncertain, 3 in conflict")


def test_watching_a_run_on_a_terminal_draws_in_place_and_ctrl_c_leaves_the_run_alone(
    sim: RoomsSimulator, invoke: Invoke, in_terminal: Start, program: Program
) -> None:
    planned(invoke)
    sim.latency = 1
    with program("apply", "rooms.plan", "--yes", "--concurrency", "1") as process:
        until(lambda: sim.stats.by_method["PATCH"] > 0, "an update was sent")
        with in_terminal("status", "rooms.plan.journal", "--watch", "--every", "0.05") as session:
            shown = re.compile(r"running: (\d+) of 20 rooms done")
            until(lambda: len(set(shown.findall(session.text))) > 1, "two states have been drawn")
            session.press("\x03")
            assert session.end() == 130
            assert "interrupted" not in session.text
        sim.latency = 0
        assert process.wait(30) == 0
    with in_terminal("status", "rooms.plan.journal", "--watch") as session:
        assert session.end() == 0
        assert "ended: all 20 rooms are as planned" in session.text
