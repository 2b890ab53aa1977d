"""Every error has a one-line message and can be pickled."""

import copy
import pickle
from pathlib import Path

import pytest

from aiorooms import errors
from aiorooms.errors import (
    AioroomsError,
    APIConnectionError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    ErrorDetail,
    InvalidRequestError,
    NotFoundError,
    PolicyFileError,
    Problem,
    RateLimitError,
)

DETAIL = ErrorDetail(code="10005", title="Resource not found", detail="The room is not there.", meta={"a": [1]})


def examples() -> list[AioroomsError]:
    found: list[AioroomsError] = []
    for name in errors.__all__:
        kind = getattr(errors, name)
        if not isinstance(kind, type) or not issubclass(kind, AioroomsError):
            continue
        if issubclass(kind, APIStatusError):
            found.append(kind("404 room 1 gone", status=404, errors=[DETAIL], request_id="r1", retry_after=2.5))
        elif issubclass(kind, InvalidRequestError):
            found.append(kind([Problem("/max_participants", "is 1"), Problem("", "sets nothing")]))
        elif issubclass(kind, PolicyFileError):
            found.append(kind(Path("a.toml"), ["schemes is empty", "allow_credentials is 0"]))
        elif issubclass(kind, APIResponseError):
            found.append(kind("can't be read", path="data.id", status=200))
        else:
            found.append(kind("room 1: no answer"))
    for error in found:
        error.attempts = 4
        error.uncertain = True
        error.hint = "look there"
    return found


@pytest.mark.parametrize("error", examples(), ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("way", ["pickle", "copy", "deepcopy"])
def test_an_error_survives_pickling_and_copying(error: AioroomsError, way: str) -> None:
    if way == "pickle":
        other = pickle.loads(pickle.dumps(error))
    else:
        other = copy.copy(error) if way == "copy" else copy.deepcopy(error)
    assert type(other) is type(error)
    assert str(other) == str(error)
    assert other.__dict__ == error.__dict__


@pytest.mark.parametrize("error", examples(), ids=lambda error: type(error).__name__)
def test_the_message_is_one_line_with_attempts_hint_and_uncertain_outcome(error: AioroomsError) -> None:
    text = str(error)
    assert "\n" not in text
    assert text.startswith(error.message)
    assert "after 4 attempts" in text
    assert "look there" in text
    assert "check the room before sending the request again" in text


def test_a_single_attempt_and_a_known_outcome_are_not_mentioned() -> None:
    error = NotFoundError("404 room 1 not found", status=404)
    error.attempts = 1
    assert str(error) == "404 room 1 not found"


def test_some_errors_are_also_builtin_exceptions() -> None:
    assert issubclass(InvalidRequestError, ValueError)
    assert issubclass(APIConnectionError, ConnectionError)
    assert issubclass(APITimeoutError, TimeoutError)
    assert issubclass(APITimeoutError, APIConnectionError)
    with pytest.raises(TimeoutError, match="too slow"):
        raise APITimeoutError("too slow")


def test_problems_are_listed_with_their_fields() -> None:
    error = InvalidRequestError([Problem("/max_participants", "1 is not in the range"), Problem("", "sets nothing")])
    assert str(error) == "max_participants: 1 is not in the range; sets nothing"
    assert [problem.pointer for problem in error.problems] == ["/max_participants", ""]


@pytest.mark.parametrize(
    ("detail", "text"),
    [
        (ErrorDetail(code="10005", detail="Gone."), "10005: Gone."),
        (ErrorDetail(code="10005", title="Not found"), "10005: Not found"),
        (ErrorDetail(title="Not found"), "Not found"),
        (ErrorDetail(code="10004", detail="Missing.", pointer="/name"), "10004: Missing. at /name"),
        (ErrorDetail(code="10004", detail="Bad.", parameter="page[size]"), "10004: Bad. at page[size]"),
        (ErrorDetail(), "no detail given"),
    ],
)
def test_an_error_detail_is_shown_with_its_code_and_location(detail: ErrorDetail, text: str) -> None:
    assert str(detail) == text


def test_a_status_error_keeps_the_details_from_the_server() -> None:
    error = RateLimitError("429", status=429, errors=[DETAIL], request_id="r1", retry_after=2.5)
    assert (error.status, error.errors, error.request_id, error.retry_after) == (429, (DETAIL,), "r1", 2.5)


def test_the_deprecated_attribute_outcome_unknown_works_and_warns() -> None:
    error = APIConnectionError("room 1: no answer", uncertain=True)
    with pytest.warns(DeprecationWarning, match="uncertain"):
        assert error.outcome_unknown
