"""`aiorooms webhooks audit`: find the rooms whose webhook can't work or is at risk, and plan the fixes."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

import click

from .._checks import text_message
from .._text import counted
from .._webhook_url import WebhookUrlPolicy
from ..bulk import PlanSummary, computed, make_plan
from ..client import RoomsClient
from ..errors import InvalidRequestError
from ..models import Room
from ..webhook_config import MEANINGS, SEVERITIES, Audit, FindingKind, FixRules, audit
from ._audit_output import AuditOutput
from ._command import Command, Context, Value
from ._escaping import command_line
from ._exit_codes import FAILED, OK
from ._options import (
    FILE,
    api_options,
    check_new_file,
    make_client_and_keep_policy,
    overwrite_option,
    policy_option,
    read_policy,
    value_option,
)
from ._output import Output, OutputLostError
from ._repeated import Repeated, keep_repeated
from ._run import interrupted_before, run
from ._values import one_of, whole_number
from ._watch import stats_option

__all__ = ["audit_command"]

_RULES: Final = {"fix_https": "--fix-https", "fix_failover": "--fix-failover", "fix_timeout": "--fix-timeout"}
_FIELDS: Final = {"webhook_event_failover_url": "--fix-failover", "webhook_timeout_secs": "--fix-timeout"}


def _read_rules(ctx: Context) -> None:
    """Set `rules` from the options about fixes, or to None if none is given. Report all problems together."""
    given = {name: ctx.params.pop(name) for name in _RULES}
    names = [option for name, option in _RULES.items() if given[name]]
    if given["fix_failover"] == "":
        ctx.add_problem("is empty; give a URL", "--fix-failover")
    path: Path | None = ctx.params["fix_plan"]
    overwrite: bool = ctx.params["overwrite"]
    check_new_file(ctx, "--fix-plan", path)
    if path is None and not ctx.is_invalid("--fix-plan"):
        for option in (*names, *["--overwrite"] * overwrite):
            ctx.add_problem("give --fix-plan too, with the path of the new plan", option)
    elif not names and not any(map(ctx.is_invalid, _RULES.values())):
        ctx.add_problem(f"give at least one of {', '.join(_RULES.values())}", "--fix-plan")
    ctx.params["rules"] = None
    if not names or ctx.is_invalid("--policy"):
        return
    try:
        ctx.params["rules"] = FixRules(
            https=given["fix_https"],
            failover_url=given["fix_failover"] or None,
            timeout_secs=given["fix_timeout"],
            webhook_url_policy=ctx.params["policy"],
        )
    except InvalidRequestError as error:
        for problem in error.problems:
            ctx.add_problem(text_message(problem), _FIELDS.get(problem.field or "", ""))


class _Audit(Command):
    """The command `audit`. Its help lists the kinds of findings at the end."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Findings, the most severe first"):
            formatter.write_dl([(f"{kind} ({SEVERITIES[kind]})", meaning) for kind, meaning in MEANINGS.items()])
        super().format_epilog(ctx, formatter)


@click.command("audit", cls=_Audit, steps=[keep_repeated, read_policy, _read_rules, make_client_and_keep_policy])
@policy_option
@click.option("--dns", is_flag=True, help="Look up the addresses of all hosts.  [default: no lookups]")
@click.option(
    "--ignore",
    metavar="FINDING",
    multiple=True,
    type=Value(one_of(tuple(MEANINGS))),
    help="Don't report findings of this kind. Repeat the option for more kinds.  [default: report all]",
)
@click.option("--fix-plan", metavar="PLAN", type=FILE, help="Write a plan that fixes rooms.  [default: no plan]")
@click.option("--fix-https", is_flag=True, help="Fix: replace http with https.  [default: leave http]")
@click.option(
    "--fix-failover",
    metavar="URL",
    help="Fix: use this failover URL for rooms that have none, or one on the host of their webhook URL."
    "  [default: leave failover URLs]",
)
@value_option(
    "--fix-timeout",
    "SECONDS",
    whole_number(1, 30),
    "Fix: use this timeout, 1 to 30 seconds, for rooms whose timeout is not set or 0.  [default: leave timeouts]",
)
@overwrite_option
@stats_option
@api_options
def audit_command(
    policy: WebhookUrlPolicy,
    dns: bool,
    ignore: Sequence[FindingKind],
    fix_plan: Path | None,
    rules: FixRules | None,
    repeated: Repeated,
    client: RoomsClient,
    as_json: bool,
) -> int:
    """Find rooms whose webhook can't work or is at risk.

    The audit reads all rooms and changes none. On a terminal, the output is a table of the kinds of findings, with
    their number and the names of some rooms, and a table of the most common hosts. Otherwise each finding is one line
    with the fields severity, kind, room id, name, setting and message, separated by tabs. With --json, each finding is
    one object with these fields: severity, kind, room_id, unique_name, field and message. The last line is an object
    with the totals: rooms, findings, hosts, rooms_with_other_hosts and fixed_by_plan.

    With --fix-plan, the audit also writes a plan that fixes what the options --fix-... allow. To fix the rooms, apply
    the plan.

    The exit code is 0 without findings, and 1 if there are some.

    \b
    Examples:
      aiorooms webhooks audit
      aiorooms webhooks audit --dns --policy policy.toml
      aiorooms webhooks audit --ignore timeout_unset --json |
        jq -r 'select(.kind).room_id'
      aiorooms webhooks audit --fix-plan fixes.plan --fix-https --fix-timeout 10
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    out = Output(json=as_json)
    shown = AuditOutput(out)
    interrupted = None if fix_plan is None else interrupted_before(fix_plan, "plan")
    with out.reading() as reading:
        making = _run(client, shown, policy, ignore, fix_plan, rules, reading.add_room, dns=dns)
        made, summary = run(making, interrupted=interrupted)
    if shown.lost is None:
        shown.end(made, summary)
    if summary is not None and fix_plan is not None and not as_json:
        if summary.rooms:
            apply = command_line("apply", fix_plan, *repeated.server, *repeated.policy)
            out.note(f"{fix_plan} fixes {counted(summary.rooms, 'room')}. To apply it: {apply}")
        else:
            out.note(f"{fix_plan} is empty: these options fix no room.")
    if shown.lost is not None and not shown.lost.reader_closed:
        raise shown.lost
    return FAILED if made.counts else OK


async def _run(
    client: RoomsClient,
    shown: AuditOutput,
    policy: WebhookUrlPolicy,
    ignore: Sequence[FindingKind],
    fix_plan: Path | None,
    rules: FixRules | None,
    on_room: Callable[[], None],
    *,
    dns: bool,
) -> tuple[Audit, PlanSummary | None]:
    async with client:
        async with (
            aclosing(client.rooms.list()) as rooms,
            aclosing(audit(_counted(rooms, on_room), policy, ignore=ignore, dns=dns)) as made,
        ):
            try:
                async for finding in made:
                    shown.add(finding)
            except OutputLostError as error:
                shown.lost = error  # nobody sees the other findings, but the plan is still wanted
        # The account is read again, because the plan must contain the values of this moment.
        plan = None if rules is None or fix_plan is None else await make_plan(client, computed(rules), fix_plan)
        return made, plan


async def _counted(rooms: AsyncIterable[Room], on_room: Callable[[], None]) -> AsyncGenerator[Room]:
    async for room in rooms:
        on_room()
        yield room
