"""Show the findings of an audit: as tables on a terminal, else a finding a line, or JSON."""

import importlib
from collections import defaultdict
from typing import Final

from .._text import counted
from ..bulk import PlanSummary
from ..webhook_config import MEANINGS, SEVERITIES, Audit, AuditFinding, FindingKind
from ._escaping import field_text
from ._json import JsonValue
from ._output import Output, OutputLostError, flush

__all__ = ["AuditOutput"]

_MAX_NAMES: Final = 3
_MAX_HOSTS: Final = 10
"""The numbers of names for each kind, and of hosts, in the tables."""
_WIDE: Final = 80
"""The width in columns from which on the table says what the findings mean."""
_NARROW: Final = 50
"""The width in columns below which each name of a room is in a line of its own, below the kind of finding."""
_STYLES: Final = {"error": "red", "warning": "yellow", "info": ""}


class AuditOutput:
    """Shows findings. On a terminal they are grouped, so only their numbers and some names are kept."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self.lost: OutputLostError | None = None
        """The error that made standard output unusable, or None."""
        self._names: defaultdict[FindingKind, list[str]] = defaultdict(list)
        if out.on_terminal:
            importlib.import_module("rich.table")  # later, the import would block the event loop

    def add(self, finding: AuditFinding) -> None:
        """Show a finding, or keep it for the tables. Raises `OutputLostError`."""
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
        findings = counted(made.counts.total(), "finding")
        self._out.note(f"{counted(made.rooms, 'room')}, {findings}.")

    def _draw(self, made: Audit) -> None:
        from rich.console import Group
        from rich.padding import Padding
        from rich.table import Table

        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        is_narrow = self._out.width < _NARROW
        table.add_column("finding", no_wrap=not is_narrow, overflow="fold")
        table.add_column("number", justify="right", no_wrap=True)
        if not is_narrow:
            table.add_column("rooms", overflow="fold")
        if is_wide := self._out.width >= _WIDE:
            table.add_column("meaning")
        for kind in MEANINGS:
            if count := made.counts[kind]:
                names = self._names[kind]
                shown = [*map(field_text, names[:_MAX_NAMES]), *["..."] * (len(names) > _MAX_NAMES)]
                style = _STYLES[SEVERITIES[kind]]
                if is_narrow:
                    # Padding also indents the next lines of a name that is longer than a line.
                    below = [Padding("\n".join(shown), (0, 0, 0, 2))] if shown else []
                    table.add_row(Group(kind, *below), f"{count:,}", style=style)
                else:
                    meaning = (MEANINGS[kind],) if is_wide else ()
                    table.add_row(kind, f"{count:,}", ", ".join(shown), *meaning, style=style)
        hosts = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        hosts.add_column("host", overflow="fold")
        hosts.add_column("rooms", justify="right")
        for host, count in made.hosts.most_common(_MAX_HOSTS):
            hosts.add_row(field_text(host), f"{count:,}")
        more_hosts = len(made.hosts) - _MAX_HOSTS
        self._out.draw(*((table, "") if made.counts else ()), *((hosts, "") if made.hosts else ()))
        if more_hosts > 0:
            if made.rooms_with_other_hosts:  # there are too many hosts to count them
                self._out.note(f"At least {counted(more_hosts, 'more host')}; --json shows {len(made.hosts):,} hosts.")
            else:
                self._out.note(f"{counted(more_hosts, 'more host')}; --json shows all.")
