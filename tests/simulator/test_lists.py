"""Listing rooms in the simulator: pages, filters and invalid parameters."""

import pytest

from aiorooms.simulator import RoomsSimulator

from .calling import ask


async def test_the_pages_contain_all_rooms_in_order() -> None:
    async with RoomsSimulator(rooms=45) as sim:
        ids: list[str] = []
        for number in (1, 2, 3):
            reply = await ask(sim, "GET", f"/rooms?page[number]={number}")
            assert reply.status == 200
            assert reply.json["meta"] == {
                "total_pages": 3,
                "total_results": 45,
                "page_number": number,
                "page_size": 20,
            }
            ids += [room["id"] for room in reply.data]
            assert all("sessions" not in room for room in reply.data)
        assert ids == sim.room_ids
        beyond = await ask(sim, "GET", "/rooms?page%5Bnumber%5D=4&page%5Bsize%5D=20")
        assert beyond.status == 200
        assert beyond.json == {
            "data": [],
            "meta": {"total_pages": 3, "total_results": 45, "page_number": 4, "page_size": 20},
        }


async def test_the_list_of_an_account_without_rooms_is_empty() -> None:
    async with RoomsSimulator() as sim:
        reply = await ask(sim, "GET", "/rooms")
        assert reply.json == {
            "data": [],
            "meta": {"total_pages": 0, "total_results": 0, "page_number": 1, "page_size": 20},
        }


async def test_the_list_shows_added_rooms_and_omits_removed_ones() -> None:
    async with RoomsSimulator(rooms=3) as sim:
        first, second, third = sim.room_ids
        await ask(sim, "GET", "/rooms")
        sim.remove_room(second)
        fourth = sim.add_room()
        reply = await ask(sim, "GET", "/rooms?page[size]=250&include_sessions=true&unknown=1")
        assert [room["id"] for room in reply.data] == [first, third, fourth]
        assert all(room["sessions"] == [] for room in reply.data)


@pytest.mark.parametrize(
    "query",
    [
        "page[number]=0",
        "page[number]=-1",
        "page[number]=one",
        "page[number]=",
        "page[number]=1.0",
        "page[size]=0",
        "page[size]=251",
        "page[size]=%D9%A3",
        "include_sessions=yes",
        "filter[date_created_at][eq]=yesterday",
        "filter[date_created_at][gte]=2021-02-30",
        "filter[date_updated_at][lte]=20210430",
        "filter[date_updated_at][lte]=2021-04-30T00:00:00Z",
    ],
)
async def test_an_invalid_parameter_gets_a_400_with_only_success_and_message(query: str) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        reply = await ask(sim, "GET", f"/rooms?{query}")
    assert reply.status == 400
    assert set(reply.json) == {"success", "message"}
    assert reply.json["success"] is False
    assert query.partition("=")[0] in reply.json["message"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("filter[unique_name]=b", "b"),
        ("filter[unique_name]=B", ""),
        ("filter[date_created_at][eq]=2021-04-25", "b"),
        ("filter[date_created_at][gte]=2021-04-25", "bc"),
        ("filter[date_created_at][lte]=2021-04-25", "ab"),
        ("filter[date_created_at][gte]=2021-04-25&filter[date_created_at][lte]=2021-04-25", "b"),
        ("filter[date_updated_at][eq]=2022-01-01", "ac"),
        ("filter[date_updated_at][gte]=2022-01-02", "b"),
        ("filter[date_updated_at][lte]=2022-01-01&filter[unique_name]=c", "c"),
        ("filter[date_updated_at][lte]=2022-01-01&filter[unique_name]=b", ""),
        ("filter[something]=else", "abc"),
    ],
)
async def test_filters_select_rooms_by_name_and_date(query: str, names: str) -> None:
    async with RoomsSimulator() as sim:
        for name, created, updated in (
            ("a", "2021-04-24T23:59:59.999999Z", "2022-01-01T00:00:00.000000Z"),
            ("b", "2021-04-25T00:00:00.000000Z", "2022-01-02T00:00:00.000000Z"),
            ("c", "2021-04-26T00:00:00.000000Z", "2022-01-01T23:59:59.000000Z"),
        ):
            sim.add_room(unique_name=name, created_at=created, updated_at=updated)
        reply = await ask(sim, "GET", f"/rooms?{query}")
    assert [room["unique_name"] for room in reply.data] == list(names)
    assert reply.json["meta"]["total_results"] == len(names)


async def test_a_page_far_after_the_last_one_is_empty() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        reply = await ask(sim, "GET", "/rooms?page[number]=1000000000")
        assert (reply.status, reply.data, reply.json["meta"]["page_number"]) == (200, [], 1_000_000_000)
