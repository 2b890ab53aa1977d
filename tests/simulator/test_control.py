"""The control URL: it reads and changes a running simulator, on a port of its own."""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from yarl import URL

from aiorooms.simulator import RateLimit, RoomsSimulator
from aiorooms.simulator._control import Control
from aiorooms.simulator._control_json import Changes

from .calling import Reply, ask


class Controlled:
    """A running simulator with its control URL."""

    def __init__(self) -> None:
        self.sim = RoomsSimulator(rooms=1)
        self.changes: list[Changes] = []
        self.control = Control(self.sim, self.changes.append)

    async def send(self, method: str, *, url: str | None = None, **how: Any) -> Reply:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url or self.control.url, **how) as answer,
        ):
            return Reply(answer.status, answer.headers, await answer.read())

    async def change(self, **changes: Any) -> Any:
        reply = await self.send("PATCH", json=changes)
        assert reply.status == 200
        return reply.json


@pytest.fixture
async def controlled() -> AsyncIterator[Controlled]:
    one = Controlled()
    async with one.sim:
        await one.control.start(0)
        yield one
        await one.control.stop()


async def test_a_get_returns_the_state_and_counts_nothing(controlled: Controlled) -> None:
    await ask(controlled.sim, "GET", "/rooms")
    for _ in range(2):
        reply = await controlled.send("GET")
        assert reply.status == 200
        assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
        assert reply.json["api_key"] == "KEY_simulated"
        assert reply.json["stats"]["requests"] == reply.json["stats"]["connections"] == 1
        assert reply.json["stats"]["by_status"] == {"200": 1}
    head = await controlled.send("HEAD")
    assert (head.status, head.body) == (200, b"")


async def test_changes_take_effect_at_once(controlled: Controlled) -> None:
    sim = controlled.sim
    state = await controlled.change(rate_limit="1/1h", api_key="KEY_new")
    assert state["rate_limit"]["limit"] == 1
    assert (await ask(sim, "GET", "/rooms", key="KEY_simulated")).status == 401
    assert [(await ask(sim, "GET", "/rooms")).status for _ in range(2)] == [200, 429]
    await controlled.change(rate_limit=None, faults={"rate": 1, "kinds": ["503"]}, latency=[0, 0.001])
    assert (await ask(sim, "GET", "/rooms")).status == 503
    assert sim.latency == (0.0, 0.001)
    state = await controlled.change(faults=0)
    assert (await ask(sim, "GET", "/rooms")).status == 200
    assert state["faults"] is None
    assert state["stats"] == {
        "requests": 4,
        "connections": 4,
        "in_flight": 0,
        "by_status": {"200": 1, "401": 1, "429": 1, "503": 1},
        "rate_limited": 1,
        "unauthorized": 1,
        "faults": {"503": 1},
        "updates_applied": 0,
        "events": {},
    }
    assert [sorted(changes) for changes in controlled.changes] == [
        ["api_key", "rate_limit"],
        ["faults", "latency", "rate_limit"],
        ["faults"],
    ]


async def test_the_control_url_works_during_every_outage(controlled: Controlled) -> None:
    sim = controlled.sim
    for outage in ("closed", "503", "closed", "reset", "hang"):
        assert (await controlled.change(outage=outage))["outage"] == outage == sim.outage
        assert (await controlled.send("GET")).json["outage"] == outage
        if outage == "closed":
            with pytest.raises(aiohttp.ClientConnectorError):
                await ask(sim, "GET", "/rooms")
        elif outage == "reset":
            with pytest.raises(aiohttp.ClientOSError):
                await ask(sim, "GET", "/rooms")
        elif outage == "503":
            assert (await ask(sim, "GET", "/rooms")).status == 503
    assert (await controlled.change(outage=None))["outage"] is None
    assert sim.outage is None
    assert (await ask(sim, "GET", "/rooms")).status == 200


async def test_an_invalid_change_changes_nothing(controlled: Controlled) -> None:
    reply = await controlled.send("PATCH", json={"rate_limit": "5/1s", "api_key": "", "outage": "x"})
    assert reply.status == 422
    assert [problem.partition(":")[0] for problem in reply.json["problems"]] == ["api_key", "outage"]
    assert controlled.sim.rate_limit is None
    assert (await controlled.send("PATCH", data=b"{")).status == 422
    assert (await controlled.send("PATCH", data=io.BytesIO(b" " * 2_000_000))).status == 413
    assert await controlled.change() == (await controlled.send("GET")).json
    assert controlled.changes == []


async def test_a_body_that_can_not_be_read_changes_nothing(
    controlled: Controlled, capfd: pytest.CaptureFixture[str]
) -> None:
    reply = await controlled.send("PATCH", data=b"zz", headers={"Content-Encoding": "gzip"})
    assert reply.status == 400
    _, writer = await asyncio.open_connection("127.0.0.1", URL(controlled.control.url).port)
    writer.write(b"PATCH /control HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await controlled.send("GET")).status == 200
    assert controlled.changes == []
    assert "Traceback" not in capfd.readouterr().err


async def test_other_paths_and_methods_are_rejected(controlled: Controlled) -> None:
    assert (await controlled.send("GET", url=controlled.sim.url)).status == 401
    assert (await controlled.send("GET", url=f"{controlled.control.url}/more")).status == 404
    reply = await controlled.send("OPTIONS")  # a browser asks so before it sends a PATCH to another site
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD, PATCH")
    assert not [name for name in reply.headers if name.lower().startswith("access-control-")]
    simulators_own = str(URL(controlled.sim.url).with_path("/control"))
    key = {"Authorization": f"Bearer {controlled.sim.api_key}"}
    assert (await controlled.send("GET", url=simulators_own, headers=key)).status == 404


@pytest.mark.parametrize(("host", "status"), [("localhost:1", 200), ("attacker.example", 421), ("", 421)])
async def test_only_requests_for_this_machine_are_answered(controlled: Controlled, host: str, status: int) -> None:
    reply = await controlled.send("PATCH", json={"rate_limit": "5/1s"}, headers={"Host": host})
    assert reply.status == status
    assert controlled.sim.rate_limit == (RateLimit(5) if status == 200 else None)


async def test_the_control_url_is_on_loopback_whatever_host_the_simulator_has() -> None:
    async with RoomsSimulator(host="0.0.0.0") as sim:
        control = Control(sim, lambda _: None)
        with pytest.raises(RuntimeError, match="no port before it is started"):
            _ = control.url
        await control.start(0)
        assert URL(control.url).host == "127.0.0.1"
        port = URL(sim.url).port
        assert port is not None
        with pytest.raises(OSError, match=f"can't listen on 127.0.0.1 port {port}"):
            await Control(sim, lambda _: None).start(port)
        await control.stop()
        await control.stop()
