"""Find the plan of a journal."""

from pathlib import Path

from ..errors import JournalError, PlanFileError
from ._files import quoted_path
from ._journal import Journal
from ._plan import Plan

__all__ = ["plan_of"]


def plan_of(journal: Journal, path: str | Path | None = None) -> Plan:
    """Open the plan of a journal. If `path` is None, the path comes from the journal.

    Raises `PlanFileError` if the plan can't be opened, and `JournalError` if the journal belongs to another plan.
    """
    try:
        plan = Plan.open(path or journal.plan_file)
    except PlanFileError as error:
        if path is not None or error.reason != "unreadable":
            raise
        hint = "the journal names this path; if the plan was moved, give its new path with plan="
        raise PlanFileError(error.message, hint=hint, reason="plan_missing") from None
    if (plan.plan_id, plan.sha256) != (journal.plan_id, journal.head.plan_sha256):
        text = f"the journal {quoted_path(journal.path)} doesn't belong to the plan {quoted_path(plan.path)}"
        raise JournalError(text, hint="pass the plan of this journal with plan=", reason="other_plan")
    return plan
