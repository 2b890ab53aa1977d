"""The command plan: odd rooms and rows, standard input and output, and what it says about rooms left out."""

import gzip
import json
from pathlib import Path

import pytest

from aiorooms.bulk import Plan
from aiorooms.simulator import RoomsSimulator

from .conftest import Invoke, lines, run


def write(folder: Path, *rows: str) -> None:
    (folder / "a.csv").write_text("\n".join(rows) + "\n")


def test_what_list_and_export_write_makes_an_empty_plan(sim: RoomsSimulator, invoke: Invoke, folder: Path) -> None:
    sim.change_room(sim.room_ids[0], max_participants=99, webhook_event_url="hooks.example.com/x")
    sim.change_room(sim.room_ids[1], unique_name="null")
    sim.change_room(sim.room_ids[2], unique_name=None)
    sim.change_room(sim.room_ids[3], unique_name="00123")
    listed = invoke("list", "--json").stdout
    for number, stdin in enumerate(
        (listed, invoke("export", "-").stdout, invoke("export", "-", "--format", "jsonl").stdout)
    ):
        result = invoke("plan", "-", "--out", f"{number}.plan", stdin=stdin)
        assert (result.exit_code, result.stdout) == (0, "0 rooms to change, 20 already as planned.\n"), result.stderr
        assert Plan.open(folder / f"{number}.plan").source == "standard input"


def test_a_compressed_file_is_planned(sim: RoomsSimulator, invoke: Invoke, folder: Path) -> None:
    (folder / "a.csv.gz").write_bytes(gzip.compress(f"id,max_participants\n{sim.room_ids[0]},30\n".encode()))
    result = invoke("plan", "a.csv.gz")
    assert lines(result.stdout)[-1] == "1 room to change, 19 not concerned."


def test_a_plan_can_go_to_standard_output(sim: RoomsSimulator, invoke: Invoke, folder: Path) -> None:
    result = invoke("plan", "--set", "max_participants=30", "-o", "-")
    assert (result.exit_code, result.stderr) == (0, "20 rooms to change.\n")
    (folder / "copied.plan").write_bytes(result.stdout_bytes)
    assert Plan.open(folder / "copied.plan").rooms == 20
    assert [path.name for path in folder.iterdir()] == ["copied.plan"]


def test_a_failed_command_writes_nothing_to_standard_output(sim: RoomsSimulator, invoke: Invoke, folder: Path) -> None:
    write(folder, "id,max_participants", f"{sim.room_ids[0]},99")
    result = invoke("plan", "a.csv", "--out", "-")
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["plan", "--set", "max_participants=3", "--out", "-", "--json"],
            "--out: standard output would contain the plan",
        ),
        (
            ["export", "-", "--json"],
            "FILE: standard output would contain the rooms and JSON; give a file, or omit --json",
        ),
        (["plan", "--set", "max_participants=3", "--ignore-columns"], "--ignore-columns: give a FILE too"),
        (["plan", "a.csv", "--check", "--skip-invalid"], "--skip-invalid: omit it or --check, which does not read the"),
        (["plan", "a.csv", "--where", "nam=x"], "--where: 'nam=x' is not a condition"),
        (["plan", "a.plan"], "FILE: 'a.plan' is a plan; use `aiorooms apply a.plan`"),
        (["plan", "a.plan.journal"], "FILE: 'a.plan.journal' is a journal; use `aiorooms resume a.plan.journal`"),
        (["plan", "--rewrite-webhook-host", "a.example=b c"], "--rewrite-webhook-host: 'a.example=b c' is not OLD=NEW"),
    ],
)
def test_invalid_options_are_one_line(invoke: Invoke, folder: Path, arguments: list[str], message: str) -> None:
    (folder / "a.plan").write_text('{"aiorooms_plan":9')
    (folder / "a.plan.journal").write_text('{"aiorooms_journal":2,')
    write(folder, "id,max_participants", "x,2")
    result = invoke(*arguments)
    assert result.exit_code == 2
    (line,) = lines(result.stderr)
    assert line.startswith(f"aiorooms: {message}")


def test_a_rewrite_of_a_host_that_no_room_has_names_the_option(
    sim: RoomsSimulator, invoke: Invoke, folder: Path
) -> None:
    host = str(sim.rooms[sim.room_ids[0]]["webhook_event_url"]).split("/")[2]
    result = invoke("plan", "--rewrite-webhook-host", f"{host}x=new.example.com")
    assert (result.exit_code, result.stderr) == (
        2, f"aiorooms: --rewrite-webhook-host: no room has the host '{host}x'; did you mean {host} (20 rooms)?\n",
    )  # fmt: skip
    assert [*folder.iterdir()] == []


def test_rooms_that_can_not_be_changed_are_listed_and_left_out(
    sim: RoomsSimulator, invoke: Invoke, folder: Path
) -> None:
    one, two, three, four = sim.room_ids[:4]
    sim.change_room(one, max_participants=99)
    rows = [
        "id,max_participants,unique_name",
        f"{one},99,first",
        f"{two},99,second",
        f"{three},30,room-000004",
        "x,30,x",
    ]
    write(folder, *rows, f"{four},30,")
    result = invoke("plan", "a.csv", "--skip-invalid", "--json")
    assert result.exit_code == 0
    assert [line.partition(": ")[2][:22] for line in lines(result.stderr)] == [
        "a.csv, line 3, max_par", "a.csv, line 4, unique_", "a.csv, line 5, id: 'x'", "3 rooms or rows were l",
    ]  # fmt: skip
    totals = json.loads(result.stdout)
    assert (totals["rooms"], totals["invalid"], totals["not_concerned"]) == (2, 3, 16)
    assert [one.after for one in Plan.open(folder / "rooms.plan").updates()] == [
        {"max_participants": 30}, {"unique_name": "first"},
    ]  # fmt: skip


def test_columns_that_are_ignored_are_named(sim: RoomsSimulator, invoke: Invoke, folder: Path) -> None:
    write(folder, "id,notes,max_participants,owner", f"{sim.room_ids[0]},x,30,y")
    result = invoke("plan", "a.csv", "--ignore-columns")
    assert result.exit_code == 0
    assert lines(result.stderr)[0] == "aiorooms: ignored columns: 'notes', 'owner'"


def test_names_that_a_spreadsheet_may_have_converted_are_named(
    sim: RoomsSimulator, invoke: Invoke, folder: Path
) -> None:
    for number, room_id in enumerate(sim.room_ids):
        sim.change_room(room_id, unique_name=f"{number:05}")
    write(folder, "id,unique_name", *(f"{room_id},{number}" for number, room_id in enumerate(sim.room_ids)))
    result = invoke("plan", "a.csv")
    assert result.exit_code == 0
    warnings = [line for line in lines(result.stderr) if line.startswith("aiorooms: ")]
    assert len(warnings) == 11
    first = f"aiorooms: warning: a.csv, line 2: room {sim.room_ids[0]} gets the name '0' instead of '00000'"
    assert f"{first}; a spreadsheet may have converted it" in warnings
    assert warnings[-1] == "aiorooms: 10 more warnings are not shown"


def test_the_totals_tell_rooms_as_wanted_from_rooms_that_are_not_concerned(sim: RoomsSimulator, invoke: Invoke) -> None:
    for room_id, host in zip(sim.room_ids, ["old"] * 5 + ["new"] * 7 + ["other"] * 8, strict=True):
        sim.change_room(room_id, webhook_event_url=f"https://{host}.example.com/x", webhook_event_failover_url=None)
    result = invoke("plan", "--rewrite-webhook-host", "old.example.com=new.example.com")
    assert lines(result.stdout)[-1] == "5 rooms to change, 7 already as planned, 8 not concerned."
    assert lines(run("show", "rooms.plan").stdout)[-1] == lines(result.stdout)[-1]


@pytest.mark.parametrize(
    ("condition", "rooms"),
    [
        ("id!=*", 0),
        ("name=room-00000?", 9),
        ("failover_host=null", 20),
        ("failover_host!=null", 0),
        ("created!=2024-01-01", 0),
    ],
)
def test_conditions_select_rows_of_a_file(
    sim: RoomsSimulator, invoke: Invoke, folder: Path, condition: str, rooms: int
) -> None:
    write(folder, "id,max_participants", *(f"{room_id},30" for room_id in sim.room_ids))
    assert invoke("plan", "a.csv", "--where", condition).exit_code == 0
    assert Plan.open(folder / "rooms.plan").rooms == rooms
