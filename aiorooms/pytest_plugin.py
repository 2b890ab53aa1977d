"""The pytest fixtures `rooms_simulator` and `rooms_simulator_env`, available if aiorooms and pytest are installed.

Each test that requests a fixture gets its own simulator with 10 rooms. The simulator runs in a thread, so it works in
sync tests, and in async tests with any async plugin. The marker `rooms_simulator` passes arguments to `RoomsSimulator`.
A test, its class and its module can all have markers: their arguments are merged, and the marker closest to the test
takes precedence.

    @pytest.mark.rooms_simulator(rooms=1000, rate_limit="100/1s")
    def test_many_rooms(rooms_simulator):
        ...  # rooms_simulator.url, rooms_simulator.api_key

`rooms_simulator_env` is the same simulator. During the test, the environment variables `TELNYX_API_KEY` and
`TELNYX_BASE_URL` also contain its key and URL, so code that calls `RoomsClient()` without arguments uses it.

    def test_my_program(rooms_simulator_env):
        my_program()
        assert rooms_simulator_env.stats.requests == 1

Pytest imports this module in every run. The simulator is imported only when a test uses a fixture. `-p no:aiorooms`
disables the plugin.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .simulator import RoomsSimulator

_ROOMS = 10


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "rooms_simulator(**arguments): arguments for the RoomsSimulator of the fixtures `rooms_simulator` and "
        "`rooms_simulator_env`, such as rooms=1000, rate_limit='100/1s'.",
    )


@pytest.fixture
def rooms_simulator(request: pytest.FixtureRequest) -> "Iterator[RoomsSimulator]":
    """A running Telnyx Video Rooms simulator with 10 rooms. The marker `rooms_simulator` changes its settings."""
    from .simulator import RoomsSimulator  # imported here, because most test runs don't need it

    arguments: dict[str, Any] = {"rooms": _ROOMS}
    for marker in reversed([*request.node.iter_markers("rooms_simulator")]):
        if marker.args:
            raise pytest.UsageError(f"the marker rooms_simulator accepts keyword arguments only, not {marker.args!r}")
        arguments.update(marker.kwargs)
    with RoomsSimulator(**arguments) as simulator:
        yield simulator


@pytest.fixture
def rooms_simulator_env(rooms_simulator: "RoomsSimulator", monkeypatch: pytest.MonkeyPatch) -> "RoomsSimulator":
    """The simulator of `rooms_simulator`, with TELNYX_API_KEY and TELNYX_BASE_URL set to its key and URL."""
    monkeypatch.setenv("TELNYX_API_KEY", rooms_simulator.api_key)
    monkeypatch.setenv("TELNYX_BASE_URL", rooms_simulator.url)
    return rooms_simulator
