"""Read a list page by page, and fetch the next page in advance.

The API identifies a page only by its number. If a room is deleted while the list is being read, all later rooms move up
by one place, and the first room of the next page moves to a page that was already read. So if a page reports a smaller
total than the previous page, the client rewinds: it goes back far enough to find every room that may have moved.

If a room is created, later rooms move down, and some are read twice. The client keeps the ids of all yielded rooms
(about 100 bytes each), so that no room is yielded twice.

A room can still be missed if one room is created and another is deleted between two pages, because the total then stays
the same.

Example, with pages of 3 rooms: page 1 contains A, B, C and reports 9 rooms. Then A is deleted, and D moves to page 1.
Page 2 contains E, F, G and reports 8 rooms, so page 1 is read again. Page 1 now contains B, C, D, and D is yielded,
because it was not yielded before. Then page 2 is read again, E, F and G are yielded, and the list continues.
"""

import asyncio
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Final, TypeAlias

import attrs

from .._aio import end_tasks
from ..models import Room, RoomPage

__all__ = ["ReadPage", "RoomList", "gated"]

ReadPage: TypeAlias = Callable[[int], Coroutine[None, None, RoomPage]]
"""Reads the page with the given number, counted from 1."""


class RoomList(AsyncIterator[Room]):
    """The rooms of a list: `async for room in client.rooms.list()`, or page by page with `.pages()`.

    The next page is fetched while you use the current one. No room is yielded twice, even if rooms are created or
    deleted during the iteration. You can iterate over the rooms only once, but each call of `.pages()` starts at the
    first page. You can leave the loop at any time. To cancel the request in flight at once, await `aclose()`.
    """

    def __init__(self, read_page: ReadPage, page_size: int) -> None:
        self._source = (read_page, page_size)
        # This iterator is a class, because an async generator that wraps another one can't be closed reliably. When
        # both are garbage-collected, the event loop closes both at once, and one finds the other "already running".
        self._pages: AsyncGenerator[RoomPage] | None = None
        self._rooms: Iterator[Room] = iter(())

    async def __anext__(self) -> Room:
        """Return the next room. Raises an `APIError` if a page can't be read, or `ClientStateError`."""
        if self._pages is None:
            self._pages = self.pages()
        while (room := next(self._rooms, None)) is None:
            self._rooms = iter(await anext(self._pages))
        return room

    async def aclose(self) -> None:
        """Stop the iteration, and cancel the request in flight."""
        self._rooms = iter(())
        if self._pages is None:
            self._pages = self.pages()
        await self._pages.aclose()

    def pages(self) -> AsyncGenerator[RoomPage]:
        """Yield the list page by page, from the first page. No room is on two of the yielded pages."""
        return _pages(*self._source)


def gated(rooms: RoomList, permit: Callable[[], Awaitable[None]]) -> RoomList:
    """Return a list of the same rooms that awaits `permit()` before each request for a page."""
    read_page, page_size = rooms._source  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    async def read_with_permit(number: int) -> RoomPage:
        await permit()
        return await read_page(number)

    return RoomList(read_with_permit, page_size)


_MAX_REWINDS_AT_END: Final = 50
"""Maximum number of rewinds from the last page. It ensures that a list ends even if its length keeps changing."""


async def _pages(read_page: ReadPage, page_size: int) -> AsyncGenerator[RoomPage]:
    yielded: set[str] = set()
    number = 1
    total = rewound_from = 0
    rewind_to: int | None = None
    rewinds_at_end = _MAX_REWINDS_AT_END
    has_warned = False
    next_page = asyncio.create_task(read_page(number))
    try:
        while True:
            page = await next_page
            if page.unreadable and not has_warned:
                has_warned = True
                text = "the list of rooms contains entries without an id, which are skipped; see RoomPage.unreadable"
                warnings.warn(text, RuntimeWarning, stacklevel=2)
            before, total = total, total if page.total_results is None else page.total_results
            if total < before:
                rewind_to = max(1, (rewind_to or number) - -(-(before - total) // page_size))
            fresh = tuple(room for room in page.rooms if room.id not in yielded)
            # If the server does not report the number of pages, the list ends at the first page without a new room.
            more = number < page.total_pages if page.total_pages is not None else bool(fresh)
            last = not (page.rooms or page.unreadable) or not more
            first = number == 1
            # In an account that changes constantly, every page could cause a rewind. So after a rewind, only pages
            # beyond the one that caused it can cause another. The last page can cause several, up to the maximum.
            rewinds_at_end -= last and number <= rewound_from
            if rewind_to is not None and (number > rewound_from or (last and rewinds_at_end > 0)):
                rewound_from = max(rewound_from, number)
                number, rewind_to = rewind_to, None
                next_page = asyncio.create_task(read_page(number))
                continue
            number += 1
            if not last:
                next_page = asyncio.create_task(read_page(number))
            yielded.update(room.id for room in fresh)
            if fresh or first:
                yield attrs.evolve(page, rooms=fresh)
            if last:
                return
    finally:
        await end_tasks([next_page])
