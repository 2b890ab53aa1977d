"""The steps of one request, from its arrival to its answer.

1. It is counted, and its body is read (413).
2. The latency passes. A client that gives up in the meantime does not undo the request.
3. During an outage it ends here.
4. The gate checks the key (401, 403) and the rate limit (429).
5. A fault is drawn.
6. The operation is carried out (`_routes`), unless the fault strikes before.
7. The answer is sent, or what the fault makes of it.
"""

from hashlib import blake2b
from http import HTTPStatus
from random import Random
from typing import Literal

from aiohttp import web

from ._account import Account, is_uuid
from ._answers import BAD_REQUEST, Answer, error_item, error_list
from ._exchange import CLOSED, Exchange, Shared
from ._fault_effects import Broken
from ._fault_kinds import KINDS
from ._faults import Draw, FaultPlan, Faults
from ._gate import Gate
from ._routes import call_operation, find_target
from ._stats import METHODS, RecordedRequest, Stats
from ._waits import Waits
from ._wire import CommonLines, page

_FOREVER = 1e9


class Pipeline:
    """Handles all requests of one simulator. The settings may change between any two steps."""

    def __init__(self, account: Account, gate: Gate, stats: Stats, waits: Waits, faults: Faults, seed: int) -> None:
        """Begin without latency and without an outage."""
        self.plan = FaultPlan(faults, seed)
        self.latency = (0.0, 0.0)
        """Bounds in seconds."""
        self.outage: Literal["503", "reset", "hang"] | None = None
        self.record = False
        self.recorded: list[RecordedRequest] = []
        self._account = account
        self._gate = gate
        self._stats = stats
        self._shared = Shared(stats, waits, CommonLines(seed))
        self._latency_random = Random(seed)  # noqa: S311 - not a secret
        self._seen: set[web.RequestHandler] = set()

    def forget(self, connection: web.RequestHandler) -> None:
        """Forget a connection that was lost."""
        self._seen.discard(connection)
        self._shared.stale.discard(connection)

    def clear(self) -> None:
        """Start counting anew, and forget what was recorded."""
        self._stats.clear()
        self._seen.clear()
        self.recorded.clear()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Take one request through all steps, and tell aiohttp whether the connection stays open."""
        stats = self._stats
        if request.protocol in self._shared.stale:
            stats.stale += 1
            return CLOSED
        path, _, query = request.raw_path.partition("?")
        target = find_target(path)
        room_id = None if target is None else target.ids.get("room_id")
        exchange = Exchange(request, self._shared, request.method, query, target, room_id)
        self._count(exchange)
        stats.in_flight += 1
        if stats.in_flight > stats.peak_in_flight:
            stats.peak_in_flight = stats.in_flight
        try:
            await self._answer(exchange)
        finally:
            stats.in_flight -= 1
        return exchange.result

    async def _answer(self, exchange: Exchange) -> None:
        if not await self._read_body(exchange):
            return
        if self.record:
            request = exchange.request
            recorded = RecordedRequest(exchange.method, request.raw_path, request.headers, exchange.body)
            self.recorded.append(recorded)
        if not await self._pass_latency():
            return
        if self.outage is not None:
            await self._in_outage(exchange, self.outage)
            return
        authorization = exchange.request.headers.get("Authorization", "")
        exchange.limit_lines, rejection = self._gate.check(authorization)
        if rejection is not None:
            exchange.send(rejection)
            return
        draw = self._draw(exchange)
        if draw is None:
            exchange.send(self._carry_out(exchange))
        else:
            await self._break(exchange, draw)

    def _count(self, exchange: Exchange) -> None:
        stats = self._stats
        stats.requests += 1
        stats.by_method[exchange.method if exchange.method in METHODS else "OTHER"] += 1
        connection = exchange.request.protocol
        if connection not in self._seen:
            self._seen.add(connection)
            stats.connections += 1
        room_id = exchange.room_id
        if room_id is not None and (room_id in self._account.rooms or is_uuid(room_id)):
            stats.requests_by_room[room_id] += 1

    async def _read_body(self, exchange: Exchange) -> bool:
        """Read the body, and return whether the request goes on."""
        request = exchange.request
        if not request.body_exists:
            return True
        try:
            exchange.body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            await request.release()
            exchange.send(error_list(413, error_item(BAD_REQUEST, "The request body is too large.")))
            return False
        except (web.RequestPayloadError, ConnectionError):  # the client went away or sent half a body
            return False
        return True

    async def _pass_latency(self) -> bool:
        """Wait, and return whether the request goes on."""
        low, high = self.latency
        if not high:
            return True
        return await self._shared.waits.wait(low if low == high else self._latency_random.uniform(low, high))

    async def _in_outage(self, exchange: Exchange, how: Literal["503", "reset", "hang"]) -> None:
        if how == "503":
            exchange.send(page(503))
        elif how == "reset":
            exchange.reset()
        else:
            await exchange.wait(_FOREVER)

    def _draw(self, exchange: Exchange) -> Draw | None:
        """Return the fault that the request meets, or None."""
        if not self.plan.active:
            return None
        room_id = exchange.room_id
        counted_by = room_id or f"{exchange.request.raw_path}\0{blake2b(exchange.body, digest_size=8).hexdigest()}"
        return self.plan.draw(exchange.method, room_id, counted_by)

    def _carry_out(self, exchange: Exchange) -> Answer:
        content_type = exchange.request.headers.get("Content-Type")
        answer = call_operation(
            exchange.target, self._account, exchange.method, exchange.query, content_type, exchange.body
        )
        if exchange.room_id is not None and exchange.method == "PATCH" and answer.status == HTTPStatus.OK:
            self._stats.updates_applied[exchange.room_id] += 1
        return answer

    async def _break(self, exchange: Exchange, draw: Draw) -> None:
        """Do to a request what its fault does."""
        kind = KINDS[draw.kind]
        faults = self.plan.faults
        self._stats.faults[draw.kind] += 1
        broken = Broken(
            exchange,
            answer=self._carry_out(exchange) if kind.applied else Answer(HTTPStatus.OK),
            account=self._account,
            noise=draw.noise,
            stall_seconds=faults.stall_seconds,
            slow_seconds=faults.slow_seconds,
            retry_after=faults.retry_after,
        )
        await kind.effect(broken)
