"""Where the new values of `aiorooms plan` come from: a table, or the options that select rooms and edit them."""

from collections.abc import Sequence
from pathlib import Path

import attrs

from .._text import quoted
from .._webhook_url import WebhookUrlPolicy
from ..bulk import Rows, read_rows, select
from ..bulk._kinds import kind_of_input
from ..bulk._problems import Problems
from ..bulk._sources.conditions import Condition, read_conditions
from ..errors import BulkInputError
from ._command import Context
from ._kinds import command_for_table
from ._streams import is_standard, standard_input
from ._words import input_problems

__all__ = ["Table", "read_source"]


@attrs.frozen
class Table:
    """The rows of FILE, before they are read."""

    file: Path
    where: Sequence[Condition]
    ignore_columns: bool
    skip_invalid: bool
    policy: WebhookUrlPolicy

    def rows(self, *, check: bool = False) -> Rows:
        """Read all rows. With `check`, a value that breaks a rule is a problem even if its room has it already."""
        return read_rows(
            standard_input("rows") if is_standard(self.file) else self.file,
            where=self.where,
            ignore_unknown_columns=self.ignore_columns,
            defer_values=not check,
            skip_invalid=self.skip_invalid,
            webhook_url_policy=self.policy,
        )


def read_source(ctx: Context) -> None:
    """Set `source` to the rows of FILE, or to the selection that the options describe."""
    params = ctx.params
    file: Path | None = params["file"]
    options = {name: params.pop(name) for name in ("where", "set_fields", "rewrite_webhook_host")}
    ignore_columns: bool = params.pop("ignore_columns")
    params["source"] = None
    if ctx.is_invalid("FILE"):
        return
    needs_file = (("--check", params["check"]), ("--strict", params["strict"]), ("--ignore-columns", ignore_columns))
    needs_account = (("--strict", params["strict"]), ("--skip-invalid", params["skip_invalid"]))
    wrong = [option for option, given in needs_file if file is None and given]
    wrong += [option for option, given in needs_account if file is not None and params["check"] and given]
    for option in wrong:
        advice = "give a FILE too" if file is None else "omit it or --check, which does not read the account"
        ctx.add_problem(advice, option)
    if wrong:
        return
    if (file is None) != bool(options["set_fields"] or options["rewrite_webhook_host"]):
        ctx.add_problem(
            "give either FILE, or at least one of --set and --rewrite-webhook-host; see `aiorooms plan --help`"
        )
    elif file is None:
        try:
            params["source"] = select(**options, webhook_url_policy=params["policy"])
        except BulkInputError as error:
            for problem in input_problems(error):
                message = f"{problem.field}: {problem.message}" if problem.field else problem.message
                ctx.add_problem(message, problem.file)
    elif (command := command_for_table(file)) is not None:
        kind = "a plan" if kind_of_input(file) == "plan" else "a journal"
        ctx.add_problem(f"{quoted(str(file))} is {kind}; use `{command}`", "FILE")
    else:
        problems = Problems("--where")
        where = read_conditions(options["where"], problems)
        for problem in problems.listed():
            ctx.add_problem(problem.message, "--where")
        params["source"] = Table(file, where, ignore_columns, params["skip_invalid"], params["policy"])
