"""Rows of a file: values are parsed correctly, and all problems are reported together, with line and field."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiorooms import Room, WebhookUrlPolicy
from aiorooms.bulk import BulkInputError, read_rows
from aiorooms.bulk._problems import _MAX_PROBLEMS
from aiorooms.bulk._sources.spreadsheets import is_no_name

from ..samples import ROOM_ID

A = ROOM_ID
KEEP = "give a string, or omit the field to leave it unchanged"
B = "8b61621f-62e0-4aad-ab11-9fd19e272e73"


def problems_of(path: Path) -> list[str]:
    with pytest.raises(BulkInputError) as caught:
        read_rows(path)
    return [str(problem).replace(str(path), path.name) for problem in caught.value.problems]


def wanted(path: Path, *rooms: Room) -> list[dict[str, Any] | None]:
    with read_rows(path) as rows:
        changes = [rows.change_of(room) for room in rooms]
    return [None if change is None else change.update.to_dict() for change in changes]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "a.csv",
            f"room_id,max_participants\n{A},200\n",
            ["a.csv, line 2, max_participants: 200 is not in the range 2 to 50"],
        ),
        (
            "a.csv",
            f"room_id,max_participants\n{A},20\n{A.upper()},21\n",
            ["a.csv, line 3: the room is already in line 2"],
        ),
        (
            "a.csv",
            "room_id\nxyz\n",
            ["a.csv, line 2, room_id: 'xyz' is not a UUID such as '7b61621f-62e0-4aad-ab11-9fd19e272e73'"],
        ),
        (
            "a.csv",
            f"room_id,max_particpants\n{A},20\n",
            ["a.csv, line 1: 'max_particpants' is not a known column; did you mean 'max_participants'?"],
        ),
        (
            "a.csv",
            f"room_id,unique_name,unique_name\n{A},a,b\n",
            ["a.csv, line 1, unique_name: the column occurs twice"],
        ),
        ("a.csv", "max_participants\n9\n", ["a.csv, line 1: a column for the room is missing; add room_id or room"]),
        ("a.csv", f"room_id\n{A},x\n", ["a.csv, line 2: expected 1 cells as in the header, got 2"]),
        ("a.csv", f'room_id,unique_name\n{A},"half\n', ["a.csv, line 2: a quoted cell is not closed"]),
        ("a.csv", f"room_id,unique_name\n{A},a\0b\n", ["a.csv, line 2: the row contains a NUL character"]),
        ("a.csv", f"room_id,room\n{A},main\n", ["a.csv, line 2: room_id and room are given; give only one of them"]),
        ("a.csv", "room_id,unique_name\n,a\n", ["a.csv, line 2: the room is missing; give room_id or room"]),
        (
            "a.csv",
            f"room_id,unique_name\n{A},null\n",
            [f"a.csv, line 2, unique_name: null can't clear this field; {KEEP}"],
        ),
        (
            "a.csv",
            f"room_id,unique_name\n{A},new\n{B},new\n",
            [f"a.csv, line 3: room {A} in line 2 and room {B} both get the name 'new'; names must be unique"],
        ),
        ("a.csv", "", ["a.csv: the file is empty, or has only blank lines"]),
        ("a.csv", "room_id\n", ["a.csv: the file has no rows"]),
        (
            "a.json",
            "",
            ["a.json, line 1: the file is not a JSON list of objects; if each line is an object, name the file .jsonl"],
        ),
        ("a.json", '[{"room": "x"}', ["a.json, line 1: a comma or the end of the list (]) is missing"]),
        ("a.json", '[{"room": "x"}] 5', ["a.json, line 1: there is more text after the end"]),
        ("a.json", "[\n5]", ["a.json, line 2: expected a JSON object with keys such as room_id, got 5"]),
        (
            "a.json",
            '[{"room": x}]',
            ["a.json, line 1: invalid JSON: Expecting value at character 10"],
        ),
        ("a.jsonl", "nope\n", ["a.jsonl, line 1: invalid JSON: Expecting value at character 1"]),
        ("a.jsonl", "[" * 100_000 + "\n", ["a.jsonl, line 1: invalid JSON: too deeply nested"]),
        ("a.jsonl", '{"room": "x", "max_participants": NaN}\n', ["a.jsonl, line 1: invalid JSON: NaN is not allowed"]),
        ("a.jsonl", '{"room": "x", "room": "y"}\n', ["a.jsonl, line 1: the key 'room' occurs twice"]),
        (
            "a.jsonl",
            '{"room": "x", "max_participants": "5", "enable_recording": 1}\n',
            [
                "a.jsonl, line 1, max_participants: '5' is not a whole number",
                "a.jsonl, line 1, enable_recording: 1 is not true or false",
            ],
        ),
    ],
)
def test_problems_are_reported_with_line_and_field(tmp_path: Path, name: str, text: str, expected: list[str]) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert problems_of(path) == expected


def test_problems_after_the_first_1000_are_only_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("room_id\n" + "x\n" * (_MAX_PROBLEMS + 5))
    problems = problems_of(path)
    assert len(problems) == _MAX_PROBLEMS + 1
    assert problems[-1] == "a.csv: 5 more problems are not shown"


def test_a_failover_url_equal_to_the_webhook_url_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    url = "https://hooks.example.com/x"
    path.write_text(f"room_id,webhook_event_url,webhook_event_failover_url\n{A},{url},{url}\n")
    (problem,) = problems_of(path)
    assert "points to the same place" in problem
    assert "give a different failover URL" in problem


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xff\xfe\x00", "a.csv: the file begins with a UTF-16 byte order mark, but is not valid UTF-16"),
        ("room,unique_name\nx,B\xfcro\n".encode("latin-1"), "a.csv, line 2: the file is not UTF-8"),
    ],
)
def test_a_file_that_is_neither_valid_utf_8_nor_valid_utf_16_is_a_problem(
    tmp_path: Path, data: bytes, expected: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    (problem,) = problems_of(path)
    assert problem.startswith(expected)


def test_a_directory_and_a_missing_file_are_problems(tmp_path: Path) -> None:
    assert problems_of(tmp_path)[0].endswith("the file can't be read: Is a directory")
    assert problems_of(tmp_path / "a.csv") == ["a.csv: the file can't be read: No such file or directory"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_csv_is_read_in_several_encodings_with_several_delimiters_and_line_ends(
    tmp_path: Path, encoding: str, delimiter: str, newline: str
) -> None:
    rows = [
        ["id", "unique_name", "max_participants", "enable_recording", "webhook_timeout_secs", "created_at"],
        [A.upper(), "Büro", "20", "TRUE", "null", "2021-01-01"],
        [],
        [B, "", "", "", "", ""],
    ]
    path = tmp_path / "a.csv"
    path.write_bytes("".join(delimiter.join(row) + newline for row in rows).encode(encoding))
    assert wanted(path, Room(id=A), Room(id=B), Room(id=A.replace("7", "9"))) == [
        {"unique_name": "Büro", "max_participants": 20, "enable_recording": True, "webhook_timeout_secs": None},
        {},
        None,
    ]


@pytest.mark.parametrize(
    ("text", "value"), [("on", True), ("OFF", False), ("yes", True), ("1", True), ("0", False), ("True", True)]
)
def test_csv_accepts_several_words_for_true_and_false(tmp_path: Path, text: str, value: bool) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"room_id,enable_recording\n{A},{text}\n")
    assert wanted(path, Room(id=A)) == [{"enable_recording": value}]


def test_problems_have_a_line_a_field_and_a_code(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"room_id,unique_name\n{A},a\n{A},b\n{B},a\nx,c\n{B},b\n")
    with pytest.raises(BulkInputError) as caught:
        read_rows(path)
    assert [(one.line, one.field, one.code) for one in caught.value.problems if one.field is None] == [
        (3, None, "duplicate_room"),
        (4, None, "duplicate_name"),
        (6, None, "duplicate_room"),
    ]
    assert [(one.line, one.field) for one in caught.value.problems if one.field is not None] == [(5, "room_id")]
    assert [one.line for one in caught.value.problems] == [3, 4, 5, 6]


def test_policy_is_a_deprecated_name_of_webhook_url_policy(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"room_id,webhook_event_url\n{A},http://a.example.com/\n")
    strict = WebhookUrlPolicy(schemes=("https",))
    with pytest.raises(BulkInputError, match="has the scheme 'http'"):
        read_rows(path, webhook_url_policy=strict)
    with pytest.warns(DeprecationWarning, match="webhook_url_policy"), pytest.raises(BulkInputError, match="scheme"):
        read_rows(path, policy=strict)


def test_line_numbers_are_correct_after_a_row_of_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f'room_id,unique_name,max_participants\n{A},"two\nlines",20\n{B},b,1\n')
    assert problems_of(path) == ["a.csv, line 4, max_participants: 1 is not in the range 2 to 50"]


def test_rooms_are_found_by_name_and_rooms_that_do_not_exist_are_problems(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"room": "main", "max_participants": 5}\n{"room": "none"}\n' + json.dumps({"room": A}))
    with read_rows(path) as rows:
        change = rows.change_of(Room(id=B, unique_name="main"))
        assert change is not None
        assert (change.line, change.update.to_dict()) == (1, {"max_participants": 5})
        assert [str(problem).replace(str(path), "") for problem in rows.not_met()] == [
            ", line 2, room: the account has no room with the name 'none'",
            f", line 3, room_id: the account has no room with the id {A}",
        ]


def test_a_room_with_one_row_by_id_and_another_by_name_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"room,max_participants\nmain,5\n{A},6\n")
    with read_rows(path) as rows, pytest.raises(BulkInputError, match="is also in line 2"):
        rows.change_of(Room(id=A, unique_name="main"))


row = st.fixed_dictionaries(
    {"room": st.uuids().map(str)},
    optional={
        "unique_name": st.text(st.characters(codec="utf-8"), min_size=1).filter(
            lambda name: name.strip() != "" and not is_no_name(name)
        ),
        "max_participants": st.integers(2, 50),
        "enable_recording": st.booleans(),
        "webhook_timeout_secs": st.integers(0, 30) | st.none(),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(row, min_size=1, unique_by=(lambda row: row["room"], lambda row: row.get("unique_name", row["room"]))),
    st.sampled_from([None, 0, 2]),
    st.booleans(),
)
def test_a_json_list_is_read_as_the_json_module_reads_it(
    tmp_path: Path, rows: list[dict[str, Any]], indent: int | None, ascii_only: bool
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    expected = [{key: value for key, value in row.items() if key != "room"} for row in rows]
    assert wanted(path, *(Room(id=row["room"]) for row in rows)) == expected


def test_a_pipe_is_a_problem(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")
    assert problems_of(tmp_path / "a.csv") == [
        "a.csv: this is a pipe or a device; save its content as a file, or read it from standard input"
    ]


def test_a_room_name_that_is_blank_or_invalid_unicode_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"room": "\\ud800"}\n{"room": " "}\n')
    half, blank = problems_of(path)
    assert "line 1, room: " in half
    assert "a lone surrogate" in half
    assert "line 2, room: ' ' is blank; give" in blank
