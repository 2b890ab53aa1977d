"""Options of the commands that update many rooms: `update`, `apply` and `resume`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypedDict, TypeVar

import click

from .._http.retry import RetryPolicy
from ..bulk._apply import OUTAGE_PATIENCE
from ._command import Context, Step
from ._options import MAX_ROOMS, SHARED_PACING, api_options, policy_option, value_option
from ._values import read_patience, read_rate, whole_number

__all__ = [
    "BULK_SECTIONS",
    "MAX_FAILURES",
    "RunSettings",
    "bulk_options",
    "concurrency_option",
    "dry_run_option",
    "max_failures_option",
    "no_breaker_option",
    "outage_patience_option",
    "patience_of",
    "rate_option",
    "read_settings",
    "reject_dry_run",
    "retries_option",
    "shared_pacing_option",
]

F = TypeVar("F", bound=Callable[..., Any])

_MAX_CONCURRENCY: Final = 1000
_MAX_RETRIES: Final = 100
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
        f"Begin no new update after N that failed, are uncertain or could not be sent.{more}  [default: no limit]",
    )


retries_option: Final = value_option(
    "--retries",
    "N",
    whole_number(0, _MAX_RETRIES),
    f"Maximum number of retries of a request, 0 to {_MAX_RETRIES}. Those during an outage don't count."
    f"  [default: {RetryPolicy().max_attempts - 1}]",
)


def outage_patience_option(more: str = "") -> Callable[[F], F]:
    """Return a decorator that adds `--outage-patience`. `more` is appended to the default in the help text."""
    return value_option(
        "--outage-patience",
        "TIME",
        read_patience,
        "Stop when an outage has lasted this long: 90, 90s, 5m or 1h. With off, don't wait for the end of an outage:"
        f" rooms fail when their requests have no retries left.  [default: {OUTAGE_PATIENCE:g}s{more}]",
    )


rate_option: Final = value_option(
    "--rate",
    "RATE",
    read_rate,
    "Maximum number of requests per second, such as 10, 10/s or 600/m. The server may allow fewer."
    "  [default: no limit]",
)

shared_pacing_option: Final = click.option(
    "--shared-pacing",
    metavar="URL",
    help="Redis through which all processes with the same key share the rate limit, such as redis://HOST:6379/0."
    f"  [default: {SHARED_PACING}, or not shared]",
)

no_breaker_option: Final = click.option(
    "--no-breaker",
    is_flag=True,
    help="Don't stop when many updates fail: more than 20 % of the first 50, or 50 in a row.  [default: stop]",
)

dry_run_option: Final = click.option(
    "--dry-run", "-n", is_flag=True, hidden=True, help="Not supported: a plan is the dry run."
)


def bulk_options(command: F) -> F:
    """Add the options that `apply` and `resume` share. The step `read_settings` replaces some with `settings`."""
    options = (
        value_option(
            "--limit",
            "N",
            whole_number(1, MAX_ROOMS),
            "Begin at most N updates, then stop. `aiorooms resume` continues the run.  [default: all rooms]",
        ),
        click.option(
            "--yes",
            "-y",
            is_flag=True,
            help="Don't ask for confirmation.  [default: ask if more than one room changes]",
        ),
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
        no_breaker_option,
        rate_option,
        shared_pacing_option,
        concurrency_option,
        retries_option,
        outage_patience_option(),
        policy_option,
        click.option(
            "--no-lock",
            is_flag=True,
            help="Don't lock the journal and the plan. Only for file systems without locks.  [default: lock them]",
        ),
        dry_run_option,
        api_options,
    )
    for option in reversed(options):
        command = option(command)
    return command


BULK_SECTIONS: Final[Mapping[str, Sequence[str]]] = {
    "How far it goes": ("--limit", "--retry-failed", "--max-failures", "--no-breaker"),
    "Confirmation": ("--yes", "--approve"),
    "Rooms that someone else modified": ("--force", "--strict"),
    "Speed and patience": (
        "--rate",
        "--shared-pacing",
        "--concurrency",
        "--retries",
        "--outage-patience",
        "--timeout",
    ),
    "Files": ("--journal", "--plan", "--policy", "--no-lock"),
    "Several machines": ("--on",),
    "Server": ("--base-url", "--allow-insecure-http", "--proxy"),
    "Output": ("--json", "--verbose"),
}
"""The options of `apply` and `resume` in their `--help`, by what an operator wants to decide."""


class RunSettings(TypedDict):
    """The arguments that `bulk.apply` and `bulk.resume` share."""

    concurrency: int
    force: bool
    strict: bool
    max_failures: int | None
    limit: int | None
    outage_patience: float | None
    lock: bool


def read_settings(ctx: Context) -> None:
    """Replace the options that are arguments of `bulk.apply` and `bulk.resume` with `settings`."""
    params = ctx.params
    if params["force"] and params["strict"]:
        ctx.add_problem("give only one of --force and --strict")
    ctx.params["settings"] = RunSettings(
        concurrency=params.pop("concurrency"),
        force=params.pop("force"),
        strict=params.pop("strict"),
        max_failures=params.pop("max_failures"),
        limit=params.pop("limit"),
        outage_patience=patience_of(params.pop("outage_patience"), default=OUTAGE_PATIENCE),
        lock=not params.pop("no_lock"),
    )


def patience_of(given: float | None, *, default: float | None) -> float | None:
    """Return the argument `outage_patience` for the value of the option: 0 is `off`, and None if it was not given."""
    return default if given is None else given or None


def reject_dry_run(instead: str) -> Step:
    """Return a step that rejects `--dry-run`, and says what shows the changes without making them."""

    def reject(ctx: Context) -> None:
        if ctx.params.pop("dry_run"):
            ctx.add_problem(f"there is no dry run of this command; {instead}", "--dry-run")

    return reject
