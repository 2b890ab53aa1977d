"""A sequence of compressed texts behaves as a list does, and needs less memory."""

import tracemalloc
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms.bulk import _texts
from aiorooms.bulk._texts import Texts


def texts_of(wanted: list[str]) -> Texts:
    texts = Texts()
    for text in wanted:
        texts.append(text)
    return texts


@given(
    wanted=st.lists(st.text(max_size=3), max_size=20),
    position=st.integers(-25, 25),
    part=st.slices(20),
    block=st.sampled_from([1, 2, 3, 256]),
)
def test_texts_behave_as_a_list(wanted: list[str], position: int, part: slice, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_texts, "_BLOCK", block)
        texts = texts_of(wanted)
        assert len(texts) == len(wanted)
        assert [*texts] == wanted
        assert [*reversed(texts)] == [*reversed(wanted)]
        assert texts == wanted
        assert texts == texts_of(wanted)
        assert texts != [*wanted, "more"]
        assert texts != texts_of([*wanted, "more"])
        assert repr(texts) == repr(wanted)
        assert texts[part] == wanted[part]
        if -len(wanted) <= position < len(wanted):
            assert texts[position] == wanted[position]
        else:
            with pytest.raises(IndexError):
                texts[position]


def test_a_text_is_not_equal_to_a_string_and_has_no_hash() -> None:
    assert texts_of(["a", "b"]) != "ab"
    assert texts_of([]) != None  # noqa: E711 - the comparison is tested
    with pytest.raises(TypeError):
        hash(texts_of([]))


def test_half_of_a_surrogate_pair_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_texts, "_BLOCK", 2)
    assert [*texts_of(["room \ud800", "\0", "ä"])] == ["room \ud800", "\0", "ä"]


def test_a_conflict_needs_at_most_60_bytes() -> None:
    count = 256 * 40
    tracemalloc.start()
    try:
        texts = Texts()
        for number in range(count):
            room_id = UUID(int=number * 2**64 + hash(str(number)) % 2**64)
            texts.append(f"room {room_id} was modified by someone else after the update (webhook_event_url)")
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / count < 60
