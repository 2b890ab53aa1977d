"""The server of `webhooks listen`: receive deliveries, verify them, record them and forward them.

Each delivery is answered 200, or 400 if it was rejected. With a forward target, the answer is that of the target, or
502 if it did not answer. Then a rejected delivery is forwarded, too: so it shows whether the target rejects it itself.

Example: an application listens on port 8000 and does not verify signatures. A delivery with a wrong signature reaches
the listener, which reports it as rejected, forwards it, and shows that the application has answered 200.
"""

import asyncio
import logging
import os
import socket
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import attrs
from aiohttp import web
from yarl import URL

from ..errors import WebhookVerificationError
from ._event_text import Seen, is_success, reason_text
from ._recordings import Delivery, Pairs, Recorder
from ._sender import Sender
from ._stderr import print_error

if TYPE_CHECKING:
    from ..webhooks import Event, WebhookVerifier

__all__ = ["Listener", "Totals"]

_MAX_BODY: Final = 256 * 1024
"""Maximum size of a body in bytes: that of `WebhookInbox`."""
_BODY_TIMEOUT: Final = 10.0
"""Seconds in which a whole body must arrive."""
_MAX_IN_PROGRESS: Final = 100
"""Maximum number of deliveries in progress. Further ones are answered 503."""
_MAX_IDS: Final = 10_000
"""How many ids are remembered to recognize repeated deliveries."""
_DRAIN: Final = 3.0
"""Seconds that deliveries in progress have to finish when the listener stops. Less than `GRACE`."""

_NO_ANSWER: Final = 502

_SILENT: Final = logging.getLogger("aiorooms.cli.listener")
"""The logger of aiohttp's server, which would write tracebacks about requests that are not HTTP to standard error."""
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


@attrs.define
class Totals:
    """Numbers of deliveries."""

    received: int = 0
    verified: int = 0
    not_verified: int = 0
    rejected: int = 0
    repeated: int = 0
    forwarded: int = 0
    not_forwarded: int = 0
    """Those that the target did not answer with 2xx."""
    recorded: int = 0
    not_recorded: int = 0


class _RejectedError(Exception):
    """A delivery whose body was not read."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Listener:
    """Receives deliveries at any path.

    - `verifier`: verifies deliveries; None means that nothing is verified.
    - `show`: is called with each delivery. An exception of it stops the listener.
    """

    def __init__(
        self,
        verifier: "WebhookVerifier | None",
        show: Callable[[Seen], None],
        *,
        sender: Sender | None = None,
        recorder: Recorder | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.totals = Totals()
        self.url = ""
        """The URL of the listener. Empty until it runs."""
        self.stopped = asyncio.Event()
        """Set it to stop the listener."""
        self._verifier = verifier
        self._show = show
        self._sender = sender
        self._recorder = recorder
        self._recording = asyncio.Lock()
        self._clock = clock
        self._failure: Exception | None = None
        self._in_progress = 0
        self._ids: OrderedDict[str, None] = OrderedDict()

    @asynccontextmanager
    async def running(self, host: str, port: int) -> AsyncGenerator[None]:
        """Listen while the block runs. Raises `OSError` if the port can't be opened."""
        server = web.Server(self._receive, logger=_SILENT, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=_DRAIN)
        await runner.setup()
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            address = str(found[0][4][0])
            try:
                await web.TCPSite(runner, address, port).start()
            except OSError as error:  # asyncio's message repeats the address
                number = error.errno or 0
                why = os.strerror(number) if number > 0 else error.strerror or str(error)
                raise OSError(error.errno, why) from error
            reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, host)  # noqa: S104 - only compared
            self.url = str(URL.build(scheme="http", host=reachable, port=int(runner.addresses[0][1]), path="/"))
            yield
        finally:
            await runner.cleanup()

    async def wait(self) -> None:
        """Wait until the listener is stopped. Raises what `show` has raised."""
        await self.stopped.wait()
        if self._failure is not None:
            raise self._failure

    async def _receive(self, request: web.BaseRequest) -> web.StreamResponse:
        self._in_progress += 1
        try:
            return web.Response(status=await self._status(request))
        except Exception as error:  # noqa: BLE001 - `wait` raises it
            self._failure = self._failure or error
            self.stopped.set()
            return web.Response(status=500)
        finally:
            self._in_progress -= 1

    async def _status(self, request: web.BaseRequest) -> int:
        """Return the status of the answer."""
        now = self._clock()
        received_at = datetime.fromtimestamp(now, UTC)
        self.totals.received += 1
        headers = [(_text(name), _text(value)) for name, value in request.raw_headers]
        try:
            body = await self._read(request, headers)
        except _RejectedError as error:
            self.totals.rejected += 1
            self._show(
                Seen(
                    received_at=received_at,
                    path=request.raw_path,
                    event=None,
                    verified=None if self._verifier is None else False,
                    reason=error.reason,
                    why=reason_text(error.reason, headers, now),
                )
            )
            return error.status
        await self._record(Delivery(received_at, request.raw_path, headers, body))
        event, reason = self._event(headers, body)
        seen = Seen(
            received_at=received_at,
            path=request.raw_path,
            event=event,
            verified=None if self._verifier is None else event is not None,
            reason=reason,
            why=None if event is not None else reason_text(reason, headers, now),
            repeated=event is not None and self._is_repeated(event, body),
        )
        self._count(seen)
        status = 200 if event is not None else 400
        if self._sender is not None:
            self.totals.forwarded += 1
            try:
                answer = await self._sender.send(headers, body)
            except asyncio.CancelledError:
                self.totals.not_forwarded += 1
                self._show(attrs.evolve(seen, forward_error="the listener was stopped before the target had answered"))
                raise
            self.totals.not_forwarded += not is_success(answer.status)
            seen = attrs.evolve(seen, forward_status=answer.status, forward_error=answer.error)
            status = answer.status or _NO_ANSWER
        self._show(seen)
        return status

    async def _read(self, request: web.BaseRequest, headers: Pairs) -> bytes:
        """Return the raw body. Raises `_RejectedError` if it is not read."""
        if self._in_progress > _MAX_IN_PROGRESS:
            raise _RejectedError(503, "busy")
        if request.method != "POST":
            raise _RejectedError(405, "not_post")
        if any(name.lower() == "content-encoding" and value.lower() not in ("", "identity") for name, value in headers):
            raise _RejectedError(415, "compressed")
        if (request.content_length or 0) > _MAX_BODY:
            raise _RejectedError(413, "too_large")
        try:
            async with asyncio.timeout(_BODY_TIMEOUT):
                body = await _bounded(request)
        except TimeoutError:
            raise _RejectedError(408, "slow_body") from None
        except Exception:  # noqa: BLE001 - aiohttp raises different ones, depending on what is wrong with the body
            raise _RejectedError(400, "broken_body") from None
        if body is None:
            raise _RejectedError(413, "too_large")
        return body

    async def _record(self, delivery: Delivery) -> None:
        if self._recorder is None:
            return
        try:
            async with self._recording:
                await asyncio.to_thread(self._recorder.add, delivery)
        except OSError as error:
            self.totals.not_recorded += 1
            print_error(f"a delivery was not recorded: {error.strerror or error}")
        else:
            self.totals.recorded += 1

    def _event(self, headers: Pairs, body: bytes) -> "tuple[Event | None, str | None]":
        """Return the event, or None and the reason why it was rejected."""
        from ..webhooks import parse_unverified_event  # imported here, because it needs an extra

        try:
            if self._verifier is None:
                return parse_unverified_event(body), None
            return self._verifier.event(headers, body), None
        except WebhookVerificationError as error:
            return None, error.reason

    def _is_repeated(self, event: "Event", body: bytes) -> bool:
        from ..webhooks._events import event_key  # imported here, because it needs an extra

        key = event_key(event, body)
        if key in self._ids:
            self._ids.move_to_end(key)
            return True
        self._ids[key] = None
        while len(self._ids) > _MAX_IDS:
            self._ids.popitem(last=False)
        return False

    def _count(self, seen: Seen) -> None:
        totals = self.totals
        totals.rejected += seen.event is None
        totals.verified += seen.verified is True
        totals.not_verified += seen.verified is None and seen.event is not None
        totals.repeated += seen.repeated


async def _bounded(request: web.BaseRequest) -> bytes | None:
    """Return the raw body, or None if it is too large."""
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > _MAX_BODY:
            return None
    return bytes(body)


def _text(header: bytes) -> str:
    return header.decode("utf-8", "surrogateescape")
