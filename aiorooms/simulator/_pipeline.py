"""The steps of one request, from its arrival to its answer.

1. The request is counted, and its body is read (413 if the body is too large). A request for another host ends here
   (421).
2. The request waits for the latency, and continues even if the client disconnects during this wait.
3. During an outage, the request ends here.
4. The key (401, 403) and the rate limit (429) are checked.
5. The fault or the scripted answer of the request is chosen, if any (`_faults`).
6. The operation is carried out (`_routes`), unless the fault is in `NOT_APPLIED` or the scripted answer has
   `applied=False`.
7. The answer is sent. If there is a fault, the effect of the fault sends or loses the answer instead. If there is a
   scripted answer, it is sent instead.
"""

from hashlib import blake2b
from http import HTTPStatus
from random import Random
from typing import Literal, TypeAlias

from aiohttp import web

from ._access import Access
from ._account import Account, is_uuid
from ._answers import BAD_REQUEST, Answer, error_item, error_list
from ._fault_effects import FaultyRequest
from ._fault_kinds import KINDS
from ._faults import Draw, FaultPlan, Faults
from ._incoming import CLOSED, Incoming, Shared
from ._routes import call_operation, find_target
from ._scripted_answer import ScriptedAnswer
from ._stats import METHODS, SCRIPTED, RecordedRequest, Stats
from ._waits import Waits
from ._wire import CommonLines, proxy_error

_FOREVER = 1e9  # seconds

Outage: TypeAlias = Literal["closed", "503", "reset", "hang"]


class Pipeline:
    """Handles all requests of one simulator. The settings may change between any two steps of a request."""

    def __init__(self, account: Account, access: Access, stats: Stats, waits: Waits, faults: Faults, seed: int) -> None:
        """Start without latency and without an outage."""
        self.plan = FaultPlan(faults, seed)
        self.latency = (0.0, 0.0)
        """Lower and upper bound of the wait before each request, in seconds."""
        self.outage: Literal["503", "reset", "hang"] | None = None
        self.record = False
        self.recorded: list[RecordedRequest] = []
        self._account = account
        self._access = access
        self._stats = stats
        self._shared = Shared(stats, waits, CommonLines(seed))
        self._latency_random = Random(seed)  # noqa: S311 - not a secret
        self._counted_connections: set[web.RequestHandler] = set()

    def forget(self, connection: web.RequestHandler) -> None:
        """Remove a connection that was lost."""
        self._counted_connections.discard(connection)
        self._shared.stale.discard(connection)

    def clear(self) -> None:
        """Reset the counters, and remove the recorded requests."""
        self._stats.clear()
        self._counted_connections.clear()
        self.recorded.clear()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Handle one request. The result tells aiohttp whether the connection stays open."""
        stats = self._stats
        if request.protocol in self._shared.stale:
            stats.stale += 1
            return CLOSED
        path, _, query = request.raw_path.partition("?")
        target = find_target(path)
        room_id = None if target is None else target.ids.get("room_id")
        incoming = Incoming(request, self._shared, request.method, query, target, room_id)
        self._count(incoming)
        stats.in_flight += 1
        if stats.in_flight > stats.peak_in_flight:
            stats.peak_in_flight = stats.in_flight
        try:
            await self._answer(incoming)
        finally:
            stats.in_flight -= 1
        return incoming.result

    async def _answer(self, incoming: Incoming) -> None:
        if not await self._read_body(incoming):
            return
        request = incoming.request
        rejection = self._access.check_host(request.headers.get("Host"))
        if rejection is not None:
            incoming.send(rejection)
            return
        if self.record:
            recorded = RecordedRequest(incoming.method, request.raw_path, request.headers, incoming.body)
            self.recorded.append(recorded)
        if not await self._pass_latency():
            return
        if self.outage is not None:
            await self._in_outage(incoming, self.outage)
            return
        if incoming.method == "POST" and _is_receiver(request.raw_path):
            incoming.send(Answer(HTTPStatus.OK))
            return
        authorization = request.headers.get("Authorization", "")
        incoming.limit_lines, rejection = self._access.check(authorization, incoming.method, incoming.target)
        if rejection is not None:
            incoming.send(rejection)
            return
        draw = self._draw(incoming)
        if draw is None:
            incoming.send(self._carry_out(incoming))
        else:
            await self._inject(incoming, draw)

    def _count(self, incoming: Incoming) -> None:
        stats = self._stats
        stats.requests += 1
        stats.by_method[incoming.method if incoming.method in METHODS else "OTHER"] += 1
        connection = incoming.request.protocol
        if connection not in self._counted_connections:
            self._counted_connections.add(connection)
            stats.connections += 1
        room_id = incoming.room_id
        if room_id is not None and (room_id in self._account.rooms or self._may_be_counted(incoming, room_id)):
            stats.requests_by_room[room_id] += 1

    def _may_be_counted(self, incoming: Incoming, unknown_id: str) -> bool:
        """Return whether a room that does not exist may have a counter."""
        authorization = incoming.request.headers.get("Authorization", "")
        return is_uuid(unknown_id) and self._access.knows_key(authorization)

    async def _read_body(self, incoming: Incoming) -> bool:
        """Read the body, and return whether to continue with the request."""
        request = incoming.request
        if not request.body_exists:
            return True
        try:
            incoming.body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            await request.release()
            incoming.send(error_list(413, error_item(BAD_REQUEST, "The request body is too large.")))
            return False
        except (web.RequestPayloadError, ConnectionError):  # the client disconnected, or sent an invalid body
            return False
        return True

    async def _pass_latency(self) -> bool:
        """Wait for the latency, and return whether to continue with the request."""
        low, high = self.latency
        if not high:
            return True
        return await self._shared.waits.wait(low if low == high else self._latency_random.uniform(low, high))

    async def _in_outage(self, incoming: Incoming, how: Literal["503", "reset", "hang"]) -> None:
        if how == "503":
            incoming.send(proxy_error(503))
        elif how == "reset":
            incoming.reset()
        else:
            await incoming.wait(_FOREVER)

    def _draw(self, incoming: Incoming) -> Draw | None:
        """Return the fault for the request, or None."""
        if not self.plan.active:
            return None
        room_id = incoming.room_id
        target = room_id or f"{incoming.request.raw_path}\0{blake2b(incoming.body, digest_size=8).hexdigest()}"
        return self.plan.draw(incoming.method, room_id, target)

    def _carry_out(self, incoming: Incoming) -> Answer:
        content_type = incoming.request.headers.get("Content-Type")
        answer = call_operation(
            incoming.target, self._account, incoming.method, incoming.query, content_type, incoming.body
        )
        if incoming.room_id is not None and incoming.method == "PATCH" and answer.status == HTTPStatus.OK:
            self._stats.updates_applied[incoming.room_id] += 1
        return answer

    async def _inject(self, incoming: Incoming, draw: Draw) -> None:
        """Carry out the request if the fault is in `APPLIED`. In any case, run the effect of the fault."""
        if isinstance(draw.kind, ScriptedAnswer):
            self._send_scripted(incoming, draw.kind)
            return
        kind = KINDS[draw.kind]
        faults = self.plan.faults
        self._stats.faults[draw.kind] += 1
        faulty = FaultyRequest(
            incoming,
            answer=self._carry_out(incoming) if kind.applied else Answer(HTTPStatus.OK),
            account=self._account,
            noise=draw.noise,
            stall_seconds=faults.stall_seconds,
            slow_seconds=faults.slow_seconds,
            retry_after=faults.retry_after,
        )
        await kind.effect(faulty)

    def _send_scripted(self, incoming: Incoming, scripted: ScriptedAnswer) -> None:
        self._stats.faults[SCRIPTED] += 1
        if scripted.applied:
            self._carry_out(incoming)
        incoming.send(scripted.to_answer())


def _is_receiver(path: str) -> bool:
    """Return whether a path belongs to the receiver of webhooks, which is not a part of the API."""
    return path.partition("?")[0].rstrip("/") == "/webhooks" or path.startswith("/webhooks/")
