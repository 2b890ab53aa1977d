"""How aiohttp's exceptions become failures, and how long a retry waits if the server asks for a wait."""

import asyncio
import socket

import aiohttp
import attrs
import pytest
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from aiorooms import APIConnectionError, APIResponseError, APIStatusError, APITimeoutError, RetryPolicy, RoomsClient
from aiorooms._http.aiohttp_errors import to_failure
from aiorooms._http.request import Request
from aiorooms._http.secret import ApiKey
from aiorooms.resources._bodies import decode_room
from aiorooms.simulator import Faults, RoomsSimulator

KEY = "KEY_secret"
API_KEY = ApiKey(KEY)
UPDATE = Request(
    method="PATCH",
    route="/rooms/{room_id}",
    path="/rooms/1",
    subject="room 1",
    decode=decode_room,
    max_size=1000,
    body=b"{}",
)
REFUSED = OSError(111, "Connect call failed ('1.2.3.4', 443)")
PLACE = ConnectionKey("api.example.com", 443, True, True, None, None, None)
ADDRESS = URL("https://api.example.com")
INFO = aiohttp.RequestInfo(ADDRESS, "PATCH", CIMultiDictProxy(CIMultiDict({"Authorization": f"Bearer {KEY}"})), ADDRESS)


@pytest.mark.parametrize(
    ("error", "kind", "uncertain", "retry", "words"),
    [
        (aiohttp.ClientConnectorError(PLACE, REFUSED), APIConnectionError, False, True,
         "not sent: can't connect to api.example.com:443: Connection refused"),
        (aiohttp.ClientConnectorDNSError(PLACE, socket.gaierror(-2, "Name or service not known")), APIConnectionError,
         False, True, "can't connect to api.example.com:443: Name or service not known"),
        (aiohttp.ClientSSLError(PLACE, OSError(1, "certificate verify failed")), APIConnectionError, False, False,
         "certificate verify failed"),
        (aiohttp.ServerFingerprintMismatch(b"a", b"b", "h", 1), APIConnectionError, False, False, "Fingerprint"),
        (aiohttp.ConnectionTimeoutError("to host"), APITimeoutError, False, True, "not sent"),
        (aiohttp.ClientHttpProxyError(INFO, (), status=407, message=KEY), APIConnectionError, False, False,
         "not sent: the proxy answered 407"),
        (aiohttp.ClientHttpProxyError(INFO, (), status=503, message="x"), APIConnectionError, False, True, "503 x"),
        (aiohttp.SocketTimeoutError("read"), APITimeoutError, True, True, "no answer within the timeout"),
        (TimeoutError(), APITimeoutError, True, True, "no answer within the timeout"),
        (aiohttp.ClientPayloadError("half"), APIConnectionError, True, True, "the answer was cut off"),
        (aiohttp.ClientResponseError(INFO, (), message=f"Bad {KEY}"), APIResponseError, True, True, "is not HTTP"),
        (aiohttp.ServerDisconnectedError(), APIConnectionError, True, True, "the server disconnected"),
        (aiohttp.ClientOSError(104, f"reset\n{KEY}"), APIConnectionError, True, True, "no answer: ClientOSError"),
        (ConnectionResetError(104, "reset"), APIConnectionError, True, True, "no answer"),
        (ValueError("Cannot combine"), APIConnectionError, False, False, "Cannot combine"),
    ],
)  # fmt: skip
def test_each_exception_becomes_the_expected_failure(
    error: Exception, kind: type[Exception], uncertain: bool, retry: bool, words: str
) -> None:
    # aiohttp raises a ValueError only before sending. Middleware of the user's session may raise one at any time.
    failure = to_failure(UPDATE, error, begun=not isinstance(error, ValueError), key=API_KEY)
    assert type(failure.make_error()) is kind
    assert failure.uncertain == uncertain
    assert failure.retry == retry
    text = str(failure.make_error())
    assert text.startswith("room 1: ")
    assert words in text
    assert KEY not in text
    assert text.isprintable()


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (TimeoutError(), APITimeoutError, "not sent: no connection within the timeout"),
        (aiohttp.ServerDisconnectedError(), APIConnectionError, "not sent: ServerDisconnectedError"),
        (aiohttp.ClientOSError(104, "reset"), APIConnectionError, "not sent: ClientOSError"),
    ],
)
def test_a_failure_before_sending_is_reported_as_not_sent(error: Exception, kind: type[Exception], words: str) -> None:
    failure = to_failure(UPDATE, error, begun=False, key=API_KEY)
    assert type(failure.make_error()) is kind
    assert not failure.uncertain
    assert failure.retry
    assert words in str(failure.make_error())


def test_an_error_of_middleware_after_sending_makes_the_outcome_uncertain_and_a_post_is_not_retried() -> None:
    failure = to_failure(UPDATE, ValueError("raised by middleware"), begun=True, key=API_KEY)
    assert failure.uncertain
    create = attrs.evolve(UPDATE, method="POST")
    assert not to_failure(create, ValueError("raised by middleware"), begun=True, key=API_KEY).retry


async def test_an_https_request_to_a_server_without_tls_is_not_retried() -> None:
    async with RoomsSimulator() as sim:
        async with RoomsClient("key", base_url=sim.url.replace("http:", "https:")) as client:
            with pytest.raises(APIConnectionError, match="not sent: ") as caught:
                await client.rooms.create(unique_name="x")
            assert caught.value.attempts == 1
            assert not caught.value.uncertain


async def test_a_5xx_is_retried_after_the_requested_wait_unless_the_wait_is_too_long() -> None:
    async with RoomsSimulator(rooms=1, faults=Faults(script=["503"], retry_after="0.2")) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=RetryPolicy(base_delay=0)) as client:
            loop = asyncio.get_running_loop()
            began = loop.time()
            await client.rooms.retrieve(sim.room_ids[0])
            assert loop.time() - began >= 0.2
    async with RoomsSimulator(rooms=1, faults=Faults(script=["503"], retry_after="900")) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url) as client:
            with pytest.raises(
                APIStatusError, match=r"503 .*asked the client to wait 900 s, longer than Pacing\(max_wait=300\)"
            ):
                await client.rooms.retrieve(sim.room_ids[0])
