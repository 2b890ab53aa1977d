"""Reading a list page by page, the next page before it is needed.

Pages are counted, not anchored: when a room is deleted while the list is read, every room behind it moves up by one
place, and the first room of the next page slips onto the page that was read already. So when a page tells that the
list has become shorter, the pages before it are read again, as far as rooms can have slipped. When rooms are created
meanwhile, rooms move down and come twice. Every room is given once: the ids given are remembered, some 100 bytes each.
What can't be seen is a room that slips because as many rooms were created as deleted between two pages.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from typing import Final, TypeAlias

import attrs

from .._aio import end_tasks
from ..models import Room, RoomPage

__all__ = ["ReadPage", "RoomList"]

ReadPage: TypeAlias = Callable[[int], Coroutine[None, None, RoomPage]]
"""Reads the page of that number, from 1."""


class RoomList(AsyncIterator[Room]):
    """The rooms of a list: `async for room in client.rooms.list()`, or page by page with `.pages()`.

    Each page is fetched while the one before it is used, and each room is given once, also when rooms are created or
    deleted meanwhile. It can be looped over once; `.pages()` begins anew each time. Leave the loop when you like;
    `await aclose()` also drops the page under way at once.
    """

    def __init__(self, read_page: ReadPage, page_size: int) -> None:
        self._read_page = read_page
        self._page_size = page_size
        # One generator, not one around another: when both are dropped at a time, Python closes both at a time, and the
        # outer one finds the inner one "already running".
        self._pages: AsyncGenerator[RoomPage] | None = None
        self._rooms: Iterator[Room] = iter(())

    async def __anext__(self) -> Room:
        """Give the next room. Raises what `client.rooms.list` says."""
        if self._pages is None:
            self._pages = self.pages()
        while (room := next(self._rooms, None)) is None:
            self._rooms = iter(await anext(self._pages))
        return room

    async def aclose(self) -> None:
        """Stop, and drop the page that is being fetched."""
        self._rooms = iter(())
        if self._pages is None:
            self._pages = self.pages()
        await self._pages.aclose()

    def pages(self) -> AsyncGenerator[RoomPage]:
        """Give the list from its beginning, page by page; a page holds the rooms that none before it held."""
        return _pages(self._read_page, self._page_size)


_MOST_REWINDS: Final = 50
"""How often the end of a list may send us back, so that a list whose length goes up and down has an end."""


async def _pages(read_page: ReadPage, page_size: int) -> AsyncGenerator[RoomPage]:
    given: set[str] = set()
    number = 1
    total = rewound_from = 0
    rewind_to: int | None = None
    rewinds_at_end = _MOST_REWINDS
    next_page = asyncio.create_task(read_page(number))
    try:
        while True:
            page = await next_page
            before, total = total, page.total_results or 0
            if total < before:
                rewind_to = max(1, (rewind_to or number) - -(-(before - total) // page_size))
            fresh = tuple(room for room in page.rooms if room.id not in given)
            # A server that tells nothing of pages has told all when a page brings nothing new.
            more = number < page.total_pages if page.total_pages is not None else bool(fresh)
            last = not page.rooms or not more
            first = number == 1
            # In an account that changes all the time every page would send us back: so only from further on than the
            # last time, and at the end so many times.
            rewinds_at_end -= last and number <= rewound_from
            if rewind_to is not None and (number > rewound_from or (last and rewinds_at_end > 0)):
                rewound_from = max(rewound_from, number)
                number, rewind_to = rewind_to, None
                next_page = asyncio.create_task(read_page(number))
                continue
            number += 1
            if not last:
                next_page = asyncio.create_task(read_page(number))
            given.update(room.id for room in fresh if room.id is not None)
            if fresh or first:
                yield attrs.evolve(page, rooms=fresh)
            if last:
                return
    finally:
        await end_tasks([next_page])
