"""A probe says whether an event would arrive, and why not. It connects only to the addresses that it checked."""

import asyncio
import base64
import contextlib
import json
import math
import os
import socket
import ssl
import stat
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from aiorooms import WebhookConfig
from aiorooms.errors import ClientSettingsError
from aiorooms.webhook_config import EventSigner, ProbeReport, ProbeResult, probe, probe_many
from aiorooms.webhook_config._verdicts import judge_answer, judge_failure

from ..conftest import tasks_left
from ..raw_server import Peer
from .receivers import HOST, Authority, Serve, answering, closing, receiver, resetting, silent, to

LOCAL = to("127.0.0.1")
NEW = "https://new.example.com/x"


async def probed(url: str, **options: Any) -> ProbeResult:
    options = {"allow_private": True, "resolve": LOCAL, "timeout": 30, **options}
    result = (await probe(WebhookConfig(url), **options)).url
    assert result is not None
    assert result.message.isprintable()
    return result


async def test_the_event_is_a_post_as_the_api_sends_it_but_of_a_type_of_its_own() -> None:
    async with receiver(answering(200)) as (url, received):
        result = await probed(url + "?a=%2f&b")
    assert (result.verdict, result.status, result.cause, result.addresses) == ("ok", 200, None, ("127.0.0.1",))
    assert result.tls is None
    assert result.connect_seconds is not None
    assert result.dns_seconds is not None
    assert result.message == f"'{url}?a=%2f&b': answered 200"
    head, _, body = received[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert first == "POST /rooms?a=%2f&b HTTP/1.1"
    assert headers["host"].startswith(f"{HOST}:")
    assert headers["content-type"] == "application/json"
    assert headers["telnyx-timestamp"].isdecimal()
    assert "telnyx-signature-ed25519" not in headers
    event = json.loads(body)
    assert event["data"]["event_type"] == "aiorooms.probe"
    assert event["meta"]["delivered_to"] == url + "?a=%2f&b"


@pytest.mark.parametrize(
    ("serve", "verdict", "cause", "message"),
    [
        (answering(204), "ok", None, "answered 204"),
        (answering(400), "reachable", None, "answered 400, as receivers that verify signatures do, because"),
        (answering(401), "reachable", None, "answered 401, as"),
        (answering(403), "reachable", None, "answered 403, as"),
        (answering(404), "failed", "status", "answered 404; check the path"),
        (answering(405), "failed", "status", "answered 405; make the receiver accept POST at this path"),
        (answering(422), "failed", "status", "answered 422; a receiver must answer 2xx"),
        (answering(500), "failed", "status", "answered 500; check the receiver's log"),
        (answering(503), "failed", "status", "answered 503; check the receiver's log"),
        (answering(301, f"Location: {NEW}"), "failed", "redirect", f"answered 301, a redirect to '{NEW}'; set"),
        (answering(302), "failed", "redirect", "answered 302, a redirect; set the final URL"),
        (closing, "failed", "closed", "the receiver closed the connection without an answer; check its log"),
        (resetting, "failed", "closed", "the receiver closed the connection without an answer; check its log"),
    ],
    ids=[*["204", "400", "401", "403", "404", "405", "422", "500", "503", "301", "302"], "closing", "resetting"],
)  # fmt: skip
async def test_the_answer_decides(serve: Serve, verdict: str, cause: str | None, message: str) -> None:
    async with receiver(serve) as (url, received):
        result = await probed(url)
    assert (result.verdict, result.cause) == (verdict, cause)
    assert result.message.startswith(f"'{url}': {message}")
    assert len(received) == 1


async def test_a_receiver_that_does_not_answer_in_time_fails() -> None:
    async with receiver(silent) as (url, _):
        result = await probed(url, timeout=0.5)
    assert (result.verdict, result.cause) == ("failed", "timeout")
    assert "no answer within 0.5 s after the event was sent" in result.message
    assert tasks_left() == set()


async def test_cancelling_a_probe_closes_its_connection() -> None:
    connected, ended = asyncio.Event(), asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.read()
        connected.set()
        await peer.read_to_the_end()
        ended.set()

    async with receiver(serve) as (url, _):
        task = asyncio.create_task(probed(url))
        await connected.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ended.wait()
    assert tasks_left() == set()


async def test_the_timeout_of_the_room_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[float] = []

    async def resolve(host: str) -> Sequence[str]:
        return []

    from aiorooms.webhook_config import _probe

    make = _probe._probe_url

    async def record(url: str, timeout: float, options: Any) -> ProbeResult:
        used.append(timeout)
        return await make(url, timeout, options)

    monkeypatch.setattr(_probe, "_probe_url", record)
    for seconds, given in ((7, None), (0, None), (None, None), (7, 2.5)):
        await probe(WebhookConfig("https://x.io", timeout_secs=seconds), timeout=given, resolve=resolve)
    assert used == [7, 10, 10, 2.5]


async def test_nobody_listens() -> None:
    async with receiver(silent) as (url, _):
        pass
    result = await probed(url)
    assert (result.verdict, result.cause) == ("failed", "connect")
    assert result.message == f"'{url}': can't connect to {HOST}: Connection refused; check port and firewall"


async def test_a_url_that_is_not_valid_is_not_sent() -> None:
    result = await probed("https://x..io/")
    assert (result.verdict, result.cause) == ("failed", "invalid_url")
    assert "has an empty label in its host" in result.message


async def test_a_password_is_not_shown() -> None:
    async with receiver(answering(404)) as (url, received):
        result = await probed(url.replace("//", "//user:secret@"))
    assert "secret" not in result.message
    assert b"secret" not in received[0].partition(b"\r\n\r\n")[2]


# --- addresses ---


@pytest.mark.parametrize("error", [OSError(-2, "Name or service not known"), OSError(), TimeoutError()])
async def test_a_host_without_addresses_fails(error: OSError) -> None:
    async def resolve(host: str) -> Sequence[str]:
        raise error

    result = await probed("https://gone.example.com/", resolve=resolve)
    assert (result.verdict, result.cause, result.addresses) == ("failed", "dns", ())
    assert "DNS gives no address for gone.example.com (" in result.message
    assert (await probed("https://gone.example.com/", resolve=to())).cause == "dns"


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["203.0.114.9", "10.0.0.1"], ["::1"], ["64:ff9b::7f00:1"]])
async def test_private_addresses_are_not_connected_to_unless_allowed(addresses: list[str]) -> None:
    async with receiver(answering(200)) as (url, received):
        result = await probed(url, resolve=to(*addresses), allow_private=False)
    assert (result.verdict, result.cause) == ("failed", "private_address")
    assert f"the host {HOST} (its address is " in result.message
    assert result.message.endswith("is not on the public internet; use a public host, or allow private addresses")
    assert received == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
async def test_an_address_in_the_url_is_checked_too(host: str) -> None:
    async with receiver(answering(200)) as (url, received):
        result = await probed(url.replace(HOST, host), allow_private=False)
        assert (result.verdict, result.cause) == ("failed", "private_address")
        assert received == []
        assert (await probed(url.replace(HOST, host))).verdict == "ok"


async def test_the_address_that_was_checked_is_the_one_connected_to() -> None:
    asked: list[str] = []
    changing = iter([("127.0.0.1",), ("127.0.0.2",), ("127.0.0.2",)])

    async def resolve(host: str) -> Sequence[str]:
        asked.append(host)
        return next(changing)

    async with receiver(answering(200)) as (url, received), receiver(answering(500), address="127.0.0.2") as (_, other):
        result = await probed(url, resolve=resolve)
    assert (result.verdict, result.addresses, asked) == ("ok", ("127.0.0.1",), [HOST])
    assert (len(received), len(other)) == (1, 0)


async def test_ipv6_and_a_second_address_work() -> None:
    async with receiver(answering(200), address="::1") as (url, received):
        assert (await probed(url, resolve=to("::1"))).verdict == "ok"
        assert (await probed(url.replace(HOST, "[::1]"))).verdict == "ok"
        assert (await probed(url, resolve=to("127.0.0.1", "::1"))).verdict == "ok"
    assert len(received) == 3


# --- TLS ---


async def test_a_valid_certificate_is_described(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with receiver(answering(200), tls=authority.server(days=60)) as (url, _):
        result = await probed(url, ssl_context=authority.trusting)
    assert result.verdict == "ok"
    assert result.tls is not None
    assert (result.tls.version, result.tls.subject, result.tls.chain) == ("TLSv1.3", HOST, (HOST, "Test CA"))
    assert result.tls.days_left() == 60


async def test_the_chain_has_all_authorities_if_python_reports_them(tmp_path: Path) -> None:
    root = Authority(tmp_path, "Test root")
    issuing = Authority(tmp_path, "Test issuer", above=root)
    async with receiver(answering(200), tls=issuing.server()) as (url, _):
        result = await probed(url, ssl_context=root.trusting)
    assert result.tls is not None
    assert result.tls.chain == (HOST, "Test issuer", "Test root")[: 3 if sys.version_info >= (3, 13) else 2]


@pytest.mark.parametrize(
    ("host", "days", "trusted", "message"),
    [
        (HOST, -1, True, "certificate has expired"),
        ("other.example.com", 60, True, "Hostname mismatch"),
        (HOST, 60, False, "unable to get local issuer certificate"),
    ],
    ids=["expired", "other host", "unknown authority"],
)
async def test_a_bad_certificate_fails(tmp_path: Path, host: str, days: int, trusted: bool, message: str) -> None:
    authority = Authority(tmp_path)
    async with receiver(answering(200), tls=authority.server(host, days=days)) as (url, received):
        result = await probed(url, ssl_context=authority.trusting if trusted else ssl.create_default_context())
    assert (result.verdict, result.cause, result.tls) == ("failed", "tls", None)
    assert f"the certificate of {HOST} is not valid: {message}" in result.message
    assert received == []


async def test_a_receiver_without_tls_behind_an_https_url_fails() -> None:
    async def serve(peer: Peer) -> None:
        peer.answer(b"{}")
        await peer.read_to_the_end()

    async with receiver(serve) as (url, _):
        result = await probed(url.replace("http:", "https:"))
    assert (result.verdict, result.cause) == ("failed", "tls")
    assert f"TLS with {HOST} failed: " in result.message


# --- signatures ---

SEED = bytes(range(32))
KEY = base64.b64encode(SEED).decode()


def pem(key: PrivateKeyTypes, encryption: KeySerializationEncryption | None = None) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode()


PEM = pem(Ed25519PrivateKey.from_private_bytes(SEED))
PEM_WITH_PASSWORD = pem(Ed25519PrivateKey.from_private_bytes(SEED), BestAvailableEncryption(b"password"))
INVALID_KEYS = {
    "empty": "",
    "one letter": "x",
    "too short": KEY[:-4],
    "wrong base64": f"{KEY}=",
    "not ASCII": "ü" * 43,
    "other type": pem(generate_private_key(SECP256R1())),
    "password": PEM_WITH_PASSWORD,
    "cut off": PEM[:-30],
    "changed": PEM.replace("M", "%", 1),
}


@pytest.mark.parametrize("key", [KEY, f"{KEY}\n", PEM], ids=["base64", "base64 line", "PEM"])
async def test_a_signed_event_can_be_verified_with_the_public_key(key: str) -> None:
    async with receiver(answering(403)) as (url, received):
        result = await probed(url, signer=EventSigner(key))
    assert result.verdict == "reachable"
    assert result.message.endswith(": answered 403; check that the receiver has the public key of this signing key")
    head, _, body = received[0].partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    signed = headers["telnyx-timestamp"].encode() + b"|" + body
    public = Ed25519PrivateKey.from_private_bytes(SEED).public_key()
    public.verify(base64.b64decode(headers["telnyx-signature-ed25519"]), signed)


@pytest.mark.parametrize("key", INVALID_KEYS.values(), ids=INVALID_KEYS)
def test_an_invalid_key_is_not_shown(key: str) -> None:
    with pytest.raises(ClientSettingsError, match="give an Ed25519 private key") as caught:
        EventSigner(key)
    assert key not in str(caught.value) or len(key) < 2
    frame: TracebackType | None = caught.tb
    while frame is not None:
        if (
            "aiorooms/webhook_config" in frame.tb_frame.f_code.co_filename
            and frame.tb_frame.f_code.co_name != "__init__"
        ):
            assert "key" not in frame.tb_frame.f_locals
        frame = frame.tb_next
    assert KEY not in repr(EventSigner(KEY))


# --- odd receivers and settings ---


@pytest.mark.parametrize("user", ["user:p%E2%82%ACss", "us%3Aer:pw", "token", ":pw"])
async def test_credentials_are_sent_and_never_shown(user: str) -> None:
    async with receiver(answering(404)) as (url, received):
        result = await probed(url.replace("//", f"//{user}@"))
    sent = next(line for line in received[0].split(b"\r\n") if line.lower().startswith(b"authorization: "))
    name, _, password = user.partition(":")
    expected = unquote_to_bytes(name) + b":" + unquote_to_bytes(password)
    assert base64.b64decode(sent.partition(b"Basic ")[2]) == expected
    assert user not in result.message
    assert user not in repr(result)
    assert user not in repr(WebhookConfig(f"https://{user}@x.io"))


async def garbage(peer: Peer) -> None:
    await peer.read()
    peer.write(b"garbage\r\n\r\n")
    await peer.read_to_the_end()


async def compressed(peer: Peer) -> None:
    await peer.read()
    peer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc")
    await peer.read_to_the_end()


async def test_an_answer_that_is_not_http_is_reported_in_one_line() -> None:
    async with receiver(garbage) as (url, _):
        result = await probed(url)
    assert result.cause == "closed"
    assert result.message.endswith(
        ": the receiver did not answer in HTTP (Bad status line); check that it is a web server"
    )


async def test_the_body_of_an_answer_does_not_matter() -> None:
    async with receiver(compressed) as (url, _):
        assert (await probed(url)).verdict == "ok"


async def test_a_server_that_closes_during_tls_is_a_failure_of_tls() -> None:
    async def serve(peer: Peer) -> None:
        peer.reset()

    async with receiver(serve) as (url, _):
        result = await probed(url.replace("http:", "https:"))
    assert (result.verdict, result.cause) == ("failed", "tls")
    assert "closed the connection during TLS; check that this port accepts TLS" in result.message


async def test_an_infinite_timeout_is_invalid() -> None:
    with pytest.raises(ClientSettingsError, match=r"probe\(timeout=\) is infinite"):
        await probe(WebhookConfig("https://x.io"), timeout=math.inf)


async def test_a_unicode_name_is_sent_in_ascii() -> None:
    async with receiver(answering(200)) as (url, received):
        assert (await probed(url.replace(HOST, "bücher.example.com"))).verdict == "ok"
    assert b"\r\nHost: xn--bcher-kva.example.com:" in received[0]


async def test_a_resolver_must_return_addresses() -> None:
    result = await probed("https://hooks.example.com/", resolve=to("other.example.com"))
    assert result.cause == "dns"
    assert "the resolver returned something other than IP addresses" in result.message


def test_a_tls_connection_is_closed_at_once_even_if_the_server_does_not_close_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    done = threading.Event()

    def serve(listening: socket.socket) -> None:
        accepted, _ = listening.accept()
        with authority.server().wrap_socket(accepted, server_side=True) as peer:
            while b"}}" not in peer.recv(65536):
                pass
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            done.wait(20)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=[listening])
        thread.start()
        try:
            port = listening.getsockname()[1]
            result, ports = asyncio.run(probed_and_connected(port, authority))
        finally:
            done.set()
            thread.join()
    assert result.verdict == "ok"
    assert port not in ports, "a connection to the receiver is still open"


async def probed_and_connected(port: int, authority: Authority) -> tuple[ProbeResult, list[int]]:
    """Probe a receiver. Return the result, and the ports to which this process has connections two iterations later."""
    result = await probed(f"https://{HOST}:{port}/", ssl_context=authority.trusting)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return result, connected_ports()


def connected_ports() -> list[int]:
    """Return the remote ports of all TCP connections of this process."""
    ports: list[int] = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # it was closed meanwhile, or is not connected
            if stat.S_ISSOCK(path.stat().st_mode):
                with socket.socket(fileno=os.dup(int(path.name))) as connection:
                    if connection.family == socket.AF_INET:
                        ports.append(connection.getpeername()[1])
    return ports


# --- several URLs ---


async def test_both_urls_of_a_room_are_probed() -> None:
    async with receiver(answering(200)) as (good, _), receiver(answering(500)) as (bad, _):
        report = await probe(WebhookConfig(good, bad), allow_private=True, resolve=LOCAL)
    assert report.url is not None
    assert report.failover_url is not None
    assert (report.url.verdict, report.failover_url.verdict, report.has_failed) == ("ok", "failed", True)
    assert report.results == (report.url, report.failover_url)
    assert ProbeReport(url=None, failover_url=report.url).results == (report.url,)
    empty = await probe(WebhookConfig())
    assert (empty.url, empty.failover_url, empty.results, empty.has_failed) == (None, None, (), False)
    with pytest.raises(ClientSettingsError, match=r"probe\(timeout=\) is 0"):
        await probe(WebhookConfig(good), timeout=0)


async def test_many_urls_are_probed_once_for_each_host_and_path() -> None:
    async with receiver(answering(200)) as (url, received):
        urls = [f"{url}/{number % 7}?room={number}" for number in range(100)]
        async with aclosing(probe_many(urls, allow_private=True, resolve=LOCAL)) as results:
            verdicts = [result.verdict async for result in results]
    assert verdicts == ["ok"] * 7
    assert len(received) == 7
    assert tasks_left() == set()


async def test_spellings_of_the_same_receiver_are_probed_once() -> None:
    spellings = ["https://x.io/a", "HTTPS://X.io:443/a?b", "https://user@x.io./a", "https://x.io/a?"]
    asked: list[str] = []
    async with aclosing(probe_many(spellings, resolve=to(asked=asked))) as results:
        assert len([result async for result in results]) == 1
    assert asked == ["x.io"]


@pytest.mark.parametrize(
    ("urls", "options", "message"),
    [
        ("https://x.io", {}, r"probe_many\(urls=\) is 'https://x.io'"),
        ([], {"concurrency": 0}, r"probe_many\(concurrency=\) is 0"),
        ([], {"timeout": math.inf}, r"probe_many\(timeout=\) is infinite"),
    ],
)
async def test_wrong_arguments_raise_when_the_iteration_starts(
    urls: Any, options: dict[str, Any], message: str
) -> None:
    results = probe_many(urls, **options)
    with pytest.raises(ClientSettingsError, match=message):
        await anext(results)


async def test_a_result_does_not_wait_for_the_next_url_and_the_source_is_closed() -> None:
    closed = asyncio.Event()

    async def urls() -> AsyncIterator[str]:
        try:
            yield "https://x..io/"
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with aclosing(probe_many(urls())) as results:
        assert (await anext(results)).cause == "invalid_url"
    assert closed.is_set()
    assert tasks_left() == set()


async def test_an_error_of_the_resolver_ends_all_probes() -> None:
    async def resolve(host: str) -> Sequence[str]:
        await asyncio.sleep(0)
        raise RuntimeError(f"a bug with {host}")

    async with aclosing(probe_many([f"https://h{number}.io" for number in range(9)], resolve=resolve)) as results:
        with pytest.raises(RuntimeError, match="a bug with"):
            await anext(results)
    assert tasks_left() == set()


async def test_concurrency_limits_the_probes_in_flight_and_stopping_early_ends_them() -> None:
    in_flight = most = read = 0
    enough = asyncio.Event()

    async def serve(peer: Peer) -> None:
        nonlocal in_flight, most
        await peer.read()
        in_flight += 1
        most = max(most, in_flight)
        if in_flight == 5:
            enough.set()
        await enough.wait()
        peer.answer(b"{}")
        in_flight -= 1

    async def urls() -> AsyncIterator[str]:
        nonlocal read
        for number in range(1000):
            read += 1
            yield f"{url}/{number}"

    async with receiver(serve) as (url, _):
        async with aclosing(probe_many(urls(), concurrency=5, allow_private=True, resolve=LOCAL)) as results:
            async for result in results:
                assert result.verdict == "ok"
                break
        assert most == 5
        assert read <= 6
    assert tasks_left() == set()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)"), "connect: Connection refused"),
        (OSError(113, "Connect call failed ('10.0.0.9', 1)"), "connect: No route to host"),
        (OSError("Multiple exceptions: one, two"), "connect: Multiple exceptions: one, two"),
        (OSError(), "connect: OSError"),
        (ssl.SSLError(1, "wrong version number"), "tls: wrong version number"),
    ],
)
def test_the_operating_system_says_why_there_is_no_connection(error: OSError, message: str) -> None:
    cause, text = judge_failure(error, "x.io", 10, connected=False)
    assert f"{cause}: {text.partition(': ')[2].partition(';')[0]}" == message


def test_every_status_has_a_verdict() -> None:
    for status in range(100, 600):
        verdict, cause, message = judge_answer(status, "", is_signed=False)
        assert (verdict == "failed") is (cause is not None)
        assert f"answered {status}" in message


async def test_by_default_the_operating_system_is_asked() -> None:
    async with receiver(answering(200)) as (url, _):
        config = WebhookConfig(url.replace(HOST, "localhost"))
        report = await probe(config, allow_private=True)
        assert report.url is not None
        assert report.url.verdict == "ok"
        assert "127.0.0.1" in report.url.addresses
