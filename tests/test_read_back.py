"""What a read-back shows about an uncertain update or delete."""

import json

import pytest

from aiorooms._http.request import Confirmed, NotApplied, NotConfirmedError, Unconfirmed
from aiorooms.models import Room
from aiorooms.models._values import DecodeError
from aiorooms.resources._read_back import decode_updated, read_back_delete, read_back_update

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


def test_other_values_are_named_and_mean_that_the_update_was_not_applied() -> None:
    read_back = read_back_update(ROOM_ID, {"max_participants": 20, "enable_recording": True, "unique_name": "a"})
    verdict = read_back.request.decode(body(max_participants=10, enable_recording=True, unique_name="b"))
    assert verdict == NotApplied(
        "a read-back shows that the update was not applied "
        "(max_participants: requested 20, the room has 10; unique_name: requested 'a', the room has 'b')"
    )


def test_a_missing_field_leaves_the_update_unconfirmed_unless_another_field_differs() -> None:
    read_back = read_back_update(ROOM_ID, {"max_participants": 20, "unique_name": "a"})
    verdict = read_back.request.decode(body(unique_name="a"))
    assert verdict == Unconfirmed("the answer to the read-back has no max_participants")
    assert isinstance(read_back.request.decode(body(unique_name="b")), NotApplied)


def test_a_missing_room_confirms_a_delete_and_means_that_an_update_was_not_applied() -> None:
    assert isinstance(read_back_update(ROOM_ID, {"max_participants": 20}).not_found, NotApplied)
    assert read_back_delete(ROOM_ID).not_found == Confirmed(None)
    assert isinstance(read_back_delete(ROOM_ID).request.decode(body()), NotApplied)


def test_a_read_back_whose_answer_is_about_another_room_is_an_error() -> None:
    other = json.dumps({"data": {"id": ROOM_ID.replace("7", "8"), "max_participants": 20}}).encode()
    for read_back in (read_back_update(ROOM_ID, {"max_participants": 20}), read_back_delete(ROOM_ID)):
        with pytest.raises(DecodeError, match="about another room"):
            read_back.request.decode(other)


@pytest.mark.parametrize(
    ("wanted", "fields", "gaps"),
    [
        ({"max_participants": 3}, {"max_participants": 10}, "max_participants: requested 3, got 10"),
        ({"max_participants": 3}, {}, "max_participants is missing or unreadable"),
        ({"max_participants": 3}, {"max_participants": "3"}, "max_participants is missing or unreadable"),
        ({"webhook_timeout_secs": None}, {}, "webhook_timeout_secs is missing or unreadable"),
        ({"enable_recording": True}, {"enable_recording": True, "id": None}, "id is missing or unreadable"),
        ({"enable_recording": True}, {"enable_recording": True, "id": 5}, "id is missing or unreadable"),
        (
            {"max_participants": 3, "unique_name": "a"},
            {"max_participants": 4},
            "unique_name is missing or unreadable; max_participants: requested 3, got 4",
        ),
        (
            {"webhook_event_url": "https://u:secret@x.io/a"},
            {"webhook_event_url": "https://u:secret@x.io/b"},
            "webhook_event_url: requested 'https://***@x.io/a', got 'https://***@x.io/b'",
        ),
    ],
)
def test_an_answer_without_the_wanted_values_does_not_confirm_an_update(
    wanted: dict[str, int | None], fields: dict[str, object], gaps: str
) -> None:
    with pytest.raises(NotConfirmedError) as caught:
        decode_updated(ROOM_ID, wanted, body(**fields))
    assert str(caught.value) == gaps


@pytest.mark.parametrize(
    ("wanted", "fields"),
    [
        ({"max_participants": 20}, {"max_participants": 20.0, "created_at": "noon", "mood": "good"}),
        ({"webhook_event_url": "https://x.io/h"}, {"webhook_event_url": "https://X.io:443/h", "unique_name": 5}),
        ({"webhook_event_failover_url": None}, {"webhook_event_failover_url": "", "sessions": ["a"]}),
    ],
)
def test_odd_values_in_other_fields_do_not_prevent_confirmation(
    wanted: dict[str, int | None], fields: dict[str, object]
) -> None:
    assert decode_updated(ROOM_ID, wanted, body(**fields)).id == ROOM_ID


def test_an_answer_about_another_room_does_not_confirm_an_update() -> None:
    with pytest.raises(DecodeError, match="about another room"):
        decode_updated(ROOM_ID, {"max_participants": 20}, body(max_participants=20, id=ROOM_ID.replace("7", "8")))
