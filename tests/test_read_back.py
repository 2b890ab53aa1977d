"""The verdict of a read-back on an uncertain update or delete."""

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
def test_a_room_with_the_wanted_values_confirms_the_update(
    wanted: dict[str, int | None], fields: dict[str, object]
) -> None:
    verdict = read_back_update(ROOM_ID, wanted).request.decode(body(**fields))
    assert verdict == Confirmed(Room(id=ROOM_ID, **fields))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_different_values_mean_not_applied_and_are_named() -> None:
    read_back = read_back_update(ROOM_ID, {"max_participants": 20, "enable_recording": True, "unique_name": "a"})
    verdict = read_back.request.decode(body(max_participants=10, enable_recording=True, unique_name="b"))
    assert verdict == NotApplied("a read-back shows that the update was not applied (max_participants, unique_name)")


def test_a_missing_field_leaves_the_update_unconfirmed_unless_another_field_differs() -> None:
    read_back = read_back_update(ROOM_ID, {"max_participants": 20, "unique_name": "a"})
    verdict = read_back.request.decode(body(unique_name="a"))
    assert verdict == Unconfirmed("the answer to the read-back has no max_participants")
    assert isinstance(read_back.request.decode(body(unique_name="b")), NotApplied)


def test_a_missing_room_was_deleted_and_not_updated() -> None:
    assert read_back_update(ROOM_ID, {"max_participants": 20}).not_found == NotApplied()
    assert read_back_delete(ROOM_ID).not_found == Confirmed(None)
    assert read_back_delete(ROOM_ID).request.decode(body()) == NotApplied()


def test_an_answer_about_another_room_is_an_error() -> None:
    other = json.dumps({"data": {"id": ROOM_ID.replace("7", "8"), "max_participants": 20}}).encode()
    for read_back in (read_back_update(ROOM_ID, {"max_participants": 20}), read_back_delete(ROOM_ID)):
        with pytest.raises(DecodeError, match="about another room"):
            read_back.request.decode(other)
