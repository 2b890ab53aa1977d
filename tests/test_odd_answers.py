"""Reading answers with odd fields.

A field that can't be read is None, and `unreadable` has its raw value. Unknown fields are in `extra`. All other fields
are read as usual.
"""

import copy
import json
import pickle
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from aiorooms import Room, RoomsClient
from aiorooms.cli._json import model_data
from aiorooms.resources._bodies import decode_room, decode_rooms

from .raw_server import Peer, raw_server
from .samples import ROOM_ID

AT = datetime(2021, 4, 16, 9, 46, 20, tzinfo=UTC)


def room_with(**fields: object) -> Room:
    """Return a room as decoded from an answer with these fields."""
    return decode_room(json.dumps({"data": {"id": ROOM_ID, **fields}}).encode())


@pytest.mark.parametrize(
    ("field", "raw", "value"),
    [
        ("max_participants", 20.0, 20),
        ("created_at", "2021-04-16T09:46:20", AT),
        ("created_at", "2021-04-16 09:46:20", AT),
        ("created_at", "2021-04-16t09:46:20z", AT),
        ("created_at", "2021-04-16T11:46:20+02:00", AT),
        ("updated_at", "2021-04-16T09:46", AT.replace(second=0)),
    ],
)
def test_a_value_in_an_unusual_format_is_read(field: str, raw: object, value: object) -> None:
    room = room_with(**{field: raw})
    assert getattr(room, field) == value
    assert type(getattr(room, field)) is type(value)
    assert room.unreadable == {}


@pytest.mark.parametrize(
    ("field", "raw"),
    [
        ("max_participants", "20"),
        ("max_participants", 20.5),
        ("max_participants", True),
        ("max_participants", 1e300),
        ("unique_name", 5),
        ("enable_recording", 1),
        ("enable_recording", "true"),
        ("created_at", "2021-04-16"),
        ("created_at", "2016-12-31T23:59:60Z"),
        ("created_at", 1618566380),
        ("created_at", "0001-01-01T00:00:00+01:00"),
        ("created_at", "9999-12-31T23:59:59-23:00"),
        ("created_at", "yesterday at around noon"),
        ("created_at", "2021-04-16T09:46:20+02:00z"),
        ("created_at", "2021-04-16T09:46:20Zz"),
        ("created_at", "2021-04-16T09:46" + "z" * 3000),
        ("webhook_event_url", {"url": "https://x.io"}),
        ("sessions", [ROOM_ID]),
        ("sessions", {}),
        ("sessions", "abc"),
        ("sessions", [{"id": "s"}, None]),
        ("active_session_id", 7),
        ("record_type", []),
    ],
)
def test_an_unreadable_field_is_none_and_its_raw_value_is_kept(field: str, raw: object) -> None:
    room = room_with(**{field: raw}, webhook_timeout_secs=7)
    assert getattr(room, field) is None
    assert room.unreadable == {field: raw}
    assert (room.id, room.webhook_timeout_secs) == (ROOM_ID, 7), "the other fields were not read"


def test_sessions_and_participants_have_their_own_unreadable_fields() -> None:
    sessions = [{"id": "s", "active": 1, "participants": [{"id": "p", "context": {"a": 1}, "mood": "good"}]}]
    room = room_with(sessions=sessions)
    assert room.unreadable == {}
    assert room.sessions is not None
    (session,) = room.sessions
    assert (session.id, session.active, session.unreadable) == ("s", None, {"active": 1})
    assert session.participants is not None
    (participant,) = session.participants
    assert (participant.id, participant.context) == ("p", None)
    assert (participant.unreadable, participant.extra) == ({"context": {"a": 1}}, {"mood": "good"})


def test_unknown_fields_are_in_extra_even_if_they_are_named_like_attributes() -> None:
    unknown = {"video_codecs": ["h264", "vp8"], "unreadable": 1, "extra": 2, "__class__": 3}
    room = room_with(**unknown, max_participants=10)
    assert room.extra == unknown
    assert (room.unreadable, room.max_participants) == ({}, 10)


def test_unreadable_and_extra_do_not_affect_equality_hash_repr_or_json() -> None:
    odd, plain = room_with(unique_name=5, mood="good"), room_with()
    assert odd == plain
    assert hash(odd) == hash(plain)
    assert repr(odd) == repr(plain)
    assert model_data(odd) == model_data(plain)
    copy = pickle.loads(pickle.dumps(odd))
    assert (copy.unreadable, copy.extra) == ({"unique_name": 5}, {"mood": "good"})


@pytest.mark.parametrize("value", [None, [], "x", 5])
def test_only_a_json_object_is_read_as_a_room(value: object) -> None:
    answer = decode_rooms(1, page([value]))
    assert (answer.rooms, answer.unreadable) == ((), (value,))


def page(data: list[Any], **meta: object) -> bytes:
    """Return the body of an answer that contains one page of a list."""
    return json.dumps({"data": data, "meta": meta}).encode()


def test_the_empty_extra_that_rooms_share_can_not_be_changed() -> None:
    first, second = Room(id="1"), Room(id="2")
    extra = cast("dict[str, object]", first.extra)
    changes: tuple[Callable[[], object], ...] = (
        lambda: extra.__setitem__("a", 1),
        lambda: extra.update(a=1),
        lambda: extra.setdefault("a", 1),
        lambda: extra.__ior__({"a": 1}),
    )
    for change in changes:
        with pytest.raises(TypeError, match="can't be changed"):
            change()
    assert second.extra == {}
    for copied in (pickle.loads(pickle.dumps(first)), copy.deepcopy(first)):
        assert copied == first
        assert copied.extra == {}
    assert json.dumps(first.extra) == "{}"


def test_page_entries_without_a_valid_id_are_unreadable_and_the_others_are_read() -> None:
    data = [{"id": ROOM_ID, "created_at": "noon"}, {"unique_name": "no id"}, "text", {"id": 5}]
    found = decode_rooms(3, page(data, total_pages="1", total_results=4.0))
    assert [room.id for room in found] == [ROOM_ID]
    assert found.unreadable == tuple(data[1:])
    assert (found.number, found.total_pages, found.total_results) == (3, None, 4)
    assert decode_rooms(1, json.dumps({"data": [], "meta": []}).encode()).total_pages is None


def serving(pages: list[bytes]) -> Callable[[Peer], Awaitable[None]]:
    """Return a handler that answers each request with the page that the request asks for."""

    async def serve(peer: Peer) -> None:
        while True:
            request = await peer.read()
            peer.answer(pages[int(request.partition(b"page%5Bnumber%5D=")[2][:1]) - 1])

    return serve


async def test_entries_without_an_id_are_skipped_with_a_single_warning() -> None:
    lists: list[list[Any]] = [[{"id": ROOM_ID}, {"x": 1}], [None], [{"id": "b"}, 1]]
    pages = [page(data, total_pages=3) for data in lists]

    async with raw_server(serving(pages)) as (url, _), RoomsClient("KEY", base_url=url) as client:
        with pytest.warns(RuntimeWarning, match="entries without an id, which are skipped") as warned:
            assert [room.id async for room in client.rooms.list(page_size=2)] == [ROOM_ID, "b"]
    assert len(warned) == 1


async def test_a_page_without_meta_does_not_cause_a_rewind() -> None:
    pages = [
        page([{"id": "a"}], total_pages=2, total_results=2),
        json.dumps({"data": [{"id": "b"}]}).encode(),
        page([]),
    ]

    async with raw_server(serving(pages)) as (url, received), RoomsClient("KEY", base_url=url) as client:
        assert [room.id async for room in client.rooms.list(page_size=1)] == ["a", "b"]
    assert len(received) == 3
