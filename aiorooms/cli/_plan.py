"""`aiorooms plan` and `aiorooms show`: write a plan from a file or from options, and show a plan."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Final

import click

from .._aio import close
from .._webhook_url import WebhookUrlPolicy
from ..bulk import Plan, PlanSummary, ProbeUrls, Selection, Wanted, make_plan, read_rows, select
from ..client import RoomsClient
from ..errors import BulkInputError
from ..webhook_config import EventSigner, ProbeResult, probe_many
from ._command import Command, Context
from ._diff import show_how_to_apply, show_plan
from ._exit_codes import CHANGES, OK
from ._json import JsonValue
from ._options import (
    CONNECTION_OPTIONS,
    FILE,
    Repeated,
    api_options,
    check_new_file,
    every_room_option,
    json_option,
    keep_repeated,
    make_client_and_keep_policy,
    overwrite_option,
    policy_option,
    probe_options,
    read_policy,
    read_signer,
)
from ._output import Output, Reading, escape
from ._run import interrupted_before, run
from ._watch import stats_option
from ._words import input_problems

__all__ = ["DETAILED", "plan", "show"]

DETAILED: Final = "--detailed-exitcode"


def _read_source(ctx: Context) -> None:
    """Set `source` to FILE, or to the selection that the options describe."""
    file: Path | None = ctx.params.pop("file")
    options = {name: ctx.params.pop(name) for name in ("where", "set_fields", "rewrite_webhook_host")}
    ctx.params["source"] = file
    if ctx.is_invalid("FILE"):
        return
    if file is None and ctx.params["check"]:
        ctx.add_problem("give a FILE to check", "--check")
    elif ctx.params["strict"] and (file is None or ctx.params["check"]):
        ctx.add_problem("give a FILE to compare with the account, without --check", "--strict")
    elif (file is None) != any(options.values()):
        ctx.add_problem(
            "give either FILE, or at least one of --set and --rewrite-webhook-host; see `aiorooms plan --help`"
        )
    elif file is None:
        try:
            ctx.params["source"] = select(**options, webhook_url_policy=ctx.params["policy"])
        except BulkInputError as error:
            for problem in input_problems(error):
                message = f"{problem.field}: {problem.message}" if problem.field else problem.message
                ctx.add_problem(message, problem.file)


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
    source: object = ctx.params["source"]
    check_new_file(ctx, "--out", ctx.params["out"], source=source if isinstance(source, Path) else None)
    make_client_and_keep_policy(ctx)


@click.command(cls=Command, steps=[keep_repeated, read_policy, _read_source, _check_probe, _check_out_and_make_client])
@click.argument("file", metavar="[FILE]", required=False, type=FILE)
@click.option(
    "--where",
    metavar="COND",
    multiple=True,
    help="Only change rooms that meet this condition. Repeat the option for more conditions, which must all be met."
    "  [default: all rooms]",
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
    help="Replace the host OLD in webhook and failover URLs. Path, port and query are kept."
    " Repeat the option for more hosts.  [default: unchanged]",
)
@click.option("--out", metavar="PLAN", type=FILE, default="rooms.plan", show_default=True, help="Path of the new plan.")
@overwrite_option
@click.option("--check", is_flag=True, help="Only check FILE, without reading the account.  [default: check and plan]")
@click.option(
    "--strict",
    is_flag=True,
    help="Report an error if a room was modified after FILE was exported.  [default: report the number of rooms]",
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
@stats_option
@api_options
def plan(
    source: Path | Selection,
    out: Path,
    strict: bool,
    policy: WebhookUrlPolicy,
    probe: ProbeUrls | None,
    every_room: bool,
    detailed_exitcode: bool,
    repeated: Repeated,
    client: RoomsClient | None,
    as_json: bool,
) -> int:
    """Plan a change to many rooms, without changing any yet.

    The new values come from FILE (CSV, JSONL or JSON), or from --set and --rewrite-webhook-host. Each row of FILE is
    for one room, and needs a column "room_id" with the room's id, or a column "room" with its id or unique name. The
    other columns contain new values of writable fields. An empty cell leaves a field unchanged, and the word null
    clears the field. All problems in FILE are reported together, before a plan is written. If FILE is from `aiorooms
    export`, the output says how many of its rooms were modified after that, because the plan may revert these changes.

    \b
    Conditions: name=support-*  webhook_host=*.example.com  recording=on
                created>=2024-05-01  updated<=2024-05-31

    \b
    Examples:
      aiorooms plan rooms.csv
      aiorooms plan rooms.csv --check
      aiorooms plan --rewrite-webhook-host old.example.com=new.example.com
      aiorooms plan --where 'name=support-*' --set max_participants=20
      aiorooms plan --rewrite-webhook-host old.example.com=new.example.com --probe

    The plan is a file. `aiorooms show` displays it again, and `aiorooms apply` carries it out.

    With --json, the output is one object with the totals. With --json and --all, one object for each room comes first.
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    output = Output(json=as_json)
    if client is None:
        return _check(source, policy, output)
    with (
        read_rows(source, webhook_url_policy=policy) if isinstance(source, Path) else nullcontext(source) as wanted,
        output.reading() as reading,
    ):
        making = _make(client, wanted, out, reading, probe, strict=strict)
        summary = run(making, interrupted=interrupted_before(out, "plan"))
    opened = Plan.open(out)
    _show(opened, output, every_room=every_room, summary=summary)
    if not as_json:
        if summary.outdated:
            output.note(_outdated(summary, opened.source))
        show_how_to_apply(opened, output, repeated=repeated)
    return CHANGES if detailed_exitcode and opened.rooms else OK


async def _make(
    client: RoomsClient,
    wanted: Wanted,
    path: Path,
    reading: Reading,
    probe: ProbeUrls | None,
    *,
    strict: bool,
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
        return await make_plan(client, wanted, path, strict=strict, probe=probing, on_room=reading.add_room)


def _outdated(summary: PlanSummary, source: str) -> str:
    rooms = "1 room was" if summary.outdated == 1 else f"{summary.outdated:,} rooms were"
    examples = ", ".join(summary.outdated_rooms)
    more = " and others" if summary.outdated > len(summary.outdated_rooms) else ""
    modified = f"{rooms} modified after {escape(source)} was exported"
    return f"{modified}, and the plan may revert these changes: {examples}{more}."


def _check(source: Path | Selection, policy: WebhookUrlPolicy, out: Output) -> int:
    assert isinstance(source, Path)  # `_read_source` rejects --check without FILE
    with read_rows(source, webhook_url_policy=policy) as rows:
        if out.json:
            out.data({"file": str(source), "rows": rows.count})
        else:
            out.line(f"{source}: {rows.count:,} row{'s' * (rows.count != 1)}, no problems.")
    return OK


@click.command(cls=Command)
@click.argument("path", metavar="PLAN", type=FILE)
@every_room_option
@json_option
def show(path: Path, every_room: bool, as_json: bool) -> int:
    """Show the changes in a plan.

    \b
    Examples:
      aiorooms show rooms.plan
      aiorooms show rooms.plan --all

    With --json, the output is one object with the totals. With --json and --all, one object for each room comes first.
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    _show(Plan.open(path), Output(json=as_json), every_room=every_room)
    return OK


def _show(opened: Plan, out: Output, *, every_room: bool, summary: PlanSummary | None = None) -> None:
    """Show a plan. If it has just been made, `summary` has totals that the plan file does not contain."""
    if not out.json:
        show_plan(opened, out, every_room=every_room)
        return
    if every_room:
        for planned in opened.updates():
            out.data({"room_id": planned.room_id, "before": dict(planned.before), "after": dict(planned.after)})
    totals: dict[str, JsonValue] = {
        "plan": str(opened.path),
        "plan_id": opened.plan_id,
        "rooms": opened.rooms,
        "unchanged": opened.unchanged,
        "source": opened.source,
        "base_url": opened.base_url,
    }
    if summary is not None:
        totals["outdated"] = summary.outdated
        totals["outdated_rooms"] = [*summary.outdated_rooms]
    out.data(totals)
