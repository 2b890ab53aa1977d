"""Absurd rate limit headers cause no unexpected error: not in the client, in its snapshot, or in the progress bar."""

import asyncio
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from aiorooms import AioroomsError, Pacing, PacingSnapshot, RetryPolicy, RoomsClient, RoomUpdate
from aiorooms.cli._progress import Bar
from aiorooms.cli._stats import Sample

from ..raw_server import Peer, raw_server
from ..samples import ROOM_ID

NAMES = ["Retry-After", "retry-after-ms", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "Date"]
ABSURD = [
    "0", "-0", "-1", "1e400", "nan", "inf", "-inf", "", "soon", "0x10", "1_000", "5, 5", "9" * 39, "0." + "0" * 14,
    "999999999999999", "99999999999999", "1764000000", "1764000000000", "0.000000000000001",
    "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 -2359", "Thu, 01 Jan 1970 00:00:00 GMT",
]  # fmt: skip
NUMBERS = st.one_of(
    st.sampled_from(ABSURD),
    st.integers().map(str),
    st.floats().map(str),
    st.text("0123456789.+-eE ", max_size=30),
)
ANSWERS = st.tuples(
    st.sampled_from([200, 429, 503]), st.dictionaries(st.sampled_from(NAMES), NUMBERS, max_size=len(NAMES))
)


GOOD: tuple[int, dict[str, str]] = (200, {})


async def update(answers: list[tuple[int, dict[str, str]]]) -> PacingSnapshot:
    """Update a room a few times, with one of `answers` to each request, and return the state of the rate limit."""
    body = json.dumps({"data": {"id": ROOM_ID, "max_participants": 3}})
    left = iter(answers)

    async def serve(peer: Peer) -> None:
        while True:
            await peer.read()
            status, headers = next(left, GOOD)
            lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            peer.write("\r\n".join([*lines, "", body]).encode())

    retry = RetryPolicy(max_attempts=2, base_delay=0, max_delay=0)
    async with raw_server(serve) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=retry, pacing=Pacing(max_wait=0.01)) as client:
            items = [(ROOM_ID, RoomUpdate(max_participants=3))] * 3
            async for result in client.rooms.update_many(items, concurrency=1, outage_patience=0.01):
                assert result.error is None or isinstance(result.error, AioroomsError)
            return client.pacing.snapshot()


@given(answers=st.lists(ANSWERS, min_size=1, max_size=4))
@settings(max_examples=60)
def test_any_headers_leave_the_client_the_snapshot_and_the_bar_working(
    answers: list[tuple[int, dict[str, str]]],
) -> None:
    snapshot = asyncio.run(update(answers))
    assert snapshot.in_flight == snapshot.waiting == 0
    bar = Bar(1_000_000, lambda: Sample(done=10, pacing=snapshot))
    with bar.console.capture() as shown:
        bar.console.print(*bar.get_renderables())
    assert "10/1,000,000" in shown.get()
