"""`aiorooms webhooks audit`: find the rooms whose webhook can't work or is at risk, and plan the fixes."""

import importlib
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

import click

from .._checks import text_message
from .._webhook_url import WebhookUrlPolicy
from ..bulk import PlanSummary, computed, make_plan
from ..client import RoomsClient
from ..errors import InvalidRequestError
from ..models import Room
from ..webhook_config import AuditFinding, FindingKind, FixRules, audit
from ..webhook_config._audit import Audit
from ..webhook_config._findings import KINDS, MEANINGS, SEVERITIES
from ._command import Command, Context, Value
from ._exit_codes import FAILED, OK
from ._json import JsonValue
from ._options import (
    FILE,
    Repeated,
    api_options,
    check_new_file,
    keep_repeated,
    make_client_and_keep_policy,
    overwrite_option,
    policy_option,
    read_policy,
    value_option,
)
from ._output import Output, OutputLostError, command_line, field_text, flush
from ._run import interrupted_before, run
from ._values import one_of, whole_number

__all__ = ["audit_command"]

_RULES: Final = {"fix_https": "--fix-https", "fix_failover": "--fix-failover", "fix_timeout": "--fix-timeout"}
_FIELDS: Final = {"webhook_event_failover_url": "--fix-failover", "webhook_timeout_secs": "--fix-timeout"}

_MAX_NAMES: Final = 3
_MAX_HOSTS: Final = 10
"""The numbers of names for each kind, and of hosts, in the tables."""
_WIDE: Final = 80
"""The width in columns from which on the table says what the findings mean."""
_NARROW: Final = 50
"""The width in columns below which the names of rooms are in the lines below the kind of finding."""


def _read_rules(ctx: Context) -> None:
    """Set `rules` from the options about fixes, or to None if there is no `--fix-plan`."""
    given = {name: ctx.params.pop(name) for name in _RULES}
    if given["fix_failover"] == "":
        ctx.add_problem("is empty; give a URL", "--fix-failover")
    path: Path | None = ctx.params["fix_plan"]
    ctx.params["rules"] = None
    names = [option for name, option in _RULES.items() if given[name]]
    if path is None:
        for option in names:
            ctx.add_problem("give --fix-plan too, with the path of the new plan", option)
        ctx.params.pop("overwrite")
        return
    check_new_file(ctx, "--fix-plan", path)
    if any(map(ctx.is_invalid, _RULES.values())):
        return
    if not names:
        ctx.add_problem(f"give at least one of {', '.join(_RULES.values())}", "--fix-plan")
        return
    try:
        ctx.params["rules"] = FixRules(
            https=given["fix_https"],
            failover_url=given["fix_failover"],
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
            formatter.write_dl([(f"{kind} ({SEVERITIES[kind]})", MEANINGS[kind]) for kind in KINDS])
        super().format_epilog(ctx, formatter)


@click.command("audit", cls=_Audit, steps=[keep_repeated, read_policy, _read_rules, make_client_and_keep_policy])
@policy_option
@click.option("--dns", is_flag=True, help="Look up the addresses of all hosts.  [default: no lookups]")
@click.option(
    "--ignore",
    metavar="FINDING",
    multiple=True,
    type=Value(one_of(KINDS)),
    help="Don't report findings of this kind. Repeat the option for more kinds.  [default: report all]",
)
@click.option("--fix-plan", metavar="PLAN", type=FILE, help="Write a plan that fixes rooms.  [default: no plan]")
@click.option("--fix-https", is_flag=True, help="Fix: replace http by https.  [default: leave http]")
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
    "Fix: use this timeout, 1 to 30 seconds, for rooms without one.  [default: leave timeouts]",
)
@overwrite_option
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
    shown = _Shown(out)
    interrupted = None if fix_plan is None else interrupted_before(fix_plan, "plan")
    with out.reading() as reading:
        making = _run(client, shown, policy, ignore, fix_plan, rules, reading.add_room, dns=dns)
        made, summary = run(making, interrupted=interrupted)
    if shown.lost is None:
        shown.end(made, summary)
    if summary is not None and fix_plan is not None and not as_json:
        if summary.rooms:
            apply = command_line("apply", fix_plan, *repeated.base_url, *repeated.policy)
            out.note(f"{fix_plan} fixes {_count(summary.rooms, 'room')}. To apply it: {apply}")
        else:
            out.note(f"{fix_plan} is empty: these options fix no room.")
    if shown.lost is not None and not shown.lost.reader_closed:
        raise shown.lost
    return FAILED if made.counts else OK


async def _run(
    client: RoomsClient,
    shown: "_Shown",
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


class _Shown:
    """Shows findings. On a terminal they are grouped, so only their numbers and some names are kept."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self.lost: OutputLostError | None = None
        """The error that made standard output unusable, or None."""
        self._names: defaultdict[FindingKind, list[str]] = defaultdict(list)
        if out.on_terminal:
            importlib.import_module("rich.table")  # later, the import would block the event loop

    def add(self, finding: AuditFinding) -> None:
        name = finding.unique_name or finding.room_id
        if self._out.json:
            self._out.data(
                {
                    "severity": finding.severity,
                    "kind": finding.kind,
                    "room_id": finding.room_id,
                    "unique_name": finding.unique_name,
                    "field": finding.field,
                    "message": finding.message,
                }
            )
        elif not self._out.on_terminal:
            values = (finding.severity, finding.kind, finding.room_id, finding.unique_name, finding.field)
            self._out.line("\t".join(map(field_text, (*values, finding.message))))
        elif name is not None and name not in (names := self._names[finding.kind]) and len(names) <= _MAX_NAMES:
            names.append(name)

    def end(self, made: Audit, plan: PlanSummary | None) -> None:
        """Show the totals. If that fails, set `lost`."""
        try:
            self._end(made, plan)
            flush()
        except OutputLostError as error:
            self.lost = error

    def _end(self, made: Audit, plan: PlanSummary | None) -> None:
        if self._out.json:
            totals: dict[str, JsonValue] = {
                "rooms": made.rooms,
                "findings": {kind: made.counts[kind] for kind in made.counts},
                "hosts": {**made.hosts},
                "rooms_with_other_hosts": made.rooms_with_other_hosts,
                "fixed_by_plan": None if plan is None else plan.rooms,
            }
            self._out.data(totals)
            return
        if self._out.on_terminal:
            self._draw(made)
        findings = _count(made.counts.total(), "finding")
        self._out.note(f"{_count(made.rooms, 'room')}, {findings}.")

    def _draw(self, made: Audit) -> None:
        from rich.table import Table

        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        is_narrow = self._out.width < _NARROW
        table.add_column("finding", no_wrap=not is_narrow, overflow="fold")
        table.add_column("number", justify="right", no_wrap=True)
        if not is_narrow:
            table.add_column("rooms", overflow="fold")
        if is_wide := self._out.width >= _WIDE:
            table.add_column("meaning")
        for kind in KINDS:
            if count := made.counts[kind]:
                names = self._names[kind]
                more = ", ..." * (len(names) > _MAX_NAMES)
                shown = ", ".join(map(field_text, names[:_MAX_NAMES])) + more
                meaning = (MEANINGS[kind],) if is_wide else ()
                cells = (f"{kind}\n  {shown}", f"{count:,}") if is_narrow else (kind, f"{count:,}", shown, *meaning)
                table.add_row(*cells, style=_STYLES[SEVERITIES[kind]])
        hosts = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        hosts.add_column("host", overflow="fold")
        hosts.add_column("rooms", justify="right")
        for host, count in made.hosts.most_common(_MAX_HOSTS):
            hosts.add_row(field_text(host), f"{count:,}")
        more_hosts = len(made.hosts) - _MAX_HOSTS
        self._out.draw(*((table, "") if made.counts else ()), *((hosts, "") if made.hosts else ()))
        if more_hosts > 0:
            if made.rooms_with_other_hosts:  # there are too many hosts to count them
                self._out.note(f"At least {_count(more_hosts, 'more host')}; --json shows {len(made.hosts):,} hosts.")
            else:
                self._out.note(f"{_count(more_hosts, 'more host')}; --json shows all.")


_STYLES: Final = {"error": "red", "warning": "yellow", "info": ""}


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
