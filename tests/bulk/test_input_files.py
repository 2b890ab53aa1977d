"""Kinds of input files: what a file is decides how it is read, and a file of the wrong kind is named."""

import gzip
import io
import json
import tracemalloc
import zipfile
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook  # type: ignore[import-untyped]  # openpyxl has no types

from aiorooms import Room
from aiorooms.bulk import BulkInputError, read_rows
from aiorooms.cli._json import dumps, model_data

from ..samples import ROOM_ID

A = ROOM_ID
B = "8b61621f-62e0-4aad-ab11-9fd19e272e73"

CSV = f"room_id,max_participants\n{A},20\n{B},30\n".encode()
EXPECTED = {A: {"max_participants": 20}, B: {"max_participants": 30}}


def values(source: Path | BinaryIO, **options: bool) -> dict[str, Mapping[str, object] | None]:
    with read_rows(source, **options) as rows:  # type: ignore[arg-type]  # mypy can't know which options are given
        changes = {room_id: rows.change_of(Room(id=room_id)) for room_id in (A, B)}
    return {room_id: None if change is None else change.update.to_dict() for room_id, change in changes.items()}


def problems_of(path: Path) -> list[str]:
    with pytest.raises(BulkInputError) as caught:
        read_rows(path)
    return [str(problem).replace(str(path), path.name) for problem in caught.value.problems]


def write_workbook(path: Path, *rows: list[Any], before: int = 0) -> None:
    book = Workbook()
    for _ in range(before):
        book.create_sheet(index=0)
    for row in rows:
        book.worksheets[-1].append(row)
    book.save(path)


class Pipe(io.RawIOBase):
    """A stream that can be read only once, as standard input."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(buffer)


@pytest.mark.parametrize("data", [CSV, CSV.decode().encode("utf-16"), gzip.compress(CSV, mtime=0)])
def test_a_stream_is_read_like_a_file(data: bytes) -> None:
    assert values(io.BufferedReader(Pipe(data))) == EXPECTED


def test_the_problems_of_a_stream_name_standard_input() -> None:
    with pytest.raises(BulkInputError, match="^standard input, line 2, room_id: 'x' is not a UUID"):
        read_rows(io.BufferedReader(Pipe(b"room_id\nx\n")))


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv", "a.gz", "a"])
def test_a_file_that_is_compressed_with_gzip_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(CSV, mtime=0))
    assert values(tmp_path / name) == EXPECTED


def test_a_compressed_file_has_the_format_of_its_inner_extension(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(json.dumps({"room_id": A, "max_participants": 20}).encode()))
    assert values(tmp_path / "a.jsonl.gz") == {A: {"max_participants": 20}, B: None}


@pytest.mark.parametrize("data", [gzip.compress(CSV, mtime=0)[:-10], gzip.compress(CSV, mtime=0)[:12] + b"xx"])
def test_a_damaged_gzip_file_is_a_problem(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.csv.gz").write_bytes(data)
    (problem,) = problems_of(tmp_path / "a.csv.gz")
    assert problem.startswith("a.csv.gz: the gzip file is damaged: ")


@pytest.mark.parametrize("empty_sheets", [0, 2])
def test_a_workbook_is_read_like_a_table(tmp_path: Path, empty_sheets: int) -> None:
    header = ["room_id", "unique_name", "max_participants", "enable_recording", "webhook_timeout_secs", "updated_at"]
    write_workbook(
        tmp_path / "a.xlsx",
        header,
        [],
        [A, "Büro", 20.0, True, "null", datetime(2024, 5, 1, 12, 0)],
        [B, None, 30, "no"],
        before=empty_sheets,
    )
    assert values(tmp_path / "a.xlsx") == {
        A: {"unique_name": "Büro", "max_participants": 20, "enable_recording": True, "webhook_timeout_secs": None},
        B: {"max_participants": 30, "enable_recording": False},
    }


def test_the_problems_of_a_workbook_have_the_number_of_the_row(tmp_path: Path) -> None:
    write_workbook(tmp_path / "a.xlsx", ["room_id", "max_participants"], [], [A, 99], [B, "#REF!"])
    assert problems_of(tmp_path / "a.xlsx") == [
        "a.xlsx, line 3, max_participants: 99 is not in the range 2 to 50",
        "a.xlsx, line 4, max_participants: '#REF!' is an error of a spreadsheet; correct the cell, or leave it empty",
    ]


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("1-2", datetime(2024, 1, 2)),
        ("MARCH1", datetime(2024, 3, 1)),
        ("3/4 10:30", datetime(2024, 3, 4, 10, 30)),
        ("10:30", time(10, 30)),
        ("30:00", timedelta(hours=30)),
        ("00123", 123),
    ],
)
def test_a_name_that_became_a_date_or_a_number_in_a_workbook_is_noticed(
    tmp_path: Path, name: str, cell: object
) -> None:
    path = tmp_path / "a.xlsx"
    write_workbook(path, ["room_id", "unique_name"], [A, cell])
    with read_rows(path) as rows:
        change = rows.change_of(Room(id=A, unique_name=name))
        assert change is not None
        assert "a spreadsheet may have converted it" in (change.warning or "")


def edit_sheet(path: Path, old: bytes, new: bytes) -> None:
    """Replace text in the first sheet of a workbook."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert old in parts["xl/worksheets/sheet1.xml"]
    parts["xl/worksheets/sheet1.xml"] = parts["xl/worksheets/sheet1.xml"].replace(old, new)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("size", [b"A1", b"A1:B2", b"A1:XFD1048576"])
def test_a_workbook_with_a_wrong_size_is_read_whole(tmp_path: Path, size: bytes) -> None:
    path = tmp_path / "a.xlsx"
    write_workbook(path, ["room_id", "max_participants"], [A, 20], [B, 30])
    edit_sheet(path, b'<dimension ref="A1:B3"', b'<dimension ref="%s"' % size)
    assert values(path) == EXPECTED


def test_a_workbook_with_an_endless_number_of_rows_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    write_workbook(path, ["room_id", "max_participants"], [A, 20])
    edit_sheet(path, b'r="2"', b'r="99999999999"')
    assert problems_of(path) == ["a.xlsx: the workbook has more than 1,048,576 rows; save the sheet as CSV"]


@pytest.mark.parametrize(
    ("name", "begin", "problem"),
    [
        ("a.csv.gz", b"room_id\n", "line 2: the line has more than 1,048,576 characters"),
        ("a.csv.gz", b"", "line 1: the line has more than 1,048,576 characters"),
        ("a.csv.gz", b'room_id\n"', "line 2: the line has more than 1,048,576 characters"),
        ("a.csv.gz", b"\xff", "line 1: the file is not UTF-8: invalid start byte; save it as UTF-8"),
        ("a.csv.gz", b"room_id\n\xc3\n", "line 2: the file is not UTF-8: invalid continuation byte; save it as UTF-8"),
        ("a.jsonl.gz", b"{}\n", "line 2: the line has more than 1,000,000 characters"),
        ("a.json.gz", b'[{"room_id":"', "line 1: a value has more than 1,000,000 characters"),
    ],
)
def test_an_endless_line_is_a_problem_and_not_kept_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, begin: bytes, problem: str
) -> None:
    monkeypatch.setattr("aiorooms.bulk._sources.json_rows._LONGEST", 1_000_000)
    (tmp_path / name).write_bytes(gzip.compress(begin + b"0" * 50_000_000, 1))
    tracemalloc.start()
    try:
        found = problems_of(tmp_path / name)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found[-1] == f"{name}, {problem}"
    assert peak < 20_000_000


@pytest.mark.parametrize("field", ["unique_name", "max_participants", "webhook_event_url", "enable_recording", "room"])
def test_a_formula_that_no_program_has_calculated_is_a_problem(tmp_path: Path, field: str) -> None:
    header = [field] if field == "room" else ["room_id", field]
    write_workbook(tmp_path / "a.xlsx", header, ["=1+1"] if field == "room" else [A, "=1+1"])
    (problem,) = problems_of(tmp_path / "a.xlsx")
    assert problem.startswith(f"a.xlsx, line 2, {field}: '=1+1' is a formula; save the file with a spreadsheet")


def test_a_damaged_workbook_is_a_problem(tmp_path: Path) -> None:
    write_workbook(tmp_path / "good.xlsx", ["room_id"], [A])
    data = (tmp_path / "good.xlsx").read_bytes()
    (tmp_path / "a.xlsx").write_bytes(data[: len(data) // 2])
    (problem,) = problems_of(tmp_path / "a.xlsx")
    assert problem.startswith("a.xlsx: the workbook or zip archive is damaged: ")
    with zipfile.ZipFile(tmp_path / "b.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "<nonsense")
    (problem,) = problems_of(tmp_path / "b.xlsx")
    assert problem.startswith("b.xlsx: the workbook can't be read: ")
    assert problem.endswith("; save the sheet as CSV")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1",
            "a workbook of an old Excel (.xls), or one with a password; save the rows as CSV or JSON lines",
        ),
        (b"%PDF-1.7", "a PDF document; save the rows as CSV or JSON lines"),
        (b"SQLite format 3\x00", "an SQLite database; save the rows as CSV or JSON lines"),
        (b"PAR1\x15", "a Parquet file; save the rows as CSV or JSON lines"),
        (b"BZh91AY", "a file compressed with bzip2; save the rows as CSV or JSON lines"),
        (b"<!DOCTYPE html>", "an HTML page; save the rows as CSV or JSON lines"),
        (gzip.compress(b"%PDF-1.7", mtime=0), "a PDF document; save the rows as CSV or JSON lines"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, data: bytes, what: str) -> None:
    (tmp_path / "rooms.csv").write_bytes(data)
    assert problems_of(tmp_path / "rooms.csv") == [f"rooms.csv: this is {what}"]


@pytest.mark.parametrize(
    ("mimetype", "what"),
    [
        (
            "application/vnd.oasis.opendocument.spreadsheet",
            "a LibreOffice spreadsheet (.ods); save the sheet as CSV or .xlsx",
        ),
        (None, "a zip archive; extract the file with the rows"),
    ],
)
def test_other_archives_are_named(tmp_path: Path, mimetype: str | None, what: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.ods", "w") as archive:
        archive.writestr("content.xml", "x")
        if mimetype is not None:
            archive.writestr("mimetype", mimetype)
    assert problems_of(tmp_path / "a.ods") == [f"a.ods: this is {what}"]


ROOMS = [{"room_id": A, "max_participants": 20}, {"room_id": B, "max_participants": 30}]


@pytest.mark.parametrize("name", ["a.json", "a", "a.txt"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_saved_answer_of_the_api_is_read(tmp_path: Path, name: str, indent: int | None) -> None:
    meta = {"total_pages": 1, "page_size": 250}
    for answer in ({"data": ROOMS, "meta": meta}, {"meta": meta, "data": ROOMS}):
        (tmp_path / name).write_text(json.dumps(answer, indent=indent))
        assert values(tmp_path / name) == EXPECTED


def test_the_answer_for_one_room_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"data": ROOMS[0]}, indent=2))
    assert values(tmp_path / "a.json") == {A: {"max_participants": 20}, B: None}


def test_answers_that_are_lines_of_a_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"data": [one]}) + "\n" for one in ROOMS))
    assert values(tmp_path / "a.jsonl") == EXPECTED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"meta": 1,\n"rooms": []}', "a.json, line 1: the object has no rooms in data; give a list of objects"),
        ('{\n"data": [{"room": "x"}\n', "a.json, line 3: a comma or the end of the list (]) is missing"),
        ('{\n"data": [5]\n}', "a.json, line 2: expected a JSON object with keys such as room_id, got 5"),
    ],
)
def test_other_objects_are_problems(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    assert problems_of(tmp_path / "a.json")[0].startswith(message)


def test_json_lines_may_have_the_extension_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("".join(json.dumps(one) + "\n" for one in ROOMS))
    assert values(tmp_path / "a.json") == EXPECTED


def test_what_the_command_list_writes_as_json_is_read(tmp_path: Path) -> None:
    rooms = [Room(id=A, unique_name="a", max_participants=99), Room(id=B, unique_name=None, record_type="room")]
    (tmp_path / "a.jsonl").write_text("".join(dumps(model_data(room)) + "\n" for room in rooms))
    with read_rows(tmp_path / "a.jsonl", defer_values=True) as rows:
        for room in rooms:
            change = rows.change_of(room)
            assert change is not None
            assert change.update.to_dict() == {}


def test_what_pandas_writes_as_json_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        json.dumps([{"room_id": A, "max_participants": 20.0, "webhook_timeout_secs": 5.0}])
    )
    assert values(tmp_path / "a.json")[A] == {"max_participants": 20, "webhook_timeout_secs": 5}


def test_every_key_that_occurs_twice_is_reported_with_its_line(tmp_path: Path) -> None:
    text = f'[\n {{"room": "x",\n  "unique_name": "a",\n  "unique_name": "b"}},\n {{"room": "{A}"}},\n'
    (tmp_path / "a.json").write_text(text + ' {"room": "y", "room": "z"}\n]')
    assert problems_of(tmp_path / "a.json") == [
        "a.json, line 4: the key 'unique_name' occurs twice",
        "a.json, line 6: the key 'room' occurs twice",
    ]


def test_a_key_in_two_spellings_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"room_id": A, "Room ID": B}))
    assert problems_of(tmp_path / "a.jsonl") == ["a.jsonl, line 1, room_id: the key occurs twice, in two spellings"]


def _workbook() -> bytes:
    book, file = Workbook(), io.BytesIO()
    book.worksheets[0].append(["id", "unique_name"])
    book.worksheets[0].append([A, "x"])
    book.save(file)
    return file.getvalue()


SEEDS = {
    "csv": b'sep=;\n# c\nID;unique_name;max_participants;webhook_event_url\n%s;"a;b";20;\n' % A.encode(),
    "json": json.dumps({"data": [{"id": A, "max_participants": 20.0}, {"id": B}], "meta": [1]}, indent=1).encode(),
    "jsonl": json.dumps({"id": A, "unique_name": "NULL"}).encode(),
    "xlsx": _workbook(),
    "gz": gzip.compress(CSV, mtime=0),
}

pieces = st.sampled_from([b'"', b"\n", b"\r", b";", b"#", b"'", b"\0", b"{", b"]", b"\xff\xfe", b"\\ud800", b"null"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    st.sampled_from(sorted(SEEDS)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 20), pieces | st.binary(max_size=4)), min_size=1, max_size=4),
    st.booleans(),
)
def test_a_damaged_file_has_rows_or_problems(
    tmp_path: Path, kind: str, edits: list[tuple[float, int, bytes]], lenient: bool
) -> None:
    data = SEEDS[kind]
    for share, removed, added in edits:
        place = int(share * len(data))
        data = data[:place] + added + data[place + removed :]
    path = tmp_path / f"a.{kind}"
    path.write_bytes(data)
    try:
        with read_rows(path, defer_values=lenient, skip_invalid=lenient, ignore_unknown_columns=lenient) as rows:
            assert rows.count + rows.left_out.rows > 0
    except BulkInputError as error:
        assert all(str(problem).isprintable() for problem in error.problems)
