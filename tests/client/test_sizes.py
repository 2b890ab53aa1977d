"""Bodies of answers: compressed, without a Content-Length, and too large."""

import gzip
import json
import zlib
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from aiorooms import APIResponseError, InternalServerError, RateLimitError, RetryPolicy, RoomsClient
from aiorooms.errors import AioroomsError

from ..raw_server import Peer, raw_server
from ..samples import ROOM_ID

ONCE = RetryPolicy(max_attempts=1)
ROOM = json.dumps({"data": {"id": ROOM_ID, "max_participants": 3}}).encode()
ZEROS = b"0" * 1_000_000
"""One megabyte, which gzip compresses to about one kilobyte."""


def serving(
    body: bytes, *headers: str, status: str = "200 OK", sized: bool = True
) -> Callable[[Peer], Awaitable[None]]:
    """Return a handler that sends one answer. Without `sized`, it has no Content-Length."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers]
    lines.append(f"Content-Length: {len(body)}" if sized else "Connection: close")

    async def serve(peer: Peer) -> None:
        await peer.read()
        peer.write("\r\n".join([*lines, "", ""]).encode() + body)
        if sized:
            await peer.read_to_the_end()

    return serve


def packed(body: bytes) -> bytes:
    """Compress with gzip. The timestamp is left out, because the bytes are part of test ids, which must not change."""
    return gzip.compress(body, mtime=0)


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", packed(ROOM)),
        ("x-gzip", packed(ROOM)),
        ("GZIP", packed(ROOM)),
        ("deflate", zlib.compress(ROOM)),
        ("deflate", raw_deflate(ROOM)),
        ("identity", ROOM),
        ("", ROOM),
    ],
)
async def test_a_body_in_a_supported_encoding_is_read(encoding: str, body: bytes, sized: bool) -> None:
    server = serving(body, *([f"Content-Encoding: {encoding}"] if encoding else []), sized=sized)
    async with raw_server(server) as (url, _), RoomsClient("KEY", base_url=url, retry=ONCE) as client:
        assert (await client.rooms.retrieve(ROOM_ID)).max_participants == 3


@pytest.mark.parametrize(
    ("encoding", "body", "words"),
    [
        ("br", b"\x0b\x02\x80", "its Content-Encoding is 'br'; supported are gzip, deflate"),
        ("gzip, gzip", packed(packed(ROOM)), "its Content-Encoding is 'gzip, gzip'"),
        ("gzip", ROOM, "it is not gzip: "),
        ("deflate", b"\xff" * 50, "it is not deflate: "),
        ("gzip", packed(ROOM)[:-4], "its gzip data is cut off"),
    ],
)
async def test_the_error_says_why_a_body_cannot_be_decompressed(encoding: str, body: bytes, words: str) -> None:
    async with raw_server(serving(body, f"Content-Encoding: {encoding}")) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=ONCE) as client:
            with pytest.raises(APIResponseError, match="the body of the answer can't be read") as caught:
                await client.rooms.retrieve(ROOM_ID)
    assert words in str(caught.value)


TOO_LARGE = [
    serving(b" " * 9_000_000 + ROOM),
    serving(b" " * 9_000_000 + ROOM, sized=False),
    serving(packed(ZEROS * 20), "Content-Encoding: gzip"),
    serving(zlib.compress(ZEROS * 20), "Content-Encoding: deflate", sized=False),
]


@pytest.mark.parametrize("server", TOO_LARGE)
@pytest.mark.parametrize("own_session", [True, False])
async def test_an_answer_larger_than_8_mb_is_an_error_and_not_retried(
    server: Callable[[Peer], Awaitable[None]], own_session: bool
) -> None:
    async with raw_server(server) as (url, received), aiohttp.ClientSession() as session:
        async with RoomsClient(
            "KEY", base_url=url, retry=RetryPolicy(max_attempts=4), session=None if own_session else session
        ) as client:
            with pytest.raises(APIResponseError, match="the answer is larger than 8,388,608 bytes") as caught:
                await client.rooms.retrieve(ROOM_ID)
            assert caught.value.attempts == 1
    assert len(received) == 1


async def test_a_list_page_larger_than_64_mb_or_max_response_size_is_an_error() -> None:
    async with raw_server(serving(packed(ZEROS * 70), "Content-Encoding: gzip")) as (url, _):
        for limit, message in (
            (10**9, "larger than 67,108,864 bytes; lower page_size"),
            (1000, "larger than 1,000 bytes; lower page_size; raise max_response_size"),
        ):
            async with RoomsClient("KEY", base_url=url, retry=ONCE, max_response_size=limit) as client:
                with pytest.raises(APIResponseError) as caught:
                    [room async for room in client.rooms.list()]
            assert str(caught.value).endswith(message)


@pytest.mark.parametrize("sized", [True, False])
async def test_an_error_is_read_even_if_its_body_is_too_large(sized: bool) -> None:
    body = json.dumps({"errors": [{"code": "1", "detail": "out of order"}]}).encode() + b" " * 10_000_000
    async with raw_server(serving(body, status="500 Broken", sized=sized)) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=ONCE) as client:
            with pytest.raises(InternalServerError, match="out of order"):
                await client.rooms.retrieve(ROOM_ID)


async def test_an_update_with_a_too_large_answer_is_read_back() -> None:
    async def serve(peer: Peer) -> None:
        while True:
            request = await peer.read()
            body = ROOM if request.startswith(b"GET") else b" " * 9_000_000 + ROOM
            peer.answer(body)

    async with raw_server(serve) as (url, received), RoomsClient("KEY", base_url=url, retry=ONCE) as client:
        assert (await client.rooms.update(ROOM_ID, max_participants=3)).max_participants == 3
    assert [request.split(b" ")[0] for request in received] == [b"PATCH", b"GET"]


@pytest.mark.parametrize("header", ["Retry-After", "retry-after-ms", "x-ratelimit-reset"])
@pytest.mark.parametrize("number", ["999999999999999", "99999999999", "-5", "0.000000000000001"])
async def test_absurd_numbers_in_rate_limit_headers_cause_no_unexpected_error(header: str, number: str) -> None:
    headers = [f"{header}: {number}", f"x-ratelimit-limit: {number}", f"x-ratelimit-remaining: {number}"]
    async with raw_server(serving(b"{}", *headers, status="429 Too Many Requests")) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=ONCE) as client:
            with pytest.raises(AioroomsError):
                await client.rooms.retrieve(ROOM_ID)
            snapshot = client.pacing.snapshot()
    assert snapshot.rate_limited == 1


@pytest.mark.parametrize(
    "headers", [["Content-Encoding: br"], ["Content-Encoding: gzip"], ["Content-Encoding: gzip", "Retry-After: 7"]]
)
async def test_an_error_whose_body_cannot_be_decompressed_keeps_its_status(headers: list[str]) -> None:
    async with raw_server(serving(b"text", *headers, status="429 Too Many Requests")) as (url, received):
        async with RoomsClient("KEY", base_url=url, retry=ONCE) as client:
            with pytest.raises(RateLimitError) as caught:
                await client.rooms.update(ROOM_ID, max_participants=3)
    assert not caught.value.uncertain
    assert caught.value.retry_after == (7 if len(headers) == 2 else None)
    assert len(received) == 1


@pytest.mark.parametrize("trailing", [b"\0", b"\0" * 20_000_000])
async def test_data_after_the_end_of_a_compressed_body_is_an_error(trailing: bytes) -> None:
    async with raw_server(serving(packed(ROOM) + trailing, "Content-Encoding: gzip", sized=False)) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=ONCE) as client:
            with pytest.raises(APIResponseError, match="there is more data after the end of its gzip data"):
                await client.rooms.retrieve(ROOM_ID)


async def test_a_compressed_body_is_read_even_if_the_users_session_does_not_decompress() -> None:
    async with raw_server(serving(packed(ROOM), "Content-Encoding: gzip")) as (url, _):
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            async with RoomsClient("KEY", base_url=url, retry=ONCE, session=session) as client:
                assert (await client.rooms.retrieve(ROOM_ID)).max_participants == 3
