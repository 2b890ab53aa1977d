"""What a room says of an update or a delete whose outcome is uncertain."""

import json

import pytest

from aiorooms._http.request import Confirmed, NotApplied, Unconfirmed
from aiorooms.models import Room
from aiorooms.models._converter import DecodeError
from aiorooms.resources._read_back import read_back_delete, read_back_update

from .samples import ROOM_ID


def body(**fields: object) -> bytes:
    return json.dumps({"data": {"id": ROOM_ID, **fields}}).encode()


@pytest.mark.parametrize(
    ("wanted", "fields"),
    [
        ({"max_participants": 20}, {"max_participants": 20}),
        ({"webhook_event_url": "https://x.io/h"}, {"webhook_event_url": "https://X.io:443/h"}),
        ({"webhook_event_failover_url": None}, {"webhook_event_failover_url": ""}),
        ({"webhook_timeout_secs": None}, {"webhook_timeout_secs": None}),
    ],
)
def test_a_room_that_has_the_wanted_values_confirms_an_update(
    wanted: dict[str, int | None], fields: dict[str, object]
) -> None:
    verdict = read_back_update(ROOM_ID, wanted).request.decode(body(**fields))
    assert verdict == Confirmed(Room(id=ROOM_ID, **fields))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_a_room_that_differs_denies_it_and_the_fields_are_named() -> None:
    read_back = read_back_update(ROOM_ID, {"max_participants": 20, "enable_recording": True, "unique_name": "a"})
    verdict = read_back.request.decode(body(max_participants=10, enable_recording=True, unique_name="b"))
    assert verdict == NotApplied("the room was read, and the update is not in it (max_participants, unique_name)")


def test_a_field_that_the_answer_does_not_have_leaves_it_open_unless_another_denies_it() -> None:
    read_back = read_back_update(ROOM_ID, {"max_participants": 20, "unique_name": "a"})
    verdict = read_back.request.decode(body(unique_name="a"))
    assert verdict == Unconfirmed("the room was read, and the answer does not have max_participants")
    assert isinstance(read_back.request.decode(body(unique_name="b")), NotApplied)


def test_a_room_that_is_not_there_was_not_updated_but_was_deleted() -> None:
    assert read_back_update(ROOM_ID, {"max_participants": 20}).not_found == NotApplied()
    assert read_back_delete(ROOM_ID).not_found == Confirmed(None)
    assert read_back_delete(ROOM_ID).request.decode(body()) == NotApplied()


def test_another_room_says_nothing() -> None:
    other = json.dumps({"data": {"id": ROOM_ID.replace("7", "8"), "max_participants": 20}}).encode()
    for read_back in (read_back_update(ROOM_ID, {"max_participants": 20}), read_back_delete(ROOM_ID)):
        with pytest.raises(DecodeError, match="about another room"):
            read_back.request.decode(other)
