"""The setting that makes clients share a limit through Redis."""

import importlib.util
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from ..._checks import setting_error, wrong_type
from .account import LAYOUT
from .store import Store

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

    RedisClient: TypeAlias = "Redis | RedisCluster"

__all__ = ["REDIS_SCHEMES", "RedisPacing", "check_redis_url"]

REDIS_SCHEMES: Final = ("redis://", "rediss://", "unix://")
_HINT: Final = "begin it with redis://, rediss:// or unix://"


@attrs.frozen(eq=False)
class RedisPacing:
    """Share the rate limit of one API key with other processes and machines, for `Pacing(shared=RedisPacing(url))`.

    The clients with the same key, base URL and Redis then send as one: they use the whole limit, and are hardly ever
    rate limited. Redis stores about 1 KB for each API key, for at least a minute after the last exchange, and never the
    key itself. No call fails because of Redis, and none waits for it for more than 0.25 s: if Redis does not answer,
    each client paces itself.

    Needs the extra `redis`, and Redis 5 or later. Raises `ImportError` if redis-py is missing, and
    `ClientSettingsError` if a setting is invalid.
    """

    source: "str | RedisClient" = attrs.field(repr=False)
    """A URL, such as `redis://user:password@redis.example.com:6379/0`, `rediss://` for TLS or `unix://` for a socket.

    Or your own client of `redis.asyncio`, such as one from Sentinel or for a cluster. You close it yourself, after the
    clients of aiorooms, and it must belong to the same event loop.
    """
    prefix: str = attrs.field(default="aiorooms", kw_only=True)
    """The beginning of all names in Redis. Clients with different prefixes don't share."""

    def __attrs_post_init__(self) -> None:
        if importlib.util.find_spec("redis") is None:  # pragma: no cover - the tests install it
            raise ImportError("RedisPacing needs redis-py; install it: pip install 'aiorooms[redis]'")
        source: object = self.source
        if isinstance(source, str):
            if not source.startswith(REDIS_SCHEMES):
                # The URL may contain a password, so it is not shown.
                raise setting_error("RedisPacing(source=)", "is not a URL of Redis", _HINT)
            check_redis_url("RedisPacing(source=)", source)
        elif not (hasattr(source, "evalsha") and hasattr(source, "aclose")):
            raise wrong_type("RedisPacing(source=)", type(source), "a URL or a client of redis.asyncio")
        if not isinstance(self.prefix, str) or not self.prefix or set(self.prefix) & set("{}"):  # pyright: ignore[reportUnnecessaryIsInstance]
            hint = "give a text without braces"
            raise setting_error("RedisPacing(prefix=)", f"is {self.prefix!r}", hint, self.prefix)

    def store(self, digest: str) -> Store:
        """Return the store of an API key and base URL, which `digest` identifies. Nothing is connected yet."""
        from .redis_store import RedisStore  # redis-py takes a tenth of a second to import

        return RedisStore(self.source, f"{self.prefix}:pacing:{LAYOUT}:{digest}")


def check_redis_url(setting: str, url: str) -> None:
    """Raise `ClientSettingsError` if redis-py can't use a URL. The error does not show it.

    A database that is not a number is invalid too. redis-py would use database 0.
    """
    from redis.asyncio import ConnectionPool

    database = url.partition("://")[2].partition("?")[0].partition("/")[2]
    try:
        pool: Any = ConnectionPool.from_url(url)  # pyright: ignore[reportUnknownMemberType]
        pool.make_connection()
        if database and not url.startswith("unix:"):
            int(database)
    except Exception:  # noqa: BLE001 - its text may contain the password
        hint = "give a URL such as redis://user:password@host:6379/0, and percent-encode special characters in it"
        raise setting_error(setting, "is not a valid URL of Redis", hint) from None
