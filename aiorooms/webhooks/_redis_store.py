"""A store in Redis, which the receivers on several machines share. Needs the extra `redis`.

Each method is one Lua script, so it is atomic. All keys have the same hash tag, so they are in one slot of a cluster.

- `{prefix}:event:KEY`: a hash with the body and the attempts of an event that is not handled yet.
- `{prefix}:free`: a sorted set of these events, by the time at which they can be claimed.
- `{prefix}:handled:KEY`: exists as long as the key of a handled event is remembered.

Whether an acknowledged event survives a crash of Redis depends on its settings. With `appendonly yes` and `appendfsync
always` it does. With `everysec`, the events of about a second may be lost, and with the default, snapshots, more. Redis
must not evict keys: set `maxmemory-policy noeviction`.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from .._checks import check_at_least, check_positive
from ._store import Claimed, StoreFullError

try:
    from redis.asyncio import BlockingConnectionPool, Redis
except ImportError:  # pragma: no cover - the tests install it
    raise ImportError("RedisEventStore needs redis-py; install it: pip install 'aiorooms[redis]'") from None

if TYPE_CHECKING:
    from redis.commands.core import AsyncScript

__all__ = ["RedisEventStore"]

_CONNECTIONS: Final = 50
_CONNECTION_WAIT: Final = 20.0
"""Seconds that a call waits for a connection."""

_ADD: Final = """
local free, event, handled = KEYS[1], KEYS[2], KEYS[3]
if redis.call('EXISTS', event) == 1 or redis.call('EXISTS', handled) == 1 then return 0 end
if redis.call('ZCARD', free) >= tonumber(ARGV[4]) then return -1 end
redis.call('HSET', event, 'body', ARGV[2], 'attempts', 0)
redis.call('ZADD', free, ARGV[3], ARGV[1])
return 1
"""

_CLAIM: Final = """
local found = {}
for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])) do
    local event = redis.call('HMGET', ARGV[4] .. key, 'body', 'attempts')
    if event[1] then
        redis.call('ZADD', KEYS[1], ARGV[2], key)
        table.insert(found, {key, event[1], event[2]})
    else
        redis.call('ZREM', KEYS[1], key)  -- Redis has evicted the event
    end
end
return found
"""

_RENEW: Final = """
for number = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', ARGV[1], ARGV[number]) end
return 0
"""

_DONE: Final = """
if redis.call('ZREM', KEYS[1], ARGV[1]) == 1 then
    redis.call('DEL', KEYS[2])
    redis.call('SET', KEYS[3], 1, 'EX', ARGV[2])
end
return 0
"""

_RELEASE: Final = """
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then
    redis.call('HSET', KEYS[2], 'attempts', ARGV[2])
    redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
end
return 0
"""


class RedisEventStore:
    """Keeps events in Redis, where receivers on several machines share them.

    - `url`: such as `redis://user:password@redis.example.com:6379/0`, or `rediss://` for TLS.
    - `prefix`: the beginning of all keys. Receivers with the same prefix share their events.
    - `remember`: how many seconds, above 0 and rounded to at least 1, the keys of handled events are remembered.
      Defaults to seven days.
    - `max_events`: maximum number of events that are not handled yet, 1 or more. Further deliveries are answered 503.

    Raises `ClientSettingsError` if a setting is invalid.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "aiorooms",
        remember: float = 7 * 86_400.0,
        max_events: int = 100_000,
    ) -> None:
        check_positive("remember", remember)
        check_at_least(1, "max_events", max_events)
        self._url = url
        self._prefix = f"{{{prefix}}}"
        self._free = f"{self._prefix}:free"
        self._remember = max(1, round(remember))
        self._max_events = max_events
        self._redis: Redis | None = None
        self._scripts: dict[str, AsyncScript] = {}
        self._calls: set[asyncio.Task[Any]] = set()
        """The calls in progress. `close` waits for them."""

    async def open(self) -> None:
        """See `EventStore.open`. Raises `redis.RedisError` if Redis can't be reached."""
        if self._redis is None:
            # Calls wait for a connection. The default pool would raise an error if all are in use.
            pool = BlockingConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]
                self._url,
                max_connections=_CONNECTIONS,
                timeout=_CONNECTION_WAIT,
            )
            pool.connection_kwargs["decode_responses"] = False  # even if the URL says otherwise
            redis: Redis = Redis.from_pool(pool)
            try:
                await redis.ping()  # pyright: ignore[reportUnknownMemberType,reportGeneralTypeIssues]
            except BaseException:
                await redis.aclose()
                raise
            self._redis = redis

    async def close(self) -> None:
        """See `EventStore.close`."""
        if self._redis is not None:
            redis, self._redis = self._redis, None
            self._scripts.clear()
            if self._calls:
                await asyncio.wait(self._calls)
            await redis.aclose()

    async def _run(self, script: str, keys: Sequence[str], *arguments: object) -> Any:  # noqa: ANN401 - what Lua returns
        if self._redis is None:
            raise RuntimeError("the store is not open")
        if script not in self._scripts:
            self._scripts[script] = self._redis.register_script(script)
        # A call is not cancelled with its caller, because redis-py would then drop the connection.
        call = asyncio.create_task(self._call(self._scripts[script], keys, arguments))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return await asyncio.shield(call)

    async def _call(self, script: "AsyncScript", keys: Sequence[str], arguments: Sequence[object]) -> Any:  # noqa: ANN401
        return await script(keys=[*keys], args=[*arguments])  # type: ignore[list-item] # pyright: ignore[reportArgumentType]

    def _keys(self, key: str) -> tuple[str, str, str]:
        return self._free, f"{self._prefix}:event:{key}", f"{self._prefix}:handled:{key}"

    async def add(self, key: str, body: bytes, *, lease_until: float) -> bool:
        """See `EventStore.add`."""
        added: int = await self._run(_ADD, self._keys(key), key, body, lease_until, self._max_events)
        if added < 0:
            raise StoreFullError
        return added == 1

    async def claim(self, limit: int, *, lease_until: float, now: float) -> Sequence[Claimed]:
        """See `EventStore.claim`."""
        events = f"{self._prefix}:event:"
        rows: list[tuple[bytes, bytes, bytes]] = await self._run(_CLAIM, [self._free], now, lease_until, limit, events)
        return [Claimed(key=key.decode(), body=body, attempts=int(attempts)) for key, body, attempts in rows]

    async def renew(self, keys: Sequence[str], *, lease_until: float) -> None:
        """See `EventStore.renew`."""
        await self._run(_RENEW, [self._free], lease_until, *keys)

    async def done(self, key: str, *, now: float) -> None:
        """See `EventStore.done`."""
        await self._run(_DONE, self._keys(key), key, self._remember)

    async def release(self, key: str, *, attempts: int, due: float) -> None:
        """See `EventStore.release`."""
        await self._run(_RELEASE, self._keys(key), key, attempts, due)

    async def tidy(self, *, now: float) -> None:
        """Do nothing: Redis forgets the keys by itself."""
