"""Events are sent only to this machine, unless deliveries anywhere are allowed."""

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from aiorooms.simulator import Deliveries, RoomsSimulator, _targets
from aiorooms.simulator._targets import Targets, is_loopback, names_loopback

from ..raw_server import raw_server
from ..webhook_config.receivers import Authority, answering, silent
from .receivers import outcomes, receiver, room_with

ELSEWHERE = "203.0.113.1"


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The addresses of host names below `.test`, which the system does not know."""
    known: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> list[Any]:
        assert host != "localhost"
        if not str(host).endswith(".test"):
            return real(host, port, *args, **options)
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


@pytest.mark.parametrize("url", [f"http://{ELSEWHERE}/", "https://[2001:db8::1]/", "http://0.0.0.0:1/"])
async def test_nothing_is_sent_to_other_addresses(url: str) -> None:
    async with RoomsSimulator() as sim:
        sim.start_session(room_with(sim, url))
        await sim.delivered()
        assert outcomes(sim) == [(url, "not_allowed", 1)]
        assert sim.delivery_log[0].error.endswith(" is not a loopback address")
        assert sim.stats.events == {"not_allowed": 1}


async def test_a_failover_url_on_loopback_gets_what_the_primary_may_not() -> None:
    async with RoomsSimulator() as sim, receiver() as hooks:
        sim.start_session(room_with(sim, f"http://{ELSEWHERE}/", hooks.url))
        await sim.delivered()
        assert outcomes(sim) == [(f"http://{ELSEWHERE}/", "not_allowed", 1), (hooks.url, "delivered", 2)]


@pytest.mark.parametrize(
    ("found", "outcome"),
    [(["127.0.0.1"], "delivered"), ([ELSEWHERE], "not_allowed"), (["127.0.0.1", ELSEWHERE], "not_allowed")],
)
async def test_a_name_is_looked_up_first(found: list[str], outcome: str, addresses: dict[str, list[str]]) -> None:
    addresses["hooks.test"] = found
    async with RoomsSimulator() as sim, receiver() as hooks:
        url = str(URL(hooks.url).with_host("hooks.test"))
        sim.start_session(room_with(sim, url))
        await sim.delivered()
        assert outcomes(sim) == [(url, outcome, 1)]
        assert len(hooks.received) == (outcome == "delivered")


async def test_localhost_needs_no_lookup(addresses: dict[str, list[str]]) -> None:
    async with RoomsSimulator() as sim, receiver() as hooks:
        sim.start_session(room_with(sim, str(URL(hooks.url).with_host("localhost"))))
        await sim.delivered()
        assert len(hooks.received) == 1


async def test_a_name_that_can_not_be_resolved_is_unreachable(addresses: dict[str, list[str]]) -> None:
    async with RoomsSimulator(deliveries=Deliveries(retries=1, backoff=0)) as sim:
        url = "http://no.test/"
        sim.start_session(room_with(sim, url))
        await sim.delivered()
        assert outcomes(sim) == [(url, "unreachable", 1), (url, "unreachable", 2)]
        assert sim.delivery_log[0].error == "the host can't be resolved: Name or service not known"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "hooks", "http://", "http://[::1/", "http://127.0.0.1:99999/"])
async def test_an_invalid_url_gets_nothing(url: str) -> None:
    async with RoomsSimulator() as sim:
        sim.start_session(room_with(sim, url))
        await sim.delivered()
        assert outcomes(sim) == [(url, "invalid_url", 1)]


async def test_a_receiver_with_an_unknown_certificate_gets_nothing(tmp_path: Path) -> None:
    tls = Authority(tmp_path).server("localhost")
    async with RoomsSimulator(deliveries=Deliveries(retries=0)) as sim, raw_server(silent, tls=tls) as (url, received):
        secure = str(URL(url).with_scheme("https").with_host("localhost"))
        sim.start_session(room_with(sim, secure))
        await sim.delivered()
        assert outcomes(sim) == [(secure, "unreachable", 1)]
        assert "certificate" in sim.delivery_log[0].error
        assert received == []


async def test_a_receiver_with_a_trusted_certificate_gets_the_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", authority.trusting)
    async with raw_server(answering(200), tls=authority.server("localhost")) as (url, received):
        async with RoomsSimulator() as sim:
            sim.start_session(room_with(sim, str(URL(url).with_scheme("https").with_host("localhost"))))
            await sim.delivered()
            assert [attempt.outcome for attempt in sim.delivery_log] == ["delivered"]
            assert len(received) == 1


async def test_lookups_that_fail_in_other_ways_are_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "label empty" in (await Targets().find("http://a..b/", anywhere=True)).error
    monkeypatch.setattr(_targets, "_LOOKUP_TIMEOUT", 0.001)
    release = threading.Event()

    def slow(*_: object, **__: object) -> list[Any]:
        release.wait()
        raise OSError("the answer comes too late")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    assert "took longer than 0.001 s" in (await Targets().find("http://slow.test/", anywhere=True)).error
    release.set()

    def no_thread(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    assert "can't start new thread" in (await Targets().find("http://a.test/", anywhere=True)).error


async def test_lookups_are_kept_for_a_while_but_not_many(
    monkeypatch: pytest.MonkeyPatch, addresses: dict[str, list[str]]
) -> None:
    monkeypatch.setattr(_targets, "_MAX_KEPT", 1)
    addresses["one.test"] = addresses["two.test"] = ["127.0.0.1"]
    targets = Targets()
    await targets.find("http://one.test/", anywhere=False)
    addresses["one.test"] = [ELSEWHERE]
    assert (await targets.find("http://one.test/", anywhere=False)).addresses == ("127.0.0.1",)
    await targets.find("http://two.test/", anywhere=False)
    assert (await targets.find("http://one.test/", anywhere=False)).outcome == "not_allowed"


async def test_credentials_that_no_header_can_contain_are_invalid() -> None:
    async with RoomsSimulator() as sim:
        url = sim.receiver_url.replace("//", "//a:\N{EURO SIGN}@")
        sim.start_session(room_with(sim, url))
        await sim.delivered()
        assert outcomes(sim) == [(url, "invalid_url", 1)]


async def test_deliveries_anywhere_allow_other_addresses(addresses: dict[str, list[str]]) -> None:
    addresses["hooks.test"] = [ELSEWHERE]
    targets = Targets()
    assert (await targets.find("http://hooks.test/", anywhere=False)).outcome == "not_allowed"
    assert (await targets.find("http://hooks.test/", anywhere=True)).addresses == (ELSEWHERE,)
    async with RoomsSimulator(deliveries=Deliveries(deliver_anywhere=True)) as sim, receiver() as hooks:
        sim.start_session(room_with(sim, hooks.url))
        await sim.delivered()
        assert len(hooks.received) == 1


async def test_a_lookup_that_never_ends_does_not_delay_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    async def resolve(_host: str) -> Any:
        asked.set()
        await asyncio.sleep(600)

    monkeypatch.setattr("aiorooms.simulator._targets._resolve", resolve)
    async with RoomsSimulator() as sim:
        sim.start_session(room_with(sim, "http://slow.test/"))
        await asked.wait()
    assert outcomes(sim) == [("http://slow.test/", "stopped", 1)]


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("localhost", False),
    ],
)
def test_loopback_addresses(address: str, wanted: bool) -> None:
    assert is_loopback(address) is wanted


def test_urls_that_name_loopback_without_a_lookup() -> None:
    assert all(map(names_loopback, ["http://127.0.0.1:1/x", "https://LOCALHOST./", "http://[::1]/"]))
    assert not any(map(names_loopback, ["https://hooks.example.com/", "http://10.0.0.1/", "", "http://[/"]))
