"""`aiorooms webhooks probe` and `aiorooms plan --probe`: test events, their outcomes, and what is reported."""

import base64
import json
import traceback
from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path

import pytest

from aiorooms.bulk import Plan
from aiorooms.cli import _key_files, _plan
from aiorooms.cli._key_files import read_signer
from aiorooms.simulator import RoomsSimulator
from aiorooms.webhook_config import EventSigner, ProbeResult

from ..samples import ROOM_ID
from .conftest import Invoke, lines, run

PROBE = ("webhooks", "probe")
KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def receiver(sim: RoomsSimulator) -> str:
    """Return the URL of a receiver on loopback that accepts every event."""
    return sim.receiver_url


def test_an_event_that_arrives(invoke: Invoke, receiver: str) -> None:
    result = invoke(*PROBE, receiver, "--allow-private")
    assert result.exit_code == 0
    verdict, addresses, time = lines(result.stdout)
    assert verdict == f"ok: '{receiver}': answered 200"
    assert addresses == "  addresses: 127.0.0.1"
    assert time.startswith("  time: DNS 0.0")
    result = invoke(*PROBE, receiver, "--failover", receiver + "/b", "--allow-private", "--json")
    first, second = map(json.loads, lines(result.stdout))
    assert (first["url"], first["verdict"], first["status"], first["tls"]) == (receiver, "ok", 200, None)
    assert second["url"] == receiver + "/b"


def test_an_event_that_does_not_arrive(sim: RoomsSimulator, invoke: Invoke, receiver: str) -> None:
    result = invoke(*PROBE, receiver)
    assert result.exit_code == 1
    assert (
        "the host 127.0.0.1 is not on the public internet; use a public host, or allow private addresses"
        in result.stdout
    )
    assert sim.stats.by_method["POST"] == 0
    result = invoke(*PROBE, sim.url + "/nothing", "--allow-private")
    assert result.exit_code == 0
    assert lines(result.stdout)[0].startswith("reachable: ")
    result = invoke(*PROBE, receiver, "--failover", "https://x..io/", "--allow-private", "--json")
    assert result.exit_code == 1
    assert [json.loads(line)["cause"] for line in lines(result.stdout)] == [None, "invalid_url"]


def test_the_urls_of_a_room(sim: RoomsSimulator, invoke: Invoke, receiver: str) -> None:
    first, second, *_ = sim.room_ids
    sim.change_room(first, webhook_event_url=receiver, webhook_event_failover_url=receiver + "/b")
    sim.change_room(second, webhook_event_url=None, webhook_event_failover_url="")
    result = invoke(*PROBE, "--room", first, "--allow-private", "--json")
    assert result.exit_code == 0
    assert [json.loads(line)["url"] for line in lines(result.stdout)] == [receiver, receiver + "/b"]
    result = invoke(*PROBE, "--room", second)
    assert (result.exit_code, result.stdout) == (1, ""), "no event would arrive"
    assert lines(result.stderr) == ["The room has no webhook URL and no failover URL."]
    assert invoke(*PROBE, "--room", first.replace(first[:8], "00000000")).exit_code == 1


def test_without_a_room_no_api_key_is_needed(
    sim: RoomsSimulator, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TELNYX_API_KEY")
    assert invoke(*PROBE, sim.receiver_url, "--allow-private").exit_code == 0
    result = invoke(*PROBE, "--room", sim.room_ids[0])
    assert result.exit_code == 2
    assert "TELNYX_API_KEY is not set" in result.stderr


def test_wrong_arguments_are_reported_and_nothing_is_sent(sim: RoomsSimulator, invoke: Invoke, receiver: str) -> None:
    assert lines(invoke(*PROBE).stderr) == ["aiorooms: give URL or --room"]
    result = invoke(*PROBE, "", "--failover", "")
    assert result.exit_code == 2
    assert lines(result.stderr)[:2] == [
        "aiorooms: URL: is empty; give a URL",
        "aiorooms: --failover: is empty; give a URL",
    ]
    assert lines(invoke(*PROBE, "").stderr) == ["aiorooms: URL: is empty; give a URL"]
    result = invoke(*PROBE, receiver, "--room", sim.room_ids[0])
    assert lines(result.stderr) == ["aiorooms: --room: give either --room, or URL and --failover"]
    Path("key").write_text("secret-but-not-a-key")
    result = invoke(*PROBE, receiver, "--signing-key", "key", "--timeout", "0")
    assert result.exit_code == 2
    first, second, _ = lines(result.stderr)
    assert first.startswith(
        "aiorooms: --signing-key: 'key' is not a private key; give an Ed25519 private key: PEM text"
    )
    assert "secret" not in result.stderr
    assert "--timeout: '0' is less than 0.001 s" in second
    assert "can't be read: No such file" in invoke(*PROBE, receiver, "--signing-key", "missing").stderr
    assert sim.stats.requests == 0


EITHER = "--room: give either --room, or URL and --failover"
NO_ROOM = "--room: 'x' is not a UUID"


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        (("--failover", "https://x.io/"), ["--failover: give URL too"]),
        (("--base-url", "https://x.io/v2"), ["--base-url: give --room too", "give URL or --room"]),
        (("https://x.io/", "--base-url", "https://x.io/v2"), ["--base-url: give --room too"]),
        (("--room", ROOM_ID, "--failover", "https://x.io/"), [EITHER]),
        (("https://x.io/", "--room", ROOM_ID, "--base-url", "https://x.io/v2"), [EITHER]),
        (("https://x.io/", "--room", "x"), [NO_ROOM, EITHER]),
        (("--room", "x", "--base-url", "https://x.io/v2"), [NO_ROOM]),
    ],
)
def test_options_that_do_not_belong_together_are_reported(
    sim: RoomsSimulator, invoke: Invoke, arguments: tuple[str, ...], problems: list[str]
) -> None:
    result = invoke(*PROBE, *arguments)
    assert result.exit_code == 2
    found = [line.removeprefix("aiorooms: ") for line in lines(result.stderr)][: len(problems)]
    for line, problem in zip(found, problems, strict=True):
        assert line.startswith(problem)
    assert len(lines(result.stderr)) == len(problems) + (len(problems) > 1)
    assert sim.stats.requests == 0


def test_a_password_is_not_shown(sim: RoomsSimulator, invoke: Invoke, receiver: str) -> None:
    url = receiver.replace("://", "://me:secret@")
    for more in ((), ("--json",)):
        result = invoke(*PROBE, url, "--allow-private", *more)
        assert result.exit_code == 0
        assert "secret" not in result.output
    assert json.loads(result.stdout)["url"] == receiver.replace("://", "://***@")


def test_the_key_is_in_no_variable_of_the_command_if_signing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(key: str) -> EventSigner:
        raise RuntimeError(len(key))

    Path("key").write_text(KEY)
    monkeypatch.setattr(_key_files, "EventSigner", fail)
    with pytest.raises(RuntimeError) as caught:
        run(*PROBE, "https://hooks.example.com/", "--signing-key", "key")
    frames = [frame for frame, _ in traceback.walk_tb(caught.tb) if frame.f_code is read_signer.__code__]
    assert len(frames) == 1
    assert KEY not in repr(frames[0].f_locals)


def test_a_signed_event_has_the_signature_of_the_api(sim: RoomsSimulator, invoke: Invoke, receiver: str) -> None:
    Path("key").write_text(KEY + "\n")
    sim.record = True
    assert invoke(*PROBE, receiver, "--signing-key", "key", "--allow-private").exit_code == 0
    (event,) = sim.recorded
    assert len(base64.b64decode(event.headers["telnyx-signature-ed25519"])) == 64


# --- plans ---


def test_a_plan_whose_new_webhook_answers_is_written(sim: RoomsSimulator, invoke: Invoke, receiver: str) -> None:
    result = invoke("plan", "--set", f"webhook_event_url={receiver}", "--probe", "--allow-private")
    assert result.exit_code == 0, result.stderr
    assert Plan.open("rooms.plan").rooms == 20
    assert sim.stats.by_method["POST"] == 1, "one receiver is probed once"


def test_a_plan_whose_new_webhook_does_not_answer_is_refused_with_its_rooms(
    sim: RoomsSimulator, invoke: Invoke, receiver: str
) -> None:
    rows = [f"{room},{receiver}" for room in sim.room_ids[:3]]
    rows += [f"{room},{sim.url.replace('/v2', '/x')}/{number % 2}" for number, room in enumerate(sim.room_ids[3:])]
    Path("rooms.csv").write_text("\n".join(["room_id,webhook_event_url", *rows]))
    result = invoke("plan", "rooms.csv", "--probe", "--allow-private")
    assert result.exit_code == 0, "a 401 means that the receiver is reachable"
    Path("rooms.plan").unlink()
    result = invoke("plan", "rooms.csv", "--probe")
    assert result.exit_code == 2
    first, *_, last = found = lines(result.stderr)
    assert len(found) == 4
    assert first.startswith("aiorooms: rooms.csv, webhook_event_url: '")
    assert any("(3 rooms: room-000001, room-000002, room-000003)" in line for line in found)
    assert any("(9 rooms: room-000004, room-000006, room-000008, ...)" in line for line in found)
    assert last == "aiorooms: 3 problems; nothing was changed"
    assert not Path("rooms.plan").exists()


def test_the_names_of_rooms_in_a_problem_are_short_and_printable(sim: RoomsSimulator, invoke: Invoke) -> None:
    sim.change_room(sim.room_ids[0], unique_name="\x1b[2J" + "n" * 500)
    Path("rooms.csv").write_text(f"room_id,webhook_event_url\n{sim.room_ids[0]},{sim.receiver_url}\n")
    result = invoke("plan", "rooms.csv", "--probe")
    assert result.exit_code == 2
    assert lines(result.stderr)[0].endswith(f"(1 room: ?[2J{'n' * 73}...)")


@pytest.mark.parametrize("options", [("--allow-private",), ("--signing-key", "key")])
def test_options_of_the_probe_need_it(invoke: Invoke, options: tuple[str, ...]) -> None:
    Path("key").write_text(KEY)
    result = invoke("plan", "--set", "max_participants=3", *options)
    assert result.exit_code == 2
    assert lines(result.stderr) == [f"aiorooms: {options[0]}: give --probe too"]


def test_a_probe_and_a_check_exclude_each_other(invoke: Invoke) -> None:
    Path("rooms.csv").write_text("room_id\n")
    result = invoke("plan", "rooms.csv", "--check", "--probe")
    assert result.exit_code == 2
    assert "--probe: give either --probe or --check" in result.stderr


@pytest.mark.usefixtures("invoke")
def test_on_a_terminal_the_result_is_the_same(on_terminal: Callable[..., tuple[int, str]], receiver: str) -> None:
    code, text = on_terminal(*PROBE, receiver, "--allow-private", columns=40)
    assert code == 0
    assert text.startswith(f"ok: '{receiver}': answered 200\n")


@pytest.mark.parametrize(("current", "planned", "used"), [(7, None, 7), (7, 3, 3), (None, None, 10), (0, None, 10)])
def test_the_time_limit_is_that_of_the_rooms(
    sim: RoomsSimulator,
    invoke: Invoke,
    monkeypatch: pytest.MonkeyPatch,
    current: int | None,
    planned: int | None,
    used: int,
) -> None:
    given: list[float] = []

    async def record(urls: Iterable[str], *, timeout: float, **_: object) -> AsyncGenerator[ProbeResult]:
        given.append(timeout)
        for url in urls:
            yield ProbeResult(url=url, verdict="ok", message="")

    monkeypatch.setattr(_plan, "probe_many", record)
    for number, room_id in enumerate(sim.room_ids):
        sim.change_room(room_id, webhook_timeout_secs=30 if number and current else current)
    more = () if planned is None else ("--set", f"webhook_timeout_secs={planned}")
    assert invoke("plan", "--set", f"webhook_event_url={sim.receiver_url}", *more, "--probe").exit_code == 0
    assert given == [used]
