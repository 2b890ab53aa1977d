"""`show` begins with what a reviewer needs, `plan` says what can't be undone, and `--approve` names one plan."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from aiorooms.bulk import Plan
from aiorooms.simulator import RoomsSimulator

from .conftest import Invoke, lines, planned

NEW = "https://new.example.com/rooms"
LOST = "webhook_event_url had no value, and the API can't clear it"


@pytest.fixture
def lossy(sim: RoomsSimulator, invoke: Invoke) -> None:
    """Make a plan that gives 3 of 20 rooms their first URL."""
    for room_id in sim.room_ids[:3]:
        sim.change_room(room_id, webhook_event_url="")
    planned(invoke, "--set", f"webhook_event_url={NEW}", "--set", "max_participants=30")


@pytest.mark.usefixtures("lossy")
def test_show_begins_with_what_a_reviewer_needs(sim: RoomsSimulator, invoke: Invoke) -> None:
    plan = Plan.open("rooms.plan")
    result = invoke("show", "rooms.plan")
    header, fields, *_ = result.stdout.split("\n\n")
    assert header == (
        "Plan:      rooms.plan\n"
        f"Source:    set webhook_event_url={NEW}, set max_participants=30\n"
        f"Server:    {sim.url}\n"
        f"Made:      {plan.created_at}\n"
        f"Id:        {plan.plan_id}\n"
        f"Checksum:  {plan.sha256}\n"
        "Totals:    20 rooms to change."
    )
    assert lines(fields) == [
        "max_participants: 20 rooms",
        "  20  10 -> 30",
        "webhook_event_url: 20 rooms",
        "  17  old.example.com -> new.example.com",
        "   3  no URL -> new.example.com",
        "A rollback could not bring back 3 rooms:",
        f"  3 rooms, such as {sim.room_ids[0]}: {LOST}",
    ]
    assert result.stderr == f"To apply this plan and no other: aiorooms apply rooms.plan --approve {plan.sha256}\n"


@pytest.mark.usefixtures("lossy")
def test_plan_and_rollback_say_what_a_rollback_could_not_bring_back(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke, "--set", "max_participants=31", "--out", "other.plan")
    assert "A rollback" not in invoke("plan", "--set", "max_participants=31", "--out", "a.plan").stdout
    result = invoke("plan", "--set", f"webhook_event_url={NEW}", "--out", "b.plan")
    assert lines(result.stdout)[-4:-1] == [
        "A rollback could not bring back 3 rooms:",
        f"  3 rooms, such as {sim.room_ids[0]}: {LOST}",
        "",
    ]
    assert lines(result.stdout)[-1] == "20 rooms to change."
    result = invoke("plan", "--set", f"webhook_event_url={NEW}", "--out", "-")
    assert lines(result.stderr)[:2] == [
        "A rollback could not bring back 3 rooms:",
        f"  3 rooms, such as {sim.room_ids[0]}: {LOST}",
    ]
    # The promise holds.
    assert invoke("apply", "b.plan", "--yes").exit_code == 0
    back = invoke("rollback", "b.plan.journal", "-o", "c.plan")
    assert lines(back.stderr)[0].endswith("the API can't clear webhook_event_url, which had no value before")
    assert Plan.open("c.plan").rooms == 17


@pytest.mark.usefixtures("lossy")
@pytest.mark.parametrize("options", [(), ("--all",)])
def test_the_json_has_the_review_too(sim: RoomsSimulator, invoke: Invoke, options: tuple[str, ...]) -> None:
    plan = Plan.open("rooms.plan")
    *rooms, totals = map(json.loads, lines(invoke("show", "rooms.plan", "--json", *options).stdout))
    assert len(rooms) == (20 if options else 0)
    assert (totals["sha256"], totals["created_at"]) == (plan.sha256, plan.created_at)
    assert totals["fields"]["webhook_event_url"] == {
        "rooms": 20,
        "changes": [
            {"before": "old.example.com", "after": "new.example.com", "rooms": 17},
            {"before": None, "after": "new.example.com", "rooms": 3},
        ],
        "other": 0,
    }
    (lost,) = totals["not_restorable"]
    assert lost == {"field": "webhook_event_url", "reason": LOST, "rooms": 3, "example": sim.room_ids[0]}


@pytest.mark.usefixtures("lossy")
def test_the_command_to_copy_applies_the_plan_without_a_question(sim: RoomsSimulator, invoke: Invoke) -> None:
    command = lines(invoke("show", "rooms.plan").stderr)[-1].partition(": aiorooms ")[2]
    assert invoke(*command.split()).exit_code == 0
    assert all(room["max_participants"] == 30 for room in sim.rooms.values())


def test_the_command_to_copy_names_another_server(
    sim: RoomsSimulator, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(invoke)
    monkeypatch.delenv("TELNYX_BASE_URL")
    assert f"aiorooms apply rooms.plan --base-url {sim.url} --approve " in invoke("show", "rooms.plan").stderr


@pytest.mark.parametrize("digits", [12, 13, 64])
def test_a_plan_is_approved_by_the_beginning_of_its_checksum(invoke: Invoke, digits: int) -> None:
    planned(invoke)
    assert invoke("apply", "rooms.plan", "--approve", Plan.open("rooms.plan").sha256[:digits].upper()).exit_code == 0


def other_end(sha: str) -> str:
    return sha[:-1] + ("0" if sha[-1] != "0" else "1")


def other_beginning(sha: str) -> str:
    return ("0" if sha[0] != "0" else "1") + sha[1:12]


@pytest.mark.parametrize("change", [other_end, other_beginning])
@pytest.mark.parametrize("options", [(), ("--yes",)])
def test_another_plan_is_rejected_with_both_checksums(
    sim: RoomsSimulator, invoke: Invoke, change: Callable[[str], str], options: tuple[str, ...]
) -> None:
    planned(invoke)
    sha = Plan.open("rooms.plan").sha256
    approved = change(sha)
    result = invoke("apply", "rooms.plan", "--approve", approved, *options)
    assert result.exit_code == 2
    (line,) = lines(result.stderr)
    assert line == (
        f"aiorooms: --approve: the plan 'rooms.plan' has the checksum {sha}, not {approved}; review it with `aiorooms"
        " show rooms.plan`"
    )
    assert sim.stats.by_method["PATCH"] == 0
    assert not Path("rooms.plan.journal").exists()


def test_a_plan_that_was_made_again_needs_a_new_approval(invoke: Invoke) -> None:
    planned(invoke)
    approved = Plan.open("rooms.plan").sha256
    planned(invoke, "--set", "max_participants=30", "--overwrite")
    assert invoke("apply", "rooms.plan", "--approve", approved).exit_code == 2


def test_a_plan_without_changes_has_a_short_header(invoke: Invoke) -> None:
    planned(invoke, "--set", "max_participants=10")
    result = invoke("show", "rooms.plan")
    totals = "0 rooms to change, 20 already as planned."
    assert f"Totals:    {totals}\n\n{totals}\n" in result.stdout
    assert (result.stderr, "rollback" in result.stdout) == ("", False)


def test_many_hosts_fit_on_one_screen(sim: RoomsSimulator, invoke: Invoke, folder: Path) -> None:
    rows = [f"{room_id},https://h{number}.example.com/\n" for number, room_id in enumerate(sim.room_ids)]
    (folder / "a.csv").write_text("room,webhook_event_url\n" + "".join(rows))
    planned(invoke, "a.csv")
    header = invoke("show", "rooms.plan").stdout.partition("A rollback")[0]
    assert "  and 12 rooms with other changes\n" in header
    assert len(lines(header)) < 25


def test_a_change_of_the_path_only_is_named_so(invoke: Invoke) -> None:
    planned(invoke, "--set", "webhook_event_url=https://old.example.com/elsewhere")
    assert "  20  old.example.com -> old.example.com (same host)\n" in invoke("show", "rooms.plan").stdout


def test_show_and_the_report_name_hosts_alike(sim: RoomsSimulator, invoke: Invoke) -> None:
    hosts = {
        "http://[::1]:8080/a": "[::1]:8080",
        "https://b.example.com:8443/": "b.example.com:8443",
        "nonsense": "(no host)",
        "": "no URL",
        "https://new.example.com/old": "new.example.com",
    }
    for room_id, url in zip(sim.room_ids, hosts, strict=False):
        sim.change_room(room_id, webhook_event_url=url)
    planned(invoke, "--set", "webhook_event_url=https://new.example.com/a")
    shown = invoke("show", "rooms.plan").stdout
    assert invoke("apply", "rooms.plan", "--yes").exit_code == 0
    assert invoke("report", "rooms.plan.journal", "--out", "a.html").exit_code == 0
    page = Path("a.html").read_text()
    for host in hosts.values():
        same = " (same host)" * (host == "new.example.com")
        assert f"   1  {host} -> new.example.com{same}\n" in shown
        assert f"</b>: {host} → new.example.com{same} <" in page


def test_an_odd_path_and_an_odd_source_do_not_break_a_line(invoke: Invoke, folder: Path) -> None:
    name = "a\x1b[2J\nb.plan"
    planned(invoke, "--set", "max_participants=30", "--out", name)
    text = invoke("show", name).stdout
    assert "Plan:      a\\x1b[2J\\nb.plan\n" in text
    assert not re.search(r"\x1b", text)


@pytest.mark.parametrize("options", [(), ("--all",), ("--json",)])
def test_a_password_in_a_url_is_in_no_text_for_people(
    sim: RoomsSimulator, invoke: Invoke, options: tuple[str, ...]
) -> None:
    for room_id in sim.room_ids:
        sim.change_room(room_id, webhook_event_url="https://user:p4ssw0rd@old.example.com/x")
    result = invoke("plan", "--set", "webhook_event_url=https://new.example.com/x", *options)
    assert result.exit_code == 0
    shown = invoke("show", "rooms.plan", *options)
    assert "p4ssw0rd" not in result.output + shown.output
    assert "old.example.com" in shown.output
