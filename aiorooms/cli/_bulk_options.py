"""Options of the commands that update many rooms: `update`, `apply` and `resume`."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from ._command import Context
from ._options import api_options, policy_option, value_option
from ._values import read_rate, whole_number

__all__ = ["MAX_FAILURES", "bulk_options", "check_force_and_strict", "concurrency_option", "max_failures_option"]

F = TypeVar("F", bound=Callable[..., Any])

_MAX_CONCURRENCY: Final = 1000
MAX_FAILURES: Final = 1_000_000

concurrency_option: Final = value_option(
    "--concurrency",
    "N",
    whole_number(1, _MAX_CONCURRENCY),
    f"Maximum number of updates in flight, 1 to {_MAX_CONCURRENCY}.",
    default="50",
)


def max_failures_option(more: str = "") -> Callable[[F], F]:
    """Return a decorator that adds `--max-failures`. `more` is appended to the help text."""
    return value_option(
        "--max-failures",
        "N",
        whole_number(1, MAX_FAILURES),
        f"Start no new update after N that failed, are uncertain or could not be sent.{more}  [default: no limit]",
    )


def bulk_options(command: F) -> F:
    """Add the options that `apply` and `resume` share."""
    options = (
        click.option(
            "--force",
            is_flag=True,
            help="Also change rooms with conflicts.  [default: leave them unchanged]",
        ),
        click.option(
            "--strict",
            is_flag=True,
            help="Treat any modification by someone else as a conflict.  [default: only that of a planned field]",
        ),
        max_failures_option(),
        policy_option,
        concurrency_option,
        value_option(
            "--rate",
            "N",
            read_rate,
            "Maximum number of requests per second, at least 0.001. The server may allow fewer.  [default: no limit]",
        ),
        click.option(
            "--no-lock",
            is_flag=True,
            help="Don't lock the journal and the plan. Only for file systems without locks.  [default: lock them]",
        ),
        click.option(
            "--yes", is_flag=True, help="Don't ask for confirmation.  [default: ask if more than one room changes]"
        ),
        api_options,
    )
    for option in reversed(options):
        command = option(command)
    return command


def check_force_and_strict(ctx: Context) -> None:
    """Record a problem if both `--force` and `--strict` were given."""
    if ctx.params["force"] and ctx.params["strict"]:
        ctx.add_problem("give only one of --force and --strict")
