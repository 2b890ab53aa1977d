"""The report of a journal: an HTML page that says what was changed, how it went, and what became of each room.

The journal is read once for totals, times and outcomes (`_summary`). The plan is then read for the names of the rooms
and for what was changed (`_report_rooms`). The chart is drawn (`_charts`), and the page is written in pieces
(`_report_page`).
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import attrs

from ..errors import JournalError
from ._charts import chart, check_matplotlib
from ._files import as_utf8, quoted_path
from ._journal import Journal
from ._lock import is_locked
from ._new_file import write_atomically
from ._output import check_output
from ._report_page import report_page
from ._report_rooms import list_rooms
from ._summary import summarize

__all__ = ["write_report"]


def write_report(journal: Journal, path: str | Path | BinaryIO) -> Sequence[int]:
    """Write the report of a journal as an HTML page: atomically to a path, or to a file that is open for writing bytes.

    The page needs no network access. It lists at most 100,000 rooms, and says how many it leaves out.

    Returns the numbers of the journal's damaged lines. The report names them, and does not count what they hide. Raises
    `JournalError` if the journal can't be read, matplotlib is not installed, the page can't be written, or `path` is
    the journal itself, and `PlanFileError` if the plan is modified meanwhile. If there is no plan any more, the names
    and changes come from the journal, as far as it has them.
    """
    if not isinstance(path, (str, Path)):
        return _write(journal, path.write)
    path = Path(path)
    check_output(path, journal, "report")
    with write_atomically(path, _unwritable) as file:  # checks the path before the journal is read
        return _write(journal, file.write)


def _unwritable(path: Path, reason: str) -> JournalError:
    return JournalError(f"the report {quoted_path(path)} can't be written: {reason}", reason="unwritable")


def _write(journal: Journal, write: Callable[[bytes], object]) -> Sequence[int]:
    check_matplotlib()
    # A run writes its end before it releases the lock, so the lines are read after the lock was asked for. If no run
    # held it, another one may have begun before the lines were read, so the lock is asked for again.
    is_held = is_locked(journal.path)
    journal = attrs.evolve(journal, size=Journal.open(journal.path).size)
    summary = summarize(journal)
    has_end = bool(summary.runs) and summary.runs[-1].has_end
    is_running = not has_end and (is_held or is_locked(journal.path)) is True
    rooms = list_rooms(journal, summary)
    for piece in report_page(journal, summary, rooms, chart(summary), at=time.time(), is_running=is_running):
        write(as_utf8(piece).encode())
    return summary.damaged_lines
