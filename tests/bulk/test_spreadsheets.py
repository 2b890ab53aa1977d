"""Names in CSV files: spreadsheets don't convert what an export writes, and a name that was converted is noticed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms.bulk._sources.cells import CellError, reader_of
from aiorooms.bulk._sources.spreadsheets import cell_of_name, is_no_name, may_be_converted, name_of_cell

CONVERTED = ("00123", "123", "1e5", "1-2", "3/4", "12:30", "1.50", "50%", "$5", "MARCH1", "1-Mar", "Sept 2024", "true")
RUN = ("=1+1", "+49 30 1", "-x", "@sum", "\t=1", "\r=1")
MISREAD = ("null", "NULL", "None", "nan", "#REF!", "#N/A", "# note", " padded ", "  ", "'quoted", "'x'")


def read(cell: str) -> object:
    reader = reader_of("unique_name")
    assert reader is not None
    return reader(cell)


@pytest.mark.parametrize("name", [*CONVERTED, *RUN, *MISREAD])
def test_a_name_that_a_spreadsheet_or_a_reader_would_misread_is_between_apostrophes(name: str) -> None:
    assert cell_of_name(name) == f"'{name}'"
    assert read(f"'{name}'") == name


@pytest.mark.parametrize("name", ["Support", "room-000001", "rock'n'roll", "a=b", "Büro 2", "May Smith", "1st floor"])
def test_all_other_names_are_cells_as_they_are(name: str) -> None:
    assert cell_of_name(name) == name
    assert read(name) == name


@given(st.text(st.characters(codec="utf-8"), min_size=1) | st.text("'=1 #n/a-", min_size=1))
def test_every_name_comes_back(name: str) -> None:
    cell = cell_of_name(name)
    assert read(cell) == name
    assert read(f"  {cell} ") == name


@given(st.text("'=1 x-", min_size=1))
def test_no_two_names_have_the_same_cell(name: str) -> None:
    assert name_of_cell(cell_of_name(name)) in (name, None)


@pytest.mark.parametrize(
    ("cell", "name"), [("'00123", "00123"), ("'tis", "'tis"), ("'n'", "'n'"), ("'", "'"), ("'=1", "=1")]
)
def test_an_apostrophe_that_a_person_has_typed_protects_a_name_too(cell: str, name: str) -> None:
    assert read(cell) == name


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("00123", "123", True),
        ("1e5", "100000", True),
        ("123456789012", "1.23E+11", True),
        ("1.50", "1.5", True),
        ("1,50", "1.5", True),
        ("1-2", "2-Jan", True),
        ("3/4", "2024-04-03", True),
        ("MARCH1", "1-Mar", True),
        ("=1+x", "#NAME?", True),
        ("=1+1", "2", True),
        ("true", "TRUE", True),
        ("00123", "00123", False),
        ("00123", "Support", False),
        ("Support", "Sales", False),
        ("room 1", "room 2", False),
        ("1", "2", False),
        ("1-2", "Lab", False),
    ],
)
def test_a_name_that_a_spreadsheet_may_have_converted_is_noticed(before: str, after: str, expected: bool) -> None:
    assert may_be_converted(before, after) is expected


@pytest.mark.parametrize(
    "cell", ["NULL", "None", " none ", "NaN", "#REF!", "#n/a", "#DIV/0!", "undefined", "N/A", "\\N"]
)
def test_a_word_for_a_missing_value_is_never_a_name(cell: str) -> None:
    assert is_no_name(cell)
    with pytest.raises(CellError, match="leave the cell empty to leave the name unchanged"):
        read(cell)


def test_the_word_null_clears_a_name() -> None:
    assert read(" null ") is None
