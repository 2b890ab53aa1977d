"""Requests are validated when they are created. UNSET leaves a field unchanged, and None clears a nullable field."""

import copy
import enum
import json
import pickle
from typing import Any
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from aiorooms import (
    UNSET,
    ClientSettingsError,
    InvalidRequestError,
    Room,
    RoomCreate,
    RoomUpdate,
    Unset,
    UpdateResult,
    WebhookUrlPolicy,
)
from aiorooms._http.json import dumps, loads, make_encode, stdlib_dumps, stdlib_loads
from aiorooms.errors import Problem
from aiorooms.models import FIELD_NAMES, read_room_ref, rooms

from .samples import ROOM_ID

names = st.text(min_size=1, max_size=20).filter(lambda text: bool(text.strip()))
urls = st.sampled_from(
    ["https://a.example.com", "http://b.example.com:8080/hook?x=1", "https://c.example.com/ü".replace("ü", "%C3%BC")]
)
failovers = st.sampled_from(["https://d.example.com", "https://e.example.com/hook"])
fields = st.fixed_dictionaries(
    {},
    optional={
        "unique_name": names,
        "max_participants": st.integers(2, 50),
        "enable_recording": st.booleans(),
        "webhook_event_url": urls,
        "webhook_event_failover_url": failovers | st.none(),
        "webhook_timeout_secs": st.integers(0, 30) | st.none(),
    },
)


@given(data=fields, kind=st.sampled_from([RoomUpdate, RoomCreate]))
def test_a_request_round_trips_through_its_dict_and_its_bytes(
    data: dict[str, Any], kind: type[RoomUpdate] | type[RoomCreate]
) -> None:
    request = kind.from_dict(data)
    assert request.to_dict() == data
    assert request == kind(**data)
    assert kind.from_dict(request.to_dict()) == request
    assert json.loads(dumps(request.to_dict())) == data
    assert pickle.loads(pickle.dumps(request)) == request
    for name in FIELD_NAMES:
        assert getattr(request, name) is UNSET or name in data


@given(data=fields)
def test_both_json_libraries_write_the_same_bytes_and_read_the_same_values(data: dict[str, Any]) -> None:
    body = dumps(RoomUpdate(**data).to_dict())
    assert body == stdlib_dumps(RoomUpdate(**data).to_dict())
    assert loads(body) == stdlib_loads(body) == data


@pytest.mark.parametrize(
    "body", [b"NaN", b"[Infinity]", b"-Infinity", b'"\\ud800"', b'"\\uDC00"', b"\xff", b"", b"{", b"[" * 10**5]
)
def test_both_json_libraries_reject_invalid_json(body: bytes) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        loads(body)
    with pytest.raises((ValueError, RecursionError)):
        stdlib_loads(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_a_body_is_encoded_as_json_encoder_does_it(value: object) -> None:
    encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    assert make_encode()(value) == encoder.encode(value)


def test_a_python_without_the_c_encoder_encodes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with_c = make_encode()
    monkeypatch.setattr("json.encoder.c_make_encoder", None)
    for encode in (with_c, make_encode()):
        assert encode({"a": [1, 2.5, True, None], "ü": "\n"}) == '{"a":[1,2.5,true,null],"ü":"\\n"}'
        with pytest.raises(ValueError, match="JSON compliant"):
            encode(float("nan"))


def test_an_escaped_surrogate_pair_is_read_as_one_character() -> None:
    assert stdlib_loads(b'"\\ud83d\\ude00"') == loads(b'"\\ud83d\\ude00"') == "\U0001f600"


class Three(enum.IntEnum):
    THREE = 3


# (field, value, part of the message)
BAD = [
    ("unique_name", "", "'' is blank"),
    ("unique_name", " \t ", "is blank; give"),
    ("unique_name", None, "None can't clear this field; give a string, or omit the field to leave it unchanged"),
    ("unique_name", 5, "5 is an int, not a string"),
    ("unique_name", b"room", "b'room' is a bytes, not a string"),
    ("unique_name", "\ud800", "surrogate"),
    ("max_participants", 1, "1 is not in the range 2 to 50"),
    ("max_participants", 51, "51 is not in the range 2 to 50"),
    ("max_participants", -(10**30), "is not in the range 2 to 50"),
    ("max_participants", True, "True is a bool, not a whole number"),
    ("max_participants", 10.0, "10.0 is a float, not a whole number"),
    ("max_participants", "10", "'10' is a str, not a whole number"),
    ("max_participants", None, "None can't clear this field"),
    ("enable_recording", 1, "1 is an int, not True or False"),
    ("enable_recording", "true", "not True or False"),
    ("enable_recording", None, "None can't clear this field"),
    ("webhook_event_url", None, "None can't clear this field"),
    ("webhook_event_url", "example.com/hook", "has no scheme; did you mean 'https://example.com/hook'?"),
    ("webhook_event_url", "", "empty"),
    ("webhook_event_url", URL("https://example.com"), "URL"),
    ("webhook_event_failover_url", "ftp://example.com/nope", "has the scheme 'ftp'"),
    ("webhook_event_failover_url", 5, "int"),
    ("webhook_timeout_secs", -1, "-1 is not in the range 0 to 30"),
    ("webhook_timeout_secs", 31, "31 is not in the range 0 to 30"),
    ("webhook_timeout_secs", False, "False is a bool, not a whole number or None"),
    ("webhook_timeout_secs", 2.5, "not a whole number"),
]


@pytest.mark.parametrize("kind", [RoomUpdate, RoomCreate])
@pytest.mark.parametrize(("field", "value", "words"), BAD)
def test_an_invalid_value_raises_an_error_with_a_pointer_to_its_field(
    kind: Any, field: str, value: object, words: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        kind(**{field: value})
    (problem,) = caught.value.problems
    assert problem.pointer == f"/{field}"
    assert words in problem.message
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_participants", 2),
        ("max_participants", 50),
        ("max_participants", Three.THREE),
        ("webhook_timeout_secs", 0),
        ("webhook_timeout_secs", 30),
        ("webhook_timeout_secs", None),
        ("webhook_event_failover_url", None),
        ("unique_name", "ö \U0001f600"),
    ],
)
def test_bounds_of_ranges_and_other_edge_cases_are_valid(field: str, value: object) -> None:
    update = RoomUpdate.from_dict({field: value})
    assert getattr(update, field) == value
    assert json.loads(dumps(update.to_dict())) == {field: value}


def test_all_problems_are_reported_together() -> None:
    data: dict[Any, object] = {
        "unique_name": "",
        "max_participants": 9999,
        "enable_recording": "yes",
        "webhook_event_url": "ftp:///nope",
        "webhook_event_failover_url": "x",
        "webhook_timeout_secs": 99,
        "maxparticipants": 5,
        "a/b~c\n": 1,
        7: 1,
    }
    with pytest.raises(InvalidRequestError) as caught:
        RoomUpdate.from_dict(data)
    pointers = [problem.pointer for problem in caught.value.problems]
    assert set(pointers) == {f"/{name}" for name in FIELD_NAMES} | {"/maxparticipants", "/a~1b~0c\\n", "/7"}
    assert "the writable fields are unique_name, max_participants" in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("data", [None, [], "x", 5])
def test_from_dict_accepts_only_a_mapping(data: Any) -> None:
    with pytest.raises(InvalidRequestError, match="not an object"):
        RoomUpdate.from_dict(data)


def test_an_unknown_keyword_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="max_participant"):
        RoomUpdate(max_participant=5)  # type: ignore[call-arg]


def test_a_failover_url_equal_to_the_primary_is_a_problem() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        RoomUpdate(webhook_event_url="https://example.com/a", webhook_event_failover_url="https://EXAMPLE.com:443/a")
    assert [problem.pointer for problem in caught.value.problems] == ["/webhook_event_failover_url"]


def test_the_given_policy_decides_which_urls_are_valid() -> None:
    url = "https://user:secret@example.com"
    with pytest.raises(InvalidRequestError) as caught:
        RoomUpdate(webhook_event_url=url)
    assert "secret" not in str(caught.value)
    lax = WebhookUrlPolicy(allow_credentials=True)
    update = RoomUpdate(webhook_event_url=url, webhook_url_policy=lax)
    assert update.webhook_event_url == url
    assert update == RoomUpdate.from_dict({"webhook_event_url": url}, webhook_url_policy=lax)
    assert update.url_problems(lax) == ()
    assert len(update.url_problems(WebhookUrlPolicy())) == 1
    assert attrs.evolve(update, max_participants=3, webhook_url_policy=lax).max_participants == 3


LAX = WebhookUrlPolicy(allow_credentials=True)


def lax_update() -> RoomUpdate:
    return RoomUpdate(webhook_event_url="https://user:secret@example.com", webhook_url_policy=LAX)


def test_copies_of_an_update_keep_its_policy() -> None:
    update = lax_update()
    copies = [copy.copy(update), copy.deepcopy(update), pickle.loads(pickle.dumps(update)), attrs.evolve(update)]
    for one in copies:
        assert one == update
        assert one.webhook_url_policy == LAX
        assert one.url_problems(WebhookUrlPolicy(allow_credentials=True)) == ()
        assert [problem.code for problem in one.url_problems(WebhookUrlPolicy())] == ["bad_credentials"]


def test_the_policy_is_not_sent_not_shown_and_not_compared() -> None:
    default, other = RoomUpdate(max_participants=20), RoomUpdate(max_participants=20, webhook_url_policy=LAX)
    assert default == other
    assert hash(default) == hash(other)
    assert repr(other) == "RoomUpdate(max_participants=20)"
    assert other.to_dict() == {"max_participants": 20}
    with pytest.raises(InvalidRequestError, match="'webhook_url_policy' is not a writable field"):
        RoomUpdate.from_dict({"webhook_url_policy": LAX})


def test_urls_are_checked_again_only_against_a_different_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    update = lax_update()
    checked: list[object] = []

    def check(url: object, failover_url: object, policy: WebhookUrlPolicy) -> tuple[Problem, ...]:
        checked.append((url, failover_url, policy))
        return ()

    monkeypatch.setattr(rooms, "check_webhook_urls", check)
    update.url_problems(LAX)
    update.url_problems(WebhookUrlPolicy(allow_credentials=True))
    assert checked == []
    strict = WebhookUrlPolicy(schemes=["https"])
    update.url_problems(strict)
    assert checked == [("https://user:secret@example.com", UNSET, strict)]


def test_evolve_checks_the_urls_against_the_new_policy() -> None:
    update = lax_update()
    assert attrs.evolve(update, webhook_event_failover_url="https://u:p@x.io").webhook_url_policy is LAX
    with pytest.raises(InvalidRequestError, match="user name or password"):
        attrs.evolve(update, webhook_url_policy=WebhookUrlPolicy())


def test_a_policy_of_the_wrong_type_is_an_invalid_setting() -> None:
    with pytest.raises(ClientSettingsError, match="webhook_url_policy is 'strict'; give a WebhookUrlPolicy"):
        RoomUpdate(webhook_event_url="https://x.io", webhook_url_policy="strict")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_problems_are_in_the_order_of_the_fields() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        RoomUpdate.from_dict({name: [] for name in reversed(FIELD_NAMES)})
    assert [problem.field for problem in caught.value.problems] == list(FIELD_NAMES)


def test_requests_are_immutable_and_compared_by_value() -> None:
    update = RoomUpdate(max_participants=20)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        update.max_participants = 21  # type: ignore[misc]
    assert not hasattr(update, "__dict__")
    assert {update: 1}[RoomUpdate(max_participants=20)] == 1
    other: object = RoomCreate(max_participants=20)
    assert update != other
    assert attrs.evolve(update, max_participants=21) == RoomUpdate(max_participants=21)
    with pytest.raises(InvalidRequestError):
        attrs.evolve(update, max_participants=99)
    assert copy.deepcopy(update) == update


def test_the_repr_of_a_request_shows_only_the_fields_that_it_sets() -> None:
    assert repr(RoomUpdate(max_participants=20, webhook_event_failover_url=None)) == (
        "RoomUpdate(max_participants=20, webhook_event_failover_url=None)"
    )
    assert repr(RoomUpdate()) == "RoomUpdate()"


def test_unset_is_falsy_and_a_singleton_even_after_copying() -> None:
    assert not UNSET
    assert repr(UNSET) == "UNSET"
    assert isinstance(UNSET, Unset)
    assert pickle.loads(pickle.dumps(UNSET)) is UNSET
    assert copy.deepcopy(UNSET) is UNSET


@pytest.mark.parametrize("ref", [ROOM_ID, ROOM_ID.upper(), UUID(ROOM_ID), Room(id=ROOM_ID)])
def test_a_room_reference_may_be_an_id_a_uuid_or_a_room(ref: object) -> None:
    room_id, problems = read_room_ref(ref)
    assert room_id.lower() == ROOM_ID
    assert problems == ()


@pytest.mark.parametrize(
    "ref",
    ["", "x", f"{ROOM_ID}\n", f" {ROOM_ID}", f"{{{ROOM_ID}}}", f"urn:uuid:{ROOM_ID}", ROOM_ID.replace("-", ""),
     ROOM_ID + "/actions", "../rooms", None, 5, b"x", Room(id="x"), ROOM_ID.replace("7", "٧")],
)  # fmt: skip
def test_any_other_room_reference_is_a_problem(ref: object) -> None:
    _, (problem,) = read_room_ref(ref)
    assert problem.pointer == "/room_id"
    assert "is not a UUID" in problem.message
    assert problem.message.isprintable()


def test_models_have_exactly_the_documented_attributes() -> None:
    assert len(attrs.fields(Room)) == 12 + len(("unreadable", "extra"))
    assert [attribute.name for attribute in attrs.fields(RoomUpdate)] == [*FIELD_NAMES, "webhook_url_policy"]
    for name in FIELD_NAMES:
        assert hasattr(Room(id="x"), name)
    assert UpdateResult(room_id="1", update=None, status="skipped").attempts == 0
