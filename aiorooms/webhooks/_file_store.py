"""A store in an SQLite file: what was acknowledged survives a crash, and several processes may share the file.

Each event is committed, with `synchronous=FULL`, before it is acknowledged. All work is done by one thread. It commits
all waiting calls in one transaction, because a commit takes as long for 50 events as for one.

Example: 30 deliveries arrive within 3 ms. The commit of the first one takes 4 ms. The other 29 wait for it, and share
the next commit.
"""

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from .._aio import finish
from .._checks import check_at_least, check_positive
from ._store import Claimed, StoreFullError

__all__ = ["FileEventStore"]

T = TypeVar("T")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    body BLOB,
    attempts INTEGER NOT NULL,
    free_at REAL,
    handled_at REAL
);
CREATE INDEX IF NOT EXISTS free ON events (free_at) WHERE free_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS handled ON events (handled_at) WHERE handled_at IS NOT NULL;
"""
"""An event that is not handled has `free_at`, and a handled one has `handled_at` and no body."""

_MAX_BATCH: Final = 500

_MAX_JOBS: Final = 10_000
"""Maximum number of pieces of work that wait for the thread. Further deliveries are answered 503."""

_MAX_DELETED: Final = 1000
"""How many old keys are deleted in one piece of work."""


class FileEventStore:
    """Keeps events in an SQLite file at `path`, which is created with mode 0600 if it does not exist.

    - `remember`: how many seconds, above 0, the keys of handled events are remembered. Defaults to seven days.
    - `max_events`: maximum number of events that are not handled yet, 1 or more. Further deliveries are answered 503.

    The file must be on a local disk, because SQLite's locks don't work on many network file systems. Raises
    `ClientSettingsError` if a setting is invalid.
    """

    def __init__(self, path: str | Path, *, remember: float = 7 * 86_400.0, max_events: int = 100_000) -> None:
        check_positive("remember", remember)
        check_at_least(1, "max_events", max_events)
        self._pending = 0
        """About how many events are not handled yet. Used only in the thread. Counted anew from time to time, because
        other processes may share the file."""
        self._path = Path(path)
        self._remember = remember
        self._max_events = max_events
        self._thread: _Worker | None = None

    async def open(self) -> None:
        """See `EventStore.open`. Raises `sqlite3.Error` or `OSError` if the file can't be opened."""
        if self._thread is not None:
            return
        thread = _Worker(self._connect, self._recount)
        try:
            await thread.run(lambda _: None)
        except BaseException:
            await finish(asyncio.create_task(thread.stop()))
            raise
        self._thread = thread

    def _connect(self) -> sqlite3.Connection:
        self._path.touch(0o600)
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=30)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.executescript(_SCHEMA)
            self._recount(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _recount(self, connection: sqlite3.Connection) -> None:
        (count,) = connection.execute("SELECT count(*) FROM events WHERE free_at IS NOT NULL").fetchone()
        self._pending = int(count)

    async def close(self) -> None:
        """See `EventStore.close`."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            await thread.stop()

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._thread is None:
            raise RuntimeError("the store is not open")
        return await self._thread.run(work)

    async def add(self, key: str, body: bytes, *, lease_until: float) -> bool:
        """See `EventStore.add`."""
        if self._thread is not None and self._thread.jobs >= _MAX_JOBS:
            raise StoreFullError  # the disk is too slow

        def add(connection: sqlite3.Connection) -> bool:
            if self._pending >= self._max_events:
                known = connection.execute("SELECT 1 FROM events WHERE key = ?", (key,)).fetchone()
                if known is None:
                    raise StoreFullError
                return False
            added = connection.execute(
                "INSERT INTO events (key, body, attempts, free_at) VALUES (?, ?, 0, ?) ON CONFLICT (key) DO NOTHING",
                (key, body, lease_until),
            )
            self._pending += added.rowcount
            return added.rowcount == 1

        return await self._run(add)

    async def claim(self, limit: int, *, lease_until: float, now: float) -> Sequence[Claimed]:
        """See `EventStore.claim`."""

        def claim(connection: sqlite3.Connection) -> list[Claimed]:
            rows = connection.execute(
                "UPDATE events SET free_at = ? WHERE number IN "
                "(SELECT number FROM events WHERE free_at <= ? ORDER BY number LIMIT ?) "
                "RETURNING number, key, body, attempts",
                (lease_until, now, limit),
            ).fetchall()
            return [Claimed(key=key, body=body, attempts=attempts) for _, key, body, attempts in sorted(rows)]

        return await self._run(claim)

    async def renew(self, keys: Sequence[str], *, lease_until: float) -> None:
        """See `EventStore.renew`."""
        await self._run(
            lambda connection: connection.executemany(
                "UPDATE events SET free_at = ? WHERE key = ? AND free_at IS NOT NULL",
                [(lease_until, key) for key in keys],
            )
        )

    async def done(self, key: str, *, now: float) -> None:
        """See `EventStore.done`."""

        def finish(connection: sqlite3.Connection) -> None:
            text = "UPDATE events SET body = NULL, free_at = NULL, handled_at = ? WHERE key = ? AND free_at IS NOT NULL"
            self._pending -= connection.execute(text, (now, key)).rowcount

        await self._run(finish)

    async def release(self, key: str, *, attempts: int, due: float) -> None:
        """See `EventStore.release`."""
        await self._run(
            lambda connection: connection.execute(
                "UPDATE events SET attempts = ?, free_at = ? WHERE key = ? AND free_at IS NOT NULL",
                (attempts, due, key),
            )
        )

    async def tidy(self, *, now: float) -> None:
        """See `EventStore.tidy`. Keys are deleted in small batches, so that events don't wait."""

        def tidy(connection: sqlite3.Connection) -> int:
            self._recount(connection)
            chosen = "SELECT number FROM events WHERE handled_at < ? LIMIT ?"
            deleted = connection.execute(
                f"DELETE FROM events WHERE number IN ({chosen})",  # noqa: S608 - a constant
                (now - self._remember, _MAX_DELETED),
            )
            return deleted.rowcount

        while await self._run(tidy) == _MAX_DELETED:
            pass


class _Job:
    """One piece of work for the thread, and its result."""

    __slots__ = ("error", "future", "loop", "result", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], object], loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.loop = loop
        self.future: asyncio.Future[object] = loop.create_future()
        self.result: object = None
        self.error: BaseException | None = None

    def settle(self) -> None:
        """Hand the result to the caller of `run`. Called in the event loop."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class _Worker:
    """The thread that owns the connection."""

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], on_rollback: Callable[[sqlite3.Connection], None]
    ) -> None:
        self._connect = connect
        self._on_rollback = on_rollback
        self._jobs: deque[_Job] = deque()
        self._wake = threading.Event()
        self._is_stopping = False
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._main, name="aiorooms-events", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something in the thread, and return its result after it was committed."""
        if self._is_stopping:
            raise RuntimeError("the store is closed")
        job = _Job(work, self._loop)
        self._jobs.append(job)
        self._wake.set()
        # If the caller is cancelled, the work is done nevertheless.
        result: object = await asyncio.shield(job.future)
        return result  # type: ignore[return-value] # pyright: ignore[reportReturnType]

    @property
    def jobs(self) -> int:
        """Number of pieces of work that wait."""
        return len(self._jobs)

    async def stop(self) -> None:
        """Do what was asked for, close the connection, and end the thread."""
        self._is_stopping = True
        self._wake.set()
        await asyncio.shield(self._ended)

    def _main(self) -> None:
        connection: sqlite3.Connection | None = None
        try:
            while True:
                self._wake.wait()
                self._wake.clear()
                is_stopping = self._is_stopping  # read before the jobs, because no job is added after it was set
                while batch := self._next_batch():
                    try:
                        connection = connection or self._connect()
                        self._commit(connection, batch)
                    except BaseException as error:  # noqa: BLE001 - raised to the callers
                        for job in batch:
                            job.error = error
                    self._tell(batch)
                if is_stopping:
                    break
        finally:
            if connection is not None:
                connection.close()
            self._loop.call_soon_threadsafe(self._ended.set_result, None)

    def _next_batch(self) -> list[_Job]:
        return [self._jobs.popleft() for _ in range(min(len(self._jobs), _MAX_BATCH))]

    def _tell(self, batch: list[_Job]) -> None:
        def settle() -> None:
            for job in batch:
                job.settle()

        self._loop.call_soon_threadsafe(settle)

    def _commit(self, connection: sqlite3.Connection, batch: Sequence[_Job]) -> None:
        """Do all jobs in one transaction. If the database fails, none is done. Any other error is that of one job."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            for job in batch:
                try:
                    job.result = job.work(connection)
                except sqlite3.Error:
                    raise
                except Exception as error:  # noqa: BLE001 - raised to the caller of this job
                    job.error = error
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._on_rollback(connection)
            raise
