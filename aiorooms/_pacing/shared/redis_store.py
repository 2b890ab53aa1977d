"""The store in Redis. Needs the extra `redis`.

Each step is one script, which no other command interrupts, and which also returns the time. All names have the same
hash tag, so they belong to one slot of a cluster, and all of them expire:

- `{PREFIX:pacing:LAYOUT:DIGEST}:state`: a hash with the state and its token.
- `{PREFIX:pacing:LAYOUT:DIGEST}:inbox`: a list of reports that are not recorded yet.
- `{PREFIX:pacing:LAYOUT:DIGEST}:lock`: the client that records them now.
- `{PREFIX:pacing:LAYOUT:DIGEST}:CLIENT`: the channel of messages to one client. Nothing is stored there.

Each client has two connections, one for exchanges and one for messages. A client of redis-py that the user has made
brings its own connections. If it can't subscribe, permits are found by polling.
"""

import hashlib
import inspect
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final, TypeAlias

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from .store import Posted, StoreError, Swapped

__all__ = ["RedisStore"]

_Client: TypeAlias = Any
"""A client of redis.asyncio. Its commands have hardly any types."""

_logger: Final = logging.getLogger("aiorooms.pacing")

_POST: Final = """
local time = redis.call('TIME')
if ARGV[2] ~= '' then
    redis.call('RPUSH', KEYS[2], ARGV[2])
    redis.call('LTRIM', KEYS[2], -tonumber(ARGV[5]), -1)
    if redis.call('PTTL', KEYS[2]) < 0 then redis.call('PEXPIRE', KEYS[2], ARGV[3]) end
end
if redis.call('PTTL', KEYS[3]) > tonumber(ARGV[4]) then redis.call('DEL', KEYS[3]) end -- the clock was set back
if not redis.call('SET', KEYS[3], ARGV[1], 'NX', 'PX', ARGV[4]) then return {time} end
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end -- not ours
local found = redis.call('HMGET', KEYS[1], 'token', 'state')
return {time, found[1] or '', found[2] or '', redis.call('LRANGE', KEYS[2], 0, -1)}
"""

_SWAP: Final = """
local time = redis.call('TIME')
local holder = redis.call('GET', KEYS[3])
if (redis.call('HGET', KEYS[1], 'token') or '') ~= ARGV[2] or (holder and holder ~= ARGV[1]) then return {time} end
redis.call('HSET', KEYS[1], 'token', ARGV[3], 'state', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('LTRIM', KEYS[2], ARGV[6], -1)
for number = 7, #ARGV, 2 do redis.call('PUBLISH', ARGV[number], ARGV[number + 1]) end
local reports = redis.call('LRANGE', KEYS[2], 0, -1)
if #reports == 0 and holder then redis.call('DEL', KEYS[3]) end
return {time, reports}
"""

_INBOX_TTL: Final = 2.0
"""Seconds after which reports that nobody has recorded are deleted."""

_MAX_INBOX: Final = 1000
"""The number of reports that are kept if nobody records them."""

_LOCK_TTL: Final = 0.1
"""Seconds after which another client can take the lock from one that has stopped."""

_CONNECT_TIMEOUT: Final = 0.2
"""Seconds."""


class RedisStore:
    """The account of one API key. `source` is a URL, or a client of `redis.asyncio`."""

    def __init__(self, source: _Client, name: str) -> None:
        self._source = source
        self._name = f"{{{name}}}"
        self._is_checked = False
        """Whether the server was asked for its `maxmemory-policy`."""

    async def open(self, client: str) -> "RedisSession":
        """See `Store.open`."""
        is_ours = isinstance(self._source, str)
        session = RedisSession(_connect(self._source) if is_ours else self._source, self._name, client, is_ours=is_ours)
        try:
            await session.subscribe()
            if not self._is_checked:
                self._is_checked = True
                await session.warn_of_eviction()
        except BaseException:
            await session.close()
            raise
        return session


def _connect(url: str) -> _Client:
    options: dict[str, Any] = _no_introduction()
    return Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
        url,
        socket_connect_timeout=_CONNECT_TIMEOUT,
        socket_timeout=None,  # the link limits the time of each call
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        **options,
    )


@cache
def _no_introduction() -> dict[str, Any]:
    """Return the options with which redis-py does not send its name and version before the first command.

    Sending them takes a round trip, which delays forty clients that start together. Besides, redis-py reads its version
    from a file, which blocks the event loop.
    """
    is_new = "driver_info" in inspect.signature(AbstractConnection).parameters
    return {"driver_info": None} if is_new else {"lib_name": None, "lib_version": None}


class RedisSession:
    """The connections of one client. See `Session`."""

    def __init__(self, redis: _Client, name: str, client: str, *, is_ours: bool) -> None:
        self._redis = redis
        self._name = name
        self._keys = [f"{name}:{part}" for part in ("state", "inbox", "lock")]
        self._client = client
        self._is_ours = is_ours
        self.can_receive: bool = hasattr(redis, "pubsub")
        self._messages: Any = redis.pubsub(ignore_subscribe_messages=True) if self.can_receive else None

    async def subscribe(self) -> None:
        """Connect, and subscribe to messages."""
        if self._messages is not None:
            try:
                await self._messages.subscribe(f"{self._name}:{self._client}")
            except (RedisError, OSError) as error:
                raise _failed(error) from None

    async def warn_of_eviction(self) -> None:
        """Log a warning if Redis may evict the account."""
        try:
            memory: dict[str, Any] = await self._redis.info("memory")
        except (RedisError, OSError):
            return  # this user of Redis may not ask
        policy: object = memory.get("maxmemory_policy", "noeviction")
        if policy != "noeviction" and memory.get("maxmemory"):
            _logger.warning(
                "Redis may evict what clients share about the rate limit, because its maxmemory-policy is %s; "
                "set it to noeviction",
                policy,
            )

    async def post(self, report: bytes) -> Posted:
        """See `Session.post`."""
        limits = round(_INBOX_TTL * 1000), round(_LOCK_TTL * 1000), _MAX_INBOX
        reply = await self._run(_POST, self._client, report, *limits)
        now = _seconds(reply[0])
        if len(reply) == 1:
            return Posted(now, False)
        # A client of the user may decode answers.
        token, state, reports = reply[1:]
        return Posted(now, True, _bytes(token).decode(), _bytes(state), [*map(_bytes, reports)])

    async def swap(
        self, expected: str, token: str, state: bytes, *, ttl: float, recorded: int, messages: Mapping[str, bytes]
    ) -> Swapped:
        """See `Session.swap`."""
        words: list[str | bytes] = []
        for client, message in messages.items():
            words += f"{self._name}:{client}", message
        reply = await self._run(_SWAP, self._client, expected, token, state, round(ttl * 1000), recorded, *words)
        return Swapped(_seconds(reply[0]), len(reply) > 1, [*map(_bytes, reply[1])] if len(reply) > 1 else ())

    async def _run(self, script: str, *words: str | bytes | int) -> Any:  # noqa: ANN401 - what Lua returns
        try:
            try:
                return await self._redis.evalsha(_sha(script), 3, *self._keys, *words)
            except NoScriptError:  # Redis was restarted, or its scripts were flushed
                return await self._redis.eval(script, 3, *self._keys, *words)
        except (RedisError, OSError) as error:
            raise _failed(error) from None

    async def ping(self) -> None:
        """See `Session.ping`."""
        try:
            await self._redis.ping()
        except (RedisError, OSError) as error:
            raise _failed(error) from None

    async def receive(self) -> bytes:
        """See `Session.receive`."""
        while True:
            try:
                message: dict[str, Any] | None = await self._messages.get_message(timeout=None)
            except (RedisError, OSError) as error:
                raise _failed(error) from None
            if message is not None and message["type"] == "message":
                return _bytes(message["data"])

    async def close(self) -> None:
        """See `Session.close`."""
        for part in (self._messages, self._redis if self._is_ours else None):
            if part is not None:
                with suppress(RedisError, OSError):  # the connection is broken, and is closed anyway
                    await part.aclose()


@cache
def _sha(script: str) -> str:
    """Return the text by which Redis identifies a script."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _seconds(time: Sequence[bytes | str]) -> float:
    return int(time[0]) + int(time[1]) / 1e6


def _failed(error: Exception) -> StoreError:
    return StoreError(f"{type(error).__name__}: {error}")
