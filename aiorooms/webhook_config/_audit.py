"""Audit the webhook settings of an account: which rooms have a webhook that can't work, or is at risk.

    found = audit(client.rooms.list(), WebhookUrlPolicy(schemes=["https"]))
    async for finding in found:
        print(finding.severity, finding.kind, finding.unique_name, finding.message)
    print(found.rooms, found.hosts.most_common(3))

Findings about single rooms are yielded while the rooms are read, 250 at a time. Findings of the kind `unusual` compare
a room with all others, so they come last. The memory does not grow with the account.
"""

from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final

from .._aio import close
from .._checks import check_instance, setting_error, wrong_type
from .._text import quoted
from .._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy, is_public
from ..models import Room
from ._dns import Lookups, Resolve, resolve_host
from ._findings import KINDS, AuditFinding, FindingKind, Hosts, WebhookField, finding_of, room_findings
from ._unusual import Unusual

__all__ = ["Audit", "audit"]

_BATCH: Final = 250
"""The number of rooms whose hosts are looked up together. It is the size of a page."""

_MAX_HOSTS: Final = 10_000
"""The number of hosts that are counted."""


class Audit(AsyncIterator[AuditFinding]):
    """An audit, made by `audit`: an async iterator of findings. After the last one, the totals are complete.

    To cancel the request for rooms at once if you break out of the loop, await `aclose()`.
    """

    # This is a class, because an async generator that wraps another iterator can't be closed reliably.

    def __init__(
        self,
        rooms: Iterable[Room] | AsyncIterable[Room],
        policy: WebhookUrlPolicy,
        ignore: frozenset[FindingKind],
        resolve: Resolve | None,
    ) -> None:
        self.rooms: int = 0
        """Number of rooms read so far."""
        self.counts: Counter[FindingKind] = Counter()
        """Number of findings so far, by kind."""
        self.hosts: Counter[str] = Counter()
        """Number of rooms by host of the webhook URL or failover URL, for at most 10,000 hosts."""
        self.rooms_with_other_hosts: int = 0
        """Number of rooms with a host that is not in `hosts`. It is 0 for an account with at most 10,000 hosts."""
        self._source = aiter(rooms) if isinstance(rooms, AsyncIterable) else iter(rooms)
        self._policy = policy
        self._ignore = ignore
        self._lookups = None if resolve is None else Lookups(resolve)
        self._unusual = Unusual()
        self._ready: Iterator[AuditFinding] = iter(())
        self._is_complete = False

    async def __anext__(self) -> AuditFinding:
        """Return the next finding. Raises what reading the rooms raises."""
        while (finding := next(self._ready, None)) is None:
            if self._is_complete:
                raise StopAsyncIteration
            if batch := await self._read_batch():
                self._ready = iter(await self._audited(batch))
            else:
                self._is_complete = True
                self._ready = self._wanted(self._unusual.findings())
        return finding

    async def aclose(self) -> None:
        """End the audit, and cancel the request for rooms that is in flight."""
        self._ready = iter(())
        self._is_complete = True
        await close(self._source)

    async def _read_batch(self) -> Sequence[Room]:
        if not isinstance(self._source, AsyncIterator):
            return [*islice(self._source, _BATCH)]
        batch: list[Room] = []
        with suppress(StopAsyncIteration):
            while len(batch) < _BATCH:
                batch.append(await anext(self._source))
        return batch

    async def _audited(self, rooms: Sequence[Room]) -> Sequence[AuditFinding]:
        audited = [(room, *room_findings(room, self._policy)) for room in rooms]
        if self._lookups is not None:
            await self._lookups.add([host for *_, hosts in audited for host in hosts if host is not None])
        wanted: list[AuditFinding] = []
        for room, found, hosts in audited:
            if self._lookups is not None:
                found += _dns_findings(room, found, hosts, self._lookups)
            self._count(room, hosts, found)
            wanted += self._wanted(found)
        return wanted

    def _count(self, room: Room, hosts: Hosts, found: Sequence[AuditFinding]) -> None:
        self.rooms += 1
        self._unusual.add(room, hosts, found)
        has_other_hosts = False
        for host in {host for host in hosts if host is not None}:
            if host in self.hosts or len(self.hosts) < _MAX_HOSTS:
                self.hosts[host] += 1
            else:
                has_other_hosts = True
        self.rooms_with_other_hosts += has_other_hosts

    def _wanted(self, found: Iterable[AuditFinding]) -> Iterator[AuditFinding]:
        for finding in found:
            if finding.kind not in self._ignore:
                self.counts[finding.kind] += 1
                yield finding


def audit(
    rooms: Iterable[Room] | AsyncIterable[Room],
    policy: WebhookUrlPolicy = DEFAULT_POLICY,
    *,
    ignore: Collection[FindingKind] = (),
    dns: bool = False,
    resolve: Resolve = resolve_host,
) -> Audit:
    """Return an `Audit` of the rooms, which is an async iterator of findings. Nothing is read before you iterate.

    - `rooms`: for example, `client.rooms.list()`.
    - `policy`: the rules for URLs. A URL that they reject is a finding. Hosts and schemes that are findings of their
      own, such as `http` and `private_host`, are found with any policy.
    - `ignore`: the kinds of findings that you don't want.
    - `dns`: whether to look up the addresses of all hosts, 20 at a time, each with a limit of 10 s.
    - `resolve`: the function that looks up a host.

    Raises `ClientSettingsError` if `policy` or `ignore` has the wrong type, or if `ignore` contains an unknown kind.
    While you iterate, it raises what reading `rooms` raises.
    """
    check_instance(WebhookUrlPolicy, "audit(policy=)", policy)
    if isinstance(ignore, str):  # a str is a collection of its characters
        raise wrong_type("audit(ignore=)", ignore, "a collection of kinds, such as ['http']")
    kinds = tuple(ignore)
    for kind in kinds:
        if kind not in KINDS:
            hint = f"the kinds are {', '.join(KINDS)}"
            raise setting_error("audit(ignore=)", f"has {quoted(kind)}, which is no kind of finding", hint, kind)
    return Audit(rooms, policy, frozenset(kinds), resolve if dns else None)


def _dns_findings(room: Room, found: Sequence[AuditFinding], hosts: Hosts, lookups: Lookups) -> Iterator[AuditFinding]:
    """Yield what the addresses of a room's hosts show, unless `found` has it already."""
    known = {(one.kind, one.field) for one in found}
    fields: tuple[WebhookField, WebhookField] = ("webhook_event_url", "webhook_event_failover_url")
    for field, host in zip(fields, hosts, strict=True):
        if host is None or ("special_use_host", field) in known or ("private_host", field) in known:
            continue
        looked_up = lookups[host]
        private = [address for address in looked_up.addresses if not is_public(address)]
        if not looked_up.addresses:
            yield finding_of(room, "unresolvable_host", field, f"DNS gives no address for {host}: {looked_up.error}")
        elif private:
            text = f"{host} has the address {private[0]}, which is not on the public internet"
            yield finding_of(room, "private_host", field, text)
    if hosts.primary is None or hosts.failover is None or hosts.primary == hosts.failover:
        return
    first, second = lookups[hosts.primary].addresses, lookups[hosts.failover].addresses
    if second and set(second) <= set(first):
        text = f"{hosts.failover} has no address that {hosts.primary} does not have, so they fail together"
        yield finding_of(room, "failover_same_host", "webhook_event_failover_url", text)
