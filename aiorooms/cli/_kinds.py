"""Notice a journal where a plan belongs, and the reverse, and name the command that was probably meant.

For example, `aiorooms apply rooms.plan.journal` is rejected with "is a journal, not a plan; continue its run with
`aiorooms resume rooms.plan.journal`".
"""

from pathlib import Path

from ..bulk._files import quoted_path
from ..bulk._kinds import kind_of_input
from ._command import Context, Step
from ._escaping import command_line
from ._streams import input_path, is_copy, is_standard

__all__ = ["command_for_table", "expect_journal", "expect_plan"]


def expect_plan(parameter: str, command: str, *, from_stdin: bool = True) -> Step:
    """Return a step that records a problem if the file of a parameter is a journal.

    If the path is `-`, the step replaces it with that of a copy of standard input, or records a problem.
    """

    def check(ctx: Context) -> None:
        path = _opened(ctx, parameter, "PLAN", "a plan", from_stdin=from_stdin)
        if path is not None and kind_of_input(path) == "journal":
            ctx.add_problem(_wrong_kind(path, "a journal, not a plan", _with_journal(command, path)), "PLAN")

    return check


def expect_journal(parameter: str, command: str, *, from_stdin: bool = True) -> Step:
    """Return a step that records a problem if the file of a parameter is a plan, and handles `-` in the same way."""

    def check(ctx: Context) -> None:
        path = _opened(ctx, parameter, "JOURNAL", "a journal", from_stdin=from_stdin)
        if path is not None and kind_of_input(path) == "plan":
            ctx.add_problem(_wrong_kind(path, "a plan, not a journal", _with_plan(command, path)), "JOURNAL")

    return check


def _opened(ctx: Context, parameter: str, name: str, what: str, *, from_stdin: bool) -> Path | None:
    """Return the path in a parameter, or that of a copy of standard input, or None."""
    path: Path | None = ctx.params[parameter]
    if path is None or not is_standard(path):
        return path
    if not from_stdin:
        ctx.add_problem(f"save {what} to a file first; apply, resume and status need a file that stays", name)
        return None
    copied = ctx.with_resource(input_path(path, what))
    ctx.params[parameter] = copied
    return copied


def command_for_table(path: Path) -> str | None:
    """Return the command that reads a plan or a journal where a table belongs; None for any other file."""
    kind = kind_of_input(path)
    return None if kind is None else command_line("apply" if kind == "plan" else "resume", path)


def _wrong_kind(path: Path, what: str, advice: str) -> str:
    # A command can't be repeated with the copy of standard input, which is removed at the end.
    return f"standard input is {what}" if is_copy(path) else f"{quoted_path(path)} is {what}; {advice}"


def _with_journal(command: str, path: Path) -> str:
    if command == "apply":
        return f"continue its run with `{command_line('resume', path)}`"
    if command == "show":
        return f"`{command_line('report', path)}` shows its runs"
    return f"give the plan that `aiorooms apply` was called with, such as {_plan_name(path)}"


def _plan_name(path: Path) -> str:
    name = path.name.removesuffix(".journal")
    return name if name != path.name else "rooms.plan"


def _with_plan(command: str, path: Path) -> str:
    journal = Path(f"{path}.journal")
    if kind_of_input(journal) == "journal":
        return f"use `{command_line(command, journal)}`"
    if command == "resume":
        return f"apply it with `{command_line('apply', path)}`"
    return f"give the journal that `{command_line('apply', path)}` writes"
