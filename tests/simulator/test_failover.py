"""Retries, and the failover URL when the primary URL fails."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from aiorooms.simulator import Deliveries, RoomsSimulator
from aiorooms.simulator._deliveries import DEFAULT_TIMEOUT, timeout_of, urls_of, waits_of

from ..raw_server import Peer, raw_server
from .receivers import Answer, outcomes, receiver, room_with

QUICK = Deliveries(backoff=0)


def failing_first(count: int) -> Answer:
    """Return an answer that is a 500 for the first `count` events."""
    left = [500] * count

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=left.pop() if left else 200)

    return answer


def always(status: int, **headers: str) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers=headers)

    return answer


async def never(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(600)
    return web.Response()


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65536)


@pytest.mark.parametrize("answer", [always(204), endless])
async def test_a_2xx_is_a_success_whatever_its_body(answer: Answer) -> None:
    async with RoomsSimulator(deliveries=QUICK) as sim, receiver(answer) as hooks, receiver() as failover:
        sim.start_session(room_with(sim, hooks.url, failover.url))
        await sim.delivered()
        assert outcomes(sim) == [(hooks.url, "delivered", 1)]
        assert failover.received == []


async def test_a_retry_sends_the_same_event() -> None:
    async with RoomsSimulator(deliveries=QUICK) as sim, receiver(failing_first(2)) as hooks, receiver() as failover:
        sim.start_session(room_with(sim, hooks.url, failover.url))
        await sim.delivered()
        assert outcomes(sim) == [
            (hooks.url, "bad_status", 1),
            (hooks.url, "bad_status", 2),
            (hooks.url, "delivered", 3),
        ]
        assert [attempt.status for attempt in sim.delivery_log] == [500, 500, 200]
        first, *later = hooks.received
        assert [event.data for event in later] == [first.data] * 2
        assert failover.received == []
        assert sim.stats.events == {"delivered": 1}


@pytest.mark.parametrize("answer", [always(500), always(404), always(307, Location="/elsewhere")])
async def test_an_event_is_delivered_once_to_the_failover_url(answer: Answer) -> None:
    async with RoomsSimulator(deliveries=QUICK) as sim, receiver(answer) as hooks, receiver() as failover:
        sim.start_session(room_with(sim, hooks.url, failover.url))
        await sim.delivered()
        assert outcomes(sim) == [
            *[(hooks.url, "bad_status", number) for number in (1, 2, 3)],
            (failover.url, "delivered", 4),
        ]
        (event,) = failover.received
        assert event.json["meta"] == {"attempt": 4, "delivered_to": failover.url}
        assert [event.data for event in hooks.received] == [event.data] * 3, "a redirect was followed"


async def test_an_event_goes_to_the_failover_url_if_the_primary_exceeds_the_time_limit_of_the_room() -> None:
    deliveries = Deliveries(retries=0)
    async with RoomsSimulator(deliveries=deliveries) as sim, receiver(never) as hooks, receiver() as failover:
        room_id = room_with(sim, hooks.url, failover.url)
        sim.change_room(room_id, webhook_timeout_secs=0.5)  # the API allows only whole seconds
        sim.start_session(room_id)
        await sim.delivered()
        assert outcomes(sim) == [(hooks.url, "timeout", 1), (failover.url, "delivered", 2)]
        assert sim.delivery_log[0].error == "no answer within 0.5 s"
        assert len(failover.received) == 1


async def test_an_event_goes_to_the_failover_url_if_the_primary_is_down(unused_tcp_port: int) -> None:
    down = f"http://127.0.0.1:{unused_tcp_port}/"
    async with RoomsSimulator(deliveries=Deliveries(retries=0)) as sim, receiver() as failover:
        sim.start_session(room_with(sim, down, failover.url))
        await sim.delivered()
        assert outcomes(sim) == [(down, "unreachable", 1), (failover.url, "delivered", 2)]
        assert "Connect" in sim.delivery_log[0].error


async def test_a_receiver_that_answers_garbage_is_unreachable() -> None:
    async def serve(peer: Peer) -> None:
        await peer.read()
        peer.write(b"no HTTP\r\n\r\n")

    async with RoomsSimulator(deliveries=Deliveries(retries=0)) as sim, raw_server(serve) as (url, received):
        sim.start_session(room_with(sim, url))
        await sim.delivered()
        assert outcomes(sim) == [(url, "unreachable", 1)]
        assert len(received) == 1


async def test_an_event_is_given_up_after_all_attempts() -> None:
    async with (
        RoomsSimulator(deliveries=QUICK) as sim,
        receiver(always(503)) as hooks,
        receiver(always(400)) as failover,
    ):
        room_id = room_with(sim, hooks.url, failover.url)
        sim.start_session(room_id)
        await sim.delivered()
        assert [attempt.status for attempt in sim.delivery_log] == [503] * 3 + [400] * 3
        assert {attempt.room_id for attempt in sim.delivery_log} == {room_id}
        assert sim.stats.events == {"given_up": 1}


async def test_retries_do_not_delay_later_events() -> None:
    deliveries = Deliveries(backoff=600)
    async with RoomsSimulator(deliveries=deliveries) as sim, receiver(failing_first(1)) as hooks:
        room_id = room_with(sim, hooks.url)
        sim.join(room_id)
        while len(hooks.received) < 2:
            await asyncio.sleep(0.001)
        assert hooks.types == ["session.started", "participant.joined"]


def test_the_waits_between_attempts_double() -> None:
    assert waits_of(Deliveries()) == (0, 1, 2)
    assert waits_of(Deliveries(retries=4, backoff=20)) == (0, 20, 40, 60, 60)
    assert waits_of(Deliveries(retries=0)) == (0,)


@pytest.mark.parametrize(
    ("given", "seconds"), [(5, 5), (0.5, 0.5), (0, 10), (None, 10), ("5", 10), (True, 10), (-1, 10)]
)
def test_the_time_limit_is_that_of_the_room_or_the_default(given: Any, seconds: float) -> None:
    assert DEFAULT_TIMEOUT == 10
    assert timeout_of(given) == seconds


def test_without_a_primary_url_there_are_no_urls() -> None:
    assert urls_of("a", "b") == ("a", "b")
    assert urls_of("a", "") == urls_of("a", None) == urls_of("a", 5) == ("a",)
    assert urls_of("", "b") == urls_of(None, "b") == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"repeat": 2}, "repeat must be a probability from 0 to 1, not 2"),
        ({"reorder": -0.1}, "reorder must be a probability"),
        ({"quirks": float("nan")}, "quirks must be a probability"),
        ({"retries": 11}, "retries must be from 0 to 10, not 11"),
        ({"backoff": float("inf")}, "backoff must be 0 seconds or more, and finite"),
    ],
)
def test_invalid_settings_raise(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Deliveries(**settings)


@pytest.mark.parametrize("retries", [1.5, True, "2"])
def test_retries_that_are_no_whole_number_raise(retries: Any) -> None:
    with pytest.raises(TypeError, match="retries must be a whole number"):
        Deliveries(retries=retries)
