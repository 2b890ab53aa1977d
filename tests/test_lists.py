"""Lists fetch the next page in advance, yield no room twice, and miss no room when another one is deleted."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms import APIStatusError, AuthenticationError, InvalidRequestError, RoomsClient
from aiorooms.models import Room, RoomPage
from aiorooms.resources._pages import RoomList
from aiorooms.simulator import RoomsSimulator

from .conftest import QUICK, settle, tasks_left, times


@pytest.mark.parametrize(
    ("rooms", "page_size", "pages"), [(0, 250, 1), (1, 1, 1), (10, 3, 4), (9, 3, 3), (251, 250, 2)]
)
async def test_all_rooms_are_yielded_in_order(rooms: int, page_size: int, pages: int) -> None:
    async with RoomsSimulator(rooms=rooms) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        listed = [room async for room in client.rooms.list(page_size=page_size)]
        assert [room.id for room in listed] == sim.room_ids
        assert sim.stats.requests == pages
        by_page = [page async for page in client.rooms.list(page_size=page_size).pages()]
        assert [len(page) for page in by_page] == [page_size] * (pages - 1) + [rooms - page_size * (pages - 1)]
        assert [page.number for page in by_page] == list(range(1, pages + 1))
        assert {page.total_results for page in by_page} == {rooms}
        assert [room.id for page in by_page for room in page] == sim.room_ids


async def test_the_next_page_is_fetched_while_the_current_one_is_used() -> None:
    async with RoomsSimulator(rooms=10) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        rooms = client.rooms.list(page_size=5)
        assert sim.stats.requests == 0
        await anext(rooms)
        while sim.stats.requests < 2:
            await asyncio.sleep(0.001)
        await rooms.aclose()
        assert tasks_left() == set()


async def test_filters_are_encoded_and_applied_by_the_server() -> None:
    async with RoomsSimulator(rooms=5) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        name = "a & b=c/[d] ü"
        room_id = sim.add_room(unique_name=name)
        assert [room.id async for room in client.rooms.list(unique_name=name)] == [room_id]
        today = datetime.now(UTC).date()
        tomorrow, yesterday = today + timedelta(days=1), today - timedelta(days=1)
        sim.record = True
        await anext(
            client.rooms.list(
                date_created_at_eq=today, date_created_at_gte=yesterday, date_created_at_lte=tomorrow,
                date_updated_at_eq=today, date_updated_at_gte=yesterday, date_updated_at_lte=tomorrow,
                include_sessions=True,
            ),
            None,
        )  # fmt: skip
        assert dict(parse_qsl(urlsplit(sim.recorded[-1].path).query)) == {
            "filter[date_created_at][eq]": f"{today}",
            "filter[date_created_at][gte]": f"{yesterday}",
            "filter[date_created_at][lte]": f"{tomorrow}",
            "filter[date_updated_at][eq]": f"{today}",
            "filter[date_updated_at][gte]": f"{yesterday}",
            "filter[date_updated_at][lte]": f"{tomorrow}",
            "include_sessions": "true",
            "page[number]": "1",
            "page[size]": "250",
        }
        assert [room async for room in client.rooms.list(date_updated_at_gte=tomorrow)] == []
        assert sim.recorded[-1].path == (
            f"/v2/rooms?filter%5Bdate_updated_at%5D%5Bgte%5D={tomorrow}&page%5Bnumber%5D=1&page%5Bsize%5D=250"
        )


async def test_breaking_out_of_the_loop_cancels_the_page_in_flight() -> None:
    async with RoomsSimulator(rooms=10, latency=0.01) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        async for _ in client.rooms.list(page_size=2):
            break
        await settle()
        assert tasks_left() == set()
        assert client.pacing.snapshot().in_flight == 0


async def test_cancelling_leaves_no_task_behind() -> None:
    async with RoomsSimulator(rooms=10, latency=5) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:

        async def read() -> None:
            async for _ in client.rooms.list():
                pass

        task = asyncio.create_task(read())
        while not sim.stats.in_flight:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert tasks_left() == set()


async def test_a_failing_page_raises_after_the_rooms_of_earlier_pages() -> None:
    async with RoomsSimulator(rooms=4) as sim, RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
        sim.script(None, *times("500", 4))
        seen: list[str | None] = []
        with pytest.raises(
            APIStatusError, match="500 list of rooms: the server failed to handle the request .*after 4 attempts"
        ):
            async for room in client.rooms.list(page_size=2):
                seen.append(room.id)  # noqa: PERF401 - a comprehension would lose the rooms before the error
        assert seen == sim.room_ids[:2]
        sim.api_key = "other"
        with pytest.raises(AuthenticationError, match="401 list of rooms: request rejected: check the API key"):
            await anext(client.rooms.list())


async def test_a_list_misses_no_room_when_other_rooms_are_deleted() -> None:
    async with RoomsSimulator(rooms=20) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        ids = sim.room_ids
        seen: list[str | None] = []
        async for room in client.rooms.list(page_size=3):
            seen.append(room.id)
            if len(seen) in (1, 4, 9):
                sim.remove_room(ids[len(seen) - 1])
        assert len(seen) == len(set(seen)), "a room was yielded twice"
        assert set(sim.room_ids) <= set(seen), "a room that existed all the time is missing"


# --- RoomList without a server, with random accounts that change while they are read ---

changes = st.lists(st.tuples(st.sampled_from(["delete", "create", "nothing"]), st.floats(0, 0.999)), max_size=40)


@given(rooms=st.integers(0, 30), page_size=st.integers(1, 7), changes=changes, meta=st.booleans())
def test_a_list_yields_no_room_twice_and_misses_none_when_others_are_deleted(
    rooms: int, page_size: int, changes: list[tuple[str, float]], meta: bool
) -> None:
    asyncio.run(play(rooms, page_size, changes, meta))


async def play(rooms: int, page_size: int, changes: list[tuple[str, float]], meta: bool) -> None:
    """Read the list of an account that changes after each page. Without `meta`, pages report no totals."""
    account = [f"room-{number}" for number in range(rooms)]
    there_all_the_time = set(account)
    kinds: set[str] = set()
    pending = iter(changes)

    async def read_page(number: int) -> RoomPage:
        await asyncio.sleep(0)
        start = (number - 1) * page_size
        page = RoomPage(
            rooms=tuple(Room(id=name) for name in account[start : start + page_size]),
            number=number,
            total_pages=max(1, -(-len(account) // page_size)) if meta else None,
            total_results=len(account) if meta else None,
        )
        change, where = next(pending, ("nothing", 0.0))
        if change == "delete" and account:
            # Delete up to nine rooms at once, which may be more than a page.
            for _ in range(min(len(account), 1 + int(where * 20) % 9)):
                there_all_the_time.discard(account.pop(int(where * len(account))))
            kinds.add(change)
        elif change == "create":
            account.insert(0, f"new-{where}-{len(account)}")
            kinds.add(change)
        return page

    seen = [room.id async for room in RoomList(read_page, page_size)]
    assert len(seen) == len(set(seen)), "a room was yielded twice"
    if meta and kinds != {"create", "delete"}:
        assert there_all_the_time <= set(seen), "a room that existed all the time is missing"
    assert tasks_left() == set()


@pytest.mark.parametrize("server", ["flapping", "no meta and always the same page", "endless empty pages"])
async def test_a_list_ends_even_if_its_pages_contradict_each_other_or_never_end(server: str) -> None:
    calls = 0

    async def read_page(number: int) -> RoomPage:
        nonlocal calls
        calls += 1
        assert calls < 500, "the list does not end"
        rooms = tuple(Room(id=f"{number}-{place}") for place in range(2))
        match server:
            case "flapping":
                return RoomPage(rooms=rooms, number=number, total_pages=3, total_results=6 + calls % 2)
            case "endless empty pages":
                return RoomPage(rooms=rooms if number == 1 else (), number=number, total_pages=10**15)
            case _:
                return RoomPage(rooms=(Room(id="1"), Room(id="2")), number=number)

    seen = [room.id async for room in RoomList(read_page, 2)]
    assert len(seen) == (6 if server == "flapping" else 2)


async def test_a_list_of_a_constantly_changing_account_ends() -> None:
    account = [f"room-{number}" for number in range(60)]
    calls = 0

    async def read_page(number: int) -> RoomPage:
        nonlocal calls
        calls += 1
        assert calls < 500, "the list does not end"
        if calls % 2:
            account.append(f"new-{calls}")
        else:
            del account[calls % len(account)]
        return RoomPage(
            rooms=tuple(Room(id=name) for name in account[(number - 1) * 10 : number * 10]),
            number=number,
            total_pages=-(-len(account) // 10),
            total_results=len(account),
        )

    seen = [room.id async for room in RoomList(read_page, 10)]
    assert len(seen) == len(set(seen)) >= 55


async def test_pages_begins_at_the_first_page_even_if_the_rooms_were_already_read() -> None:
    calls: list[int] = []
    page: Callable[[int], RoomPage] = lambda number: RoomPage(rooms=(Room(id="1"),), number=number, total_pages=1)  # noqa: E731

    async def read_page(number: int) -> RoomPage:
        calls.append(number)
        return page(number)

    rooms = RoomList(read_page, 5)
    assert [room.id async for room in rooms] == ["1"]
    assert [room async for room in rooms] == []
    assert [len(page) async for page in rooms.pages()] == [1]
    assert calls == [1, 1]
    await rooms.aclose()


async def test_a_single_page_is_read_without_the_pages_before_it() -> None:
    async with RoomsSimulator(rooms=23) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url) as client:
            all_rooms = [room.id async for room in client.rooms.list()]
            before = sim.stats.requests
            page = await client.rooms.list_page(3, page_size=5)
            assert sim.stats.requests == before + 1
            assert [room.id for room in page] == all_rooms[10:15]
            assert (page.number, page.total_pages, page.total_results) == (3, 5, 23)
            assert len(await client.rooms.list_page(99, page_size=5)) == 0
            name = str(sim.rooms[sim.room_ids[7]]["unique_name"])
            found = await client.rooms.list_page(unique_name=name)
            assert [room.id for room in found] == [sim.room_ids[7]]


@pytest.mark.parametrize(("number", "page_size"), [(0, 5), (True, 5), ("1", 5), (1, 0), (1, 251)])
async def test_an_invalid_page_is_refused_before_anything_is_sent(number: Any, page_size: int) -> None:
    async with RoomsClient("key") as client:
        with pytest.raises(InvalidRequestError):
            await client.rooms.list_page(number, page_size=page_size)
