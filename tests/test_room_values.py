"""Rooms as JSON data, and updates from rooms: copied, combined, reduced to what would change."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms import UNSET, InvalidRequestError, Room, RoomParticipant, RoomSession, RoomUpdate
from aiorooms.webhook_config import WebhookUrlPolicy

from .samples import ROOM_ID

AT = datetime(2021, 4, 12, 22, 29, 42, tzinfo=UTC)
ROOM = Room(
    id=ROOM_ID,
    unique_name="lobby",
    max_participants=20,
    enable_recording=False,
    webhook_event_url="https://hooks.example.com/a",
    webhook_event_failover_url="",
    webhook_timeout_secs=10,
    created_at=AT,
    sessions=(RoomSession(id="s", active=True, participants=(RoomParticipant(id="p", joined_at=AT),)),),
)

updates = st.builds(
    RoomUpdate,
    unique_name=st.sampled_from([UNSET, "a", "b"]),
    max_participants=st.sampled_from([UNSET, 2, 20]),
    enable_recording=st.sampled_from([UNSET, True, False]),
    webhook_event_url=st.sampled_from([UNSET, "https://hooks.example.com/a", "https://hooks.example.com/b"]),
    webhook_event_failover_url=st.sampled_from([UNSET, None, "https://hooks.example.com/c"]),
    webhook_timeout_secs=st.sampled_from([UNSET, None, 10]),
)


def test_a_room_becomes_json_data() -> None:
    data = ROOM.to_dict()
    assert json.loads(json.dumps(data)) == data
    assert data["created_at"] == "2021-04-12T22:29:42Z"
    assert data["webhook_event_failover_url"] == ""
    assert data["updated_at"] is None
    assert data["sessions"][0]["participants"][0]["joined_at"] == "2021-04-12T22:29:42Z"
    assert "unreadable" not in data
    assert "extra" not in data


def test_an_update_from_a_room_has_its_values_except_for_the_name() -> None:
    assert RoomUpdate.from_room(ROOM).to_dict() == {
        "max_participants": 20,
        "enable_recording": False,
        "webhook_event_url": "https://hooks.example.com/a",
        "webhook_event_failover_url": None,
        "webhook_timeout_secs": 10,
    }


def test_fields_that_a_room_lacks_or_that_cannot_be_read_stay_unchanged() -> None:
    room = Room(id=ROOM_ID, unreadable={"webhook_timeout_secs": "soon", "webhook_event_failover_url": 5})
    assert RoomUpdate.from_room(room).to_dict() == {}


def test_an_update_from_a_room_checks_the_urls_against_the_policy() -> None:
    with pytest.raises(InvalidRequestError, match="webhook_event_url"):
        RoomUpdate.from_room(ROOM, webhook_url_policy=WebhookUrlPolicy(allowed_hosts=("other.example.com",)))


@given(update=updates, other=updates)
def test_a_combined_update_has_the_fields_of_both_and_the_second_one_takes_precedence(
    update: RoomUpdate, other: RoomUpdate
) -> None:
    assert (update | other).to_dict() == update.to_dict() | other.to_dict()


def test_an_update_can_be_combined_only_with_an_update() -> None:
    with pytest.raises(TypeError):
        RoomUpdate(max_participants=2) | {"max_participants": 3}  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]


@given(update=updates)
def test_a_difference_has_exactly_the_fields_that_would_change(update: RoomUpdate) -> None:
    present = {**ROOM.to_dict(), "webhook_event_failover_url": None}
    wanted = update.to_dict()
    assert update.diff(ROOM).to_dict() == {name: value for name, value in wanted.items() if present[name] != value}


def test_the_difference_of_a_copy_of_a_room_is_empty() -> None:
    assert RoomUpdate.from_room(ROOM).diff(ROOM).to_dict() == {}
