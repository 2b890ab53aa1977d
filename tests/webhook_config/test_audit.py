"""The audit finds each webhook setting that can't work or is at risk, and nothing else."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from random import Random
from typing import Any

import pytest

from aiorooms import Room, RoomsClient, WebhookUrlPolicy
from aiorooms.errors import ClientSettingsError
from aiorooms.simulator import RoomsSimulator
from aiorooms.webhook_config import AuditFinding, FindingKind, audit
from aiorooms.webhook_config._dns import Resolve, resolve_host

from ..conftest import tasks_left
from .rooms import FAILOVER, GOOD, TIMEOUT, URL, room


async def found(rooms: Iterable[Room], policy: WebhookUrlPolicy | None = None, **options: Any) -> list[AuditFinding]:
    return [one async for one in audit(rooms, policy or WebhookUrlPolicy(), **options)]


def kinds(findings: Iterable[AuditFinding]) -> list[tuple[FindingKind, str]]:
    return [(finding.kind, finding.field) for finding in findings]


HTTPS = WebhookUrlPolicy(schemes=["https"], allow_private_hosts=False)

SPECIAL_USE = [
    "test", "invalid", "example", "onion", "local", "lan", "corp", "svc", "internal", "localhost", "home.arpa",
]  # fmt: skip

PLANTED: list[tuple[dict[str, Any], list[tuple[FindingKind, str]]]] = [
    ({}, []),
    ({URL: "http://hooks.example.com/"}, [("http", URL)]),
    ({FAILOVER: "HTTP://backup.example.com/"}, [("http", FAILOVER)]),
    ({URL: "https://u:secret@hooks.example.com/"}, [("credentials", URL)]),
    ({URL: "https://10.0.0.5/"}, [("private_host", URL)]),
    ({URL: "https://0x7f.1/"}, [("private_host", URL)]),
    ({URL: "https://[::1]/"}, [("private_host", URL)]),
    ({URL: "https://intranet/"}, [("private_host", URL)]),
    ({URL: "https://localhost/"}, [("private_host", URL)]),
    ({FAILOVER: None}, [("no_failover", FAILOVER)]),
    ({FAILOVER: ""}, [("no_failover", FAILOVER)]),
    ({FAILOVER: "https://HOOKS.example.com:8443/other"}, [("failover_same_host", FAILOVER)]),
    ({FAILOVER: GOOD[URL]}, [("failover_same_host", FAILOVER)]),
    ({TIMEOUT: None}, [("timeout_unset", TIMEOUT)]),
    ({TIMEOUT: 0}, [("timeout_zero", TIMEOUT)]),
    ({URL: ""}, [("failover_without_url", URL)]),
    ({URL: None, FAILOVER: None, TIMEOUT: None}, []),
    ({URL: "ftp://hooks.example.com/"}, [("rejected_url", URL)]),
    ({URL: "hooks.example.com"}, [("rejected_url", URL)]),
    ({URL: "https://hooks.example.com/#a"}, [("rejected_url", URL)]),
    ({URL: "https://hook.lan/"}, [("special_use_host", URL)]),
    ({URL: "https://hooks..example.com/"}, [("rejected_url", URL)]),
    ({URL: "https://\x1b.corp/"}, [("rejected_url", URL)]),
    ({URL: "http://https://x.example.com/"}, [("rejected_url", URL)]),
    ({URL: f"https://{'x' * 70}.example.com/"}, [("rejected_url", URL)]),
    ({URL: "http://hook.lan/#a", FAILOVER: None}, [
        ("special_use_host", URL), ("http", URL), ("rejected_url", URL), ("no_failover", FAILOVER),
    ]),
]  # fmt: skip
"""The settings that differ from GOOD, and what is found."""


@pytest.mark.parametrize("policy", [WebhookUrlPolicy(), HTTPS], ids=["default", "strict"])
@pytest.mark.parametrize(("fields", "expected"), PLANTED)
async def test_a_single_room(
    fields: dict[str, Any], expected: list[tuple[FindingKind, str]], policy: WebhookUrlPolicy
) -> None:
    findings = await found([room(7, **fields)], policy)
    assert kinds(findings) == expected
    for finding in findings:
        assert (finding.room_id, finding.unique_name) == (room(7).id, "r7")
        assert finding.message.isprintable()
        assert "secret" not in finding.message


@pytest.mark.parametrize("name", SPECIAL_USE)
async def test_a_special_use_name_is_found_in_both_urls(name: str) -> None:
    urls = {URL: f"https://hook.{name}/", FAILOVER: f"https://BACKUP.{name.upper()}./"}
    for policy in (WebhookUrlPolicy(), HTTPS):
        findings = await found([room(1, **urls)], policy)
        assert kinds(findings) == [("special_use_host", URL), ("special_use_host", FAILOVER)]


async def test_a_policy_finds_what_only_it_rejects() -> None:
    policy = WebhookUrlPolicy(denied_hosts=["hooks.example.com"])
    (finding,) = await found([room()], policy)
    assert (finding.kind, finding.severity) == ("rejected_url", "error")
    assert "has a host that is denied" in finding.message
    allowing = WebhookUrlPolicy(allow_credentials=True)
    assert kinds(await found([room(webhook_event_url="https://u:p@hooks.example.com/")], allowing)) == [
        ("credentials", URL)
    ]


async def test_a_value_that_can_not_be_read_is_a_finding_and_nothing_else_is_concluded_from_it() -> None:
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        sim.change_room(sim.room_ids[0], **GOOD)
        read = await client.rooms.retrieve(sim.room_ids[0])
    assert await found([read]) == []
    odd = Room(id=read.id, webhook_event_url=None, unreadable={URL: 5})
    assert kinds(await found([odd], ignore=["timeout_unset"])) == [("unreadable", URL)]


async def test_kinds_can_be_ignored() -> None:
    rooms = [room(1, webhook_event_url="http://10.0.0.1/"), room(2, webhook_event_failover_url=None)]
    assert kinds(await found(rooms, ignore=["http", "no_failover"])) == [("private_host", URL)]
    wrong: Any = "http"
    hint = r"audit\(ignore=\) is 'http'; give a collection of kinds, such as \['http'\]"
    with pytest.raises(ClientSettingsError, match=hint):
        audit(rooms, ignore=wrong)
    with pytest.raises(ClientSettingsError, match=r"audit\(ignore=\) has 'htp', which is no kind of finding"):
        audit(rooms, ignore=["htp"])  # type: ignore[list-item] # pyright: ignore[reportArgumentType]


# --- rooms that differ from most others ---


async def test_rooms_that_differ_from_at_least_nine_tenths_are_unusual() -> None:
    rooms = [room(number) for number in range(18)]
    rooms += [room(18, webhook_event_url="https://old.example.com/", webhook_timeout_secs=20), room(19)]
    findings = await found(rooms)
    assert kinds(findings) == [("unusual", URL), ("unusual", TIMEOUT)]
    assert {finding.unique_name for finding in findings} == {"r18"}
    assert findings[0].message == (
        "the webhook host old.example.com, but 95 % of the rooms have the webhook host hooks.example.com"
    )


@pytest.mark.parametrize("others", [0, 2, 8])
async def test_without_a_large_majority_no_room_is_unusual(others: int) -> None:
    rooms = [room(number) for number in range(9)]
    rooms += [room(number + 10, webhook_timeout_secs=30) for number in range(others)]
    assert await found(rooms) == []


async def test_a_room_without_a_webhook_is_unusual_once() -> None:
    rooms = [room(number) for number in range(20)]
    rooms.append(room(20, webhook_event_url=None, webhook_event_failover_url=None, webhook_timeout_secs=None))
    (finding,) = await found(rooms)
    assert (finding.kind, finding.field) == ("unusual", URL)
    assert finding.message.startswith("no webhook host, but 95 % of the rooms have")


async def test_rooms_are_not_unusual_because_most_others_lack_a_setting() -> None:
    rooms = [room(number, webhook_event_failover_url=None, webhook_timeout_secs=None) for number in range(20)]
    rooms.append(room(20))
    assert {kind for kind, _ in kinds(await found(rooms))} == {"no_failover", "timeout_unset"}


async def test_a_setting_with_a_finding_for_the_same_reason_is_not_unusual_too() -> None:
    rooms = [room(number) for number in range(20)]
    rooms.append(room(20, webhook_event_failover_url=None, webhook_timeout_secs=0))
    assert kinds(await found(rooms)) == [("no_failover", FAILOVER), ("timeout_zero", TIMEOUT)]


async def test_very_many_unusual_rooms_are_counted_and_the_memory_is_bounded() -> None:
    def rooms() -> Iterable[Room]:
        for number in range(60_000):
            own = (
                f"https://{'x' if number % 2 else number}.example.com/"
                if number % 20 == 0 or number % 20 == 1
                else None
            )
            yield room(number, **({} if own is None else {URL: own}))

    counting = audit(rooms())
    findings = [finding async for finding in counting]
    assert counting.rooms == 60_000
    named = [finding for finding in findings if finding.room_id is not None]
    (rest,) = [finding for finding in findings if finding.room_id is None]
    assert len(named) <= 10_000
    assert rest.message.startswith(f"{6_000 - len(named):,} more rooms differ, but 90 % of the rooms have")
    assert counting.hosts.most_common(2) == [("backup.example.com", 60_000), ("hooks.example.com", 54_000)]


async def test_rooms_whose_hosts_are_too_many_to_count_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiorooms.webhook_config._audit._MAX_HOSTS", 2)
    rooms = [room(1), room(2), room(3, webhook_event_url="https://a.io/", webhook_event_failover_url="https://b.io/")]
    counting = audit([*rooms, room(4, webhook_event_url="https://c.io/")])
    assert [finding async for finding in counting] == []
    assert counting.hosts == {"hooks.example.com": 2, "backup.example.com": 3}
    assert counting.rooms_with_other_hosts == 2


# --- DNS ---


def resolver(known: Mapping[str, Sequence[str]], asked: list[str] | None = None) -> Resolve:
    async def resolve(host: str) -> Sequence[str]:
        if asked is not None:
            asked.append(host)
        await asyncio.sleep(0)
        if host not in known:
            raise OSError(-2, "Name or service not known")
        return known[host]

    return resolve


PUBLIC_DNS = {"hooks.example.com": ["203.0.114.1", "203.0.114.2"], "backup.example.com": ["203.0.114.2", "203.0.114.3"]}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, []),
        ({URL: "https://gone.example.com/"}, [("unresolvable_host", URL)]),
        ({URL: "https://inside.example.com/"}, [("private_host", URL)]),
        ({FAILOVER: "https://alias.example.com/"}, [("failover_same_host", FAILOVER)]),
        ({URL: "https://10.0.0.1/"}, [("private_host", URL)]),
        ({URL: "https://nas.lan/"}, [("special_use_host", URL)]),
        ({URL: "https://203.0.114.2/"}, []),
        ({FAILOVER: "https://203.0.114.1/"}, [("failover_same_host", FAILOVER)]),
        ({URL: "nonsense"}, [("rejected_url", URL)]),
    ],
)
async def test_addresses_show_more(fields: dict[str, Any], expected: list[tuple[FindingKind, str]]) -> None:
    known = {**PUBLIC_DNS, "inside.example.com": ["203.0.114.9", "10.1.2.3"], "alias.example.com": ["203.0.114.2"]}
    assert kinds(await found([room(**fields)], dns=True, resolve=resolver(known))) == expected


async def test_the_message_names_the_hosts_that_share_addresses() -> None:
    known = {"hooks.example.com": ["203.0.114.1", "203.0.114.2"], "backup.example.com": ["203.0.114.2"]}
    (finding,) = await found([room()], dns=True, resolve=resolver(known))
    assert finding.message == (
        "backup.example.com has no address that hooks.example.com does not have, so they fail together"
    )


async def test_each_host_is_looked_up_once_and_none_without_dns() -> None:
    asked: list[str] = []
    rooms = [room(number) for number in range(1000)]
    assert await found(rooms, dns=True, resolve=resolver(PUBLIC_DNS, asked)) == []
    assert sorted(asked) == ["backup.example.com", "hooks.example.com"]
    assert await found(rooms, resolve=resolver({}, asked)) == []
    assert len(asked) == 2


async def test_hosts_that_are_in_use_are_kept_if_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiorooms.webhook_config._dns._MAX_CACHED", 300)
    rooms = [room(number, webhook_event_failover_url=f"https://b{number}.example.com/") for number in range(1200)]

    asked: list[str] = []

    async def resolve(host: str) -> Sequence[str]:
        asked.append(host)
        return [f"203.0.{114 + len(asked) // 250}.{len(asked) % 250}"]

    assert await found(rooms, dns=True, resolve=resolve) == []
    assert asked.count("hooks.example.com") == 1
    assert len(asked) == 1201


async def test_a_slow_host_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def look_up(host: str, *_: object, **__: object) -> list[object]:
        if host.startswith("slow"):
            release.wait(20)
        elif host.startswith("odd"):
            raise UnicodeError("label too long")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("203.0.114.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    slow = [asyncio.create_task(resolve_host(f"slow{number}.example.com")) for number in range(50)]
    assert await resolve_host("good.example.com") == ("203.0.114.1",)
    with pytest.raises(OSError, match="label too long"):
        await resolve_host("odd.example.com")
    for task in slow:
        task.cancel()
    await asyncio.wait(slow)
    release.set()


async def test_at_most_twenty_lookups_are_in_flight_and_cancelling_ends_them() -> None:
    waiting: set[str] = set()
    most = 0
    never = asyncio.Event()

    async def resolve(host: str) -> Sequence[str]:
        nonlocal most
        waiting.add(host)
        most = max(most, len(waiting))
        try:
            if len(waiting) == 20:
                await never.wait()
            await asyncio.sleep(0)
        finally:
            waiting.discard(host)
        return ["203.0.114.1"]

    rooms = [room(number, webhook_event_url=f"https://h{number}.example.com/") for number in range(100)]
    task = asyncio.create_task(found(rooms, dns=True, resolve=resolve))
    while most < 20:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert most == 20
    assert not waiting
    assert tasks_left() == set()


# --- over an account ---


async def test_an_account_is_audited_while_it_is_listed_and_can_be_stopped_early() -> None:
    async with RoomsSimulator(rooms=600) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        checking = audit(client.rooms.list(), ignore=["timeout_unset"])
        async with aclosing(checking):
            async for finding in checking:
                assert finding.kind == "no_failover"
                break
        assert tasks_left() == set()
        assert [one async for one in checking] == []
        assert sim.stats.by_method["GET"] <= 3
        checking = audit(client.rooms.list(), ignore=["timeout_unset"])
        assert len([one async for one in checking]) == 600
        assert checking.counts == {"no_failover": 600}


async def test_rooms_may_come_from_any_async_iterable() -> None:
    async def rooms() -> AsyncIterator[Room]:
        yield room(1, webhook_timeout_secs=0)

    assert kinds([one async for one in audit(rooms())]) == [("timeout_zero", TIMEOUT)]


def random_room(random: Random, number: int) -> tuple[Room, Collection[tuple[FindingKind, str]]]:
    if random.random() < 0.95:
        return room(number), ()
    fields, expected = random.choice(PLANTED)
    return room(number, **fields), expected


@pytest.mark.parametrize("seed", range(20))
async def test_in_random_accounts_each_planted_finding_is_found_and_nothing_else(seed: int) -> None:
    random = Random(seed)
    made = [random_room(random, number) for number in range(random.choice([1, 200, 251, 999]))]
    planted = sorted((kind, field, one.id) for one, expected in made for kind, field in expected)
    findings = await found([one for one, _ in made], ignore=["unusual"])
    assert sorted((one.kind, one.field, one.room_id) for one in findings) == planted
