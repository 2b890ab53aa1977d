"""`aiorooms plan`: write a plan from a file or from options."""

import sys
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Final

import click

from .._aio import close
from .._text import counted, quoted
from .._webhook_url import WebhookUrlPolicy
from ..bulk import Plan, PlanSummary, ProbeUrls, Rows, Selection, Wanted, make_plan
from ..bulk._plan_review import review_of
from ..client import RoomsClient
from ..errors import BulkInputError
from ..webhook_config import EventSigner, ProbeResult, probe_many
from ._bulk_options import dry_run_option, reject_dry_run
from ._command import Command, Context
from ._diff import show_how_to_apply
from ._escaping import escape
from ._exit_codes import CHANGES, OK
from ._key_files import probe_options, read_signer
from ._options import (
    CONNECTION_OPTIONS,
    FILE,
    api_options,
    check_new_file,
    every_room_option,
    make_client_and_keep_policy,
    overwrite_option,
    policy_option,
    read_policy,
)
from ._output import Output, Reading
from ._plan_source import Table, read_source
from ._repeated import Repeated, keep_repeated
from ._review import lines_not_restorable, totals_of
from ._run import interrupted_before, run
from ._show import write_plan
from ._stderr import print_some_problems
from ._streams import is_standard, output_path, reject_two_outputs
from ._watch import stats_option

__all__ = ["DETAILED", "plan"]

DETAILED: Final = "--detailed-exitcode"

_NO_DRY_RUN: Final = reject_dry_run("a plan is the dry run: it changes no room")


def _check_probe(ctx: Context) -> None:
    """Set `probe` to the function that probes URLs, or to None."""
    wanted: bool = ctx.params.pop("probe")
    allow_private: bool = ctx.params.pop("allow_private")
    read_signer(ctx)
    signer: EventSigner | None = ctx.params.pop("signer")
    ctx.params["probe"] = partial(probe_many, signer=signer, allow_private=allow_private) if wanted else None
    if not wanted:
        for option, given in (("--allow-private", allow_private), ("--signing-key", signer is not None)):
            if given:
                ctx.add_problem("give --probe too", option)
    elif ctx.params["check"]:
        ctx.add_problem("give either --probe or --check, which does not read the account", "--probe")


def _check_out_and_make_client(ctx: Context) -> None:
    """Check `--out` and create `client`. With `--check`, `client` is None, because the account is not read."""
    if ctx.params.pop("check"):
        for name in ("overwrite", "timeout", *CONNECTION_OPTIONS):
            del ctx.params[name]
        ctx.params["client"] = None
        return
    # If FILE is no input, such as a plan, the new plan would often have its name. That says nothing more.
    out = None if ctx.is_invalid("FILE") else ctx.params["out"]
    check_new_file(ctx, "--out", out, source=ctx.params["file"])
    reject_two_outputs(ctx, "out", "--out", "the plan")
    make_client_and_keep_policy(ctx)


_SECTIONS: Final = {
    "What changes": ("--where", "--set", "--rewrite-webhook-host"),
    "Checks": ("--check", "--strict", "--skip-invalid", "--ignore-columns", "--policy"),
    "Probe of new webhook URLs": ("--probe", "--allow-private", "--signing-key"),
    "Files": ("--out", "--overwrite"),
    "Server": ("--timeout", "--base-url", "--allow-insecure-http", "--proxy"),
    "Output": ("--all", DETAILED, "--stats", "--json", "--verbose", "--quiet"),
}
"""The options in `--help`."""


@click.command(
    cls=Command,
    steps=[_NO_DRY_RUN, keep_repeated, read_policy, read_source, _check_probe, _check_out_and_make_client],
    sections=_SECTIONS,
)
@click.argument("file", metavar="[FILE]", required=False, type=FILE)
@click.option(
    "--where",
    metavar="COND",
    multiple=True,
    help="Only change rooms that meet this condition, also with FILE. Repeat the option for more conditions, which must"
    " all be met.  [default: all rooms]",
)
@click.option(
    "--set",
    "set_fields",
    metavar="FIELD=VALUE",
    multiple=True,
    help="New value of a field. Repeat the option for more fields.  [default: unchanged]",
)
@click.option(
    "--rewrite-webhook-host",
    metavar="OLD=NEW",
    multiple=True,
    help="Replace the host OLD in webhook and failover URLs. Path and query are kept, and scheme and port too unless"
    " NEW has its own, as in https://new.example.com:8443. Repeat the option for more hosts.  [default: unchanged]",
)
@click.option(
    "-o",
    "--out",
    metavar="PLAN",
    type=FILE,
    default="rooms.plan",
    show_default=True,
    help="Path of the new plan; - is standard output.",
)
@overwrite_option
@click.option(
    "--check",
    is_flag=True,
    help="Only check FILE, and every value in it, without reading the account.  [default: check and plan]",
)
@click.option(
    "--strict",
    is_flag=True,
    help="Report an error if a room was modified after FILE was exported.  [default: report the number of rooms]",
)
@click.option(
    "--skip-invalid",
    is_flag=True,
    help="List the rooms and rows with a problem, and plan all others.  [default: write no plan if there is a problem]",
)
@click.option(
    "--ignore-columns",
    is_flag=True,
    help="Ignore unknown columns of FILE, unless they look mistyped.  [default: report an error]",
)
@policy_option
@click.option(
    "--probe",
    is_flag=True,
    help="Send a test event to each new webhook URL, and write no plan if one fails.  [default: send none]",
)
@probe_options
@every_room_option
@click.option(
    DETAILED,
    is_flag=True,
    help="Exit with 0 if the plan is empty, 2 if it has changes, 1 on errors.  [default: 0 if the plan was written]",
)
@dry_run_option
@stats_option
@api_options
def plan(
    file: Path | None,
    source: Table | Selection,
    out: Path,
    strict: bool,
    skip_invalid: bool,
    policy: WebhookUrlPolicy,
    probe: ProbeUrls | None,
    every_room: bool,
    detailed_exitcode: bool,
    repeated: Repeated,
    client: RoomsClient | None,
    as_json: bool,
) -> int:
    """Plan a change to many rooms, without changing any yet.

    The new values come from FILE, or from --set and --rewrite-webhook-host. FILE is a table (CSV or .xlsx) or JSON
    (lines, a list, or a saved answer of the API), may be compressed with gzip, and - is standard input. Each row is for
    one room, and needs a column "room_id" or "id" with the room's id, or a column "room" with its id or unique name.
    The other columns contain new values of writable fields. An empty cell leaves a field unchanged, and the word null
    clears the field. If FILE is from `aiorooms export`, the output says how many of its rooms were modified after that,
    because the plan may revert these changes.

    All problems are reported together, before a plan is written. A value that a room has already is never a problem. A
    new name that another room has or gets is one.

    \b
    Conditions, with = or != (and >= or <= for days; values may be null):
      name=support-*  id=7b61*  webhook_host=*.example.com  failover_host=null
      recording=on    created>=2024-05-01    updated<=2024-05-31

    \b
    Examples:
      aiorooms plan rooms.csv
      aiorooms plan rooms.csv --check
      aiorooms plan rooms.xlsx --skip-invalid --where recording=off
      aiorooms plan --rewrite-webhook-host old.example.com=new.example.com
      aiorooms plan --where 'name=support-*' --set max_participants=20
      aiorooms plan --rewrite-webhook-host old.example.com=new.example.com --probe
      aiorooms list --json | aiorooms plan - --out -

    The plan is a file. `aiorooms show` displays it again, and `aiorooms apply` carries it out.

    With --json, the output is one object with the totals and the same review as that of `aiorooms show`. With --json
    and --all, one object for each room comes first.
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    output = Output(json=as_json)
    if client is None:
        return _check(source, output)
    with _advice(skip_invalid=skip_invalid), output_path(out) as path:
        with (
            source.rows() if isinstance(source, Table) else nullcontext(source) as wanted,
            output.reading() as reading,
        ):
            if isinstance(wanted, Rows):
                _note_ignored(wanted, output)
            making = _make(client, wanted, path, reading, probe, strict=strict, skip_invalid=skip_invalid)
            summary = run(making, interrupted=interrupted_before(path, "plan"))
        opened = Plan.open(path)
        _note_invalid(summary, output)
        if is_standard(out):
            for line in (*lines_not_restorable(review_of(opened.updates())), totals_of(opened)):
                output.aside(line)
        else:
            write_plan(opened, output, every_room=every_room, summary=summary)
    if not as_json:
        for warning in summary.first_warnings:
            output.error(f"warning: {f'{wanted.source}, ' * isinstance(wanted, Rows)}{warning}")
        if more := summary.warnings - len(summary.first_warnings):
            output.error(f"{more:,} more warnings are not shown")
        if summary.outdated:
            output.note(_outdated(summary, opened.source))
        if not is_standard(out):
            show_how_to_apply(opened, output, repeated=repeated)
    return CHANGES if detailed_exitcode and opened.rooms else OK


@contextmanager
def _advice(*, skip_invalid: bool) -> Generator[None]:
    """Suggest --skip-invalid if all problems are those of single rooms."""
    try:
        yield
    except BulkInputError as error:
        # A script can't follow a suggestion.
        if (
            sys.stderr.isatty()
            and not skip_invalid
            and _ABOUT_ALL.isdisjoint(problem.code for problem in error.problems)
        ):
            error.add_note("to plan all other rooms, give --skip-invalid")
        raise


_ABOUT_ALL: Final[frozenset[str | None]] = frozenset(
    (
        *(
            "host_not_found",
            "unknown_column",
            "duplicate_column",
            "missing_column",
            "bad_syntax",
            "bad_encoding",
            "empty",
        ),
        *(
            "unreadable",
            "unwritable",
            "unknown_format",
            "missing_extra",
            "duplicate_room",
            "probe_failed",
            "one_room_only",
        ),
    )
)
"""The codes of problems that make a whole file invalid, so --skip-invalid does not help."""


def _note_ignored(rows: Rows, out: Output) -> None:
    if rows.ignored_columns:
        out.error(f"ignored columns: {', '.join(map(quoted, rows.ignored_columns))}")


def _note_invalid(summary: PlanSummary, out: Output) -> None:
    """List the rooms that --skip-invalid has left out."""
    print_some_problems(summary.invalid_problems)
    if summary.invalid:
        rooms = "1 room or row was" if summary.invalid == 1 else f"{summary.invalid:,} rooms or rows were"
        out.error(f"{rooms} left out of the plan")


async def _make(
    client: RoomsClient,
    wanted: Wanted,
    path: Path,
    reading: Reading,
    probe: ProbeUrls | None,
    *,
    strict: bool,
    skip_invalid: bool,
) -> PlanSummary:
    async def counted(urls: Iterable[str], *, timeout: float) -> AsyncGenerator[ProbeResult]:
        assert probe is not None
        results = probe(urls, timeout=timeout)
        try:
            async for result in results:
                reading.add_probe()
                yield result
        finally:
            await close(results)

    probing = None if probe is None else counted
    async with client:
        return await make_plan(
            client,
            wanted,
            path,
            strict=strict,
            skip_invalid=skip_invalid,
            probe=probing,
            on_room=reading.add_room,
        )


def _outdated(summary: PlanSummary, source: str) -> str:
    rooms = "1 room was" if summary.outdated == 1 else f"{summary.outdated:,} rooms were"
    examples = ", ".join(summary.outdated_rooms)
    more = " and others" if summary.outdated > len(summary.outdated_rooms) else ""
    modified = f"{rooms} modified after {escape(source)} was exported"
    return f"{modified}, and the plan may revert these changes: {examples}{more}."


def _check(source: Table | Selection, out: Output) -> int:
    assert isinstance(source, Table)  # `read_source` rejects --check without FILE
    with source.rows(check=True) as rows:
        _note_ignored(rows, out)
        if out.json:
            out.data({"file": rows.source, "rows": rows.count})
        else:
            out.line(f"{rows.source}: {counted(rows.count, 'row')}, no problems.")
    return OK
