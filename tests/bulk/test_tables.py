"""Tables as people and programs write them: what is accepted, and on which line a problem is reported."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from aiorooms import Room
from aiorooms.bulk import BulkInputError, read_rows

from ..samples import ROOM_ID

A = ROOM_ID
B = "8b61621f-62e0-4aad-ab11-9fd19e272e73"
C = "9b61621f-62e0-4aad-ab11-9fd19e272e73"


def values(path: Path, text: str, room_id: str = A, name: str | None = None) -> Mapping[str, object] | None:
    path.write_text(text, newline="")
    with read_rows(path) as rows:
        change = rows.change_of(Room(id=room_id, unique_name=name))
    return None if change is None else change.update.to_dict()


def problems_of(path: Path, text: str, **options: bool) -> list[str]:
    path.write_text(text, newline="")
    with pytest.raises(BulkInputError) as caught:
        read_rows(path, **options)  # type: ignore[arg-type]  # mypy can't know which options are given
    return [str(problem).replace(str(path), path.name) for problem in caught.value.problems]


@pytest.mark.parametrize("cell", ["25", " 25 ", "25.0", "25.00", "25,0", "+25", "\t25"])
def test_a_number_may_be_padded_or_have_a_decimal_zero(tmp_path: Path, cell: str) -> None:
    assert values(tmp_path / "a.csv", f"room_id;max_participants\n{A};{cell}\n") == {"max_participants": 25}


@pytest.mark.parametrize("cell", ["25.5", "2 5", "25x", "twenty", "1e1", "0x19", "20.000", "20,000"])
def test_any_other_text_is_no_number(tmp_path: Path, cell: str) -> None:
    (problem,) = problems_of(tmp_path / "a.csv", f"room_id;max_participants\n{A};{cell}\n")
    assert problem == f"a.csv, line 2, max_participants: '{cell}' is not a whole number"


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        *((word, True) for word in ("TRUE", "Yes", " on ", "1", "1.0")),
        *((word, False) for word in ("false", "No", "OFF", "0", "0.0")),
    ],
)
def test_switches_are_words_or_numbers_in_any_case(tmp_path: Path, cell: str, value: bool) -> None:
    assert values(tmp_path / "a.csv", f"room_id,enable_recording\n{A},{cell}\n") == {"enable_recording": value}


@pytest.mark.parametrize("cell", ["ja", "wahr", "x", "2", "enabled"])
def test_any_other_word_for_a_switch_gets_a_hint(tmp_path: Path, cell: str) -> None:
    (problem,) = problems_of(tmp_path / "a.csv", f"room_id,enable_recording\n{A},{cell}\n")
    assert problem.endswith(
        f"enable_recording: '{cell}' is not true or false; write true, yes, on or 1, or false, no, off or 0"
    )


@pytest.mark.parametrize("field", ["max_participants", "enable_recording", "webhook_event_url", "unique_name"])
def test_an_error_of_a_spreadsheet_is_named_as_such(tmp_path: Path, field: str) -> None:
    (problem,) = problems_of(tmp_path / "a.csv", f"room_id,{field}\n{A},#REF!\n")
    assert problem.startswith(f"a.csv, line 2, {field}: '#REF!' is an error of a spreadsheet; ")


@pytest.mark.parametrize(
    "text",
    [
        f"room_id,max_participants,\n{A},20,\n",  # trailing separators
        f"room_id,max_participants\n{A},20,,,\n",
        f"room_id,max_participants,,\n{A},20\n",
        f"room_id,max_participants,unique_name,webhook_event_url\n{A},20\n",  # a short row
        f"room_id,max_participants\n,,,\n{A},20\n ,\n",  # rows of separators
        f"\n\n  \nroom_id,max_participants\n\n{A},20\n\n",  # blank lines
        f"sep=;\nroom_id;max_participants\n{A};20\n",
        f'"sep=;"\r\nroom_id;max_participants\r\n{A};20\r\n',
        f"sep=|\nroom_id|max_participants\n{A}|20\n",
        f"# rooms of Berlin, don't edit\nroom_id,max_participants\n# a, \"comment\n{A},20\n#{B},30\n",
        f"ID,Max Participants\n{A},20\n",
        f"Room-ID , MAX_PARTICIPANTS\n {A} , 20 \n",
        f"room_id,max_participants,sessions,record_type\n{A},20,,room\n",
        f'"room_id"\t"max_participants"\n"{A}"\t"20"\n',
    ],
)
def test_tables_are_read_as_people_write_them(tmp_path: Path, text: str) -> None:
    assert values(tmp_path / "a.csv", text) == {"max_participants": 20}


def test_a_name_that_begins_with_a_hash_is_no_comment(tmp_path: Path) -> None:
    text = "room,max_participants\n# a comment\n#general,20\n##\n"
    assert values(tmp_path / "a.csv", text, name="#general") == {"max_participants": 20}


def test_an_error_of_a_spreadsheet_is_no_comment(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path / "a.csv", "room_id,max_participants\n#N/A,20\n")
    assert problem.startswith("a.csv, line 2, room_id: '#N/A' is not a UUID")


def test_unique_name_as_the_key_gets_a_hint(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path / "a.csv", "unique_name,max_participants\nmain,20\n")
    assert problem.endswith("or rename unique_name to room if it contains the present names of the rooms")


def test_unknown_columns_can_be_ignored_but_mistyped_ones_can_not(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"room_id,notes,max_participants,owner\n{A},x,20,y\n")
    with read_rows(path, ignore_unknown_columns=True) as rows:
        assert rows.ignored_columns == ["notes", "owner"]
        assert rows.count == 1
    found = problems_of(path, f"room_id,notes,max_particpants\n{A},x,20\n", ignore_unknown_columns=True)
    assert found == ["a.csv, line 1: 'max_particpants' is not a known column; did you mean 'max_participants'?"]


def test_values_in_a_column_without_a_name_are_one_problem_and_can_be_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for text in (
        f",room_id,max_participants\n0,{A},20\n1,{B},20\n",
        f"room_id,max_participants,\n{A},20,x\n{B},20,y\n",
    ):
        (problem,) = problems_of(path, text)
        assert "has no name, but a cell of it has a value" in problem
        with read_rows(path, ignore_unknown_columns=True) as rows:
            assert rows.count == 2
            assert rows.ignored_columns == [""]


@pytest.mark.parametrize("column", ["name", "Name", "room name"])
def test_a_column_with_the_word_name_gets_a_hint(tmp_path: Path, column: str) -> None:
    (problem,) = problems_of(tmp_path / "a.csv", f"room_id,{column}\n{A},x\n")
    assert problem.endswith("write unique_name for a new name, or room for the room's present one")


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([f'{A},"Support'], 2),
        ([f"{B},x", f'{A},"Support', f"{C},y"], 3),
        ([f'{A},"Support', f"{B},x", f'{C},"Lab"'], 2),
        ([f'{B},"two\nlines"', f'{A},"Support', f'{C},"Lab"'], 4),
        (["", "# don't", f'{A},"Support', f'{C},"Lab"'], 4),
        ([f'{A},"' + "x" * 150_000, f"{C},y"], 2),
    ],
)
def test_a_quote_that_is_not_closed_is_reported_where_it_opens(tmp_path: Path, rows: list[str], line: int) -> None:
    found = problems_of(tmp_path / "a.csv", "\n".join(["room_id,unique_name", *rows]) + "\n")
    assert found == [f"a.csv, line {line}: a quoted cell is not closed"]


def test_text_after_a_closing_quote_is_reported_on_its_line(tmp_path: Path) -> None:
    found = problems_of(tmp_path / "a.csv", f'room_id,unique_name\n{B},x\n{A},"a"b\n')
    assert found == ["a.csv, line 3: ',' expected after '\"'"]


def test_line_numbers_count_blank_lines_and_comments(tmp_path: Path) -> None:
    found = problems_of(tmp_path / "a.csv", f"# x\n\nroom_id,max_participants\n\n# y\n{A},1\n,,\n{B},99\n")
    assert found == [
        "a.csv, line 6, max_participants: 1 is not in the range 2 to 50",
        "a.csv, line 8, max_participants: 99 is not in the range 2 to 50",
    ]


def test_invalid_rows_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"room_id,max_participants\n{A},20\n{B},99\nx,20\n{C},many\n{C.replace('9', '7')},30,extra\n")
    with read_rows(path, skip_invalid=True) as rows:
        assert rows.change_of(Room(id=A)) is not None
        assert rows.count == 1
        assert [(one.line, one.code) for one in rows.left_out.listed()] == [
            (3, "out_of_range"), (4, "not_a_uuid"), (5, "wrong_type"), (6, "bad_syntax"),
        ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [f"room_id,max_particpants\n{A},20\n", f'room_id,unique_name\n{A},"x\n', f"room_id\n{A}\n{A}\n", "room_id\n"],
)
def test_a_file_that_is_invalid_as_a_whole_is_a_problem_even_if_invalid_rows_are_left_out(
    tmp_path: Path, text: str
) -> None:
    assert len(problems_of(tmp_path / "a.csv", text, skip_invalid=True)) == 1


def test_all_problems_of_a_row_are_reported_together(tmp_path: Path) -> None:
    text = f"room_id,enable_recording,max_participants,unique_name\n{A},maybe,99,NULL\n{B},ja,1,\nx,,77,,extra\n"
    found = problems_of(tmp_path / "a.csv", text)
    assert [problem.split(":")[0] for problem in found] == [
        "a.csv, line 2, enable_recording",
        "a.csv, line 2, unique_name",
        "a.csv, line 2, max_participants",
        "a.csv, line 3, enable_recording",
        "a.csv, line 3, max_participants",
        "a.csv, line 4",
        "a.csv, line 4, room_id",
        "a.csv, line 4, max_participants",
    ]
