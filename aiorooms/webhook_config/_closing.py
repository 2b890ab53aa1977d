"""Close the source of an iteration that was left early."""

from collections.abc import AsyncGenerator
from typing import Any, cast

from ..resources._pages import RoomList

__all__ = ["close"]


async def close(source: object) -> None:
    """Close an async generator or a list of rooms, so that no request stays in flight. Ignore other sources."""
    if isinstance(source, AsyncGenerator | RoomList):
        await cast("AsyncGenerator[Any] | RoomList", source).aclose()
