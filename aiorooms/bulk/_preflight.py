"""Check before a run whether it can begin, so that an operator confirms only a run that can begin.

The checks change nothing, and keep no lock. For example, `apply` is about to be called with `june.plan` and
`/mnt/june.journal`. The journal exists already, another run is applying the plan, and the API key was revoked. Without
these checks, the run would report the first error, the next attempt the second one, and so on. `check_new_run` returns
the first two errors together, and `check_key` raises the third.

What was checked may change before the run begins, so the run checks it again.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import attrs

from ..client import RoomsClient
from ..errors import JournalError, PlanFileError
from ._journal import Journal
from ._journal_writer import check_appendable, check_creatable
from ._lock import is_locked, plan_in_use
from ._plan import Plan
from ._plan_of_journal import plan_of

__all__ = ["Preflight", "check_key", "check_new_run", "check_plan", "check_resumed_run"]

FileError: TypeAlias = PlanFileError | JournalError


@attrs.define
class Preflight:
    """What the checks found."""

    problems: list[FileError] = attrs.Factory(list[FileError])
    """All errors of the files; empty if the run can begin."""
    plan: Plan | None = None
    """The plan; None if it can't be opened."""

    @property
    def has_other_server(self) -> bool:
        """Whether the plan was made for another server than the client's."""
        return any(problem.reason == "other_server" for problem in self.problems)

    @contextmanager
    def collecting(self) -> Generator[None]:
        """Add an error of a file that the block raises to the problems."""
        try:
            yield
        except (PlanFileError, JournalError) as error:
            self.problems.append(error)


def check_new_run(client: RoomsClient, plan: Path, journal: Path, *, lock: bool) -> Preflight:
    """Check the plan and the new journal of `apply`. `lock` has the same meaning as there."""
    found = check_plan(client, plan, lock=lock)
    with found.collecting():
        check_creatable(journal)
    return found


def check_plan(client: RoomsClient, plan: Path, *, lock: bool) -> Preflight:
    """Check the plan of a run that has no journal file. `lock` says whether another run may lock the plan."""
    found = Preflight()
    with found.collecting():
        found.plan = Plan.open(plan)
    _check_plan(found, client, lock=lock)
    return found


def check_resumed_run(client: RoomsClient, journal: Path, plan: Path | None, *, lock: bool) -> Preflight:
    """Check the journal of `resume` and its plan. `plan` and `lock` have the same meaning as there."""
    found = Preflight()
    with found.collecting():
        opened = Journal.open(journal)
        with found.collecting():
            check_appendable(journal, lock=lock)
        found.plan = plan_of(opened, plan)
    _check_plan(found, client, lock=lock)
    return found


async def check_key(client: RoomsClient) -> None:
    """Send a cheap GET: one room of the list. Raises `APIError` if the server rejects the key or can't be reached."""
    await client.rooms.list_page(page_size=1)


def _check_plan(found: Preflight, client: RoomsClient, *, lock: bool) -> None:
    plan = found.plan
    if plan is None:
        return
    with found.collecting():
        plan.check_server(client)
    # If the journal is locked, its run has locked the plan too. One message about that run is enough.
    if any(problem.reason == "journal_in_use" for problem in found.problems):
        return
    # Asking disturbs no run that begins in this moment. Taking the lock itself would.
    if lock and is_locked(plan.path):
        found.problems.append(plan_in_use(plan))
