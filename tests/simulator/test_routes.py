"""The table of paths and operations of the simulator."""

from collections import Counter

import pytest

from aiorooms.simulator._routes import ROUTES, Route, find_target

from .calling import UNKNOWN_ID


def test_no_operation_is_in_the_table_twice() -> None:
    assert max(Counter((route.method, route.path) for route in ROUTES).values()) == 1
    assert max(Counter(route.operation for route in ROUTES).values()) == 1


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_path_in_the_table_is_found_with_its_operation_and_ids(route: Route) -> None:
    names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    target = find_target(route.path.format_map(dict.fromkeys(names, UNKNOWN_ID.upper())))
    assert target is not None
    assert target.operations[route.method] is route.operation
    assert target.ids == dict.fromkeys(names, UNKNOWN_ID)


def test_an_id_in_a_path_is_decoded_and_converted_to_lower_case() -> None:
    target = find_target("/v2/rooms/A%2DB%2fC")
    assert target is not None
    assert target.ids == {"room_id": "a-b/c"}


@pytest.mark.parametrize("path", ["/", "/v2", "/v2/rooms/", "/v2/rooms//", "/v2/rooms/1/2", "/v2/roomsx", "/v3/rooms"])
def test_a_path_that_is_not_in_the_table_is_not_found(path: str) -> None:
    assert find_target(path) is None
