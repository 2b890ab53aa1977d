"""Handle each genuine event: verify it, keep it, acknowledge it, and then call the handler. Drop repeated deliveries.

    delivery -> verified? ........ no: 400
             -> known? ........... yes: 200, and it is dropped
             -> kept and committed, then 200 (503 if there is no space, so that the sender comes again)
             -> handler -> returns: done
                        -> raises: tried again after a backoff, up to `max_attempts`, then `on_failure`

The sender gets its answer before the handler begins, because a sender waits only for seconds. So the handler may take
as long as it needs. With a durable store, an event that was acknowledged is handled at least once, even if the process
is killed: after a restart, or by another process that shares the store, when the lease of the event has expired. While
a handler runs, its lease is renewed.

Example: event 7 arrives at t = 0, is kept, and is acknowledged at 0.01. Its handler raises at 0.5. It is tried again at
1.5, and finishes at 2.0. The sender has repeated the event at 1.0, because the first answer was lost: the key is known,
so this delivery is answered 200 and dropped. The handler has finished once.
"""

import asyncio
import inspect
import logging
import random
import time
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self, TypeAlias, TypedDict, cast

from .._aio import end_tasks, finish, is_cancelled
from .._checks import check_at_least, check_positive, setting_error
from ..errors import WebhookVerificationError
from ._events import Event, event_key, parse_unverified_event
from ._router import OnEvent
from ._store import Claimed, EventStore, MemoryEventStore, StoreFullError
from ._verifier import Headers, WebhookVerifier, header_values, pairs_of

__all__ = ["InboxSettings", "OnFailure", "WebhookInbox"]

OnFailure: TypeAlias = Callable[[Event, Exception], Awaitable[object]]
"""An async function that is called with an event whose handler has raised too often, and with its last exception."""

_LOGGER: Final = logging.getLogger("aiorooms.webhooks")

_MAX_DELAY: Final = 300.0
"""The longest wait before a handler is tried again, in seconds."""

_MAX_QUEUED: Final = 20
"""Maximum number of claimed events that wait in memory, as a multiple of the concurrency."""

_TIDY: Final = 10.0
"""How often the store forgets old keys, in seconds."""

_POLL: Final = 1.0
"""How often the inbox looks for events that are due or whose lease has expired, in seconds."""


class InboxSettings(TypedDict, total=False):
    """The settings of a `WebhookInbox` as keyword arguments."""

    store: EventStore | None
    concurrency: int
    max_attempts: int
    retry_delay: float
    on_failure: OnFailure | None
    lease: float
    max_body: int
    drain: float


class WebhookInbox:
    """Receives webhooks, and calls a handler for each event. Use it with `async with`.

    - `verifier`: proves that webhooks are genuine.
    - `on_event`: an async function or a `WebhookRouter`. It may be called again for an event that it did not finish.
    - `store`: where events are kept. Defaults to a `MemoryEventStore`, which loses acknowledged events if the process
      dies. A `FileEventStore` keeps them.
    - `concurrency`: maximum number of handlers that run at a time, 1 or more.
    - `max_attempts`: how many times a handler may raise before its event is given up, 1 or more. A run that is cut
      short by a crash or a shutdown does not count.
    - `retry_delay`: seconds until the second attempt, above 0. Each further wait is twice as long, up to 300 s. A wait
      is up to a quarter shorter or longer (jitter).
    - `on_failure`: an async function that is called when the last attempt has raised.
    - `lease`: seconds, above 0, after which an event of a process that died is handled by another one.
    - `max_body`: maximum size of a body in bytes, 1 or more. A larger one is answered 413.
    - `drain`: how many seconds, 0 or more, the events that this process has claimed have when the inbox closes. Then
      their handlers are cancelled. With a durable store, their events are handled after a restart.

    Raises `ClientSettingsError` if a setting is invalid, and `TypeError` if a function is not async.
    """

    def __init__(
        self,
        verifier: WebhookVerifier,
        on_event: OnEvent,
        *,
        store: EventStore | None = None,
        concurrency: int = 10,
        max_attempts: int = 5,
        retry_delay: float = 1.0,
        on_failure: OnFailure | None = None,
        lease: float = 60.0,
        max_body: int = 256 * 1024,
        drain: float = 10.0,
    ) -> None:
        for name, function in (("on_event", on_event), ("on_failure", on_failure)):
            if inspect.isfunction(function) and not inspect.iscoroutinefunction(function):
                raise TypeError(f"{name} is {function!r}, which is not async; write it as `async def`")
        check_at_least(1, "concurrency", concurrency)
        check_at_least(1, "max_attempts", max_attempts)
        check_at_least(1, "max_body", max_body)
        check_positive("retry_delay", retry_delay)
        check_positive("lease", lease)
        if not (isinstance(cast("object", drain), (int, float)) and drain >= 0):
            raise setting_error("drain", f"is {drain!r}", "give a number of seconds, 0 or more", drain)
        self._verifier = verifier
        self._on_event = on_event
        self._store = MemoryEventStore() if store is None else store
        self._concurrency = concurrency
        self._max_attempts = max_attempts
        self._retry_delay = retry_delay
        self._on_failure = on_failure
        self._lease = lease
        self.max_body = max_body
        """Maximum size of a body in bytes."""
        self._drain = drain
        self._queue: asyncio.Queue[tuple[Claimed, Event | None]] = asyncio.Queue()
        """Claimed events. An event that has just been received has been parsed, too."""
        self._claimed: dict[str, int] = {}
        """The events that this process has claimed and not finished, with their attempts so far, by key."""
        self._tasks: list[asyncio.Task[None]] = []
        self._is_running = False
        self._is_draining = False
        self._is_closing = False
        self._queue_is_low = asyncio.Event()

    # --- start and end ---

    async def __aenter__(self) -> Self:
        if self._is_running or self._tasks:
            raise RuntimeError("the inbox is running already; make another one, or add a second route to its handler")
        self._is_running = True
        try:
            await self._store.open()
        except BaseException:
            self._is_running = False
            raise
        self._is_draining = self._is_closing = False
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._concurrency)]
        self._tasks.append(asyncio.create_task(self._look_after()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Accept no more events, wait up to `drain` seconds for the handlers, and close the store."""
        self._is_running, self._is_draining = False, True
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._drain):
                    await self._queue.join()
        finally:
            await finish(asyncio.create_task(self._close()))

    async def _close(self) -> None:
        self._is_closing = True  # a handler may swallow its cancellation
        await end_tasks(self._tasks)
        self._tasks = []
        left, self._claimed, self._queue = self._claimed, {}, asyncio.Queue()
        try:
            now = time.time()
            releases = [self._store.release(key, attempts=attempts, due=now) for key, attempts in left.items()]
            for result in await asyncio.gather(*releases, return_exceptions=True):
                if isinstance(result, Exception):
                    _LOGGER.error("the store did not release an event: %r", result)
        finally:
            await self._store.close()

    # --- deliveries ---

    async def receive(self, headers: Headers, body: bytes | AsyncIterable[bytes]) -> int:
        """Receive one delivery, and return the HTTP status of its answer.

        `body` is the raw body, whole or in pieces: `await request.body()` or `request.stream()` of Starlette. Pieces
        beyond `max_body` are not read. The statuses are

        - 200: the event is kept, or was kept before;
        - 400: the webhook is not proved to be genuine, or is not an event;
        - 413: the body is too large;
        - 415: the body is compressed, which the API never does;
        - 503: too many events wait, or the inbox is closing; the sender should try again.

        Raises what the store raises if it can't keep the event, for example if the disk is full. Answer 500 then.
        """
        if not self._is_running:
            if self._is_draining:
                return 503
            raise RuntimeError("the inbox is not running; use `async with`, or see `WebhookHandler.running`")
        given = pairs_of(headers)
        if any(encoding.lower() not in ("", "identity") for encoding in header_values(given, "content-encoding")):
            return 415
        raw = await self.read(body)
        if raw is None:
            return 413
        try:
            event = self._verifier.event(given, raw)
        except WebhookVerificationError as error:
            _LOGGER.info("a webhook was rejected: %s", error.reason, extra={"reason": error.reason})
            return 400
        key, now = event_key(event, raw), time.time()
        # If many events wait, a further one is not claimed, so that it does not occupy memory.
        has_room = self._queue.qsize() < _MAX_QUEUED * self._concurrency
        try:
            is_new = await self._store.add(key, raw, lease_until=now + self._lease if has_room else now)
        except StoreFullError:
            _LOGGER.warning("a webhook was answered 503, because there is no space for further events")
            return 503
        if is_new and has_room:
            self._accept(Claimed(key=key, body=raw, attempts=0), event)
        return 200

    def _accept(self, claimed: Claimed, event: Event | None = None) -> None:
        self._claimed[claimed.key] = claimed.attempts
        self._queue.put_nowait((claimed, event))

    async def read(self, body: bytes | AsyncIterable[bytes]) -> bytes | None:
        """Return a body as a whole; None if it is larger than `max_body`."""
        if not isinstance(body, AsyncIterable):
            return body if len(body) <= self.max_body else None
        pieces: list[bytes] = []
        size = 0
        async for piece in body:
            size += len(piece)
            if size > self.max_body:
                return None
            pieces.append(piece)
        return b"".join(pieces)

    # --- handlers ---

    async def _work(self) -> None:
        while not self._is_closing:
            claimed, event = await self._queue.get()
            try:
                await self._handle(claimed, event or parse_unverified_event(claimed.body))
            except Exception:  # of the store. The lease expires, so the event is handled again.
                _LOGGER.exception("the store did not record what became of event %s", claimed.key)
                self._claimed.pop(claimed.key, None)
            self._queue.task_done()
            if self._queue.qsize() < self._concurrency:
                self._queue_is_low.set()

    async def _handle(self, claimed: Claimed, event: Event) -> None:
        key, attempts = claimed.key, claimed.attempts + 1
        error = await _error_of(lambda: self._on_event(event))
        delay = None
        if error is not None and attempts < self._max_attempts:
            delay = self._retry_delay * 2.0 ** min(attempts - 1, 32)
            delay = min(_MAX_DELAY, delay * random.uniform(0.75, 1.25))  # noqa: S311 - jitter, no secret
            _LOGGER.warning("handler of event %s: attempt %d raised", key, attempts, exc_info=error)
        elif error is not None:
            _LOGGER.error("handler of event %s: the last of %d attempts raised", key, attempts, exc_info=error)
            await self._report_failure(key, event, error)
        # From here on, the lease is not renewed, because a renewal must not follow `done` or `release`.
        self._claimed.pop(key, None)
        if delay is None:
            await self._store.done(key, now=time.time())
        else:
            await self._store.release(key, attempts=attempts, due=time.time() + delay)

    async def _report_failure(self, key: str, event: Event, error: Exception) -> None:
        on_failure = self._on_failure
        if on_failure is not None and (raised := await _error_of(lambda: on_failure(event, error))) is not None:
            _LOGGER.error("on_failure of event %s raised", key, exc_info=raised)

    async def _look_after(self) -> None:
        """Claim events that are due, and renew the leases of those in this process."""
        renewed_at = tidied_at = time.monotonic()
        pause = min(_POLL, self._retry_delay, self._lease / 3)
        while True:
            is_backlog = False
            try:
                if self._claimed and time.monotonic() - renewed_at >= self._lease / 3:
                    renewed_at = time.monotonic()
                    await self._store.renew([*self._claimed], lease_until=time.time() + self._lease)
                if time.monotonic() - tidied_at >= _TIDY:
                    tidied_at = time.monotonic()
                    await self._store.tidy(now=time.time())
                is_backlog = await self._claim()
            except Exception:  # of the store, such as a full disk. It may work again later.
                _LOGGER.exception("the store failed")
            if not is_backlog:
                await asyncio.sleep(pause)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._queue_is_low.wait()

    async def _claim(self) -> bool:
        """Claim events that are due. Return whether there may be more of them."""
        self._queue_is_low.clear()
        free = _MAX_QUEUED * self._concurrency - self._queue.qsize()
        if self._is_draining:
            return False
        if free <= 0:
            return True
        now = time.time()
        found = await self._store.claim(free, lease_until=now + self._lease, now=now)
        for claimed in found:
            # The lease of an event in this process has expired if the process was suspended.
            if claimed.key not in self._claimed:
                self._accept(claimed)
        return len(found) == free


async def _error_of(call: Callable[[], Awaitable[object]]) -> Exception | None:
    """Call a function of the user. Return what it raises; None if it raises nothing.

    A function may also raise the CancelledError of something that it awaits. Raises CancelledError only if the running
    task itself was cancelled.
    """
    try:
        await call()
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        failed = RuntimeError("the handler raised CancelledError, but was not cancelled")
        failed.__cause__ = error
        return failed
    except Exception as error:  # noqa: BLE001 - it is logged, and the handler is tried again
        return error
    return None
