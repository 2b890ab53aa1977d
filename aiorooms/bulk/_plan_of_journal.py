"""Find the plan of a journal.

A journal names the path that the plan had when `apply` was called. The plan may have been moved since, but a plan that
was copied together with its journal is beside it. Only a file with the plan's id and checksum is accepted. For example,
`apply` was called with `/srv/june.plan`, and both files were copied to `/backup`. For `/backup/june.plan.journal`,
`plan_of` checks

1. `/srv/june.plan`. This file is gone, or it is another plan by now: someone has made June's plan again.
2. `/backup/june.plan`. Its id and checksum are those in the journal, so it is the plan.

If `path` is given, only this path counts.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path, PureWindowsPath

from ..errors import JournalError, PlanFileError
from ._files import quoted_path
from ._journal import Journal
from ._plan import Plan

__all__ = ["plan_of"]


def plan_of(journal: Journal, path: str | Path | None = None) -> Plan:
    """Open the plan of a journal. If `path` is None, the plan is at the path in the journal, or beside the journal.

    Raises `PlanFileError` if the plan can't be opened, and `JournalError` if another plan is there.
    """
    failures: list[PlanFileError | JournalError] = []
    for place in _places(journal) if path is None else (Path(path),):
        try:
            plan = Plan.open(place)
        except PlanFileError as error:
            failures.append(error)
        else:
            if (plan.plan_id, plan.sha256) == (journal.plan_id, journal.head.plan_sha256):
                return plan
            failures.append(_other_plan(journal, plan))
    if path is not None:
        raise failures[0]
    raise _not_found(failures)


def _places(journal: Journal) -> Iterator[Path]:
    """Yield the paths at which the plan may be."""
    recorded = journal.plan_file
    yield recorded
    # The journal may come from another machine. On this one, a path of Windows would be a single name.
    name = PureWindowsPath(recorded.name).name
    beside = journal.path.parent / name
    if name and beside.absolute() != recorded:
        yield beside


def _other_plan(journal: Journal, plan: Plan) -> JournalError:
    text = f"the journal {quoted_path(journal.path)} doesn't belong to the plan {quoted_path(plan.path)}"
    return JournalError(text, hint="pass the plan of this journal with plan=", reason="other_plan")


def _not_found(failures: Sequence[PlanFileError | JournalError]) -> PlanFileError | JournalError:
    """Return one error that says what was found at each path. The most specific of the errors decides its type."""
    text = "; beside the journal, ".join(failure.message for failure in failures)
    for failure in failures:
        if failure.reason != "unreadable":
            return type(failure)(text, hint=failure.hint, reason=failure.reason)
    hint = "the journal names this path; if the plan was moved, give its new path with plan="
    return PlanFileError(text, hint=hint, reason="plan_missing")
