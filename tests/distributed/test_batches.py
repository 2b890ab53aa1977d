"""A plan is cut into batches, and put together again without a difference."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms.bulk.distributed._batches import (
    ASIDE,
    BATCH_SIZE,
    BEGUN,
    FOUND,
    LETTERS,
    NOT_BEGUN,
    OPEN,
    pack,
    packed_batches,
    unpack,
)

lines = st.lists(st.binary(max_size=30).map(lambda text: text.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n"))


@given(lines)
def test_what_is_packed_can_be_unpacked(given_lines: list[bytes]) -> None:
    assert unpack(pack(given_lines)) == given_lines


@pytest.mark.parametrize("rooms", [0, 1, BATCH_SIZE - 1, BATCH_SIZE, BATCH_SIZE + 1, 3 * BATCH_SIZE])
def test_all_rooms_are_in_a_batch(rooms: int) -> None:
    plan = [b"%d\n" % number for number in range(rooms)]
    batches = [*packed_batches(plan)]
    assert [line for _, packed in batches for line in unpack(packed)] == plan
    assert [count for count, _ in batches] == [len(unpack(packed)) for _, packed in batches]
    assert all(count == BATCH_SIZE for count, _ in batches[:-1])


def test_damaged_bytes_are_an_error() -> None:
    with pytest.raises(ValueError, match="can't be decompressed"):
        unpack(b"damaged")


def test_each_state_has_a_letter_of_its_own() -> None:
    letters = [*LETTERS.values(), NOT_BEGUN, BEGUN, FOUND, ASIDE]
    assert len({*letters}) == len(letters)
    assert OPEN.isdisjoint(LETTERS.values())
    assert {NOT_BEGUN, BEGUN} == OPEN
