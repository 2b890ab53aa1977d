"""The pytest fixture `rooms_simulator`, available wherever aiorooms and pytest are installed.

Each test that requests the fixture gets its own simulator with 10 rooms. The simulator runs in a thread, so it serves
sync tests, and async tests under any plugin. The marker passes arguments to `RoomsSimulator`; the nearest marker wins.

    @pytest.mark.rooms_simulator(rooms=1000, rate_limit="100/1s")
    def test_many_rooms(rooms_simulator):
        ...  # rooms_simulator.url, rooms_simulator.api_key

Pytest imports this module in every run. So the simulator is imported by the fixture, and not before. To keep pytest
from loading the plugin: `-p no:aiorooms`.
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
        "rooms_simulator(**arguments): arguments for the RoomsSimulator of the fixture `rooms_simulator`, "
        "such as rooms=1000, rate_limit='100/1s'.",
    )


@pytest.fixture
def rooms_simulator(request: pytest.FixtureRequest) -> "Iterator[RoomsSimulator]":
    """A running Telnyx Video Rooms simulator with 10 rooms; the marker of the same name changes its settings."""
    from .simulator import RoomsSimulator  # late: most test runs do without the simulator

    arguments: dict[str, Any] = {"rooms": _ROOMS}
    for marker in reversed([*request.node.iter_markers("rooms_simulator")]):
        if marker.args:
            raise pytest.UsageError(f"the marker rooms_simulator takes keyword arguments only, not {marker.args!r}")
        arguments.update(marker.kwargs)
    with RoomsSimulator(**arguments) as simulator:
        yield simulator
