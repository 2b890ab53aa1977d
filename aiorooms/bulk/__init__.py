"""Change many rooms of an account: plan, apply, resume and roll back.

    wanted = select(where=["webhook_host=old.example.com"], rewrite_webhook_host=["old.example.com=new.example.com"])
    async with RoomsClient() as client:
        await make_plan(client, wanted, "tonight.plan")
        run = apply(client, Plan.open("tonight.plan"), "tonight.journal")
        async with contextlib.aclosing(run.outcomes()) as outcomes:
            async for outcome in outcomes:
                ...

A plan file lists the rooms to change, with their old and new values. A journal records each update before it is sent,
and later its outcome. After a crash, `resume` continues from the journal. `plan_rollback` makes a plan that restores
the old values.
"""

from ..errors import BulkInputError, InputProblem, JournalError, PlanFileError
from ..models._fields import Values
from ._apply import BulkRun, apply, resume
from ._export import export_rooms
from ._journal import Journal
from ._journal_records import Ending
from ._new_webhooks import ProbeUrls
from ._outcomes import Outcome
from ._plan import Plan
from ._plan_records import PlannedUpdate
from ._plan_writer import PlanSummary
from ._planning import Change, Wanted, make_plan
from ._report import write_report
from ._rollback import Rollback, plan_rollback
from ._sources.computed import computed
from ._sources.rows import Rows, read_rows
from ._sources.selection import Selection, select
from ._verify import Difference, verify

__all__ = [
    "BulkInputError",
    "BulkRun",
    "Change",
    "Difference",
    "Ending",
    "InputProblem",
    "Journal",
    "JournalError",
    "Outcome",
    "Plan",
    "PlanFileError",
    "PlanSummary",
    "PlannedUpdate",
    "ProbeUrls",
    "Rollback",
    "Rows",
    "Selection",
    "Values",
    "Wanted",
    "apply",
    "computed",
    "export_rooms",
    "make_plan",
    "plan_rollback",
    "read_rows",
    "resume",
    "select",
    "verify",
    "write_report",
]
