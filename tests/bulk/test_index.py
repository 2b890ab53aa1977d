"""`LineIndex` finds the line of a file that belongs to a key, and finds duplicate keys."""

import tempfile
from contextlib import closing
from io import BytesIO
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms.bulk import (
    Plan,
)
from aiorooms.bulk._index import ChangedLineError, LineIndex
from aiorooms.bulk._lookup import plan_index
from aiorooms.bulk._plan_records import PLANNED

from ..conftest import plan_file
from .conftest import planned


@given(
    numbers=st.sets(st.integers(0, 2**128 - 1) | st.integers(0, 20), max_size=30),
    asked=st.lists(st.integers(0, 20) | st.integers(0, 2**128 - 1), max_size=30),
)
def test_find_once_finds_each_room_of_a_plan_once(numbers: set[int], asked: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.plan")
        with plan_file(path, "http://127.0.0.1:1/v2", "x") as writer:
            for number in sorted(numbers, key=hash):
                writer.add(planned(number))
            writer.finish(0)
        plan = Plan.open(path)
        with closing(plan.open_file()) as file:
            index = plan_index(plan, file)
            left = set(numbers)
            for number in [*asked, *numbers][: len(asked) + len(numbers) // 2]:
                room_id = str(UUID(int=number))
                line = index.find_once(room_id)
                assert (line is not None) == (number in left)
                assert (index.find(room_id) is not None) == (number in numbers)
                if line is not None:
                    assert PLANNED.read(line) == planned(number)
                left.discard(number)
            in_order = [str(UUID(int=number)) for number in sorted(numbers, key=hash) if number in left]
            assert [PLANNED.read(line).room_id for line in index.unmatched()] == in_order
            assert index.find_once("not-a-uuid") is None
            assert [*index.duplicates()] == []


@given(keys=st.lists(st.sampled_from(["a", "b", "name a", "\ud800", "", "é"]), max_size=12))
def test_the_index_finds_duplicate_keys(keys: list[str]) -> None:
    lines = [b"%d\n" % number for number in range(10, 10 + len(keys))]
    index = LineIndex(BytesIO(b"".join(lines)))
    for number, (key, line) in enumerate(zip(keys, lines, strict=True)):
        index.add(key, 3 * number, line)
    index.sort()
    first = {key: 3 * keys.index(key) for key in keys}
    expected = [(first[key], 3 * number) for number, key in enumerate(keys) if first[key] != 3 * number]
    assert sorted(index.duplicates(), key=lambda pair: pair[1]) == expected
    for key, place in first.items():
        assert index.find(key) == index.line_at(place)


def test_a_line_that_changed_after_it_was_added_is_not_returned() -> None:
    file = BytesIO(b"1\n2\n3\n")
    index = LineIndex(file)
    for number, line in enumerate(file):
        index.add(f"{number}", 2 * number, line)
    index.sort()
    file.getbuffer()[2:3] = b"5"
    assert index.find("0") == b"1\n"
    for find in (index.find, index.find_once):
        with pytest.raises(ChangedLineError):
            find("1")
    file.truncate(2)
    with pytest.raises(ChangedLineError):
        list(index.unmatched())
