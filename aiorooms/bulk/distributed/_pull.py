"""Write the log of a distributed run as an ordinary journal.

The lines of the batches are merged by time, so the journal is as if a single run had written it. For example, the
batches 0 to 3 were applied by two workers at once, and batch 1 was opened before batch 0 had ended. A line is
written when no batch that is read later can have an earlier one. For this, the batches are read in the order in which
they were begun, and at most the lines of the batches that overlap are in memory.
"""

import asyncio
import heapq
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from .._files import JsonObject, json_object
from .._journal_records import JournalHeader, Run, Stop, begin_line, line_of, recordable
from .._journal_writer import check_creatable, unwritable_journal
from .._line_checksum import sealed
from .._new_file import write_atomically_async
from ._batches import NOT_BEGUN
from ._store import Head, RunStore, lost

__all__ = ["write_journal"]


class _Line(NamedTuple):
    at: float
    """When the store recorded it. The times in the lines are those of the workers, whose clocks differ."""
    order: int
    """Keeps lines with the same time in their order."""
    line: bytes


async def write_journal(store: RunStore, head: Head, path: Path) -> None:
    """Write the journal of a run. Raises `JournalError` if the file exists or can't be written."""
    await asyncio.to_thread(check_creatable, path)
    async with write_atomically_async(path, unwritable_journal) as file:
        header = JournalHeader(
            plan=head.header.plan_id,
            plan_file=str(head.settings.get("plan_file", "")),
            plan_sha256=head.totals.sha256,
            base_url=head.header.base_url,
            rooms=head.totals.rooms,
            at=head.runs[0]["began_at"],
            source=recordable(head.header.source[:1000]),
            plan_created_at=recordable(head.header.created_at[:1000]),
        )
        file.write(sealed(line_of(header)))
        async for line in _merged(store, head):
            file.write(sealed(line))


async def _merged(store: RunStore, head: Head) -> AsyncIterator[bytes]:
    begun: list[tuple[float, int]] = []
    for number in range(head.batches):
        first = await store.began(number)
        if first is not None:
            begun.append((first, number))
    begun.sort()
    waiting: list[_Line] = [*_runs(head.runs)]
    waiting += _parsed(await store.log(None), (), store.run)
    heapq.heapify(waiting)
    for at, number in begun:
        while waiting and waiting[0].at < at:
            yield heapq.heappop(waiting).line
        plan = await store.lines(number)
        rows = await store.rows(number)
        for line in _parsed(await store.log(number), plan, store.run, rows):
            heapq.heappush(waiting, line)
    while waiting:
        yield heapq.heappop(waiting).line


def _runs(runs: Sequence[Mapping[str, Any]]) -> Iterator[_Line]:
    for run in runs:
        began, ended = float(run["began_at"]), run.get("ended_at")
        yield _Line(began, -1, line_of(Run(run=int(run["run"]), at=began)))
        if ended is not None:
            yield _Line(float(ended), 1 << 60, line_of(Stop(stop=recordable(str(run["ended"])), at=float(ended))))


def _parsed(texts: Sequence[bytes], plan: Sequence[bytes], run: str, rows: str = "") -> Iterator[_Line]:
    """Yield the lines of a journal for the texts of a log. A room's `begin` line has its values from the plan.

    `rows` has the letter of each room of the batch. A room that was not begun after all has no `begin` line.
    """
    order, time = 0, 0.0
    for line in b"".join(texts).splitlines(keepends=True):
        if line.startswith(b"#"):
            time = int(line[1:]) / 1000
            continue
        value = json_object(line)
        at = None if value is None else value.get("at")
        if value is None or not isinstance(at, (int, float)):
            raise lost(run, "a log is damaged")
        for text in _expanded(value, line, at, plan, rows):
            order += 1
            yield _Line(time, order, text)


def _expanded(value: JsonObject, line: bytes, at: float, plan: Sequence[bytes], rows: str) -> list[bytes]:
    """Return the `begin` line of each room that a line names by its place; any other line as it is."""
    places = value.get("begin")
    if not isinstance(places, list):
        return [line]
    return [begin_line(plan[place], at) for place in cast("list[int]", places) if rows[place] != NOT_BEGUN]
