"""Proxies: which one a client uses, and requests through a real one on loopback, with and without TLS."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from aiorooms import APIConnectionError, APIError, ClientSettingsError, RetryPolicy, RoomsClient, RoomUpdate
from aiorooms._http.proxy import Proxy, find_proxy
from aiorooms._http.secret import Hidden
from aiorooms.simulator import RoomsSimulator

from .conftest import QUICK, tasks_left
from .proxies import RealProxy, real_proxy
from .raw_server import Peer, raw_server
from .samples import ROOM_ID
from .webhook_config.receivers import Authority

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxy_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealProxy]:
    with real_proxy(tmp_path_factory.mktemp("proxy"), "--basic-auth", "user:s3cret") as running:
        yield running


async def _serve(peer: Peer) -> None:
    while True:
        request = await peer.read()
        body = json.loads(request.partition(b"\r\n\r\n")[2] or b"{}")
        peer.answer(json.dumps({"data": {"id": ROOM_ID, **body}}).encode())


# --- which proxy ---


@pytest.mark.parametrize(
    ("variables", "base_url", "found"),
    [
        ({}, "https://api.telnyx.com/v2", None),
        ({"HTTPS_PROXY": "http://p.example.com:3128"}, "https://api.telnyx.com/v2", "http://p.example.com:3128"),
        ({"https_proxy": "http://p.example.com:3128"}, "https://api.telnyx.com/v2", "http://p.example.com:3128"),
        ({"https_proxy": "p.example.com:3128"}, "https://api.telnyx.com/v2", "http://p.example.com:3128"),
        ({"HTTP_PROXY": "http://p.example.com"}, "https://api.telnyx.com/v2", None),
        ({"HTTP_PROXY": "http://p.example.com"}, "http://api.example.com/v2", "http://p.example.com"),
        ({"HTTPS_PROXY": " "}, "https://api.telnyx.com/v2", None),
        ({"ALL_PROXY": "http://p.example.com"}, "https://api.telnyx.com/v2", "http://p.example.com"),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "*"}, "https://api.telnyx.com/v2", None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "x.io,.telnyx.com"}, "https://api.telnyx.com/v2", None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "telnyx.com:444"}, "https://api.telnyx.com:444/v2", None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "telnyx.com:444"}, "https://api.telnyx.com/v2", "http://p"),
        ({"HTTPS_PROXY": "http://p", "HTTP_PROXY": "http://p"}, "http://127.0.0.1:8080/v2", None),
        ({"HTTP_PROXY": "http://p"}, "http://localhost:8080/v2", None),
        ({"HTTP_PROXY": "http://p"}, "http://[::1]:8080/v2", None),
    ],
)
def test_the_environment_names_the_proxy_as_it_does_for_curl(
    variables: dict[str, str], base_url: str, found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert _url(find_proxy(URL(base_url), Hidden(None), trust_env=True)) == found
    assert find_proxy(URL(base_url), Hidden(None), trust_env=False) is None
    assert _url(find_proxy(URL(base_url), Hidden("http://given:1"), trust_env=True)) == "http://given:1"


def _url(proxy: Proxy | None) -> str | None:
    return None if proxy is None else str(proxy.url)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("p.example.com:3128", "proxy 'p.example.com:3128' is not an http or https URL; give a URL such as http://pr"),
        ("socks5://p.example.com", "proxy 'socks5://p.example.com' is not an http or https URL"),
        ("http://p.example.com:99999", "proxy 'http://p.example.com:99999' can't be parsed"),
        ("http://user:s3cret@p.example.com:99999", "proxy can't be parsed; give a URL such as"),
        ("http://p.example .com", "proxy 'http://p.example .com' is not an http or https URL"),
        (7, "proxy is 7; give a str"),
    ],
)
def test_a_wrong_proxy_is_told_without_its_password(given: Any, message: str) -> None:
    with pytest.raises(ClientSettingsError) as caught:
        RoomsClient("KEY", proxy=given)
    assert str(caught.value).startswith(message)
    assert "s3cret" not in str(caught.value)


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://p.example.com")
    with pytest.raises(ClientSettingsError, match=r"ALL_PROXY 'socks5://p.example.com' is not an http or https URL"):
        RoomsClient("KEY", trust_env=True)


async def test_a_proxy_can_not_be_combined_with_a_session() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ClientSettingsError, match="proxy can't be combined with a session of your own"):
            RoomsClient("KEY", session=session, proxy="http://p")
        with pytest.raises(ClientSettingsError, match="trust_env can't be combined"):
            RoomsClient("KEY", session=session, trust_env=True)


# --- requests through a real proxy ---


async def test_all_operations_go_through_the_proxy(proxy: RealProxy) -> None:
    given = proxy.url.replace("//", "//user:s3cret@")
    async with RoomsSimulator(rooms=3) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, proxy=given, retry=QUICK) as client:
            assert len([room async for room in client.rooms.list()]) == 3
            updates = [(room_id, RoomUpdate(max_participants=20)) for room_id in sim.room_ids * 10]
            results = [result async for result in client.rooms.update_many(updates)]
            assert {result.status for result in results} == {"updated"}
            await client.rooms.delete(sim.room_ids[0])
        assert sim.stats.updates_applied.total() == 30
        port = URL(sim.url).port
    assert proxy.has_served(f":{port}/")
    assert tasks_left() == set()


async def test_tls_goes_through_a_tunnel_and_connections_are_reused(
    proxy: RealProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", authority.trusting)
    opened: list[Peer] = []

    async def serve(peer: Peer) -> None:
        opened.append(peer)
        await _serve(peer)

    async with raw_server(serve, tls=authority.server("localhost")) as (url, received):
        base_url = url.replace("http://127.0.0.1", "https://localhost")
        given = proxy.url.replace("//", "//user:s3cret@")
        async with RoomsClient("KEY", base_url=base_url, proxy=given, retry=QUICK) as client:
            for number in range(3):
                room = await client.rooms.update(ROOM_ID, max_participants=20 + number)
                assert room.max_participants == 20 + number
        assert len(received) == 3
        assert len(opened) == 1
        assert all(b"Proxy-Authorization" not in request for request in received)
        assert all(b"s3cret" not in request for request in received)
    assert proxy.has_served(f"CONNECT localhost:{URL(base_url).port}")


@pytest.mark.parametrize("credentials", ["", "user:s3cret@"])
@pytest.mark.parametrize("tls", [True, False])
async def test_the_key_and_the_credentials_go_only_where_they_belong(tls: bool, credentials: str) -> None:
    async def serve(peer: Peer) -> None:
        await peer.read()
        peer.write(b"HTTP/1.1 503 no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    once = RetryPolicy(max_attempts=1)
    async with raw_server(serve) as (url, received):
        proxy_url = f"http://{credentials}127.0.0.1:{URL(url).port}"
        base_url = f"http{'s' * tls}://localhost:1/v2"
        async with RoomsClient("KEY_secret", base_url=base_url, proxy=proxy_url, retry=once) as client:
            with pytest.raises(APIError, match="503"):
                await client.rooms.update(ROOM_ID, max_participants=20)
    request = received[0]  # the second one is a read-back
    assert request.startswith(b"CONNECT localhost:1 HTTP/1.1" if tls else b"PATCH http://localhost:1/v2/rooms/")
    assert (b"KEY_secret" in request) is not tls
    assert (b"Proxy-Authorization: Basic dXNlcjpzM2NyZXQ=" in request) is bool(credentials)
    assert request.count(b"uthorization:") == (not tls) + bool(credentials)


@pytest.mark.parametrize("answer", [b"garbage\r\n\r\n", b"HTTP/1.1 200", b""])
async def test_no_error_or_log_line_shows_the_password_of_the_proxy(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.read()
        peer.write(answer)

    caplog.set_level("DEBUG", "aiorooms")
    async with raw_server(serve) as (url, _):
        proxy_url = f"http://user:s3cret@127.0.0.1:{URL(url).port}"
        async with RoomsClient("KEY", base_url="https://localhost:1/v2", proxy=proxy_url, retry=QUICK) as client:
            calls = (
                client.rooms.update(ROOM_ID, max_participants=20),
                client.rooms.retrieve(ROOM_ID),
                client.rooms.delete(ROOM_ID),
            )
            for call in calls:
                with pytest.raises(APIConnectionError) as caught:
                    await call
                assert "s3cret" not in str(caught.value)
                assert "not sent" in str(caught.value)
                assert not caught.value.uncertain
    assert "s3cret" not in caplog.text


async def test_a_proxy_that_wants_credentials_ends_the_call_at_once(
    proxy: RealProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RoomsClient("KEY", base_url="https://localhost:1/v2", proxy=proxy.url, retry=QUICK) as client:
        with pytest.raises(APIConnectionError, match="not sent: the proxy answered 407") as caught:
            await client.rooms.update(ROOM_ID, max_participants=20)
        assert caught.value.attempts == 1
        run = client.rooms.update_many([(ROOM_ID, RoomUpdate(max_participants=20))] * 5)
        assert [result.status async for result in run] == ["skipped"] * 5
    async with RoomsSimulator(rooms=5) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, proxy=proxy.url, retry=QUICK) as client:
            run = client.rooms.update_many([(room_id, RoomUpdate(max_participants=20)) for room_id in sim.room_ids])
            results = [result async for result in run]
    assert [result.status for result in results] == ["skipped"] * 5
    assert "the proxy requires credentials: check the proxy's user and password" in str(results[0].error)


async def test_a_proxy_that_does_not_answer_is_named() -> None:
    once = RetryPolicy(max_attempts=1)
    async with RoomsClient("KEY", base_url="https://localhost:1/v2", proxy="http://127.0.0.1:1", retry=once) as client:
        with pytest.raises(APIConnectionError, match=r"can't connect to the proxy 127.0.0.1:1: Connection refused"):
            await client.rooms.retrieve(ROOM_ID)


async def _command(*words: str, **variables: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aiorooms", *words),
        env={**os.environ, "TELNYX_API_KEY": "KEY", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_the_command_line_has_an_option_for_the_proxy(proxy: RealProxy, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "ca.pem").write_bytes(authority.pem())
    async with raw_server(_serve, tls=authority.server("localhost")) as (url, received):
        port = URL(url).port
        given = proxy.url.replace("//", "//user:s3cret@")
        code, out, err = await _command(
            *("get", ROOM_ID, "--base-url", f"https://localhost:{port}/v2", "--proxy", given),
            SSL_CERT_FILE=str(tmp_path / "ca.pem"),
        )
    assert (code, err) == (0, "")
    assert ROOM_ID in out
    assert len(received) == 1
    assert proxy.has_served(f"CONNECT localhost:{port}")


@pytest.mark.parametrize(
    ("variables", "code", "error"),
    [
        ({"HTTPS_PROXY": "http://127.0.0.1:1"}, 1, "can't connect to the proxy 127.0.0.1:1: Connection refused"),
        ({"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": "invalid"}, 1, "can't connect to api.invalid:443"),
        ({"ALL_PROXY": "socks5://p"}, 2, "ALL_PROXY 'socks5://p' is not an http or https URL; give a URL such as"),
    ],
)
async def test_the_command_line_reads_the_environment(variables: dict[str, str], code: int, error: str) -> None:
    result, out, err = await _command("get", ROOM_ID, "--base-url", "https://api.invalid/v2", **variables)
    assert (result, out) == (code, "")
    assert error in err


async def test_a_wrong_option_for_the_proxy_is_told() -> None:
    result, _, err = await _command("get", ROOM_ID, "--proxy", "p.example.com")
    assert result == 2
    assert err.startswith("aiorooms: --proxy 'p.example.com' is not an http or https URL; give a URL such as")
