"""The JSON of the control URL: which changes are valid, and which problems the others have."""

import json
from typing import Any

import pytest

from aiorooms.simulator import ALL, Faults, RateLimit, RoomsSimulator, ScriptedAnswer
from aiorooms.simulator._control_json import InvalidChangesError, apply_changes, read_changes, settings_of, state_of


def read(changes: dict[str, Any]) -> Any:
    return read_changes(json.dumps(changes).encode())


def problems(body: bytes | dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(InvalidChangesError) as caught:
        read_changes(body if isinstance(body, bytes) else json.dumps(body).encode())
    assert str(caught.value) == "; ".join(caught.value.problems)
    return caught.value.problems


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("rate_limit", None, None),
        ("rate_limit", "50/1s", RateLimit(50, 1.0)),
        ("rate_limit", {"limit": 5, "kind": "bucket"}, RateLimit(5, kind="bucket")),
        ("rate_limit", ["50/1s", {"limit": 9, "window": 60}], (RateLimit(50, 1.0), RateLimit(9, 60))),
        ("rate_limit", [], None),
        ("rate_limit", {}, None),
        (
            "rate_limit",
            {"get /rooms": "1/1s", "PATCH": {"limit": 2}, "*": None},
            {"GET /rooms": RateLimit(1), "PATCH": RateLimit(2), "*": ()},
        ),
        ("faults", None, None),
        ("faults", 0, Faults()),
        ("faults", 0.5, Faults(0.5)),
        ("faults", {"rate": 1, "kinds": ["503"], "retry_after": 3}, Faults(1, kinds=["503"], retry_after=3)),
        ("faults", {"rate": 1, "methods": ["get"], "first_tries": 2}, Faults(1, methods=["GET"], first_tries=2)),
        ("outage", None, None),
        *(("outage", outage, outage) for outage in ("closed", "503", "reset", "hang")),
        ("api_key", "KEY_mine", "KEY_mine"),
        ("latency", None, (0, 0)),
        ("latency", 0.25, (0.25, 0.25)),
        ("latency", [0, 1], (0, 1)),
    ],
)
def test_valid_changes(name: str, given: Any, wanted: Any) -> None:
    assert read({name: given}) == {name: wanted}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"rate_limit": 5}, "rate_limit: 5 is not text such as '50/1s' or an object"),
        (
            {"rate_limit": {"limit": 0, "window": 0, "headers": 1, "size": 2}},
            (
                "rate_limit: limit is 0, not a whole number from 1 to 1000000000; "
                "window is 0, not a number of seconds from 1e-06 to 1000000000; headers is 1, not true or false; "
                '"size" is not one of limit, window, reset_rounding, headers, retry_after, kind, style, reset'
            ),
        ),
        ({"rate_limit": {"kind": "leaky"}}, 'rate_limit: kind is "leaky", not one of fixed, sliding, bucket'),
        (
            {"rate_limit": {"style": "kong", "window": 2}},
            "rate_limit: style 'kong' needs a window of 1, 60, 3600 or 86400 seconds, not 2",
        ),
        (
            {"rate_limit": ["1", {"limit": True}]},
            (
                "rate_limit: '1' is not a rate limit; write requests/window, such as '100/1s' or '20/1m'; "
                "limit is true, not a whole number from 1 to 1000000000"
            ),
        ),
        ({"faults": 1.5}, "faults: rate is 1.5, not a share from 0 to 1"),
        ({"faults": "5%"}, 'faults: "5%" is not null, a share from 0 to 1 or an object'),
        ({"faults": True}, "faults: true is not null, a share from 0 to 1 or an object"),
        ({"faults": {"rate": 1, "kinds": []}}, "faults: kinds must not be empty with rate=1"),
        ({"faults": {"kinds": "503"}}, 'faults: kinds is "503", not a list of kinds of faults'),
        ({"faults": {"retry_after": "1\r\n"}}, f"faults: retry_after is {json.dumps('1' + chr(13) + chr(10))}, not "),
        ({"outage": 503}, 'outage: 503 is not one of null, "closed", "503", "reset", "hang"'),
        ({"api_key": None}, "api_key: a key consists of printable ASCII characters without spaces"),
        ({"api_key": "a b"}, "api_key: a key consists of printable ASCII characters without spaces"),
        ({"latency": [2, 1]}, "latency: [2, 1] is not null, a number of seconds, or a list of a lower and an upper"),
        ({"latency": -1}, "latency: -1 is not null, a number"),
        ({"latency": 10**400}, "latency: 1000"),
        ({"latency": [1, 2, 3]}, "latency: [1, 2, 3] is not"),
        ({"latency": ""}, 'latency: "" is not null'),
        ({"stats": {}}, '"stats" can\'t be changed; choose from rate_limit, faults, outage, api_key, latency'),
    ],
)
def test_an_invalid_change_has_a_problem_that_says_what_is_valid(changes: dict[str, Any], wanted: str) -> None:
    (problem,) = problems(changes)
    assert problem.startswith(wanted)


def test_all_problems_are_reported_together() -> None:
    found = problems(
        {"faults": {"kinds": ["teapot"]}, "rate_limit": {"PATCH": "1", "POTCH": "1/1s"}, "latency": 1, "x": 1}
    )
    assert [problem.partition("; ")[0] for problem in found] == [
        "faults: unknown fault kinds: ['teapot']",
        "rate_limit: PATCH: '1' is not a rate limit",
        '"x" can\'t be changed',
    ]
    assert "'POTCH' is not an operation or method" in found[1]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"faults": NaN}', b"[" * 100_000, b'{"latency": ' + b"9" * 10_000 + b"}"]
)
def test_a_body_that_is_not_json_is_one_problem(body: bytes) -> None:
    (problem,) = problems(body)
    assert problem.startswith("the body is not JSON: ")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"faults"'])
def test_a_body_that_is_not_an_object_is_one_problem(body: bytes) -> None:
    assert problems(body) == ('the body must be a JSON object, such as {"faults": 0.1}',)


def test_without_anything_special_the_state_is_short() -> None:
    assert state_of(RoomsSimulator(faults=Faults(script=[ScriptedAnswer()]))) == {
        "rate_limit": None,
        "faults": None,
        "latency": 0.0,
        "outage": None,
        "api_key": "KEY_simulated",
        "stats": {
            "requests": 0,
            "connections": 0,
            "in_flight": 0,
            "by_status": {},
            "rate_limited": 0,
            "unauthorized": 0,
            "faults": {},
            "updates_applied": 0,
            "events": {},
        },
    }


@pytest.mark.parametrize(
    "rate_limit",
    [
        None,
        RateLimit(5, 60, "down", headers=False, retry_after="ms", kind="bucket"),
        [RateLimit(5), RateLimit(500, 60)],
        {"PATCH": [RateLimit(5), RateLimit(500, 60)], "GET /rooms": RateLimit(1), "*": None},
    ],
)
@pytest.mark.parametrize("faults", [None, Faults(0.5, kinds=ALL[:3], methods=["PATCH", "GET"], retry_after="3")])
@pytest.mark.parametrize("latency", [0.5, (0.1, 0.2)])
def test_the_settings_in_a_state_are_valid_changes(rate_limit: Any, faults: Faults | None, latency: Any) -> None:
    before = RoomsSimulator(rate_limit=rate_limit, faults=faults, latency=latency)
    state = settings_of(before)
    after = RoomsSimulator()
    apply_changes(after, read(json.loads(json.dumps(state))))
    assert (after.rate_limit, after.faults, after.latency) == (before.rate_limit, before.faults, before.latency)
    assert settings_of(after) == state
