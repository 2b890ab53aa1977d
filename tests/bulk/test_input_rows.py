"""Every input file is read alike, whether it has changes for `plan` or rooms for `simulate --from`."""

import gzip
from pathlib import Path

import pytest

from aiorooms import Room
from aiorooms.bulk import BulkInputError, read_rows
from aiorooms.bulk._sources.room_file import read_rooms
from aiorooms.models._fields import FIELDS, Values

from ..samples import ROOM_ID

A = ROOM_ID
B = "8b61621f-62e0-4aad-ab11-9fd19e272e73"


def changes_of(path: Path) -> Values | list[str]:
    """Return what `plan` reads for the room A, or the problems."""
    try:
        with read_rows(path, ignore_unknown_columns=True, defer_values=True) as rows:
            change = rows.change_of(Room(id=A))
    except BulkInputError as error:
        return [str(problem) for problem in error.problems]
    assert change is not None
    return change.update.to_dict()


def room_of(path: Path) -> Values | list[str]:
    """Return the fields that `simulate --from` reads for the room A, or the problems."""
    try:
        rooms = read_rooms(path)
    except BulkInputError as error:
        return [str(problem) for problem in error.problems]
    (room,) = (room for room in rooms if room["id"] == A)
    return {name: value for name, value in room.items() if name in FIELDS}


def read(path: Path, data: str | bytes) -> Values | list[str]:
    """Write a file, and return what is read from it. Both readers must agree."""
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    changes, room = changes_of(path), room_of(path)
    if isinstance(changes, dict) and isinstance(room, dict):
        # A room has a name and a URL, even if the file has none.
        room = {name: value for name, value in room.items() if name in changes or value not in (None, "")}
    assert room == changes
    return [text.replace(str(path), path.name) for text in changes] if isinstance(changes, list) else changes


TWENTY = {"max_participants": 20}

GOOD: dict[str, tuple[str, str | bytes, Values]] = {
    "a number with a decimal zero": ("a.csv", f"id,max_participants\n{A},20.0\n", TWENTY),
    "a number with a decimal comma": ("a.csv", f"id;max_participants\n{A};20,0\n", TWENTY),
    "a padded number": ("a.csv", f"id,max_participants\n {A.upper()} , 20 \n", TWENTY),
    "a switch with a decimal zero": ("a.csv", f"id,enable_recording\n{A},1.0\n", {"enable_recording": True}),
    "a switch as a word": ("a.csv", f"id,enable_recording\n{A},Off\n", {"enable_recording": False}),
    "null": ("a.csv", f"id,webhook_timeout_secs\n{A},null\n", {"webhook_timeout_secs": None}),
    "a name between apostrophes": ("a.csv", f"id,unique_name\n{A},'00123'\n", {"unique_name": "00123"}),
    "trailing separators": ("a.csv", f"id,max_participants,\n{A},20,\n", TWENTY),
    "a short row": ("a.csv", f"id,max_participants,unique_name\n{A},20\n", TWENTY),
    "blank rows": ("a.csv", f"\n\nid,max_participants\n,,\n{A},20\n ,\n", TWENTY),
    "sep=": ("a.csv", f"sep=;\r\nid;max_participants\r\n{A};20\r\n", TWENTY),
    "a comment": ("a.csv", f"# rooms\nid,max_participants\n# none\n{A},20\n", TWENTY),
    "columns in another spelling": ("a.csv", f"Room-ID,Max Participants\n{A},20\n", TWENTY),
    "an unknown column": ("a.csv", f"id,notes,max_participants\n{A},x,20\n", TWENTY),
    "an unnamed column": ("a.csv", f"id,,max_participants\n{A},5,20\n", TWENTY),
    "gzip": ("a.csv.gz", gzip.compress(f"id,max_participants\n{A},20\n".encode()), TWENTY),
    "UTF-16": ("a.csv", f"id\tmax_participants\n{A}\t20\n".encode("utf-16"), TWENTY),
    "a float in JSON": ("a.jsonl", f'{{"id":"{A}","max_participants":20.0}}', TWENTY),
    "an unknown key": ("a.jsonl", f'{{"id":"{A}","max_participants":20,"new_key":{{"a":1}}}}', TWENTY),
    "an answer": ("a.json", f'{{"data":[\n{{"id":"{A}","max_participants":20}}],"meta":{{"a":1}}}}', TWENTY),
    "a room on many lines": ("a.json", f'{{\n"id":"{A}",\n"max_participants":20\n}}\n', TWENTY),
    "two answers on many lines": (
        "a.json",
        f'{{"data":[\n{{"id":"{B}"}}]}}\n{{"data":[\n{{"id":"{A}","max_participants":20}}\n]\n}}\n',
        TWENTY,
    ),
    "two lists": ("a.json", f'[{{"id":"{B}"}}]\n[{{"id":"{A}","max_participants":20}}]', TWENTY),
}


@pytest.mark.parametrize(("name", "data", "expected"), GOOD.values(), ids=GOOD)
def test_a_file_has_the_same_values_for_both(tmp_path: Path, name: str, data: str | bytes, expected: Values) -> None:
    assert read(tmp_path / name, data) == expected


BAD: dict[str, tuple[str, str | bytes, list[str]]] = {
    "no number": ("a.csv", f"id,max_participants\n{A},2x\n", ["line 2, max_participants: '2x' is not a whole number"]),
    "a missing value as a name": ("a.csv", f"id,unique_name\n{A},NULL\n", ["line 2, unique_name: 'NULL' looks like"]),
    "an error of a spreadsheet": (
        "a.csv",
        f"id,unique_name,max_participants\n{A},#REF!,#N/A\n",
        ["line 2, unique_name: '#REF!' is an error", "line 2, max_participants: '#N/A' is an error"],
    ),
    "no switch": ("a.csv", f"id,enable_recording\n{A},2\n", ["line 2, enable_recording: '2' is not true or false"]),
    "no UUID": ("a.csv", "room_id\nx\n", ["line 2, room_id: 'x' is not a UUID"]),
    "no room": ("a.csv", f"id,max_participants\n{A},5\n,5\n", ["line 3: the room is missing"]),
    "two columns for the id": ("a.csv", f"id,room_id\n{A},{B}\n", ["line 2: room_id and id are given"]),
    "a room twice": ("a.csv", f"id\n{A}\n{A.upper()}\n", ["line 3: the room is already in line 2"]),
    "a mistyped column": ("a.csv", f"id,max_participant\n{A},5\n", ["line 1: 'max_participant' is not a known"]),
    "a column twice": ("a.csv", f"id,unique_name,Unique Name\n{A},a,a\n", ["line 1, unique_name: the column occurs"]),
    "a long row": ("a.csv", f"id,max_participants\n{A},5,6\n", ["line 2: expected 2 cells as in the header, got 3"]),
    "an error as the room": ("a.csv", f"id,max_participants\n{A},5\n=B1,5\n", ["line 3, id: "]),
    "an open quote": ("a.csv", f'id,unique_name\n{A},"a\n{B},b\n', ["line 2: a quoted cell is not closed"]),
    "no UTF-8": ("a.csv", f"id,unique_name\n{A},r\xe4um\n".encode("latin-1"), ["line 2: the file is not UTF-8"]),
    "an empty file": ("a.csv", "\n\n", ["the file is empty"]),
    "a damaged gzip file": ("a.csv.gz", gzip.compress(b"id\n")[:-4], ["the gzip file is damaged"]),
    "a PDF document": ("a.csv", b"%PDF-1.7", ["this is a PDF document"]),
    "a number as text": ("a.jsonl", f'{{"id":"{A}","max_participants":"5"}}', ["line 1, max_participants: '5' is not"]),
    "a huge number": ("a.jsonl", f'{{"id":"{A}","max_participants":{10**20}}}', ["line 1, max_participants: 1000000"]),
    "half of a surrogate pair": ("a.jsonl", f'{{"id":"{A}","unique_name":"\\ud800"}}', ["line 1, unique_name: "]),
    "NaN": ("a.jsonl", f'{{"id":"{A}","max_participants":NaN}}', ["line 1: invalid JSON: NaN is not allowed"]),
    "a key twice": ("a.jsonl", f'{{"id":"{A}","id":"{B}"}}', ["line 1: the key 'id' occurs twice"]),
    "a key twice on its line": (
        "a.json",
        f'[{{"id":"{A}",\n"unique_name":"a",\n"unique_name":"b"}}]',
        ["line 3: the key 'unique_name' occurs twice"],
    ),
    "a key twice in a room": (
        "a.json",
        f'{{"id":"{A}",\n"unique_name":"a",\n"unique_name":"b"}}',
        ["line 3: the key 'unique_name' occurs twice"],
    ),
    "a key in two spellings": ("a.jsonl", f'{{"id":"{A}","ID":"{B}"}}', ["line 1, id: the key occurs twice"]),
    "a missing bracket": ("a.json", f'[{{"id":"{A}"}}\n', ["line 2: a comma or the end of the list (]) is missing"]),
    "a missing brace": ("a.json", f'{{"data":[\n{{"id":"{A}"}}]\n', ["line 3: a comma or the end of the object (})"]),
    "text after the end": ("a.json", f'[{{"id":"{A}"}}]\n5', ["line 2: there is more text after the end"]),
    "no object": ("a.jsonl", "5\n", ["line 1: expected a JSON object with keys such as room_id, got 5"]),
    "an object without rooms": ("a.json", '{"meta":1,\n"b":2}', ["line 1: the object has no rooms in data"]),
}


@pytest.mark.parametrize(("name", "data", "expected"), BAD.values(), ids=BAD)
def test_a_file_has_the_same_problems_for_both(
    tmp_path: Path, name: str, data: str | bytes, expected: list[str]
) -> None:
    found = read(tmp_path / name, data)
    assert isinstance(found, list)
    for problem, text in zip(found, expected, strict=True):
        assert problem.startswith(f"{name}{', ' if text.startswith('line') else ': '}{text}")
