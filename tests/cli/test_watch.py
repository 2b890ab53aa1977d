"""A command says how it goes: notices on a terminal, lines without one, `--stats`, `--quiet`, and no double lines."""

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import IO, Any

import pytest

from aiorooms.bulk import Journal
from aiorooms.cli import _notices, _watch
from aiorooms.cli._main import cli
from aiorooms.simulator import RoomsSimulator, ScriptedAnswer

from .conftest import KEY, Invoke, Program, Start, lines, planned, signals_when, until

RATE_LIMITED = ScriptedAnswer(status=429, headers={"Retry-After": "200"})
OVERLOADED = ScriptedAnswer(status=503, headers={"Retry-After": "200"})

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ "

COMMANDS: list[tuple[str, ...]] = [
    ("get", "ROOM"),
    ("list",),
    ("update", "ROOM", "--max-participants", "20"),
    ("update", "ALL", "--max-participants", "20"),
    ("export", "a.csv"),
    ("plan", "--set", "max_participants=20", "--out", "b.plan"),
    ("verify", "rooms.plan"),
    ("rollback", "rooms.plan.journal"),
    ("apply", "rooms.plan", "--journal", "b.journal", "--yes"),
    ("resume", "rooms.plan.journal", "--yes"),
    ("webhooks", "audit"),
    ("webhooks", "probe", "--room", "ROOM"),
]
SINGLE: list[tuple[str, ...]] = [words for words in COMMANDS if "ALL" not in words and words[0] != "resume"]
"""The commands that begin with a single call, and not with the updates of a run."""


def named(words: Sequence[str]) -> str:
    return " ".join(word for word in words[:2] if not word.startswith("rooms.plan"))


def full(words: Sequence[str], sim: RoomsSimulator) -> list[str]:
    """Replace ROOM by a room id, and ALL by the ids of all rooms."""
    ids = {"ROOM": sim.room_ids[:1], "ALL": sim.room_ids}
    return [word for given in words for word in ids.get(given, [given])]


@pytest.fixture
def files(sim: RoomsSimulator, invoke: Invoke) -> None:
    """Write rooms.plan, and rooms.plan.journal of a run that has updated one of 20 rooms."""
    planned(invoke)
    sim.script(None, ScriptedAnswer(status=401), method="PATCH")
    assert invoke("apply", "rooms.plan", "--yes", "--concurrency", "1").exit_code == 3


def line_with(stream: IO[str] | None, text: str) -> str:
    """Read lines up to one that contains a text, and return it."""
    assert stream is not None
    read: list[str] = []
    for line in stream:
        read.append(line)
        if text in line:
            return line.rstrip("\n")
    raise AssertionError(f"{text!r} is not in {read}")


def interrupted(process: "subprocess.Popen[str]") -> tuple[str, str]:
    process.send_signal(signal.SIGINT)
    found = process.communicate(timeout=20)
    assert process.returncode == 130
    return found


InterruptedAfter = Callable[..., tuple[str, str]]


@pytest.fixture
def interrupted_after(use: Callable[[RoomsSimulator], None], monkeypatch: pytest.MonkeyPatch) -> InterruptedAfter:
    """Return a function that runs a command in this process without a terminal, and sends Ctrl-C after a text.

    The text is one on standard error. The function returns what was written to standard output and standard error.
    """

    def invoke(text: str, sim: RoomsSimulator, *words: str) -> tuple[str, str]:
        use(sim)
        output, errors = io.StringIO(), io.StringIO()
        with monkeypatch.context() as patch, signals_when(lambda: text in errors.getvalue(), signal.SIGINT):
            patch.setattr(sys, "stdout", output)
            patch.setattr(sys, "stderr", errors)
            code: Any = cli.main(words, prog_name="aiorooms", standalone_mode=False)
        assert code == 130, errors.getvalue()
        return output.getvalue(), errors.getvalue()

    return invoke


# --- lines without a terminal ---


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("words", COMMANDS, ids=named)
def test_a_command_says_that_it_is_rate_limited(
    sim: RoomsSimulator, interrupted_after: InterruptedAfter, words: tuple[str, ...]
) -> None:
    sim.script(RATE_LIMITED)
    output, errors = interrupted_after("a pause)\n", sim, *full(words, sim))
    (line,) = [line for line in lines(errors) if "resumes in" in line]
    assert re.fullmatch(f"{STAMP}rate limited, resumes in (200|199) s \\(a 429 asked for a pause\\)", line)
    assert "rate limited" not in output


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("words", SINGLE, ids=named)
def test_a_command_says_that_it_tries_again(
    sim: RoomsSimulator, interrupted_after: InterruptedAfter, words: tuple[str, ...]
) -> None:
    sim.script(OVERLOADED)
    _, errors = interrupted_after("(attempt 2)\n", sim, *full(words, sim))
    (line,) = [line for line in lines(errors) if "trying again" in line]
    assert re.fullmatch(f"{STAMP}503 .*; trying again in 200 s \\(attempt 2\\)", line)


@pytest.mark.parametrize(
    "words", [("apply", "rooms.plan", "--yes", "--force"), ("update", "ALL", "--enable-recording")]
)
def test_a_run_says_that_an_outage_begins_and_ends(
    sim: RoomsSimulator, invoke: Invoke, program: Program, words: tuple[str, ...]
) -> None:
    planned(invoke)
    sim.latency = 0.3
    with program(*full(words, sim), "--concurrency", "2") as process:
        until(lambda: sim.stats.in_flight > 0, "an update is in flight")
        sim.refuse_connections()
        sim.latency = 0
        line = line_with(process.stderr, "since")
        beginning = r"server not answering since \d\d:\d\d:\d\d UTC; the run gives up after 60 s"
        assert re.fullmatch(rf"{STAMP}{beginning} \(room .*\)", line)
        sim.accept_connections()
        line = line_with(process.stderr, "the server answers again")
        assert re.fullmatch(f"{STAMP}the server answers again after \\d+ s", line)
        process.communicate(timeout=30)
        assert process.returncode == 0


def test_an_outage_with_an_answer_says_which(sim: RoomsSimulator, program: Program) -> None:
    sim.refuse_connections("503")
    with program("update", *sim.room_ids, "--enable-recording", "--concurrency", "2") as process:
        assert "server answering 503 since" in line_with(process.stderr, "since")
        interrupted(process)


def test_a_run_writes_a_line_every_interval(sim: RoomsSimulator, invoke: Invoke, program: Program) -> None:
    planned(invoke)
    sim.latency = 0.1
    with program("apply", "rooms.plan", "--yes", "--concurrency", "2", "--stats", "100ms") as process:
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    written = [line for line in lines(errors) if "/20 rooms" in line]
    assert len(written) > 3
    for line in written:
        assert re.fullmatch(rf"{STAMP}\d+/20 rooms \(\d+ %\), [\d.]+/s(, \d+:\d\d left)?, 0 failed", line)
    assert not re.search(r"\x1b|\r", errors)
    assert "rooms (" not in output


LONG: list[tuple[str, ...]] = [
    ("list", "--page-size", "5"),
    ("export", "a.csv"),
    ("plan", "--set", "max_participants=20", "--out", "b.plan"),
    ("verify", "rooms.plan"),
    ("rollback", "rooms.plan.journal"),
    ("webhooks", "audit"),
]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("words", LONG, ids=named)
def test_a_command_that_reads_for_long_says_how_many_rooms(
    sim: RoomsSimulator, program: Program, words: tuple[str, ...]
) -> None:
    sim.latency = 0.4
    with program(*words, "--stats", "100ms") as process:
        _, errors = process.communicate(timeout=60)
    assert [line for line in lines(errors) if re.fullmatch(rf"{STAMP}\d+ rooms read, [\d.]+/s", line)]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("options", [(), ("--stats", "off"), ("--stats", "1m")])
@pytest.mark.parametrize("words", LONG, ids=named)
def test_a_short_command_writes_no_lines(invoke: Invoke, words: tuple[str, ...], options: tuple[str, ...]) -> None:
    result = invoke(*words, *options)
    assert not re.search(STAMP, result.stderr)


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Announce pauses of half a second."""
    monkeypatch.setattr(_watch, "_SHORTEST_PAUSE", 0.5)
    monkeypatch.setattr(_watch, "_SHORTEST_PAUSE_OF_A_CALL", 0.5)
    monkeypatch.setitem(_notices._LONG, "retry_after", 0.5)
    monkeypatch.setattr(_watch, "_TICK", 0.01)


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize(("words", "ends"), [(("get", "ROOM"), False), (("list",), True), (("export", "a.csv"), True)])
def test_the_end_of_a_pause_is_announced_by_commands_that_count_rooms(
    sim: RoomsSimulator, invoke: Invoke, words: tuple[str, ...], ends: bool
) -> None:
    sim.script(ScriptedAnswer(status=429, headers={"Retry-After": "1"}))
    sim.latency = 0.3
    result = invoke(*full(words, sim))
    assert result.exit_code == 0
    texts = [re.sub(f"^{STAMP}", "", line) for line in lines(result.stderr)]
    assert texts == [
        "rate limited, resumes in 1 s (a 429 asked for a pause)",
        *(["sending again after a pause of 1 s"] if ends else []),
    ]


# --- -v and -q ---


@pytest.mark.parametrize("option", ["-v", "-vv"])
@pytest.mark.parametrize("answer", [RATE_LIMITED, OVERLOADED])
def test_with_log_lines_there_are_no_double_lines(
    sim: RoomsSimulator, program: Program, option: str, answer: ScriptedAnswer
) -> None:
    sim.script(answer)
    with program("list", option) as process:
        found = line_with(process.stderr, "retry in 200 s" if answer is OVERLOADED else "allows no call for")
        _, errors = interrupted(process)
    assert not re.search(STAMP, found + errors)


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize(("level", "written"), [("warning", True), ("info", False), ("debug", False)])
def test_a_line_is_written_if_the_log_has_none(
    sim: RoomsSimulator, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, level: str, written: bool
) -> None:
    monkeypatch.setenv("AIOROOMS_LOG", level)
    sim.script(ScriptedAnswer(status=429, headers={"Retry-After": "1"}))
    result = invoke("get", sim.room_ids[0])
    assert bool(re.search(STAMP, result.stderr)) == written
    assert ("retry in 1 s" in result.stderr) != written


@pytest.mark.parametrize("words", COMMANDS, ids=named)
@pytest.mark.usefixtures("files", "short_pauses")
def test_quiet_writes_only_results(sim: RoomsSimulator, invoke: Invoke, words: tuple[str, ...]) -> None:
    given = full(words, sim)
    sim.script(*[ScriptedAnswer(status=429, headers={"Retry-After": "1"})] * (words[0] in ("get", "list")))
    result = invoke(*given, "-q", *(["--overwrite"] if words[0] in ("plan", "export", "rollback") else []))
    if words[0] == "webhooks":
        assert result.exit_code in (0, 1)
    else:
        assert (result.exit_code, result.stderr) == (1 if words[0] == "verify" else 0, "")


def test_quiet_says_what_failed_and_how_to_go_on(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke, "-q", "--set", "max_participants=30")
    sim.script(ScriptedAnswer(status=422), room_id=sim.room_ids[3])
    result = invoke("apply", "rooms.plan", "--yes", "--quiet")
    assert result.exit_code == 1
    written = lines(result.stderr)
    assert "422" in written[0]
    assert "19 updated, 1 failed, out of 20." in written
    assert written[-1] == "To retry failed rooms: aiorooms resume rooms.plan.journal --retry-failed"
    result = invoke("update", *sim.room_ids, "--max-participants", "3", "-q")
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(lines(result.stdout)) == 20


def test_quiet_shows_no_bar_on_a_terminal(
    sim: RoomsSimulator, invoke: Invoke, on_terminal: Callable[..., tuple[int, str]]
) -> None:
    planned(invoke)
    assert on_terminal("apply", "rooms.plan", "--yes", "-q") == (0, "")
    assert on_terminal("plan", "--set", "max_participants=9", "--out", "b.plan", "-q")[0] == 0
    assert "\r" not in on_terminal("export", "a.csv", "-q")[1]


@pytest.mark.parametrize("words", [("list",), ("get", "ROOM"), ("apply", "rooms.plan", "--yes")], ids=named)
@pytest.mark.parametrize("other", [("-v",), ("-vv",)])
def test_quiet_and_verbose_exclude_each_other(
    sim: RoomsSimulator, invoke: Invoke, words: tuple[str, ...], other: tuple[str, ...]
) -> None:
    result = invoke(*full(words, sim), "-q", *other)
    assert (result.exit_code, result.stderr) == (2, "aiorooms: give only one of -q and -v\n")


def test_quiet_and_stats_exclude_each_other_and_all_problems_are_reported(invoke: Invoke) -> None:
    result = invoke("list", "-q", "--stats", "5", "--timeout", "0")
    assert result.exit_code == 2
    assert lines(result.stderr) == [
        "aiorooms: --timeout: '0' is less than 0.001 s",
        "aiorooms: give only one of -q and --stats",
        "aiorooms: 2 problems; nothing was changed",
    ]
    assert "--stats: 'soon' is not a time" in invoke("apply", "no.plan", "--stats", "soon").stderr


# --- on a terminal ---


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("words", COMMANDS, ids=named)
def test_a_terminal_shows_the_notice_and_counts(
    sim: RoomsSimulator, in_terminal: Start, words: tuple[str, ...]
) -> None:
    sim.script(RATE_LIMITED)
    with in_terminal(*full(words, sim)) as session:
        session.wait_for("rate limited, resumes in 200 s")
        if words[0] in ("get", "apply"):  # counting takes a second; one command without a bar, and one with a bar
            session.wait_for("rate limited, resumes in 199 s")
        session.press("\x03")
        assert session.end() == 130
    assert not re.search(STAMP, session.text), "a line was written too"


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_a_notice_without_a_bar_stays_on_one_line(sim: RoomsSimulator, in_terminal: Start, columns: int) -> None:
    sim.script(OVERLOADED)
    with in_terminal("get", sim.room_ids[0], columns=columns) as session:
        session.wait_for("retry in 200 s" if columns < 100 else "trying again in 200 s")
        session.press("\x03")
        session.end()
    notices = [piece for piece in re.split(r"[\r\n]", session.text) if "200 s" in piece]
    assert notices
    assert all(len(notice) < columns for notice in notices)


@pytest.mark.parametrize("words", [("get", "ROOM"), ("list",)], ids=named)
def test_a_terminal_says_that_the_first_answer_takes_long(
    sim: RoomsSimulator, in_terminal: Start, words: tuple[str, ...]
) -> None:
    sim.latency = 600
    with in_terminal(*full(words, sim), grace=0.1) as session:
        session.wait_for("waiting for an answer for 3 s")
        session.press("\x03")
        assert session.end() == 130


def test_the_notice_disappears_before_the_result(
    sim: RoomsSimulator, on_terminal: Callable[..., tuple[int, str]], invoke: Invoke
) -> None:
    sim.script(ScriptedAnswer(status=429, headers={"Retry-After": "2"}))
    code, text = on_terminal("get", sim.room_ids[0])
    assert code == 0
    notice, _, rest = text.partition("\r\x1b[2Krate limited, resumes in 2 s")
    assert notice == ""
    last = rest.rpartition("\r\x1b[2K")[2]
    assert "rate limited" not in last
    assert last.startswith("\x1b[36mid")


def test_the_bar_says_that_the_server_does_not_answer(sim: RoomsSimulator, invoke: Invoke, in_terminal: Start) -> None:
    planned(invoke)
    sim.latency = 0.3
    with in_terminal("apply", "rooms.plan", "--yes", "--force", "--concurrency", "2") as session:
        until(lambda: sim.stats.in_flight > 0, "an update is in flight")
        sim.refuse_connections()
        sim.latency = 0
        session.wait_for(" s, gives up at 60 s")
        assert re.search(r"server not answering for \d+ s, gives up at 60 s", session.text)
        sim.accept_connections()
        session.wait_for("20/20")
        assert session.end() == 0
    assert set(Journal.open("rooms.plan.journal").states().values()) == {"updated"}


def test_the_bar_stays_on_one_line_when_the_terminal_becomes_narrow(
    sim: RoomsSimulator, invoke: Invoke, in_terminal: Start
) -> None:
    planned(invoke)
    sim.script(None, RATE_LIMITED, method="PATCH")
    with in_terminal("apply", "rooms.plan", "--yes", "--concurrency", "1", columns=None) as session:
        session.resize(120)
        session.wait_for("0 failed rate limited, resumes in 19")
        session.resize(24)
        before = len(session.text)
        until(lambda: session.text[before:].count("1/20 paused 19") > 3, "the bar is narrow")
        frames = re.split(r"[\r\n]+", session.text[before:].rpartition("0 failed")[2])
        session.press("\x03")
        session.end()
    assert max(map(len, frames)) <= 24
    assert frames[-1].endswith(" s")


def test_stats_are_written_above_the_bar_if_asked_for(sim: RoomsSimulator, invoke: Invoke, in_terminal: Start) -> None:
    planned(invoke)
    sim.latency = 0.1
    with in_terminal("apply", "rooms.plan", "--yes", "--concurrency", "2", "--stats", "100ms") as session:
        assert session.end() == 0
    assert re.search(STAMP + r"\d+/20 rooms \(", session.text)


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_draw_gets_lines(sim: RoomsSimulator, in_terminal: Start, term: str) -> None:
    sim.script(RATE_LIMITED)
    with in_terminal("get", sim.room_ids[0], env={"TERM": term}) as session:
        session.wait_for("rate limited, resumes in 200 s (a 429 asked for a pause)\n")
        session.press("\x03")
        session.end()
    assert re.search(STAMP, session.text)


def test_the_key_is_in_no_line(sim: RoomsSimulator, program: Program) -> None:
    sim.script(ScriptedAnswer(status=503, body=f"key {KEY}", headers={"Retry-After": "200"}))
    with program("get", sim.room_ids[0]) as process:
        line = line_with(process.stderr, "trying again")
        output, errors = interrupted(process)
    assert KEY not in line + output + errors


def test_the_notice_of_an_answer_is_escaped(sim: RoomsSimulator, program: Program) -> None:
    sim.script(ScriptedAnswer(status=503, body="\x1b[2J\x07bad\r\nline", headers={"Retry-After": "200"}))
    with program("get", sim.room_ids[0], env={"TZ": os.environ.get("TZ", "UTC")}) as process:
        line = line_with(process.stderr, "trying again")
        interrupted(process)
    assert line.isprintable()
