"""The table of rooms: it numbers rooms like a dict, and needs little memory."""

import tracemalloc
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms.bulk import _room_table
from aiorooms.bulk._room_table import RoomTable

_ids = st.lists(st.sampled_from(["A", "a", "", "\ud800", *"bcdefghij", str(UUID(int=1)), str(UUID(int=2))]))


@given(ids=_ids, others=_ids)
def test_a_table_numbers_rooms_as_a_dict_does(ids: list[str], others: list[str]) -> None:
    table, numbers = RoomTable(), dict[str, int]()
    for room_id in ids:
        assert table.add(room_id) == numbers.setdefault(room_id, len(numbers))
    assert len(table) == len(numbers)
    for room_id in (*ids, *others):
        assert table.find(room_id) == numbers.get(room_id)


@pytest.mark.parametrize("slots", [2, 4, 1024])
def test_a_table_grows(monkeypatch: pytest.MonkeyPatch, slots: int) -> None:
    monkeypatch.setattr(_room_table, "_FIRST_SLOTS", slots)
    table, ids = RoomTable(), [str(UUID(int=number)) for number in range(3000)]
    assert [table.add(room_id) for room_id in ids] == [*range(3000)]
    assert [table.add(room_id) for room_id in reversed(ids)] == [*reversed(range(3000))]
    assert [table.find(room_id) for room_id in ids] == [*range(3000)]
    assert table.find(str(UUID(int=3000))) is None


def test_a_room_needs_at_most_40_bytes() -> None:
    ids = [str(UUID(int=number)) for number in range(20_000)]
    tracemalloc.start()
    try:
        table = RoomTable()
        for room_id in ids:
            table.add(room_id)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / len(table) < 40
