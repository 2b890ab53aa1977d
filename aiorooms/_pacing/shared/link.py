"""The link: the task that exchanges with the account in the store, so that no caller ever waits for the store.

The store can't calculate, so a client does it for all. To exchange, a client adds its report to the inbox in the store.
If no other client has the lock, it takes it, gets the state of the account and all reports, records them, leases
permits, and replaces the state. The store then sends a *notice* to each client that has reported or got permits, and to
the first `ASKING` in the queue. A client that finds the lock taken waits for its notice, and tries again after
`_PATIENCE`. So the reports of 40 clients that arrive together are recorded in one or two steps.

The lock only avoids work that would be done twice. What keeps the account right is the token of the state: a new state
is stored only if it was calculated from the current one. If the client with the lock stops, the lock expires, another
client records the same reports, and the first one's state is rejected later. A client that is alone needs no lock: it
replaces the state that it knows, in one round trip.

If the store does not answer within `TIMEOUT`, or has not recorded a report within `_MAX_WAIT`, or does not know of a
caller that has waited for `_CALLER_TIMEOUT`, sharing is *unavailable*: callers get their permits from what the client
has learned by itself. The link tries to join again, after a wait that doubles each time, from 0.05 s to 1 s, with
jitter. While callers wait, the store must show every `LIVENESS` seconds that it answers. So a store that is slow or
hangs delays a caller by at most 0.2 s.

Example: A, B and C report at the same time. A was first, and takes the lock. Its answer from the store contains the
state with the token `7f` and its own report. B's and C's reports go to the inbox. A replaces the state `7f` by `c2`,
and the answer contains the reports of B and C. A records them too, replaces `c2` by `e9`, and the inbox is empty, so
the lock is released. B and C receive their notices.
"""

import asyncio
import contextvars
import logging
import math
import random as random_module
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, cast

from ..._aio import end_tasks, sleep_unless
from .account import Account, Overview, Report, Want
from .gate import LIVENESS, SharedGate
from .messages import Notice, notice_to, read_notice, read_report, write_notice, write_report
from .store import Posted, Session, Store, StoreError, Swapped

__all__ = ["Link"]

TIMEOUT: Final = 0.12
"""Seconds within which the store must answer."""

_CALLER_TIMEOUT: Final = 0.2
"""Seconds within which the account must know of a new caller that waits."""

_JOIN_TIMEOUT: Final = 0.2
"""Seconds within which connecting and the first exchange must succeed."""

_FIRST_RETRY: Final = 0.05
_MAX_RETRY: Final = 1.0
_STABLE: Final = 10.0
"""The first and the longest wait before joining again, in seconds. Jitter makes it up to half shorter.

The wait is the first one again if the limit was shared for the third number of seconds.
"""

_PATIENCE: Final = 0.04
_POLL: Final = 0.01
"""Seconds without a notice after which a client tries to take the lock. The second number is for stores that can't
send messages."""

_MAX_WAIT: Final = 1.0
"""Seconds within which a report must be recorded."""

_MAX_STEP: Final = 1.0
"""Seconds. If the store's clock differs by more from what was expected, it was set, and the client joins again.

If it was set back, with a new account.
"""

_MAX_STATE: Final = 1_000_000
"""Bytes. A larger state is replaced by a new account."""

_DAMAGED: Final = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What reading a state or a report can raise if another program has written or damaged it."""

_logger: Final = logging.getLogger("aiorooms.pacing")


class Link:
    """Keeps one client in contact with the account.

    `waiting` returns the callers that wait, and `since` when the first of them began to wait. `changed` is called when
    permits have arrived or the store can't be used any more, and `announce` with whether the store is used and why not.
    """

    def __init__(
        self,
        store: Store,
        gate: SharedGate,
        *,
        waiting: Callable[[], Mapping[Want, int]],
        since: Callable[[Want], float],
        changed: Callable[[], None],
        announce: Callable[[bool, str], None],
        clock: Callable[[], float],
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self._store = store
        self._gate = gate
        self._waiting = waiting
        self._since = since
        self._changed = changed
        self._announce = announce
        self._clock = clock
        self._random = random
        self._task: asyncio.Task[None] | None = None
        self._wakeup = asyncio.Event()
        self._closing = asyncio.Event()
        self._asked_at: float | None = None
        """When the first caller began to wait that the account does not know, on the local clock."""
        self._caller_timeout: asyncio.Timeout | None = None
        """The time limit for this caller."""
        self._me = ""
        """The name of this client in the account."""
        self._account: Account | None = None
        """The account with the state `_token`, if this client has calculated it."""
        self._token = ""
        self._notice: Notice | None = None
        """The last notice."""
        self._noticed = asyncio.Event()
        self._offset = 0.0
        """The store's clock minus the local clock."""
        self._trip = math.inf
        """How exactly the offset is known: the round trip in which it was measured, in seconds."""
        self._contact_at = -math.inf
        """When the store answered the last time."""
        self._was_used: bool | None = None
        self._joined_with = 0
        """The number of the report with which the client has joined."""

    @property
    def overview(self) -> Overview | None:
        """What is known about the limit; None if it is not shared now."""
        return self._notice.overview if self._notice is not None and self._gate.status == "used" else None

    @property
    def shift(self) -> float:
        """The account's clock minus the local clock."""
        return self._offset - (0.0 if self._notice is None else self._notice.epoch)

    @property
    def _is_closing(self) -> bool:
        return self._closing.is_set()

    def wake(self, *, for_caller: bool = False) -> None:
        """Check whether an exchange is due. Start the link if this is the first call.

        `for_caller` means that a caller waits that the account does not know.
        """
        if self._is_closing:
            return
        if self._task is None:
            # The task must not inherit the context of the first caller, such as its trace.
            self._task = asyncio.create_task(self._run(), context=contextvars.Context())
        if for_caller and self._asked_at is None and self._gate.is_used:
            self._asked_at = self._clock()
            self._set_caller_timeout()
        self._wakeup.set()

    async def close(self) -> None:
        """Leave the account, if the store answers, and end the task. Can be called again."""
        self._closing.set()
        self._wakeup.set()
        task = self._task
        if task is not None:
            try:
                await asyncio.wait([task], timeout=2 * TIMEOUT)
            finally:
                await end_tasks([task])
        self._gate.loses()

    # --- joining ---

    async def _run(self) -> None:
        wait = _FIRST_RETRY
        self._me = secrets.token_hex(6)
        while not self._is_closing:
            self._gate.joins()
            self._account, self._token, self._notice, self._trip = None, "", None, math.inf
            began = self._clock()
            await self._stay()
            if self._clock() - began > _STABLE:
                wait = _FIRST_RETRY
            await sleep_unless(self._closing, wait * (0.5 + self._random() / 2))
            wait = min(2 * wait, _MAX_RETRY)

    async def _stay(self) -> None:
        """Join the account, and exchange until the store fails or the client is closed."""
        session: Session | None = None
        try:
            async with asyncio.timeout(None) as self._caller_timeout:
                self._set_caller_timeout()
                deadline = asyncio.get_running_loop().time() + _JOIN_TIMEOUT
                async with asyncio.timeout_at(deadline):
                    session = await self._store.open(self._me)
                async with asyncio.TaskGroup() as tasks:
                    listening = tasks.create_task(self._listen(session))
                    async with asyncio.timeout_at(deadline):
                        await self._exchange(session)
                    self._tell(True, "")
                    await self._exchange_when_due(session)
                    listening.cancel()
        except Exception as error:  # noqa: BLE001 - whatever fails here, callers must not wait for it
            self._lose(_first(error))
        finally:
            self._caller_timeout = None
            if session is not None:
                await _close(session)

    def _set_caller_timeout(self) -> None:
        """Set the time limit for the first caller that the account does not know."""
        if self._caller_timeout is not None and not self._caller_timeout.expired():
            left = None if self._asked_at is None else self._asked_at + _CALLER_TIMEOUT - self._clock()
            self._caller_timeout.reschedule(
                None if left is None else asyncio.get_running_loop().time() + max(0.0, left)
            )

    def _lose(self, error: BaseException) -> None:
        """Let callers get their permits without the store. This comes before anything that takes time."""
        self._gate.loses()
        self._asked_at = None
        is_first = self._was_used is not False
        if isinstance(error, TimeoutError):
            why = "it does not answer"
        elif isinstance(error, StoreError):
            why = str(error)
        else:
            why = f"unexpected {type(error).__name__}"
            if is_first:
                _logger.error("sharing the rate limit has failed unexpectedly", exc_info=error)
        self._tell(False, why)
        self._changed()

    def _tell(self, is_used: bool, why: str) -> None:
        if is_used != self._was_used:
            self._was_used = is_used
            self._announce(is_used, why)

    # --- exchanging ---

    async def _exchange_when_due(self, session: Session) -> None:
        while True:
            now = self._clock()
            waiting = self._waiting()
            due = self._gate.exchange_at(now, waiting)
            if due <= now or self._is_closing:
                if await self._exchange(session):
                    return
                continue
            checks_at = self._contact_at + LIVENESS if waiting else math.inf
            if checks_at <= now:
                async with asyncio.timeout(TIMEOUT):
                    await session.ping()
                self._contact_at = self._clock()
                continue
            self._wakeup.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(due, checks_at) - now):
                    await self._wakeup.wait()

    async def _listen(self, session: Session) -> None:
        if not session.can_receive:
            return
        while True:
            message = await session.receive()
            self._contact_at = self._clock()
            try:
                notice = read_notice(message)
            except ValueError:
                raise StoreError("a message could not be read") from None
            self._hear(notice)
            self._noticed.set()
            self._wakeup.set()

    def _hear(self, notice: Notice) -> None:
        """Record a notice. Older ones may arrive after newer ones."""
        before = self._notice
        if before is not None and before.epoch != notice.epoch:
            raise StoreError("its state was lost")
        if not notice.recorded and before is not None and not self._is_closing:
            raise StoreError("one of our reports was lost or came too late")
        if notice.recorded < self._joined_with:
            return  # it is about what the client had before it joined again
        if before is None or notice.at >= before.at:
            self._notice = notice
            self._gate.listens(notice.epoch, self.shift, notice.outlook, min(self._trip, TIMEOUT) / 2)
        self._gate.granted(notice.granted, self._clock())
        self._changed()

    async def _exchange(self, session: Session) -> bool:
        """Exchange once. Return whether the client has left. Raise TimeoutError or StoreError if the store fails."""
        began = self._clock()
        report = self._gate.report(began, {} if self._is_closing else self._waiting())
        report.leaves = self._is_closing
        if report.joins:
            self._joined_with = report.number
        if not await self._record_alone(session, report):
            async with asyncio.timeout(_MAX_WAIT):
                await self._post_until_recorded(session, report)
        is_first = self._gate.status != "used"
        self._gate.recorded(began)
        unknown = [self._since(want) for want in self._waiting() if not self._gate.knows(want)]
        self._asked_at = max(min(unknown), began) if unknown else None
        self._set_caller_timeout()
        if is_first:
            self._changed()
        return report.leaves

    async def _record_alone(self, session: Session, report: Report) -> bool:
        """If no other client is known, record a report without the lock. Return whether that was possible."""
        account, self._account = self._account, None
        if account is None or account.clients > 1:
            self._account = account
            return False
        account.begin(self._clock() + self.shift)
        account.record(self._me, report)
        account.finish()
        return (await self._swap(session, account, account.dump(), recorded=0)).is_done

    async def _post_until_recorded(self, session: Session, report: Report) -> None:
        """Record a report, or wait until another client has recorded it."""
        data = write_report(self._me, report)
        while True:
            self._noticed.clear()
            posted = await self._post(session, data)
            if posted.is_locked:
                await self._record_all(session, posted)
            if report.leaves:
                return  # no notice comes any more
            data = b""
            while not self._is_recorded(report):
                try:
                    async with asyncio.timeout(_PATIENCE if session.can_receive else _POLL):
                        await self._noticed.wait()
                except TimeoutError:
                    break
                self._noticed.clear()
            else:
                return

    def _is_recorded(self, report: Report) -> bool:
        return self._notice is not None and self._notice.recorded >= report.number

    async def _record_all(self, session: Session, posted: Posted) -> None:
        """Record the reports of all clients, until the inbox is empty or another client has taken the lock."""
        account, reports = self._load(posted), posted.reports
        while True:
            account, state = self._calculate(account, reports, posted.now)
            reply = await self._swap(session, account, state, recorded=len(reports))
            if not reply.is_done or not reply.reports:
                return
            reports = reply.reports

    def _calculate(self, account: Account, reports: Sequence[bytes], now: float) -> tuple[Account, bytes]:
        """Return the account after some reports, and its state; a new one if this one is damaged."""
        for attempt in (account, self._new_account(now)):
            try:
                attempt.begin(self._clock() + self._offset - attempt.epoch)
                for data in reports:
                    try:
                        client, report = read_report(data)
                    except _DAMAGED:
                        continue  # nobody can read it
                    attempt.record(client, report)
                attempt.finish()
                return attempt, attempt.dump()
            except _DAMAGED:
                continue
        raise StoreError("its reports are damaged")

    def _load(self, posted: Posted) -> Account:
        """Return the account in the store, or a new one if there is none that can be used."""
        account, self._account = self._account, None
        if posted.token == self._token and account is not None:
            return account
        self._token = posted.token
        if posted.state and len(posted.state) <= _MAX_STATE:
            with suppress(*_DAMAGED):
                account = Account.load(posted.state, self._random)
                # If the store's clock was set back, nothing in the account would ever expire.
                if account.epoch + account.exchanged_at <= posted.now + _MAX_STEP:
                    return account
        return self._new_account(posted.now)

    def _new_account(self, now: float) -> Account:
        account = Account(self._random)
        # No two accounts have the same epoch, so that clients notice a new one.
        account.epoch = round(now - secrets.randbelow(1_000_000) / 1e6, 6)
        return account

    # --- the store ---

    async def _post(self, session: Session, data: bytes) -> Posted:
        began = self._clock()
        async with asyncio.timeout(TIMEOUT):
            posted = await session.post(data)
        self._set_clock(began, posted.now)
        return posted

    async def _swap(self, session: Session, account: Account, state: bytes, *, recorded: int) -> Swapped:
        """Try to store an account. If it is stored, it is the current one."""
        messages = {name: write_notice(notice_to(account, name)) for name in account.woken if name != self._me}
        token = secrets.token_hex(6)
        began = self._clock()
        async with asyncio.timeout(TIMEOUT):
            reply = await session.swap(self._token, token, state, ttl=account.ttl, recorded=recorded, messages=messages)
        self._set_clock(began, reply.now)
        if reply.is_done:
            self._account, self._token = account, token
            self._hear(notice_to(account, self._me))
        return reply

    def _set_clock(self, began: float, now: float) -> None:
        """Compare the store's clock with the local one. The shorter the round trip, the more exact it is."""
        self._contact_at = ended = self._clock()
        offset, trip = now - (began + ended) / 2, ended - began
        if self._trip < math.inf and abs(offset - self._offset) > _MAX_STEP:
            raise StoreError("its clock was set")
        self._trip *= 1.01  # clocks drift, so a measurement counts only for a while
        if trip <= self._trip:
            self._offset, self._trip = offset, trip


async def _close(session: Session) -> None:
    # Closing a connection to a server that hangs can take long.
    with suppress(TimeoutError, StoreError):
        async with asyncio.timeout(TIMEOUT):
            await session.close()


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error
