"""`simulate --from`: the simulator has the rooms of a file, as they are, and a bad file is reported line by line."""

import asyncio
import csv
import gzip
import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import openpyxl  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms import RoomsClient
from aiorooms.bulk import BulkInputError, export_rooms
from aiorooms.bulk._sources.room_file import read_rooms
from aiorooms.models import FIELD_NAMES
from aiorooms.simulator import RoomsSimulator

from .conftest import lines, run, signals_when

A, B, C = (f"7b61621f-62e0-4aad-ab11-9fd19e272e7{number}" for number in range(3))


def account_of(sim: RoomsSimulator) -> list[dict[str, Any]]:
    """Return the rooms of a simulator, with "" for a URL that is null, because an export can't tell these apart."""
    urls = ("webhook_event_url", "webhook_event_failover_url")
    return [{**room, **{url: room[url] or "" for url in urls}} for room in sim.rooms.values()]


def simulated(started: list[RoomsSimulator], *options: str, stdin: str | bytes | None = None) -> RoomsSimulator:
    """Run `simulate` with a file until it has started, and return its simulator."""
    with signals_when(lambda: bool(started), signal.SIGINT):
        result = run("simulate", "--port", "0", *options, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    return started[0]


def odd_account() -> RoomsSimulator:
    """Return an account with rooms that break today's rules."""
    sim = RoomsSimulator(rooms=[{"unique_name": None}, {"unique_name": None}])
    sim.add_room(id=A, max_participants=99, webhook_event_url="hooks.example.com", webhook_timeout_secs=300)
    sim.add_room(id=B, unique_name='Räum, "quoted"; 00123\ttab', enable_recording=True, webhook_event_url="")
    sim.add_room(
        id=C,
        webhook_event_url="https://user:secret@old.example.com/",
        webhook_event_failover_url="https://b.example.com",
        created_at="2021-04-16T09:46:20.954863Z",
        updated_at="2023-01-02T03:04:05Z",
        webhook_timeout_secs=0,
    )
    return sim


def exported(folder: Path, invoke: Callable[..., Any], kind: str) -> str:
    if kind == "list --json":
        (folder / "rooms.txt").write_text(invoke("list", "--json").stdout)
        return "rooms.txt"
    assert invoke("export", f"rooms.{kind}").exit_code == 0
    return f"rooms.{kind}"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "list --json"])
def test_the_rooms_of_an_account_are_kept_as_they_are(
    folder: Path,
    started: list[RoomsSimulator],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    with odd_account() as sim:
        monkeypatch.setenv("TELNYX_API_KEY", sim.api_key)
        monkeypatch.setenv("TELNYX_BASE_URL", sim.url)
        name = exported(folder, run, kind)
        wanted = account_of(sim)
        started.clear()
        assert account_of(simulated(started, "--from", name)) == wanted


PAGES = {
    "an answer": '{"data": [\n{ROOMS}\n], "meta": {"total_pages": 1}}',
    "an answer with the list at its end": '{"meta": {"page": [1, {"a": "]"}]}, "data": [{ROOMS}]}\n',
    "two answers": '{"data": [{ROOM_A}], "meta": {"a": {}, "b": [2]}}\n{"data":[{ROOM_B}]}\n',
    "two answers on many lines": '{\n"data": [\n{ROOM_A}\n]\n,"meta": {}\n}\n\n{\n"data": [\n{ROOM_B}]}',
    "a list": "[{ROOMS}]",
    "a list on many lines": "\n\n[\n{ROOM_A}\n,\n{ROOM_B}\n]\n",
    "an object per line": "{ROOM_A}\r\n\r\n{ROOM_B}",
    "objects on many lines": f'{{\n"id":"{A}","unique_name":"a"}}\n\n{{\n"id":"{B}","unique_name":"b",\n'
    '"webhook_timeout_secs"\n:7}',
}
ROOM_A = {"id": A, "unique_name": "a"}
ROOM_B = {"room_id": B.upper(), "unique_name": "b", "webhook_timeout_secs": 7, "record_type": "room", "new_key": 1}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
@pytest.mark.parametrize("source", ["rooms.json", "rooms", "-"])
def test_every_usual_form_of_json_is_read(started: list[RoomsSimulator], page: str, source: str) -> None:
    a, b = json.dumps(ROOM_A), json.dumps(ROOM_B)
    text = page.replace("{ROOMS}", f"{a}, {b}").replace("{ROOM_A}", a).replace("{ROOM_B}", b)
    if source != "-":
        Path(source).write_text(text)
    sim = simulated(started, "--from", source, stdin=text)
    found = [(room["id"], room["unique_name"], room["webhook_timeout_secs"]) for room in sim.rooms.values()]
    assert found == [(A, "a", None), (B, "b", 7)]


@pytest.mark.parametrize(
    "text",
    [
        f"id;unique_name;max_participants\r\n{A};a;99\r\n{B};b;\r\n",
        f"\ufeffunique_name\troom_id\tmax_participants\na\t{A}\t99\nb\t{B.upper()}\n\n",
        f'\n"id","unique_name","max_participants","updated_at"\n"{A}",a,99.0\n,,,\n{B},b, ,2024-05-01 12:00:00+02:00',
    ],
    ids=["semicolons", "tabs", "quotes"],
)
def test_a_csv_file_as_programs_write_it_is_read(started: list[RoomsSimulator], text: str) -> None:
    Path("rooms.csv").write_bytes(text.encode())
    sim = simulated(started, "--from", "rooms.csv")
    found = [(room["id"], room["unique_name"], room["max_participants"]) for room in sim.rooms.values()]
    assert found == [(A, "a", 99), (B, "b", 10)]


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "xlsx", "-"])
def test_names_that_a_spreadsheet_would_convert_come_back(
    started: list[RoomsSimulator], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    names = ["00123", "null", "=1+1", "'quoted'", " padded ", "#REF!", "TRUE", "1-2", "rock'n'roll", None]
    with RoomsSimulator(rooms=[{"unique_name": name} for name in names]) as sim:
        monkeypatch.setenv("TELNYX_API_KEY", sim.api_key)
        monkeypatch.setenv("TELNYX_BASE_URL", sim.url)
        assert run("export", "rooms.csv").exit_code == 0
    started.clear()
    exported = Path("rooms.csv").read_bytes()
    Path("rooms.csv.gz").write_bytes(gzip.compress(exported))
    if kind == "xlsx":
        workbook = openpyxl.Workbook()
        for row in csv.reader(exported.decode().splitlines()):
            workbook.worksheets[0].append(row)
        workbook.save("rooms.xlsx")
    source = kind if kind == "-" else f"rooms.{kind}"
    again = simulated(started, "--from", source, stdin=exported)
    assert [room["unique_name"] for room in again.rooms.values()] == names


def test_only_what_a_request_sets_is_judged(started: list[RoomsSimulator]) -> None:
    Path("rooms.jsonl").write_text(json.dumps({"id": A, "max_participants": 99, "webhook_event_url": "no-scheme"}))

    async def update(sim: RoomsSimulator) -> int | None:
        async with sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
            room = await client.rooms.update(A, enable_recording=True)
            return room.max_participants

    sim = simulated(started, "--from", "rooms.jsonl")
    assert asyncio.run(update(sim)) == 99
    assert (sim.rooms[A]["enable_recording"], sim.rooms[A]["webhook_event_url"]) == (True, "no-scheme")


BAD: dict[str, tuple[str, str, Sequence[str]]] = {
    "csv": (
        "bad.csv",
        f"""id,unique_name,max_participant,max_participants,enable_recording,updated_at
{A},a,,many,,1/2/24 10:00
x,a,,5
{A.upper()},b,,5,,,7
{A.upper()},b,,5
,,,5
{B},c,,,2
""",
        [
            "line 1: 'max_participant' is not a known column; did you mean 'max_participants'?",
            "line 2, max_participants: 'many' is not a whole number",
            "line 2, updated_at: '1/2/24 10:00' is not a time such as 2024-05-01T12:00:00Z; export the rooms again",
            "line 3, id: 'x' is not a UUID such as '7b61621f-62e0-4aad-ab11-9fd19e272e73'",
            "line 3, unique_name: the room in line 2 has the name 'a' too; names are unique in an account",
            "line 4: expected 6 cells as in the header, got 7",
            "line 4: the room is already in line 2",
            "line 5: the room is already in line 2",
            "line 6: the room is missing; give room_id or room",
            "line 7, enable_recording: '2' is not true or false; write true, yes, on or 1, or false, no, off or 0",
        ],
    ),
    "json lines": (
        "bad.jsonl",
        f'{{"id":"{A}","max_participants":true,"unique_nam":"x"}}\n{{oh\n[]\n{{"id":3,"unique_name":4}}\n',
        [
            "line 1: 'unique_nam' is not a known column; did you mean 'unique_name'?",
            "line 1, max_participants: true is not a whole number",
            "line 2: invalid JSON: Expecting property name enclosed in double quotes at character 2",
            "line 3: expected a JSON object with keys such as room_id, got []",
            "line 4, id: 3 is not a UUID such as '7b61621f-62e0-4aad-ab11-9fd19e272e73'",
            "line 4, unique_name: 4 is not a string",
        ],
    ),
    "a list": (
        "bad.json",
        f'[{{"id":"{A}"}},\n{{"id":"{A}"}}\n,\n7\n{{',
        [
            "line 2: the room is already in line 1",
            "line 4: expected a JSON object with keys such as room_id, got 7",
            "line 5: a comma or the end of the list (]) is missing",
        ],
    ),
    "names instead of ids": (
        "bad.csv",
        "room,max_participants\na,5\n",
        ["line 2: the id of the room is missing; a name is not enough"],
    ),
    "no ids": (
        "bad.csv",
        "unique_name,max_participants\na,5\n",
        ["line 1: a column for the id is missing; add id, or export the rooms again"],
    ),
}


@pytest.mark.parametrize(("name", "text", "problems"), BAD.values(), ids=BAD)
def test_all_problems_of_a_file_are_reported_with_their_lines(name: str, text: str, problems: Sequence[str]) -> None:
    Path(name).write_text(text)
    result = run("simulate", "--from", name)
    assert (result.exit_code, result.stdout) == (2, "")
    expected = [f"aiorooms: {name}, {problem}" for problem in problems]
    total = [f"aiorooms: {len(problems)} problems; nothing was changed"] if len(problems) > 1 else []
    assert lines(result.stderr) == expected + total


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty, or has only blank lines"),
        (b"id,unique_name\n\n,\n", "there are no rooms; give an export, or an answer of the API"),
        (b'{"data":[],"meta":{}}', "there are no rooms; give an export, or an answer of the API"),
        (b'{"data":[{"id":', "line 1: invalid JSON: Expecting value"),
        (b"[" * 100_000, "line 1: invalid JSON: too deeply nested"),
        (f'id\n{A}\n"{B}\n'.encode(), "line 3: a quoted cell is not closed"),
        (f"id,unique_name\n{A},r\xe4um\n".encode("latin-1"), "line 2: the file is not UTF-8"),
    ],
)
def test_a_file_without_readable_rooms_is_one_problem(content: bytes, problem: str) -> None:
    Path("rooms").write_bytes(content)
    result = run("simulate", "--from", "rooms")
    assert result.exit_code == 2
    (line,) = lines(result.stderr)
    assert line.startswith(f"aiorooms: rooms{',' if problem.startswith('line') else ':'} {problem}")


def test_standard_input_that_is_not_utf_8_is_named_with_its_line() -> None:
    result = run("simulate", "--from", "-", stdin=f"id,unique_name\n{A},r\xe4um\n".encode("latin-1"))
    assert result.exit_code == 2
    assert lines(result.stderr)[0].startswith("aiorooms: standard input, line 2: the file is not UTF-8: ")


def test_options_for_generated_rooms_and_problems_of_the_file_are_reported_together() -> None:
    result = run("simulate", "--from", "missing.csv", "--rooms", "5", "--webhooks", "mixed", "--port", "x")
    assert result.exit_code == 2
    assert lines(result.stderr) == [
        "aiorooms: --port: 'x' is not a whole number from 0 to 65535",
        "aiorooms: --rooms: it is about generated rooms; omit it, or omit --from",
        "aiorooms: --webhooks: it is about generated rooms; omit it, or omit --from",
        "aiorooms: missing.csv: the file can't be read: No such file or directory",
        "aiorooms: 4 problems; nothing was changed",
    ]


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_rooms = st.fixed_dictionaries(
    {
        "unique_name": st.none() | _texts.filter(lambda text: text != "" and text.strip() and text != "null"),
        "max_participants": st.integers(-5, 10**8),
        "enable_recording": st.booleans(),
        "webhook_event_url": _texts.filter(lambda text: "\0" not in text),
        "webhook_event_failover_url": _texts.filter(lambda text: "\0" not in text),
        "webhook_timeout_secs": st.none() | st.integers(0, 10**6),
        "updated_at": st.datetimes().map(lambda time: f"{time.isoformat()}Z"),
    }
)


@given(rooms=st.lists(_rooms, min_size=1, max_size=5, unique_by=lambda room: room["unique_name"] or object()))
def test_whatever_list_json_writes_is_read_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, rooms: list[Any]
) -> None:
    path = tmp_path_factory.mktemp("rooms") / "rooms.jsonl"
    sim = RoomsSimulator(rooms=rooms)
    path.write_text("".join(f"{json.dumps(room)}\n" for room in sim.rooms.values()))
    fields = ("id", *FIELD_NAMES, "updated_at")
    again = RoomsSimulator(rooms=read_rooms(path))
    assert [[room[name] for name in fields] for room in again.rooms.values()] == [
        [room[name] for name in fields] for room in sim.rooms.values()
    ]


async def test_an_error_keeps_the_first_1000_problems_and_the_number_of_the_others(folder: Path) -> None:
    (folder / "rooms.csv").write_text("id\n" + "x\n" * 1500)
    with pytest.raises(BulkInputError) as caught:
        await asyncio.to_thread(read_rooms, folder / "rooms.csv")
    assert len(caught.value.problems) == 1001
    assert str(caught.value.problems[-1]).endswith("500 more problems are not shown")


async def test_an_export_of_mixed_rooms_is_read_as_it_was(folder: Path) -> None:
    async with RoomsSimulator(rooms=300, webhooks="mixed") as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        for room_id, room in sim.rooms.items():
            if isinstance(room["webhook_timeout_secs"], str):  # such a value can't be read, so it is not exported
                sim.change_room(room_id, webhook_timeout_secs=None)
        for name in ("rooms.csv", "rooms.jsonl"):
            await export_rooms(client, folder / name)
            again = RoomsSimulator(rooms=await asyncio.to_thread(read_rooms, folder / name))
            assert account_of(again) == account_of(sim)
