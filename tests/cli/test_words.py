"""Error messages name the options and commands of the command line."""

import json
import re
from typing import get_args

import pytest

from aiorooms.cli._words import error_line, input_problems
from aiorooms.errors import (
    APITimeoutError,
    AuthenticationError,
    BulkInputError,
    InputProblem,
    JournalError,
    RateLimitError,
    Reason,
)
from aiorooms.resources._room_requests import RoomRequests
from aiorooms.resources.rooms import Rooms
from aiorooms.simulator import RoomsSimulator

from .conftest import Invoke, lines

PYTHON = re.compile(r"RetryPolicy|Pacing\(|max_|outage_|[a-z]=|\bNone\b|await|_url")


@pytest.mark.parametrize("reason", get_args(Reason))
def test_a_hint_names_options_and_commands(reason: Reason) -> None:
    error = JournalError("something happened", hint="", reason=reason)
    line = error_line(error)
    assert line.startswith("something happened")
    assert not PYTHON.search(line), line


def test_the_hint_for_python_is_replaced_and_the_rest_is_kept() -> None:
    error = RateLimitError(
        "429 room x",
        status=429,
        attempts=3,
        uncertain=True,
        hint="longer than Pacing(max_wait=300) allows",
        reason="max_wait",
    )
    line = error_line(error)
    assert line.startswith(
        "429 room x, after 3 attempts; the server asked for a pause longer than 300 s; try again later"
    )
    assert line.endswith("check the room before sending the request again")
    assert error.hint == "longer than Pacing(max_wait=300) allows", "the error was changed"


def test_without_a_reason_the_hint_is_kept() -> None:
    error = APITimeoutError("room x: no answer", hint="a read-back shows that the update was not applied")
    assert error_line(error) == str(error)


def test_problems_of_a_selection_name_the_option() -> None:
    error = BulkInputError(
        [InputProblem(name, None, None, "no") for name in ("where", "set_fields", "rewrite_webhook_host", "room 1")]
    )
    assert [problem.file for problem in input_problems(error)] == [
        *["--where", "--set", "--rewrite-webhook-host", "room 1"]
    ]


@pytest.mark.parametrize("how", [[], ["--json"]])
def test_errors_of_single_rooms_have_a_hint_for_the_command_line(
    sim: RoomsSimulator, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, how: list[str]
) -> None:
    def fail(requests: RoomRequests, *args: object) -> None:
        raise APITimeoutError("room x: not sent", hint="RetryPolicy(max_elapsed=1)", reason="max_elapsed")

    monkeypatch.setattr(RoomRequests, "update_with_id", fail)
    result = invoke("update", sim.room_ids[0], "--enable-recording", *how)
    assert result.exit_code == 1
    wanted = "room x: not sent; there was no time left for another attempt; try again later"
    assert lines(result.stderr) == [f"aiorooms: {wanted}"]
    if how:
        assert json.loads(result.stdout)["error"]["message"] == wanted


def test_an_error_that_ends_a_command_has_a_hint_for_the_command_line(
    sim: RoomsSimulator, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(rooms: Rooms, *args: object, **more: object) -> None:
        raise AuthenticationError("401 room x", status=401, hint="give api_key=", reason="closed")

    monkeypatch.setattr(Rooms, "retrieve", fail)
    result = invoke("get", sim.room_ids[0])
    assert result.exit_code == 3
    assert result.stderr == "aiorooms: 401 room x; the command was shutting down\n"
