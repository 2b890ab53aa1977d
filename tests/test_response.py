"""Converting an answer to a value or a failure, without I/O."""

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms import errors
from aiorooms._http.request import Request
from aiorooms._http.response import Failure, Received, Success, no_answer, not_sent, read_answer, unreadable
from aiorooms._http.secret import ApiKey
from aiorooms.models import Room
from aiorooms.resources._bodies import MAX_ROOM, decode_room

from .samples import ROOM_ID

KEY = "KEY_secret"
API_KEY = ApiKey(KEY)


def request(method: str = "PATCH") -> Request[Room]:
    return Request(
        method=method,
        route="/rooms/{room_id}",
        path=f"/rooms/{ROOM_ID}",
        subject=f"room {ROOM_ID}",
        decode=decode_room,
        max_size=MAX_ROOM,
    )


def failure(status: int, body: object = b"", headers: dict[str, str] | None = None, method: str = "PATCH") -> Failure:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    outcome = read_answer(request(method), status, headers or {}, content, API_KEY)
    assert isinstance(outcome, Failure), f"{status} was read as {outcome!r}"
    return outcome


def test_a_2xx_answer_with_a_room_is_a_success() -> None:
    body = json.dumps({"data": {"id": ROOM_ID}}).encode()
    outcome = read_answer(request(), 200, {}, body, API_KEY)
    assert outcome == Success(Room(id=ROOM_ID), Received(200, {}, body, None))


# (status, error class, whether a PATCH is retried, whether the PATCH is uncertain)
STATUSES = [
    (400, errors.BadRequestError, False, False),
    (401, errors.AuthenticationError, False, False),
    (403, errors.PermissionDeniedError, False, False),
    (404, errors.NotFoundError, False, False),
    (408, errors.APIStatusError, True, True),
    (409, errors.ConflictError, False, False),
    (415, errors.APIStatusError, False, False),
    (422, errors.UnprocessableEntityError, False, False),
    (429, errors.RateLimitError, True, False),
    (500, errors.InternalServerError, True, True),
    (502, errors.InternalServerError, True, True),
    (503, errors.InternalServerError, True, True),
    (504, errors.InternalServerError, True, True),
    (599, errors.InternalServerError, True, True),
    (301, errors.APIStatusError, False, True),
    (303, errors.APIStatusError, False, True),
    (100, errors.APIStatusError, False, True),
    (99, errors.APIStatusError, False, True),
]


@pytest.mark.parametrize(("status", "kind", "retry", "uncertain"), STATUSES)
def test_the_status_decides_the_error_class_and_whether_a_patch_is_retried_and_uncertain(
    status: int, kind: type[errors.APIStatusError], retry: bool, uncertain: bool
) -> None:
    outcome = failure(status)
    error = outcome.make_error()
    assert type(error) is kind
    assert isinstance(error, errors.APIStatusError)
    assert error.status == outcome.status == status
    assert (outcome.retry, outcome.uncertain) == (retry, uncertain)


@pytest.mark.parametrize(("status", "kind", "retry", "uncertain"), STATUSES)
def test_a_post_is_retried_only_if_it_was_certainly_not_processed(
    status: int, kind: object, retry: bool, uncertain: bool
) -> None:
    outcome = failure(status, method="POST")
    assert outcome.retry == (status == 429)
    assert outcome.uncertain == uncertain


@pytest.mark.parametrize("status", [status for status, *_ in STATUSES])
def test_a_get_is_never_uncertain(status: int) -> None:
    assert failure(status, method="GET").uncertain is False


def test_a_failure_without_a_readable_answer_is_uncertain_if_the_request_was_sent() -> None:
    never = not_sent(request("POST"), "refused")
    assert (type(never.make_error()), never.retry, never.uncertain) == (errors.APIConnectionError, True, False)
    lost = no_answer(request(), "reset")
    assert (type(lost.make_error()), lost.retry, lost.uncertain) == (errors.APIConnectionError, True, True)
    late = no_answer(request("POST"), "late", timed_out=True)
    assert (type(late.make_error()), late.retry, late.uncertain) == (errors.APITimeoutError, False, True)
    odd = unreadable(request(), "odd", key=API_KEY)
    assert (type(odd.make_error()), odd.retry, odd.uncertain) == (errors.APIResponseError, True, True)


# (status, body, message) for the three error formats of the API and for answers of proxies
LINES: list[tuple[int, object, str]] = [
    (
        404,
        {"code": "10005", "title": "Not found", "detail": "The requested resource or URL could not be found."},
        f"404 room {ROOM_ID} not found (10005: The requested resource or URL could not be found.)",
    ),
    (
        422,
        {
            "errors": [
                {"code": "10003", "title": "Invalid URL", "source": {"pointer": "/webhook_event_url"}},
                {
                    "code": "10001",
                    "title": "x",
                    "detail": "must be 2 to 50",
                    "source": {"pointer": "/max_participants"},
                },
            ]
        },
        (
            f"422 room {ROOM_ID}: request rejected "
            "(10003: Invalid URL at /webhook_event_url; 10001: must be 2 to 50 at /max_participants)"
        ),
    ),
    (
        401,
        {"errors": [{"code": "10009", "title": "Authentication failed", "meta": {"url": "https://x"}}]},
        f"401 room {ROOM_ID}: request rejected: check the API key (10009: Authentication failed)",
    ),
    (400, {"success": False, "message": "Bad page"}, f"400 room {ROOM_ID}: bad request (Bad page)"),
    (
        502,
        b"<html><head><title>502 Bad\nGateway</title></head></html>",
        f"502 room {ROOM_ID}: the server failed to handle the request (HTML: 502 Bad Gateway)",
    ),
    (503, b"", f"503 room {ROOM_ID}: the server failed to handle the request (no body)"),
    (500, b"oh\r\nno", f"500 room {ROOM_ID}: the server failed to handle the request (unrecognized body: 'oh no')"),
    (418, {"errors": []}, f"418 room {ROOM_ID}: request rejected (unrecognized body: '{{\"errors\": []}}')"),
    (
        403,
        {"code": 10010, "title": "No"},
        f"403 room {ROOM_ID}: request rejected: the API key has no permission for this (10010: No)",
    ),
]


@pytest.mark.parametrize(("status", "body", "line"), LINES)
def test_an_error_message_names_the_status_the_room_and_the_reason(status: int, body: object, line: str) -> None:
    assert str(failure(status, body).make_error()) == line


def test_the_error_for_a_redirect_names_the_target() -> None:
    text = str(failure(301, headers={"location": "https://other.example.com/v2"}).make_error())
    assert "redirected to https://other.example.com/v2: check base_url" in text


def test_an_error_keeps_all_details_that_the_server_reported() -> None:
    said = {
        "code": "10001",
        "title": "Bad",
        "detail": "d" * 5000,
        "source": {"pointer": "/a", "parameter": "b"},
        "meta": {"x": 1},
    }
    error = failure(422, {"errors": [said]}, {"x-request-id": "r-1"}).make_error()
    assert isinstance(error, errors.APIStatusError)
    assert error.errors == (
        errors.ErrorDetail(code="10001", title="Bad", detail="d" * 5000, pointer="/a", parameter="b", meta={"x": 1}),
    )
    assert error.request_id == "r-1"
    assert len(str(error)) < 700


def test_no_error_contains_the_key_even_if_the_server_echoes_it() -> None:
    for status in (200, 401, 422, 500):
        for body in ({"errors": [{"code": "1", "detail": f"bad {KEY}", "meta": {"k": KEY}}]}, {"data": {"id": [KEY]}}):
            error = failure(status, body).make_error()
            assert KEY not in str(error)
            assert KEY not in repr(error.__dict__)
    error = failure(200, {"data": {"created_at": KEY}}).make_error()
    assert KEY not in str(error)


@pytest.mark.parametrize(
    ("body", "path", "words"),
    [
        ({"data": {}}, "data.id", "is missing"),
        ({"data": {"id": None}}, "data.id", "is null, not a string"),
        ({"data": {"id": 5}}, "data.id", "is a number 5, not a string"),
        ({"data": []}, "data", "is a list, not an object"),
        ({"data": None}, "data", "is null, not an object"),
        ({}, "data", "is missing"),
        ([], None, "is a list, not an object"),
        ("text", None, "is a string"),
    ],
)
def test_the_error_for_a_wrong_type_in_an_answer_names_the_path(body: object, path: str | None, words: str) -> None:
    outcome = read_answer(request(), 200, {}, json.dumps(body).encode(), API_KEY)
    assert isinstance(outcome, Failure)
    error = outcome.make_error()
    assert isinstance(error, errors.APIResponseError)
    assert error.path == path
    assert words in str(error)
    assert f"200 room {ROOM_ID}: the answer can't be read" in str(error)


@given(
    status=st.integers(100, 599),
    body=st.binary(max_size=200)
    | st.text(max_size=100).map(str.encode)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["errors", "code", "title", "detail", "source", "meta", "data", "message", "sessions"]),
                inner,
            )
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
    headers=st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms", "x-ratelimit-reset", "date", "location"]),
        st.text(max_size=30),
    ),
    method=st.sampled_from(["GET", "PATCH", "POST", "DELETE"]),
)
def test_any_answer_becomes_a_value_or_an_api_error(
    status: int, body: bytes, headers: dict[str, str], method: str
) -> None:
    outcome = read_answer(request(method), status, headers, body, API_KEY)
    if isinstance(outcome, Failure):
        error = outcome.make_error()
        assert isinstance(error, errors.APIError)
        text = str(error)
        assert text.isprintable()
        assert len(text) < 800
        assert outcome.wait is None or outcome.wait >= 0
    else:
        assert isinstance(outcome, Success)
        assert 200 <= status < 300


ESCAPED = "".join(f"\\u{ord(char):04x}" for char in KEY)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, f'{{"errors": [{{"code": "10009", "detail": "no such key: {ESCAPED}"}}]}}'),
        (422, f'{{"code": "1", "title": "{ESCAPED}", "meta": {{"deep": [{{"key": "{ESCAPED}"}}]}}}}'),
        (500, f"<title>Bearer {KEY}</title>"),
        (200, f'{{"data": {{"id": ["{"x" * 50}{KEY}"]}}}}'),
        (200, f'{{"data": "{ESCAPED}"}}'),
    ],
)
def test_no_error_contains_the_key_even_if_the_server_escapes_it(status: int, body: str) -> None:
    headers = {"x-request-id": f"for {KEY}", "location": f"https://elsewhere.example/?key={KEY}"}
    for code in (status, 307):
        error = failure(code, body.encode(), headers).make_error()
        shown = repr(vars(error)) + str(error) + repr(error)
        assert KEY[:8] not in shown.replace("KEY_simulated", "")


@pytest.mark.parametrize(
    ("key", "text", "redacted"),
    [
        ("KEY_secret", "key_SECRET and KEY_secret", "[API key] and [API key]"),
        ("k", "keep this", "keep this"),
        ("API key]", "[API key] and API key]", "[[API key] and [API key]"),
        ("", "anything", "anything"),
    ],
)
def test_each_occurrence_of_a_key_is_redacted_once_in_any_case(key: str, text: str, redacted: str) -> None:
    assert ApiKey(key).redact(text) == redacted


@pytest.mark.parametrize("key", ["a+b/c==0123", 'quo"ted\\0123', "it's a key"])
def test_keys_are_redacted_in_urls_and_in_json(key: str) -> None:
    body = json.dumps({"code": "1", "detail": f"key {key}"}).encode()
    outcome = read_answer(request(), 307, {"location": f"/?key={quote(key, safe='')}"}, body, ApiKey(key))
    assert isinstance(outcome, Failure)
    assert str(outcome.make_error()).count("[API key]") == 2


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"x-ratelimit-reset": "2"}, 2.0),
        ({"x-ratelimit-reset": "0.25"}, 0.25),
        ({"retry-after": "7", "x-ratelimit-reset": "2"}, 7.0),
        ({"retry-after": "0", "x-ratelimit-reset": "2"}, 0.0),
        ({"x-ratelimit-reset": "2", "ratelimit": '"a";r=0;t=7, "b";r=1;t=9'}, 7.0),
        ({"x-ratelimit-reset": "later"}, None),
        ({}, None),
    ],
)
def test_the_wait_after_a_429_is_its_retry_after_or_else_the_time_until_the_reset(
    headers: dict[str, str], wait: float | None
) -> None:
    outcome = failure(429, headers=headers)
    assert outcome.wait == wait
    error = outcome.make_error()
    assert isinstance(error, errors.RateLimitError)
    assert error.retry_after == wait


def test_the_wait_after_a_5xx_is_its_retry_after_and_never_the_time_until_the_reset() -> None:
    assert failure(503, headers={"x-ratelimit-reset": "9"}).wait is None
    assert failure(503, headers={"retry-after": "9"}).wait == 9


def test_odd_parts_of_an_error_location_are_left_out_of_the_pointer() -> None:
    deep: list[object] = []
    for _ in range(900):
        deep = [deep]
    body = {"detail": [{"loc": ["body", deep, "a/b", 1, None], "msg": "x"}]}
    error = failure(422, body).make_error()
    assert isinstance(error, errors.UnprocessableEntityError)
    assert error.errors[0].pointer == "/a~1b/1"
