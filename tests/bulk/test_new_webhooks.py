"""A plan is not written if the probe of a new webhook URL fails. Each problem names the rooms, each room once."""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from aiorooms import RoomUpdate
from aiorooms.bulk import BulkInputError, Change, ProbeUrls, make_plan
from aiorooms.simulator import RoomsSimulator
from aiorooms.webhook_config import ProbeResult

from .conftest import FixedChanges, client_of

URL, FAILOVER = "webhook_event_url", "webhook_event_failover_url"


class Results(AsyncIterator[ProbeResult]):
    """Failures of all URLs. This is no generator."""

    closed = False

    def __init__(self, urls: Iterable[str]) -> None:
        self._urls = iter(urls)

    async def __anext__(self) -> ProbeResult:
        for url in self._urls:
            return ProbeResult(url=url, verdict="failed", cause="status", message=f"{url}: answered 500")
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        (
            [{URL: "https://x.io/a?1", FAILOVER: "https://x.io/a?2"}],
            [(URL, "https://x.io/a?1: answered 500 (1 room: room-000001)")],
        ),
        (
            [{URL: "https://x.io/a", FAILOVER: "https://x.io/b"}],
            [
                (URL, "https://x.io/a: answered 500 (1 room: room-000001)"),
                (FAILOVER, "https://x.io/b: answered 500 (1 room: room-000001)"),
            ],
        ),
        (
            [{FAILOVER: "https://x.io/a?1"}, {URL: "https://x.io/a?2", FAILOVER: "https://x.io/a?3"}],
            [(FAILOVER, "https://x.io/a?1: answered 500 (2 rooms: room-000001, room-000002)")],
        ),
        (
            [{URL: f"https://x.io/a?{number}"} for number in range(4)],
            [(URL, "https://x.io/a?0: answered 500 (4 rooms: room-000001, room-000002, room-000003, ...)")],
        ),
    ],
    ids=["one receiver", "two receivers", "two rooms", "four rooms"],
)
async def test_each_room_is_named_once(
    tmp_path: Path, changes: list[dict[str, Any]], problems: list[tuple[str, str]]
) -> None:
    made: list[Results] = []

    def probe(urls: Iterable[str], *, timeout: float) -> Results:
        made.append(Results(urls))
        return made[-1]

    probing: ProbeUrls = probe
    async with RoomsSimulator(rooms=4) as sim, client_of(sim) as client:
        wanted = FixedChanges(
            {room: Change(RoomUpdate(**one)) for room, one in zip(sim.room_ids, changes, strict=False)}
        )
        with pytest.raises(BulkInputError) as caught:
            await make_plan(client, wanted, tmp_path / "a.plan", probe=probing)
    assert [(one.field, one.message) for one in caught.value.problems] == problems
    assert all(one.code == "probe_failed" for one in caught.value.problems)
    assert [results.closed for results in made] == [True]
    assert not (tmp_path / "a.plan").exists()
