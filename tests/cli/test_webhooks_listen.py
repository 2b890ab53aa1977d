"""`aiorooms webhooks listen` and `replay`, over real sockets and with real signatures."""

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import Result
from yarl import URL

from aiorooms.cli import _listener, _sender
from aiorooms.cli._listener import Listener
from aiorooms.cli._recordings import Delivery, Recorder, read_line
from aiorooms.webhooks import WebhookVerifier

from ..webhooks.signing import KEY, OTHER_KEY, event_body, public, signed
from .conftest import Program, lines, run, signals_when

LISTEN = ("webhooks", "listen", "--port", "0")
REPLAY = ("webhooks", "replay")
PUBLIC = ("--public-key", public())
OF_CONNECTION = ("Host", "Content-Length", "Connection", "Accept-Encoding")
UNVERIFIED = "aiorooms: warning: nothing is verified; give --public-key, or set TELNYX_PUBLIC_KEY"


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TELNYX_PUBLIC_KEY", raising=False)


@pytest.fixture
def listeners(monkeypatch: pytest.MonkeyPatch) -> list[Listener]:
    """Return a list of the listeners that run. The list grows during the test."""
    found: list[Listener] = []
    running = Listener.running

    @contextlib.asynccontextmanager
    async def running_and_recorded(listener: Listener, host: str, port: int) -> AsyncGenerator[None]:
        async with running(listener, host, port):
            found.append(listener)
            yield

    monkeypatch.setattr(Listener, "running", running_and_recorded)
    return found


Listening = Callable[..., tuple[Result, list[int]]]


def post(url: str, body: bytes, headers: dict[str, str], path: str = "/hook") -> int:
    """Send a delivery to the listener, and return the status of the answer."""
    parsed = URL(url)
    connection = http.client.HTTPConnection(parsed.host or "", parsed.port, timeout=10)
    try:
        connection.request("POST", path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def deliver(url: str, delivery: Any) -> int:
    """Call `delivery` if it is a function, and otherwise send it, as a body with its headers."""
    if callable(delivery):
        return cast("Callable[[str], int]", delivery)(url)
    return post(url, *delivery)


@pytest.fixture
def listen(listeners: list[Listener]) -> Listening:
    """Return a function that runs a listener, sends it deliveries, and returns its result and the statuses."""

    def listen(*options: str, send: list[Any], number: int = signal.SIGINT) -> tuple[Result, list[int]]:
        statuses: list[int] = []
        failed: list[Exception] = []

        def ready() -> bool:
            if not listeners:
                return False
            url = listeners.pop().url
            try:
                statuses.extend(deliver(url, one) for one in send)
            except Exception as error:  # noqa: BLE001 - without a signal, the test would hang
                failed.append(error)
            return True

        with signals_when(ready, number):
            result = run(*LISTEN, *options)
        assert not failed, failed
        return result, statuses

    return listen


class _Handler(BaseHTTPRequestHandler):
    target: "Target"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.target.received.append((list(self.headers.items()), body))
        self.send_response(self.target.statuses.pop(0) if self.target.statuses else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002 - the name of the base class


class Target:
    """A server that keeps what it receives, and answers with the next of `statuses`, or with 200."""

    def __init__(self, *statuses: int) -> None:
        self.received: list[tuple[list[tuple[str, str]], bytes]] = []
        self.statuses = [*statuses]
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"target": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/app?a=%2F"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def target() -> Iterator[Callable[..., Target]]:
    targets: list[Target] = []

    def start(*statuses: int) -> Target:
        targets.append(Target(*statuses))
        return targets[-1]

    yield start
    for one in targets:
        one.close()


def genuine(event_type: str = "video.room.session.started", **more: Any) -> tuple[bytes, dict[str, str]]:
    body = event_body(event_type, **more)
    return body, signed(body)


# --- listen ---


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_events_are_verified_and_shown_and_repeated_ones_are_marked(listen: Listening, number: int) -> None:
    result, statuses = listen(*PUBLIC, send=[genuine(), genuine(), genuine(event_id="e-2")], number=number)
    assert (result.exit_code, statuses) == (0, [200, 200, 200])
    assert [line.partition(" ")[2] for line in lines(result.stdout)] == [
        "session.started room=r-1",
        "session.started (repeated) room=r-1",
        "session.started room=r-1",
    ]
    listening, totals = lines(result.stderr)
    assert listening.startswith("Listening at http://127.0.0.1:")
    assert listening.endswith("/ (press Ctrl-C to stop)")
    assert totals == "Received: deliveries 3, verified 3, not verified 0, rejected 0, repeated 1"


def test_rejected_deliveries_are_answered_400_and_the_reason_is_said(listen: Listening) -> None:
    body = event_body()
    send: list[Any] = [
        (body, {}),
        (body, signed(body, key=OTHER_KEY)),
        (body + b" ", signed(body)),
        (body, signed(body, at=time.time() - 400)),
        (b"[]", signed(b"[]")),
        (body, signed(body)),
    ]
    result, statuses = listen(*PUBLIC, send=send)
    assert statuses == [400, 400, 400, 400, 400, 200]
    (shown,) = lines(result.stdout)
    assert "repeated" not in shown, "a rejected delivery has the same id, but proves nothing"
    wrong = "aiorooms: rejected: the signature is wrong (another key, or the body was changed)"
    assert lines(result.stderr)[2:4] == [wrong, wrong]
    assert lines(result.stderr)[1].startswith("aiorooms: rejected: it has no signature ")
    assert lines(result.stderr)[4].startswith("aiorooms: rejected: it is too old by 1")
    assert lines(result.stderr)[5] == "aiorooms: rejected: the body is not a JSON object"
    assert lines(result.stderr)[6].endswith("verified 1, not verified 0, rejected 5, repeated 0")


def test_without_a_key_nothing_is_verified_and_that_is_said(listen: Listening) -> None:
    result, statuses = listen(send=[(event_body(), {}), (b"x", {})])
    assert (result.exit_code, statuses) == (0, [200, 400])
    assert lines(result.stderr)[0] == UNVERIFIED
    assert " session.started (not verified) room=r-1" in result.stdout
    assert "verified 0, not verified 1, rejected 1" in lines(result.stderr)[-1]


def test_json_has_one_object_for_each_delivery(listen: Listening) -> None:
    body, headers = genuine("video.room.session.ended", duration_secs=7)
    result, _ = listen("--json", *PUBLIC, send=[(body, headers, "/a?b=1"), (body, {}), (body, headers)])
    first, second, third = map(json.loads, lines(result.stdout))
    assert (first["verified"], first["reason"], first["repeated"], first["path"]) == (True, None, False, "/a?b=1")
    assert first["event"]["payload"]["duration_secs"] == 7
    assert (second["verified"], second["reason"], second["event"]) == (False, "missing_header", None)
    assert third["repeated"] is True
    assert "aiorooms: rejected: it has no signature " in result.stderr
    result, _ = listen("--json", send=[(body, {}), (b"x", {})])
    shown = [json.loads(line) for line in lines(result.stdout)]
    assert [(one["verified"], one["reason"]) for one in shown] == [(None, None), (None, "not_an_event")]


def test_keys_come_from_the_environment_or_from_several_options(
    listen: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = event_body()
    other = (body, signed(body, key=OTHER_KEY))
    monkeypatch.setenv("TELNYX_PUBLIC_KEY", public())
    assert listen(send=[genuine(), other])[1] == [200, 400]
    assert listen(*PUBLIC, "--public-key", public(OTHER_KEY), send=[genuine(), other])[1] == [200, 200]
    assert listen("--public-key", public(OTHER_KEY), send=[genuine(), other])[1] == [400, 200]


def test_wrong_options_are_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("rooms.csv").write_text("room_id\n")
    result = run("webhooks", "listen", "--port", "x", "--public-key", "abc", "--forward", "/hook")
    assert (result.exit_code, result.stdout) == (2, "")
    assert [line.split(": ")[1] for line in lines(result.stderr)[:3]] == ["--port", "--public-key", "--forward"]
    result = run(*LISTEN, "--record", "rooms.csv")
    assert lines(result.stderr) == ["aiorooms: --record: 'rooms.csv' is not a recording; give another file"]
    result = run(*LISTEN, "--record", "missing/events.jsonl")
    assert lines(result.stderr)[0].startswith("aiorooms: --record: 'missing/events.jsonl' can't be opened: No such")
    monkeypatch.setenv("TELNYX_PUBLIC_KEY", "abc")
    result = run(*LISTEN)
    assert lines(result.stderr)[0].startswith("aiorooms: TELNYX_PUBLIC_KEY: is not an Ed25519 public key; give ")


def test_a_port_in_use_is_a_one_line_error(target: Callable[..., Target]) -> None:
    port = URL(target().url).port
    result = run("webhooks", "listen", "--port", str(port))
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = lines(result.stderr)
    assert line.startswith(f"aiorooms: can't listen on 127.0.0.1 port {port}: Address already in use; choose another ")
    result = run(*LISTEN, "--host", "no.such.host.invalid")
    assert result.exit_code == 2
    assert "; give an address or the name of this machine with --host" in result.stderr


def test_beyond_loopback_there_is_a_warning(listen: Listening) -> None:
    result, statuses = listen("--host", "0.0.0.0", *PUBLIC, send=[genuine()])
    assert statuses == [200]
    assert lines(result.stderr)[0] == (
        "aiorooms: warning: with --host 0.0.0.0, every machine that can connect to this one can send deliveries"
    )


def raw(data: bytes) -> Callable[[str], int]:
    """Return a function that sends bytes, and returns the status of the answer."""

    def send(url: str) -> int:
        with socket.create_connection((URL(url).host or "", URL(url).port or 0), timeout=10) as connection:
            connection.sendall(data)
            return int(connection.makefile("rb").readline().split()[1])

    return send


def test_bodies_are_bounded_and_other_requests_are_no_deliveries(listen: Listening) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    send = [
        raw(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 262145\r\n\r\n"),
        raw(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + 5 * chunk),
        raw(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"),
        raw(b"GET /\x1b HTTP/1.1\r\nHost: a\r\n\r\n"),
        raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        raw(b"\x16\x03\x01 not HTTP\r\n\r\n"),
        genuine(),
    ]
    result, statuses = listen(*PUBLIC, send=send)
    assert statuses == [413, 413, 415, 400, 405, 400, 200]
    large = "aiorooms: rejected: the body is too large (more than 256 KiB)"
    assert lines(result.stderr)[1:4] == [
        large,
        large,
        "aiorooms: rejected: the body is compressed, which the API never does",
    ]
    assert "aiorooms: rejected: a webhook is a POST" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_body_that_breaks_off_does_not_end_the_listener(listen: Listening, listeners: list[Listener]) -> None:
    def broken_off(url: str) -> int:
        with socket.create_connection((URL(url).host or "", URL(url).port or 0), timeout=10) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
        return 0

    malformed = raw(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    result, statuses = listen(*PUBLIC, send=[broken_off, malformed, genuine()])
    assert (result.exit_code, statuses) == (0, [0, 400, 200])
    assert len(lines(result.stdout)) == 1
    assert "Traceback" not in result.stderr


def test_an_unexpected_error_ends_the_listener(listen: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Listener, "_count", fail)
    with pytest.raises(ZeroDivisionError):
        listen(*PUBLIC, send=[genuine()])


def test_too_many_and_too_slow_deliveries_are_rejected(listen: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_listener, "_BODY_TIMEOUT", 0.01)
    result, statuses = listen(*PUBLIC, send=[raw(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")])
    assert statuses == [408]
    assert "the body did not arrive within 10 s" in result.stderr
    monkeypatch.setattr(_listener, "_MAX_IN_PROGRESS", 0)
    result, statuses = listen(*PUBLIC, send=[genuine()])
    assert statuses == [503]
    assert "too many deliveries are in progress" in result.stderr


def test_ids_of_repeated_events_are_forgotten(listen: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_listener, "_MAX_IDS", 2)
    ids = ["a", "b", "a", "c", "a", "b"]
    result, _ = listen(*PUBLIC, send=[genuine(event_id=one) for one in ids])
    assert ["repeated" in line for line in lines(result.stdout)] == [False, False, True, False, True, False]


def test_an_event_without_an_id_is_recognized_by_its_body(listen: Listening) -> None:
    result, _ = listen(send=[(b'{"a": 1}', {}), (b'{"a": 2}', {}), (b'{"a": 1}', {})])
    assert ["repeated" in line for line in lines(result.stdout)] == [False, False, True]


def test_on_a_terminal_there_are_colours(
    on_terminal: Callable[..., tuple[int, str]], listeners: list[Listener]
) -> None:
    body = event_body("video.room.participant.left", context="\x1b[31mred")

    def ready() -> bool:
        return bool(listeners) and post(listeners[0].url, body, {}) == 200

    with signals_when(ready, signal.SIGINT):
        code, text = on_terminal(*LISTEN, columns=60)
    assert code == 0
    shown = next(line for line in lines(text) if "participant.left" in line)
    assert "\x1b[36m participant.left\x1b[0m\x1b[33m (not verified)\x1b[0m\x1b[2m room=\x1b[0mr-1" in shown
    assert r"\u001b[31mred" in shown
    assert "\x1b[31m" not in shown
    assert text.startswith(UNVERIFIED + "\nListening at ")
    assert lines(text)[-1].startswith("Received: deliveries 1, ")


def test_a_closed_output_ends_the_listener(program: Program) -> None:
    with program(*LISTEN, *PUBLIC) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        url = process.stderr.readline().split()[2]
        process.stdout.close()
        assert post(url, *genuine()) == 500
        assert process.wait(timeout=10) == 0


# --- forward ---


def test_a_forwarded_delivery_still_has_its_signature_and_its_headers(
    listen: Listening, target: Callable[..., Target]
) -> None:
    app = target(201, 503)
    body, headers = genuine()
    more = {**headers, "Content-Type": "application/json", "User-Agent": "x", "X-Odd": "a  b", "Connection": "X-Hop"}
    send = [(body, {**more, "X-Hop": "1"}), (body, headers)]
    result, statuses = listen(*PUBLIC, "--forward", app.url, send=send)
    assert (result.exit_code, statuses) == (0, [201, 503])
    (first, first_body), (second, second_body) = app.received
    assert first_body == second_body == body
    WebhookVerifier(public()).verify(first, body)
    names = {name: value for name, value in first if name not in OF_CONNECTION}
    assert names == {**headers, "Content-Type": "application/json", "User-Agent": "x", "X-Odd": "a  b"}
    assert dict(first)["Host"] == URL(app.url).authority
    assert {name for name, _ in second} == {*OF_CONNECTION, *headers}
    assert [line.rpartition(" ")[2] for line in lines(result.stdout)] == ["forward=201", "forward=503"]
    assert lines(result.stderr)[-1].endswith("repeated 1, forwarded 2 (1 not answered with 2xx)")


def test_a_rejected_delivery_is_forwarded_too_and_the_answer_is_shown(
    listen: Listening, target: Callable[..., Target]
) -> None:
    app = target()
    url = app.url.replace("http://", "http://ann:secret@")
    result, statuses = listen(*PUBLIC, "--forward", url, send=[(event_body(), {"Authorization": "Bearer x"})])
    assert statuses == [200]
    assert dict(app.received[0][0])["Authorization"] == f"Basic {base64.b64encode(b'ann:secret').decode()}"
    shown = app.url.replace("http://", "http://***@")
    assert lines(result.stderr)[0].endswith(f", forwarding to {shown} (press Ctrl-C to stop)")
    assert lines(result.stderr)[1].endswith(f"; {shown} answered 200")
    assert "secret" not in result.output


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_target_that_does_not_answer_is_shown_and_answered_502(listen: Listening) -> None:
    port = closed_port()
    result, statuses = listen(*PUBLIC, "--forward", f"http://127.0.0.1:{port}/", send=[genuine(), genuine()])
    assert (result.exit_code, statuses) == (0, [502, 502])
    assert [line.rpartition(" ")[2] for line in lines(result.stdout)] == ["forward=failed"] * 2
    assert lines(result.stderr)[1] == (
        f"aiorooms: not forwarded to http://127.0.0.1:{port}/: can't connect to 127.0.0.1:{port}: Connection refused"
    )


@pytest.mark.parametrize(
    ("scheme", "answer", "problem"),
    [
        ("http", b"", "the connection was closed without an answer"),
        ("http", b"\x1b[2J is not HTTP\r\n\r\n", "the answer is not HTTP: "),
        ("http", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "the status 101"),
        ("https", b"HTTP/1.1 400 Bad Request\r\n\r\n", "the encryption failed: "),
    ],
)
def test_a_target_that_does_not_speak_http(scheme: str, answer: bytes, problem: str) -> None:
    record(event_body())
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        result = run(*REPLAY, "events.jsonl", f"{scheme}://127.0.0.1:{server.getsockname()[1]}/", "--json")
        thread.join()
    assert result.exit_code == 1
    shown = json.loads(result.stdout)
    assert shown["status"] is None
    assert problem in shown["error"]
    assert shown["error"].isprintable()


@pytest.mark.parametrize("header", [("X-A", "\udcff"), ("X-A", "a\nb"), ("X A", "b")])
def test_a_header_that_can_not_be_sent_is_reported(header: tuple[str, str], target: Callable[..., Target]) -> None:
    recorder = Recorder.open(Path("events.jsonl"))
    recorder.add(Delivery(datetime.fromtimestamp(0, UTC), "/", [header], event_body()))
    recorder.close()
    app = target()
    result = run(*REPLAY, "events.jsonl", app.url, "--json")
    assert json.loads(result.stdout)["error"] == f"the header {header[0]!r} can't be sent"
    assert app.received == []


def test_a_slow_target_is_given_up(listen: Listening) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        result, statuses = listen(*PUBLIC, "--forward", url, "--timeout", "0.05", "--json", send=[genuine()])
    assert statuses == [502]
    (shown,) = map(json.loads, lines(result.stdout))
    assert (shown["forward_status"], shown["forward_error"]) == (None, "no answer within 0.05 s")


def test_a_delivery_in_progress_is_shown_when_the_listener_stops(
    listen: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_listener, "_DRAIN", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as stack:

        def begin(url: str) -> int:
            body, headers = genuine()
            connection = stack.enter_context(contextlib.closing(http.client.HTTPConnection(URL(url).authority)))
            connection.request("POST", "/", body, headers)
            stack.enter_context(server.accept()[0])
            return 0

        result, _ = listen(*PUBLIC, "--forward", f"http://127.0.0.1:{server.getsockname()[1]}/", send=[begin])
    assert result.exit_code == 0
    assert "session.started room=r-1 forward=failed" in result.stdout
    assert "the listener was stopped before the target had answered" in result.stderr
    assert lines(result.stderr)[-1].endswith("forwarded 1 (1 not answered with 2xx)")


def test_private_addresses_need_an_option(
    listen: Listening, target: Callable[..., Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    result, statuses = listen(*PUBLIC, "--forward", "http://10.0.0.5/", "--timeout", "1", send=[genuine()])
    assert statuses == [502]
    hint = "is not on the public internet; use a public host or this machine, or give --allow-private"
    assert f"the host 10.0.0.5 {hint}" in result.stderr

    async def resolve(host: str) -> tuple[str, ...]:
        return ("192.168.0.9",) if host == "app.example.com" else ("127.0.0.1",)

    monkeypatch.setattr(_sender, "resolve_host", resolve)
    result, statuses = listen(*PUBLIC, "--forward", "http://app.example.com/", send=[genuine()])
    assert statuses == [502]
    assert f"the host app.example.com (its address is 192.168.0.9) {hint}" in result.stderr
    app = target()
    url = app.url.replace("127.0.0.1", "hooks.example.com")
    assert listen(*PUBLIC, "--forward", url, send=[genuine()])[1] == [200]
    assert dict(app.received[0][0])["Host"] == URL(url).authority


# --- record and replay ---


def test_what_is_recorded_can_be_replayed(listen: Listening, target: Callable[..., Target]) -> None:
    body, headers = genuine()
    ended, more = genuine("video.room.session.ended", event_id="e-2")
    send: list[Any] = [(body, headers, "/a?b"), (b"\xff", {}), (ended, {**more, "X-A": "é".encode().decode("latin-1")})]
    result, _ = listen(*PUBLIC, "--record", "events.jsonl", send=send)
    assert lines(result.stderr)[-1].endswith("rejected 1, repeated 0, recorded 3")
    path = Path("events.jsonl")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = [read_line(line) for line in path.read_bytes().splitlines()]
    assert [one.body for one in read if isinstance(one, Delivery)] == [body, b"\xff", ended]
    assert isinstance(read[0], Delivery)
    assert read[0].path == "/a?b"
    app = target(200, 400)
    result = run(*REPLAY, "events.jsonl", app.url)
    assert result.exit_code == 1
    assert [body for _, body in app.received] == [body, b"\xff", ended]
    WebhookVerifier(public()).verify(app.received[0][0], body)
    assert dict(app.received[2][0])["X-A"].encode("latin-1").decode() == "é"
    shown = [line.partition(" in ")[0] for line in lines(result.stdout)]
    assert shown == [
        "line 1: session.started: answered 200",
        "line 2: unknown: answered 400",
        "line 3: session.ended: answered 200",
    ]
    assert lines(result.stderr)[0] == "Sent: deliveries 3, not answered with 2xx 1, damaged lines 0"
    assert "--resign KEYFILE" in lines(result.stderr)[1]
    result = run(*REPLAY, "events.jsonl", app.url, "--only", "session.ended", "--json")
    assert result.exit_code == 0
    shown_object = json.loads(result.stdout)
    assert shown_object.pop("seconds") > 0
    assert shown_object == {"line": 3, "event_type": "video.room.session.ended", "status": 200, "error": None}


def record(*bodies: bytes, at: float = 1_000_000) -> None:
    recorder = Recorder.open(Path("events.jsonl"))
    for number, body in enumerate(bodies):
        headers = [*signed(body, at=at).items(), ("Content-Type", "application/json")]
        recorder.add(Delivery(datetime.fromtimestamp(at + number, UTC), "/", headers, body))
    recorder.close()


def test_old_deliveries_are_signed_anew(listen: Listening, listeners: list[Listener]) -> None:
    record(event_body(), event_body(event_id="e-2"))
    Path("key").write_text(base64.b64encode(bytes(KEY)).decode())
    replayed: list[subprocess.CompletedProcess[str]] = []

    def replay(url: str, *options: str) -> int:
        words = [sys.executable, "-m", "aiorooms", *REPLAY, "events.jsonl", url, *options]
        replayed.append(subprocess.run(words, capture_output=True, text=True, check=False, timeout=30))
        return replayed[-1].returncode

    def replay_signed(url: str) -> int:
        return replay(url, "--resign", "key")

    result, codes = listen(*PUBLIC, send=[replay, replay_signed])
    assert codes == [1, 0], replayed
    assert len(lines(result.stdout)) == 2
    assert result.stderr.count("rejected: it is too old by ") == 2
    assert bytes(KEY).hex() not in replayed[1].stdout + replayed[1].stderr


def test_damaged_lines_are_reported_and_the_others_are_sent(target: Callable[..., Target]) -> None:
    record(event_body(), event_body())
    good = Path("events.jsonl").read_bytes().splitlines()
    Path("events.jsonl").write_bytes(b"\n".join([good[0], b"{\x1b[2J", good[1], good[0][:30]]))
    app = target()
    result = run(*REPLAY, "events.jsonl", app.url)
    assert result.exit_code == 1
    assert len(app.received) == 2
    assert lines(result.stderr) == [
        "aiorooms: line 2 of 'events.jsonl' is not JSON; it was not sent",
        "aiorooms: line 4 of 'events.jsonl' is not JSON; it was not sent",
        "Sent: deliveries 2, not answered with 2xx 0, damaged lines 2",
    ]


def test_if_nothing_is_sent_the_exit_code_is_1(target: Callable[..., Target]) -> None:
    record(event_body())
    app = target()
    result = run(*REPLAY, "events.jsonl", app.url, "--only", "session.endd")
    assert (result.exit_code, result.stdout, app.received) == (1, "", [])
    assert lines(result.stderr) == ["Nothing was sent: the recording has no such delivery."]


def test_a_replay_to_a_target_that_does_not_answer(target: Callable[..., Target]) -> None:
    record(event_body(), event_body("a.b"))
    url = f"http://127.0.0.1:{closed_port()}/"
    result = run(*REPLAY, "events.jsonl", url, "--json")
    assert result.exit_code == 1
    assert [json.loads(line)["status"] for line in lines(result.stdout)] == [None, None]
    assert lines(result.stderr)[0].startswith(f"aiorooms: line 1 was not delivered to {url}: can't connect to ")
    assert run(*REPLAY, "events.jsonl", target(302).url).exit_code == 1


def test_wrong_arguments_of_replay() -> None:
    Path("key").write_text("no-key")
    result = run(*REPLAY, "missing", "/x", "--resign", "key", "--speed", "-1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert [line.split(": ")[1] for line in lines(result.stderr)[:3]] == ["URL", "--resign", "--speed"]
    result = run(*REPLAY, "missing", "http://127.0.0.1/")
    assert lines(result.stderr) == ["aiorooms: FILE: 'missing' can't be read: No such file or directory"]


def test_a_replay_waits_as_long_as_was_recorded(target: Callable[..., Target], monkeypatch: pytest.MonkeyPatch) -> None:
    record(event_body(), event_body())
    app = target()
    with signals_when(lambda: bool(app.received), signal.SIGINT):
        result = run(*REPLAY, "events.jsonl", app.url, "--speed", "0.001")
    assert result.exit_code == 130
    assert len(app.received) == 1
    assert run(*REPLAY, "events.jsonl", app.url, "--speed", "1000").exit_code == 0


def test_a_full_disk_is_shown_and_counted(listen: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    def add(recorder: Recorder, delivery: Delivery) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Recorder, "add", add)
    result, statuses = listen(*PUBLIC, "--record", "events.jsonl", send=[genuine()])
    assert (result.exit_code, statuses) == (1, [200])
    assert "aiorooms: a delivery was not recorded: No space left on device" in result.stderr
    assert lines(result.stderr)[-1].endswith("recorded 0, not recorded 1")


# --- without the extra ---


def test_without_cryptography_the_command_says_what_to_install() -> None:
    record(event_body())
    code = "import sys; sys.modules['cryptography'] = None; from aiorooms.cli import main; main()"

    def without(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, env=dict(os.environ))

    ended = without(*LISTEN)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert lines(ended.stderr) == [
        "aiorooms: webhooks listen: needs the package cryptography; run `pip install 'aiorooms[webhooks]'`"
    ]
    assert without("webhooks", "listen", "--help").returncode == 0
    ended = without(*REPLAY, "events.jsonl", f"http://127.0.0.1:{closed_port()}/")
    assert (ended.returncode, lines(ended.stdout)) == (1, ["line 1: session.started: not answered"])


def test_the_help_loads_neither_cryptography_nor_the_receiver() -> None:
    code = (
        "import sys; from aiorooms.cli._main import cli; cli.main(['--help'], standalone_mode=False);"
        "print({'cryptography', 'aiorooms.webhooks', 'aiohttp.web_app', 'aiorooms.cli._sender'} & {*sys.modules})"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    baseline = subprocess.run(
        [sys.executable, "-c", "import sys, aiohttp; print({'aiohttp.web_app'} & {*sys.modules})"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert lines(ended.stdout)[-1] == lines(baseline.stdout)[-1]
