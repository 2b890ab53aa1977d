"""Connect to the store of runs, check it, and say in one line what is wrong with it."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Final

from ..._checks import setting_error
from ..._pacing.shared.settings import REDIS_SCHEMES, check_redis_url
from ...errors import DistributedRunError
from ._engine import Engine, opened_client
from ._store import STORE_ERRORS, StoreClient

__all__ = [
    "REDELIVERY",
    "SHORT",
    "Availability",
    "check_store",
    "check_url",
    "opened_engine",
    "opened_store",
    "store_errors",
    "text_of",
]

REDELIVERY: Final = 15.0
"""Seconds after which the batch of a worker that was killed goes to another one."""

SHORT: Final = 5.0
"""Time limit for steps that read little from the store, in seconds."""

_MEMORY: Final = "memory://"

_logger: Final = logging.getLogger("aiorooms.distributed")


class Availability:
    """Logs a warning when the store can't be used, and another one when it can again."""

    def __init__(self, meanwhile: str) -> None:
        """`meanwhile` says what happens until then."""
        self._meanwhile = meanwhile
        self._is_lost = False

    def lost(self, why: str) -> None:
        """Record that the store can't be used."""
        if not self._is_lost:
            _logger.warning("%s; %s", why, self._meanwhile)
        self._is_lost = True

    def found(self) -> None:
        """Record that the store can be used."""
        if self._is_lost:
            _logger.warning("the store can be used again")
        self._is_lost = False


def check_url(setting: str, on: str) -> None:
    """Raise `ClientSettingsError` if a URL can't be the one of a store. The error does not show it.

    A URL may contain a password.
    """
    schemes = (*REDIS_SCHEMES, _MEMORY)
    if not isinstance(on, str) or not on.startswith(schemes):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise setting_error(setting, "is not the URL of a store", f"begin it with one of {', '.join(schemes)}")
    if not on.startswith(_MEMORY):
        check_redis_url(setting, on)


@asynccontextmanager
async def opened_engine(on: str, account: str, *, redelivery: float = REDELIVERY) -> AsyncGenerator[Engine]:
    """Connect to a store. Raises `DistributedRunError` if it can't be reached."""
    engine = Engine(on, account, redelivery=redelivery)
    async with AsyncExitStack() as stack:
        with store_errors():
            await stack.enter_async_context(engine)
        yield engine


@asynccontextmanager
async def opened_store(on: str) -> AsyncGenerator[StoreClient]:
    """Connect to a store without a queue. Raises `DistributedRunError` if it can't be reached."""
    async with AsyncExitStack() as stack:
        with store_errors():
            client = await stack.enter_async_context(opened_client(on))
        yield client


async def check_store(engine: Engine, on: str) -> None:
    """Check that a store keeps its data. Log a warning if it loses all of it when it is killed.

    Raises `DistributedRunError` if it may evict data, and errors of the store.
    """
    if on.startswith(_MEMORY):
        return
    async with asyncio.timeout(SHORT):
        memory: dict[str, Any] = await engine.client.info("memory")
        persistence: dict[str, Any] = await engine.client.info("persistence")
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction" and memory.get("maxmemory"):
        raise DistributedRunError(
            f"the store may evict parts of a run, because its maxmemory-policy is {policy}",
            hint="set it to noeviction",
            reason="unsafe_store",
        )
    if not persistence.get("aof_enabled"):
        _logger.warning("the store keeps no append-only file: if it is killed, submit the plan again (appendonly yes)")


@contextmanager
def store_errors() -> Generator[None]:
    """Raise errors of the store as `DistributedRunError`. Their text may contain no password."""
    try:
        yield
    except DistributedRunError:
        raise
    except STORE_ERRORS as error:
        hint = "check that it runs and that its URL is right"
        raise DistributedRunError(f"the store can't be used: {text_of(error)}", hint=hint, reason="no_store") from None


def text_of(error: BaseException) -> str:
    """Return what an error of the store says."""
    return (str(error) or type(error).__name__).rstrip(".")
