"""Reading the six writable fields from text, and comparing them with a room."""

from typing import get_args, get_type_hints

import attrs
import pytest

from aiorooms.models import Room, RoomCreate, RoomFields, RoomUpdate
from aiorooms.models._fields import FIELDS, Values, differing, has_fields, has_value, read_value, unreadable_fields


def test_the_table_of_fields_has_exactly_the_fields_of_an_update() -> None:
    assert list(FIELDS) == list(get_type_hints(RoomFields))
    for request in (RoomUpdate, RoomCreate):
        types = get_type_hints(request)
        del types["webhook_url_policy"]
        assert types == get_type_hints(RoomFields)
    for name, field in FIELDS.items():
        assert (type(None) in get_args(get_type_hints(RoomFields)[name])) is field.nullable
    assert set(FIELDS) < {field.name for field in attrs.fields(Room)}


@pytest.mark.parametrize("word", ["true", "TRUE", "yes", "on", "On", "1"])
def test_every_word_for_true_is_read_as_true(word: str) -> None:
    assert read_value("enable_recording", word) is True


@pytest.mark.parametrize("word", ["false", "no", "off", "OFF", "0"])
def test_every_word_for_false_is_read_as_false(word: str) -> None:
    assert read_value("enable_recording", word) is False


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_participants", "20", 20),
        ("max_participants", "-1", -1),
        ("max_participants", "2.5", "2.5"),
        ("max_participants", "on", "on"),
        ("max_participants", "9999999999", "9999999999"),
        ("enable_recording", "maybe", "maybe"),
        ("unique_name", "1", "1"),
        ("unique_name", "on", "on"),
        ("webhook_timeout_secs", "null", None),
        ("webhook_event_failover_url", "null", None),
        ("webhook_event_url", "https://x.io/", "https://x.io/"),
    ],
)
def test_text_is_converted_to_the_type_of_its_field_if_possible(name: str, text: str, value: object) -> None:
    read = read_value(name, text)
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize(
    ("name", "present", "wanted", "same"),
    [
        ("webhook_event_url", "https://X.io/h", "https://x.io/h", True),
        ("webhook_event_url", "https://x.io:443/h", "https://x.io/h", True),
        ("webhook_event_url", "https://x.io/h", "https://x.io/H", False),
        ("webhook_event_url", "http://127.1/h", "http://127.0.0.1/h", True),
        ("webhook_event_url", None, "https://x.io/h", False),
        ("webhook_event_failover_url", "", None, True),
        ("webhook_event_failover_url", None, "", True),
        ("webhook_event_failover_url", "https://x.io/h", None, False),
        ("unique_name", "https://X.io", "https://x.io", False),
        ("unique_name", "", None, False),
        ("webhook_timeout_secs", None, 0, False),
        ("max_participants", 10, 10, True),
    ],
)
def test_urls_are_compared_after_normalization_and_other_values_exactly(
    name: str, present: object, wanted: object, same: bool
) -> None:
    assert has_value(name, present, wanted) is same


def test_differing_returns_the_values_that_the_room_does_not_have() -> None:
    room = Room(id="r", max_participants=10, webhook_event_url="https://X.io", webhook_event_failover_url="")
    wanted: Values = {"max_participants": 11, "webhook_event_url": "https://x.io/", "webhook_event_failover_url": None}
    assert differing(room, wanted) == {"max_participants": 11}
    assert not has_fields(room, wanted)
    assert has_fields(room, {**wanted, "max_participants": 10})
    assert has_fields(room, {})


def test_a_value_that_can_not_be_read_differs_from_every_wanted_value() -> None:
    room = Room(id="r", max_participants=10, unreadable={"webhook_event_failover_url": 5, "webhook_timeout_secs": "x"})
    wanted: Values = {"max_participants": 10, "webhook_event_failover_url": None, "webhook_timeout_secs": None}
    assert differing(room, wanted) == {"webhook_event_failover_url": None, "webhook_timeout_secs": None}
    assert not has_fields(room, {"webhook_timeout_secs": None})
    assert unreadable_fields(room, wanted, ["unique_name", "webhook_event_url"]) == (
        "webhook_event_failover_url",
        "webhook_timeout_secs",
        "unique_name",
    )
