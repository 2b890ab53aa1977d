"""Find the rooms whose webhook settings differ from those of at least 90 % of all rooms.

Which value is the usual one is known only after the last room, but the memory must not grow with the account. So rooms
are kept by value, at most 1,000 for each value and 10,000 for each setting. All others are only counted.

Example: 98,000 of 100,000 rooms have the host `hooks.example.com`, 1,500 have `old.example.com`, and 500 have hosts of
their own. 1,000 rooms of the first, 1,000 of the second and 500 of the others are kept. At the end, the first value is
the usual one. So 1,500 rooms are reported by name, and one finding says that 500 more rooms differ.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from ..models import Room
from ._findings import AuditFinding, FindingKind, Hosts, WebhookField

__all__ = ["Unusual"]

_USUAL: Final = 0.9
"""The share of rooms that must have the same value."""
_MIN_ROOMS: Final = 10
"""With fewer rooms, no value is usual."""
_MAX_PER_VALUE: Final = 1_000
_MAX_KEPT: Final = 10_000
"""The numbers of rooms kept for each value, and for each setting."""
_MAX_VALUES: Final = 10_000
"""The number of different values that are counted for each setting."""


_SAME_REASON: Final[frozenset[FindingKind]] = frozenset(
    (
        "rejected_url",
        "private_host",
        "special_use_host",
        "unreadable",
        "failover_without_url",
        "failover_same_host",
        "no_failover",
        "timeout_zero",
        "timeout_unset",
    )
)
"""A setting with one of these findings is not reported as unusual too: hardly any other room has such a value."""


class _Kept(NamedTuple):
    room_id: str | None
    unique_name: str | None


class _Setting:
    """The values of one setting."""

    def __init__(self, field: WebhookField, name: str) -> None:
        self._field: WebhookField = field
        self._name = name
        self._rooms = 0
        self._counts: Counter[str | int | None] = Counter()
        self._reported = 0
        """The number of rooms that have another finding for the same reason."""
        self._reported_by_value: Counter[str | int | None] = Counter()
        self._kept: dict[str | int | None, list[_Kept]] = {}
        self._left = _MAX_KEPT

    def add(self, room: Room, value: str | int | None, *, is_reported: bool) -> None:
        """Count the value of a room. `is_reported` means that the room has another finding for the same reason."""
        self._rooms += 1
        self._reported += is_reported
        if value not in self._counts and len(self._counts) >= _MAX_VALUES:
            return  # hardly a value that 90 % of the rooms have
        self._counts[value] += 1
        if is_reported:
            self._reported_by_value[value] += 1
            return
        kept = self._kept.setdefault(value, [])
        if self._left and len(kept) < _MAX_PER_VALUE:
            kept.append(_Kept(room.id, room.unique_name))
            self._left -= 1

    def findings(self) -> Iterator[AuditFinding]:
        """Yield the findings about rooms that differ."""
        if self._rooms < _MIN_ROOMS:
            return
        usual, count = self._counts.most_common(1)[0]
        if count < _USUAL * self._rooms or not usual:
            return  # if most rooms lack the setting, those that have it are not the ones to look at
        text = f"{100 * count // self._rooms} % of the rooms have {self._shown(usual)}"
        unnamed = self._rooms - count - (self._reported - self._reported_by_value[usual])
        for value, kept in self._kept.items():
            if value == usual:
                continue
            unnamed -= len(kept)
            for one in kept:
                yield self._finding(one, f"{self._shown(value)}, but {text}")
        if unnamed:
            yield self._finding(_Kept(None, None), f"{unnamed:,} more rooms differ, but {text}")

    def _finding(self, room: _Kept, message: str) -> AuditFinding:
        return AuditFinding(
            kind="unusual", room_id=room.room_id, unique_name=room.unique_name, field=self._field, message=message
        )

    def _shown(self, value: str | int | None) -> str:
        if value is None:
            return f"no {self._name}"
        return f"the {self._name} {value}" if isinstance(value, str) else f"a {self._name} of {value} s"


class Unusual:
    """Counts the settings of all rooms."""

    def __init__(self) -> None:
        self._host = _Setting("webhook_event_url", "webhook host")
        self._failover_host = _Setting("webhook_event_failover_url", "failover host")
        self._timeout = _Setting("webhook_timeout_secs", "timeout")

    def add(self, room: Room, hosts: Hosts, found: Sequence[AuditFinding]) -> None:
        """Count the settings of a room, whose other findings are `found`."""
        reported = {finding.field for finding in found if finding.kind in _SAME_REASON}
        self._host.add(room, hosts.primary, is_reported="webhook_event_url" in reported)
        if hosts.primary is not None:  # without a webhook URL, the other settings mean nothing
            is_reported = "webhook_event_failover_url" in reported
            self._failover_host.add(room, hosts.failover, is_reported=is_reported)
            self._timeout.add(room, room.webhook_timeout_secs, is_reported="webhook_timeout_secs" in reported)

    def findings(self) -> Iterator[AuditFinding]:
        """Yield the findings, after the last room was added."""
        for setting in (self._host, self._failover_host, self._timeout):
            yield from setting.findings()
