"""Problems and errors carry data. A message for Python code differs from a message for files and command lines."""

import pickle
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from aiorooms import UNSET, ClientSettingsError, InvalidRequestError, RoomsClient, RoomUpdate
from aiorooms._checks import (
    bool_problems,
    check_at_least,
    check_instance,
    check_positive,
    date_problems,
    int_problems,
    name_problems,
    text_message,
)
from aiorooms.errors import Problem
from aiorooms.models import FIELD_NAMES, read_room_ref
from aiorooms.webhook_config import WebhookUrlPolicy, check_webhook_url, check_webhook_urls

STRICT = WebhookUrlPolicy(allow_private_hosts=False, denied_hosts=["denied.io"])
ALLOWING = WebhookUrlPolicy(allowed_hosts=["allowed.io"])
KEEP = "or omit the field to leave it unchanged"


def url(text: object, policy: WebhookUrlPolicy = STRICT) -> tuple[Problem, ...]:
    """Return the problems of a webhook URL."""
    return check_webhook_url(text, policy)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def of_update(**fields: Any) -> tuple[Problem, ...]:
    """Return the problems of an update with invalid fields."""
    with pytest.raises(InvalidRequestError) as caught:
        RoomUpdate.from_dict(fields)
    return caught.value.problems


# (problems, code, attributes that are set, end of the message for a value in a file or a command-line option)
CODES: list[tuple[tuple[Problem, ...], str, dict[str, object], str]] = [
    (
        of_update(max_participants="5"),
        "wrong_type",
        {"value": "5", "expected": "a whole number"},
        "'5' is not a whole number",
    ),
    (
        of_update(webhook_timeout_secs=True),
        "wrong_type",
        {"value": True, "expected": "a whole number", "nullable": True},
        "true is not a whole number or null",
    ),
    (
        of_update(enable_recording=[None, {"a": 1}]),
        "wrong_type",
        {"value": [None, {"a": 1}], "expected": "True or False"},
        '[null, {"a": 1}] is not true or false',
    ),
    (
        of_update(enable_recording=UNSET.__class__),
        "wrong_type",
        {"value": UNSET.__class__, "expected": "True or False"},
        "<enum 'Unset'> is not true or false",
    ),
    (of_update(unique_name=5), "wrong_type", {"value": 5, "expected": "a string"}, "5 is not a string"),
    (
        date_problems("/x", "soon"),
        "wrong_type",
        {"value": "soon", "expected": "a datetime.date"},
        "'soon' is not a date such as 2026-04-25",
    ),
    (of_update(webhook_event_failover_url=5), "wrong_type", {"expected": "a URL"}, "give a URL"),
    (url(b"https://user:secret@x.io"), "wrong_type", {"expected": "a URL"}, "give a URL"),
    (
        of_update(webhook_event_url=None),
        "not_nullable",
        {"expected": "a URL"},
        f"null can't clear this field; give a URL, {KEEP}",
    ),
    (url(None), "not_nullable", {"expected": "a URL"}, f"null can't clear this field; give a URL, {KEEP}"),
    (
        of_update(enable_recording=None),
        "not_nullable",
        {"expected": "True or False"},
        f"null can't clear this field; give true or false, {KEEP}",
    ),
    (
        of_update(webhook_timeout_secs=31),
        "out_of_range",
        {"value": 31, "limits": (0, 30), "nullable": True},
        "31 is not in the range 0 to 30",
    ),
    (
        of_update(unique_name=" "),
        "blank",
        {"value": " "},
        "' ' is blank; give a name with at least one visible character",
    ),
    (
        of_update(unique_name="\ud800"),
        "not_unicode",
        {"value": "\ud800"},
        "'\\ud800' contains a lone surrogate, which can't be sent as UTF-8; remove it",
    ),
    (
        read_room_ref("x")[1],
        "not_a_uuid",
        {"value": "x", "expected": "a UUID"},
        "'x' is not a UUID such as '7b61621f-62e0-4aad-ab11-9fd19e272e73'",
    ),
    (
        of_update(colour="red"),
        "unknown_field",
        {"value": "colour"},
        f"'colour' is not a writable field; the writable fields are {', '.join(FIELD_NAMES)}",
    ),
    (url("x.io"), "not_absolute", {}, "'x.io' has no scheme; did you mean 'https://x.io'?"),
    (url("https://x.io/" + "a" * 2000), "too_long", {}, "Telnyx accepts at most 2000 (error 10003)"),
    (url("https://x.io/a b"), "bad_characters", {}, "did you mean 'https://x.io/a%20b'?"),
    (url("ftp://x.io/"), "bad_scheme", {}, "'ftp://x.io/' has the scheme 'ftp'; did you mean 'https://x.io/'?"),
    (url("https://https://x.io/"), "bad_scheme", {}, "has two schemes; did you mean 'https://x.io/'?"),
    (
        url("https://user:secret@x.io/"),
        "bad_credentials",
        {"setting": "allow_credentials=False"},
        "'https://***@x.io/' has a user name or password; remove it",
    ),
    (url("https://a..io/"), "bad_host", {}, "has an empty label in its host; did you mean 'https://a.io/'?"),
    (url("https://x.io:0/"), "bad_port", {}, "has the port 0; a port is a number from 1 to 65535"),
    (url("https://x.io/ü"), "bad_path", {}, "did you mean 'https://x.io/%C3%BC'?"),
    (url("https://x.io/%"), "bad_path", {}, "did you mean 'https://x.io/%25'?"),
    (url("https://x.io/#a"), "fragment", {}, "has a fragment; did you mean 'https://x.io/'?"),
    (
        url("https://intranet/"),
        "private_host",
        {"setting": "allow_private_hosts=False"},
        "'https://intranet/' has a host that is not on the public internet; give a public host",
    ),
    (
        url("https://denied.io/"),
        "denied_host",
        {"setting": "denied_hosts"},
        "'https://denied.io/' has a host that is denied; give another one",
    ),
    (
        url("https://x.io/", ALLOWING),
        "denied_host",
        {"setting": "allowed_hosts"},
        "'https://x.io/' has a host that is not allowed; the allowed hosts are 'allowed.io'",
    ),
    (
        check_webhook_urls("https://x.io", "https://x.io/"),
        "same_url",
        {},
        "'https://x.io/' points to the same place as the webhook URL; give a different failover URL",
    ),
]


@pytest.mark.parametrize(("problems", "code", "data", "text"), CODES, ids=lambda value: str(value)[:24])
def test_text_message_builds_its_message_from_the_data_of_a_problem(
    problems: tuple[Problem, ...], code: str, data: dict[str, object], text: str
) -> None:
    (problem,) = problems
    assert problem.code == code
    given = {"value": problem.value, "limits": problem.limits, "expected": problem.expected}
    given |= {"nullable": problem.nullable or None, "setting": problem.setting}
    assert {name: value for name, value in given.items() if value is not None} == data
    assert text_message(problem).endswith(text)
    assert problem.setting is None or problem.message.endswith(f" ({problem.setting})")
    assert not re.search(r"\b(None|True|False|str|int|list|allow\w*=|\w+_hosts)\b", text_message(problem))


@pytest.mark.parametrize(
    "problems",
    [
        name_problems("/x", UNSET),
        name_problems("/x", "ö"),
        int_problems("/x", UNSET, range(2)),
        int_problems("/x", 1, range(2)),
        int_problems("/x", None, range(2), nullable=True),
        bool_problems("/x", UNSET),
        bool_problems("/x", value=False),
        date_problems("/x", UNSET),
        date_problems("/x", datetime(2026, 4, 25, tzinfo=UTC).date()),
    ],
)
def test_a_valid_value_has_no_problem(problems: tuple[Problem, ...]) -> None:
    assert problems == ()


def test_the_error_for_an_invalid_setting_names_its_argument_and_keeps_its_value() -> None:
    with pytest.raises(ClientSettingsError) as caught:
        check_positive("Pacing(max_rate=)", -1)
    error = caught.value
    assert str(error) == "Pacing(max_rate=) is -1; give a number above 0"
    assert (error.setting, error.value, error.wrong, error.hint) == ("max_rate", -1, "is -1", "give a number above 0")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.setting, copy.value, copy.wrong) == (str(error), "max_rate", -1, "is -1")
    with pytest.raises(ClientSettingsError, match=r"\Amax_connections is True; give a whole number, 1 or above\Z"):
        check_at_least(1, "max_connections", True)


def test_a_setting_of_the_wrong_type_raises_an_error_that_is_also_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"\Aretry is '5'; give an int\Z") as caught:
        check_instance(int, "retry", "5")
    assert isinstance(caught.value, ClientSettingsError)
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), TypeError)


@pytest.mark.parametrize(
    ("key", "base_url", "setting", "value", "wrong"),
    [
        ("", None, "api_key", None, "is missing"),
        ("key\n", None, "api_key", None, "contains spaces, line breaks or other invalid characters"),
        (5, None, "api_key", None, "is of type int"),
        ("key", "http://x.io", "base_url", "http://x.io", "'http://x.io' would send the API key unencrypted"),
        ("key", 5, "base_url", 5, "is 5"),
        ("key", "https://a:pass@x.io", "base_url", None, "contains credentials"),
        ("key", "ftp://a:pass@x.io", "base_url", None, "contains credentials"),
        ("key", "https://a:pass@x.io:99999", "base_url", None, "'https://***@x.io:99999' has a port above 65535"),
    ],
)
def test_the_settings_errors_of_a_client_carry_data_but_no_secret(
    key: Any, base_url: Any, setting: str, value: object, wrong: str
) -> None:
    with pytest.raises(ClientSettingsError) as caught:
        RoomsClient(key, base_url=base_url)
    error = caught.value
    assert (error.setting, error.value, error.wrong) == (setting, value, wrong)
    assert error.hint
    assert "pass" not in str(error)


def test_the_deprecated_argument_policy_works_and_warns() -> None:
    policy = WebhookUrlPolicy(allow_credentials=True)
    with pytest.warns(DeprecationWarning, match="webhook_url_policy") as caught:
        assert check_webhook_url("https://u@x.io", policy=policy) == ()
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="webhook_url_policy") as caught:
        assert check_webhook_urls("https://u@x.io", None, policy=policy) == ()
    assert caught[0].filename == __file__
