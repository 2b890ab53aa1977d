"""Tools that show the local variables in a traceback do not show the API key, no matter how a call fails."""

import asyncio
import dataclasses
import io
import json
import sys
import types
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from traceback import walk_tb
from typing import Any, NoReturn, cast

import aiohttp
import pytest
from rich.console import Console
from rich.traceback import Traceback
from sentry_sdk.serializer import serialize
from sentry_sdk.utils import event_from_exception

from aiorooms import AioroomsError, ClientSettingsError, ClientStateError, RetryPolicy, RoomsClient, RoomUpdate
from aiorooms._http import exchange
from aiorooms.simulator import FaultKind, Faults, RoomsSimulator

from ..conftest import QUICK, settle
from ..raw_server import Peer, raw_server
from ..samples import ROOM_ID

KEY = "KEY_very_secret"


# --- the tools ---


class PlainTraceback(Traceback):
    """A traceback of rich without syntax highlighting, which would take most of the time of these tests."""

    @classmethod
    def _guess_lexer(cls, filename: str, code: str) -> str:
        return "text"


def shown_by_rich(error: BaseException) -> str:
    console = Console(file=io.StringIO(), width=1000)
    traceback = PlainTraceback.from_exception(
        type(error), error, error.__traceback__, show_locals=True, locals_max_length=1000, locals_max_string=10_000
    )
    with console.capture() as captured:
        console.print(traceback)
    return captured.get()


def shown_by_sentry(error: BaseException) -> str:
    options = {"include_local_variables": True, "include_source_context": True, "max_value_length": 100_000}
    event, _ = event_from_exception(error, client_options=options)
    return json.dumps(serialize(dict(event)), default=repr)


def shown_by_cgitb(error: BaseException) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import cgitb

    texts: list[str] = []
    errors: list[BaseException | None] = [error]
    while errors:  # cgitb itself shows no chained exceptions
        if (current := errors.pop()) is not None:
            stand_in = Exception(repr(current), vars(current))  # cgitb fails on any OSError
            texts.append(
                cgitb.text((Exception, stand_in, cast("types.TracebackType", current.__traceback__)), context=1)
            )
            errors += [current.__cause__, current.__context__]
    return "".join(texts)


TOOLS = [shown_by_rich, shown_by_sentry]
if sys.version_info < (3, 13):  # Python 3.13 removed cgitb
    TOOLS.append(shown_by_cgitb)


def without_callers(error: BaseException) -> BaseException:
    """Remove the frames of the test from the traceback, because they contain the key. Return the error."""
    traceback = error.__traceback__
    while traceback is not None and not _is_ours(traceback):
        traceback = traceback.tb_next
    return error.with_traceback(traceback)


def _is_ours(traceback: types.TracebackType) -> bool:
    return str(traceback.tb_frame.f_globals["__name__"]).startswith("aiorooms.")


def check(error: BaseException) -> None:
    """Check that the output of the tools for an error does not contain the key."""
    for tool in TOOLS:
        shown = tool(without_callers(error))
        assert KEY not in shown, f"{tool.__name__}: {shown}"


# --- the ways to fail ---

Call = Callable[[RoomsClient, str], Awaitable[object]]


async def update(client: RoomsClient, room_id: str) -> None:
    await client.rooms.update(room_id, max_participants=3)


async def cancelled(client: RoomsClient, is_received: asyncio.Event) -> None:
    task = asyncio.ensure_future(update(client, ROOM_ID))
    await is_received.wait()
    await settle()
    task.cancel()
    await task


async def timed_out(client: RoomsClient, _: asyncio.Event) -> None:
    async with asyncio.timeout(0.05):
        await update(client, ROOM_ID)


async def closed(client: RoomsClient, is_received: asyncio.Event) -> None:
    task = asyncio.ensure_future(update(client, ROOM_ID))
    await is_received.wait()
    await settle()
    await client.close()
    await task


async def many_timed_out(client: RoomsClient, _: asyncio.Event) -> None:
    async with asyncio.timeout(0.05):
        async for result in client.rooms.update_many([(ROOM_ID, RoomUpdate(max_participants=3))]):
            raise result.error or AssertionError("the update succeeded")


async def listed(client: RoomsClient, _: str) -> None:
    async for room in client.rooms.list():
        pytest.fail(f"{room} was listed")


async def deleted(client: RoomsClient, room_id: str) -> None:
    await client.rooms.delete(room_id)


KINDS: list[FaultKind] = [
    "408", "429", "502", "bad_http", "bad_gzip", "cut_head", "error_200", "garbage", "html_200", "long_header",
    "redirect", "reset_after", "reset_before", "truncated",
]  # fmt: skip


@pytest.mark.parametrize("call", [update, listed])
@pytest.mark.parametrize("kind", KINDS)
async def test_the_key_is_not_shown_after_a_fault_of_the_server(kind: FaultKind, call: Call) -> None:
    async with RoomsSimulator(rooms=1, api_key=KEY, faults=Faults(rate=1, kinds=[kind])) as sim:
        async with RoomsClient(KEY, base_url=sim.url, retry=QUICK) as client:
            with pytest.raises(AioroomsError) as caught:
                await call(client, sim.room_ids[0])
    check(caught.value)


@pytest.mark.parametrize("call", [update, listed, deleted])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500])
async def test_the_key_is_not_shown_even_if_the_server_repeats_it(status: int, call: Call) -> None:
    async def serve(peer: Peer) -> None:
        while True:
            await peer.read()
            body = b'{"errors": [{"detail": "%s", "meta": {"key": "%s"}}]}' % (KEY.encode(), KEY.encode())
            head = f"HTTP/1.1 {status} No\r\nX-Request-Id: {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
            peer.write(head.encode() + body)

    async with raw_server(serve) as (url, _), RoomsClient(KEY, base_url=url, retry=QUICK) as client:
        with pytest.raises(AioroomsError) as caught:
            await call(client, ROOM_ID)
    check(caught.value)


@pytest.mark.parametrize("with_session", [False, True])
@pytest.mark.parametrize("call", [cancelled, timed_out, closed, many_timed_out])
@pytest.mark.parametrize("part", ["", f"HTTP/1.1 200 OK\r\nX-Echo: Bearer {KEY}\r\nContent-Length: 9\r\n\r\n["])
async def test_the_key_is_not_shown_if_a_call_ends_while_it_waits_for_the_answer(
    part: str, call: Callable[[RoomsClient, asyncio.Event], Awaitable[None]], *, with_session: bool
) -> None:
    is_received = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.read()
        peer.write(part.encode())
        is_received.set()
        await peer.read_to_the_end()

    async with raw_server(serve) as (url, _), aiohttp.ClientSession() as session:
        own = session if with_session else None
        async with RoomsClient(
            KEY, base_url=url, session=own, retry=RetryPolicy(max_attempts=1), timeout=0.3
        ) as client:
            with pytest.raises((asyncio.CancelledError, TimeoutError, AioroomsError)) as caught:
                await call(client, is_received)
    check(caught.value)


async def test_the_key_is_not_shown_if_an_attempt_exceeds_its_timeout() -> None:
    async with RoomsSimulator(rooms=1, api_key=KEY, latency=10) as sim:
        async with RoomsClient(KEY, base_url=sim.url, retry=RetryPolicy(max_attempts=1), timeout=0.05) as client:
            with pytest.raises(TimeoutError) as caught:
                await update(client, sim.room_ids[0])
    check(caught.value)


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    """An exception that rejects every assignment."""

    text: str


@pytest.mark.parametrize("mistake", [KeyError("in the hook"), FrozenError("in the hook")])
async def test_the_key_is_not_shown_if_a_hook_of_the_users_session_raises(mistake: Exception) -> None:
    async def hook(*_: object) -> NoReturn:
        raise mistake

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(hook)
    async with RoomsSimulator(rooms=1, api_key=KEY) as sim, aiohttp.ClientSession(trace_configs=[trace]) as session:
        async with RoomsClient(KEY, base_url=sim.url, session=session) as client:
            with pytest.raises(type(mistake)) as caught:
                await update(client, sim.room_ids[0])
    if isinstance(mistake, KeyError):
        assert f"{__file__}:" in caught.value.__notes__[0], "the place of the mistake has to be shown"
    check(caught.value)


async def test_the_key_is_not_shown_if_a_read_back_returns_it_as_a_value() -> None:
    async with RoomsSimulator(rooms=1, api_key=KEY) as sim:
        sim.change_room(sim.room_ids[0], unique_name=KEY)
        sim.script("503", method="PATCH")
        async with RoomsClient(KEY, base_url=sim.url, retry=RetryPolicy(max_attempts=1)) as client:
            with pytest.raises(AioroomsError, match="the update was not applied") as caught:
                await client.rooms.update(sim.room_ids[0], unique_name="another")
    check(caught.value)


async def test_the_traceback_of_an_exception_that_the_caller_is_handling_is_not_cut() -> None:
    async with aiohttp.ClientSession() as session, RoomsClient(KEY, session=session) as client:
        try:
            await session.get("http://127.0.0.1:1")
        except aiohttp.ClientError as handled:
            depth = len(list(walk_tb(handled.__traceback__)))
            await session.close()
            with pytest.raises(ClientStateError):
                await update(client, ROOM_ID)
            assert len(list(walk_tb(handled.__traceback__))) == depth
            assert depth > 1


@pytest.mark.parametrize("name", ["read_answer", "read_body", "to_failure"])
async def test_the_key_is_not_shown_after_a_mistake_in_aiorooms(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise LookupError("a mistake")

    monkeypatch.setattr(exchange, name, fail)
    faults = Faults(rate=1, kinds=["reset_before"]) if name == "to_failure" else None
    async with RoomsSimulator(rooms=1, api_key=KEY, faults=faults) as sim:
        async with RoomsClient(KEY, base_url=sim.url) as client:
            with pytest.raises(LookupError) as caught:
                await update(client, sim.room_ids[0])
    check(caught.value)


INVALID: dict[str, Callable[[], RoomsClient]] = {
    "a timeout": lambda: RoomsClient(KEY, timeout=-1),
    "a timeout, the key from the environment": lambda: RoomsClient(timeout=-1),
    "a line break in the key": lambda: RoomsClient(f"{KEY}\n"),
    "bytes as the key": lambda: RoomsClient(KEY.encode()),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    "a base URL": lambda: RoomsClient(KEY, base_url="ftp://x.io"),
    "a retry policy": lambda: RoomsClient(KEY, retry=3),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
}


@pytest.mark.parametrize("name", INVALID)
def test_the_key_is_not_shown_if_a_setting_is_invalid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELNYX_API_KEY", KEY)
    with pytest.raises(ClientSettingsError) as caught:
        INVALID[name]()
    check(caught.value)


def test_an_environment_key_with_a_line_break_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELNYX_API_KEY", f"{KEY}\n")
    with pytest.raises(ClientSettingsError, match="TELNYX_API_KEY contains") as caught:
        RoomsClient()
    check(caught.value)


async def test_passwords_in_netrc_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "netrc"
    file.write_text(f"machine api.telnyx.com login me password {KEY} machine x.io login me password {KEY}")
    monkeypatch.setenv("NETRC", str(file))
    async with aiohttp.ClientSession(trust_env=True) as session:
        with pytest.raises(ClientSettingsError) as caught:
            RoomsClient("KEY", session=session)
    check(caught.value)


@pytest.mark.parametrize(
    ("variable", "settings"),
    [
        (None, {"proxy": f"http://user:{KEY}@p.example.com", "timeout": -1}),
        (None, {"proxy": f"socks5://user:{KEY}@p.example.com"}),
        (None, {"proxy": f"http://user:{KEY}@p.example.com:99999"}),
        (f"socks4://user:{KEY}@p.example.com", {"trust_env": True}),
    ],
)
def test_the_password_of_a_proxy_is_not_shown(
    variable: str | None, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable is not None:
        monkeypatch.setenv("HTTPS_PROXY", variable)
    with pytest.raises(ClientSettingsError) as caught:
        RoomsClient("key", **settings)
    # Only the frames of aiorooms count. That of this test has the password.
    error = caught.value
    assert error.__traceback__ is not None
    check(error.with_traceback(error.__traceback__.tb_next))
