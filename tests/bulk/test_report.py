"""Reports: what the page says, that no name can break it, that it loads nothing, and that it stays small."""

import asyncio
import io
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from aiorooms.bulk import Journal, JournalError, Plan, apply, resume, write_report
from aiorooms.bulk import _report_rooms as rooms_module
from aiorooms.bulk._journal_records import JournalHeader, Run, begin_line, end_line, line_of
from aiorooms.bulk._line_checksum import sealed
from aiorooms.bulk._plan_records import PLANNED, PlannedUpdate
from aiorooms.simulator import RateLimit, RoomsSimulator

from ..conftest import plan_file
from .conftest import client_of, collect, plan_of
from .test_summary import AT, Line, end, journal, pacing, pause, rooms, run, stop

HOSTILE = [
    "</script><script>alert(1)</script>",
    '<img src="http://x/" onerror="alert(1)">',
    "<!--<script>",
    "&lt;b&gt;",
    "\u202egnp.exe",
    "\x1b[2J\x00",
    "a\u2028b",
    "'\"`${alert(1)}",
    "]]>",
    "__proto__",
]
"""Names that would break a careless page."""


class Page(HTMLParser):
    """A report: its tags, the addresses that a browser would load for it, its text and its data."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self._data = ""
        self._in: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self._in.append("data" if values.get("id") == "data" else tag)
        self.handlers += [name for name in values if name.startswith("on")]
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        self._in.append("")

    def handle_data(self, data: str) -> None:
        last = self._in[-1] if self._in else ""
        if last == "data":
            self._data += data
        elif last not in ("style", "script"):
            self.text += f"{data}\n"

    @property
    def data(self) -> Any:
        return json.loads(self._data)

    @property
    def listed(self) -> list[list[str | None]]:
        """Name, id, outcome and reason of each room of the list."""
        outcomes = self.data["outcomes"]
        return [[name, room, outcomes[place][0], outcomes[place][2]] for name, room, place, _ in self.data["rooms"]]


def report(opened: Journal, folder: Path) -> Page:
    write_report(opened, folder / "a.html")
    return Page((folder / "a.html").read_text())


def planned(number: int, name: str | None) -> PlannedUpdate:
    return PlannedUpdate(
        room_id=rooms(number + 1)[number],
        unique_name=name,
        updated_at=None,
        before={"webhook_event_url": f"https://old.example.com/{number}"},
        after={"webhook_event_url": f"https://new.example.com/{number}"},
    )


def with_plan(folder: Path, names: list[str | None], *, failed: int = 0, begun: int | None = None) -> Journal:
    """Write a plan and a journal. The first `failed` rooms have failed, and `begun` rooms have a line."""
    updates = [planned(number, name) for number, name in enumerate(names)]
    (folder / "tonight.plan").unlink(missing_ok=True)
    with plan_file(folder / "tonight.plan", "https://api.example.com/v2", "rooms.csv") as file:
        for update in updates:
            file.add(update)
        file.finish(7)
    plan = Plan.open(folder / "tonight.plan")
    header = JournalHeader(
        plan=plan.plan_id, plan_file=str(plan.path.absolute()), plan_sha256=plan.sha256, base_url=plan.base_url,
        rooms=plan.rooms, at=AT,
    )  # fmt: skip
    lines = [line_of(header), line_of(Run(run=1, at=AT))]
    for number, update in enumerate(updates[:begun]):
        at = AT + number * 0.01
        lines.append(begin_line(PLANNED.line(update), at))
        if number < failed:
            error = f"404 room {update.room_id} not found </td><script>alert(2)</script>"
            lines.append(end_line(update.room_id, at, "failed", attempts=1, error=error))
        else:
            lines.append(end_line(update.room_id, at, "updated", attempts=1, elapsed=0.1))
    (folder / "a.journal").write_bytes(b"".join(map(sealed, lines)))
    return Journal.open(folder / "a.journal")


def test_the_first_lines_say_what_was_changed_where_and_by_which_plan(tmp_path: Path) -> None:
    opened = with_plan(tmp_path, [f"room {number}" for number in range(1500)], failed=300)
    page = report(opened, tmp_path)
    for text in (
        "1,200 of 1,500 rooms as planned at api.example.com",
        "Incomplete: 300 rooms are not as planned",
        ": old.example.com → new.example.com",
        "in 1,200 of 1,500 rooms",
        "https://api.example.com/v2",
        "tonight.plan",
        f"id {opened.plan_id}",
        "from rooms.csv",
        "1970-01-12 13:46:40 UTC",
        "in 1 run, without the time between runs",
        "killed; no end was recorded",
    ):
        assert text in page.text, text
    assert re.search(r"made \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", page.text)
    assert "<b>300</b>failed" in page.source
    assert "404 room ... not found &lt;/td&gt;&lt;script&gt;" in page.source
    assert page.listed[0][:3] == ["room 0", rooms(1)[0], "failed"]
    assert page.listed[300][:3] == ["room 300", rooms(301)[300], "updated"]
    assert len(page.listed) == 1500


def test_a_complete_run_has_no_failures_and_no_warnings(tmp_path: Path) -> None:
    async def write() -> None:
        async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
            plan = await plan_of(client, tmp_path)
            await collect(apply(client, plan, tmp_path / "a.journal"))
            await collect(resume(client, tmp_path / "a.journal"))

    asyncio.run(write())
    page = report(Journal.open(tmp_path / "a.journal"), tmp_path)
    assert "\nComplete\n" in page.text
    assert "5 of 5 rooms as planned at 127.0.0.1" in page.text
    assert ": 10 → 20" in page.text
    assert "from set max_participants=20" in page.text
    assert "in 2 runs" in page.text
    for absent in ("Failures", "warning", "Outages", "pauses", "Over time"):
        assert absent not in page.source.partition("</style>")[2].partition("<script")[0], absent


def test_rooms_in_flight_at_a_kill_are_uncertain_and_have_a_reason(tmp_path: Path) -> None:
    (room,) = rooms(1)
    begin: Line = {"begin": room, "at": AT, "unique_name": "a", "updated_at": None, "before": {}, "after": {}}
    page = report(journal(tmp_path, [run(1, 0), begin]), tmp_path)
    assert page.listed == [["a", room, "uncertain", "in flight when its run ended"]]
    assert "Rooms with an uncertain outcome: 1. Resume the run to read them back." in page.text


def test_a_run_in_progress_is_not_called_killed(tmp_path: Path) -> None:
    async def write() -> Page:
        async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
            run = apply(client, await plan_of(client, tmp_path), tmp_path / "a.journal", concurrency=1)
            outcomes = run.outcomes()
            await anext(outcomes)
            page = await asyncio.to_thread(lambda: report(Journal.open(tmp_path / "a.journal"), tmp_path))
            await outcomes.aclose()
            return page

    page = asyncio.run(write())
    assert "The run is still in progress" in page.text
    assert "killed" not in page.text


def test_a_run_that_ends_while_its_report_begins_is_not_called_killed(tmp_path: Path) -> None:
    opened = journal(tmp_path, [run(1, 0), end(rooms(1)[0], 1)])
    with opened.path.open("a") as file:
        file.write(json.dumps(stop(2)) + "\n")
    page = report(opened, tmp_path)
    assert "killed" not in page.text
    assert "done: the end of the plan was reached" in page.text


@pytest.mark.parametrize(
    ("locked", "text"),
    [
        (True, "killed; no end was recorded"),
        (None, "killed; no end was recorded"),
        (False, "no end was recorded; the run was killed or is still in progress"),
    ],
)
def test_a_run_without_a_lock_may_be_in_progress(tmp_path: Path, locked: bool | None, text: str) -> None:
    begun = {**run(1, 0), **({} if locked is None else {"locked": locked})}
    assert text in report(journal(tmp_path, [begun, end(rooms(1)[0], 1)]), tmp_path).text


def test_hostile_names_are_shown_as_text(tmp_path: Path) -> None:
    page = report(with_plan(tmp_path, [*HOSTILE, None], failed=len(HOSTILE)), tmp_path)
    assert page.addresses == []
    assert page.handlers == []
    assert page.tags.count("script") == 2, "the data and the program"
    assert "img" not in page.tags
    shown = [name for name, *_ in page.listed]
    assert shown[:4] == HOSTILE[:4]
    assert shown[4:6] == ["\\u202egnp.exe", "\\x1b[2J\\x00"], "such a name would look like another one"
    assert shown[-1] is None
    assert all(char.isprintable() or char == "\n" for char in page.source)


def test_hostile_texts_of_the_journal_are_shown_as_text(tmp_path: Path) -> None:
    bad = "<img src=x onerror=alert(1)>\x1b[2J"
    (room,) = rooms(1)
    records: list[Line] = [
        run(1, 0),
        end(room, 1, "failed", error=bad),
        {"outage": bad, "at": AT + 2},
        {"pause": 30.0, "reason": bad, "at": AT + 3},
        stop(4, f"stopped: {bad}"),
    ]
    header = {"plan_file": f"/none/{bad.replace('/', '')}", "source": bad, "plan_created_at": bad, "plan": bad}
    page = report(journal(tmp_path, records, **header), tmp_path)
    assert page.text.count("<img src=x onerror=alert(1)>\\x1b[2J") >= 8
    assert (page.addresses, page.handlers) == ([], [])
    assert "img" not in page.tags


def test_the_journal_says_where_a_plan_that_is_gone_came_from(tmp_path: Path) -> None:
    async def write() -> None:
        async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
            await collect(apply(client, await plan_of(client, tmp_path), tmp_path / "a.journal"))

    asyncio.run(write())
    (tmp_path / "a.plan").unlink()
    page = report(Journal.open(tmp_path / "a.journal"), tmp_path)
    assert re.search(r"made \d{4}-.* UTC, from set max_participants=20", page.text)
    assert len(page.listed) == 2


def test_without_the_plan_the_journal_says_what_was_changed(tmp_path: Path) -> None:
    opened = with_plan(tmp_path, ["a", "b", "c"], begun=2)
    (tmp_path / "tonight.plan").unlink()
    page = report(opened, tmp_path)
    assert "The rooms are listed from the journal, because the plan " in page.text
    assert "in 2 of 2 rooms" in page.text
    assert [name for name, *_ in page.listed] == ["a", "b"]
    assert "<b>1</b>not begun" in page.source


def test_a_room_whose_plan_is_unknown_is_listed_by_its_id(tmp_path: Path) -> None:
    (room,) = rooms(1)
    page = report(journal(tmp_path, [run(1, 0), end(room, 1, "conflict", error="modified"), stop(2)]), tmp_path)
    assert page.listed == [[None, room, "in conflict", "modified"]]


def test_a_room_that_was_begun_twice_is_listed_once(tmp_path: Path) -> None:
    (room,) = rooms(1)
    begin: Line = {"begin": room, "at": AT, "unique_name": "a", "updated_at": None, "before": {}, "after": {}}
    records = [run(1, 0), begin, end(room, 0, "skipped"), run(2, 1), begin, end(room, 1), stop(2)]
    assert report(journal(tmp_path, records), tmp_path).listed == [["a", room, "updated", ""]]


def test_a_page_says_how_many_rooms_it_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms_module, "MAX_LISTED", 10)
    page = report(with_plan(tmp_path, [None] * 30, failed=4), tmp_path)
    assert [state for _, _, state, _ in page.listed] == ["failed"] * 4 + ["updated"] * 6
    assert "10 of 30 rooms are listed, those that are not updated first. The other 20 are in the journal." in page.text


def test_without_a_script_the_rooms_that_are_not_updated_can_be_read(tmp_path: Path) -> None:
    page = report(with_plan(tmp_path, [f"<{number}>" for number in range(300)], failed=250), tmp_path)
    static = page.source.partition("<noscript>")[2].partition("</noscript>")[0]
    assert static.count("<tr>") == 200
    assert "50 more are not shown" in static
    assert "&lt;199&gt;" in static


def test_a_journal_without_records_has_a_report(tmp_path: Path) -> None:
    page = report(journal(tmp_path, []), tmp_path)
    assert "0 of 10 rooms as planned" in page.text
    assert page.tags.count("script") == 0
    assert "table" not in page.tags


# --- the chart ---


def busy(*, retries: bool) -> list[Line]:
    ends = [end(room, number / 10, attempts=1 + retries) for number, room in enumerate(rooms(100))]
    return [run(1, 0), *ends, pacing(9.95, 3 * retries, 20.0), stop(10)]


def test_the_chart_has_the_colours_of_the_page_and_a_legend_of_what_it_shows(tmp_path: Path) -> None:
    page = report(journal(tmp_path, busy(retries=False)), tmp_path)
    assert page.tags.count("svg") == 2, "one for a wide and one for a narrow screen"
    svg = page.source.partition("<figure")[2].partition("</figure>")[0]
    assert "var(--updated)" in svg
    assert not re.search(r"[:\"\s]#[0-9a-f]{3,6}\b", svg), "a colour does not follow the theme"
    assert "updated rooms per second" in page.text
    assert "rate limit, in requests per second" in page.text
    for absent in ("429s per second", "retries per second", "outage", "pause of the rate limit"):
        assert absent not in page.text
    ids = re.findall(r' id="([^"]*)"', page.source)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(("limit", "is_shown"), [(5.0, True), (30.0, True), (5000.0, False), (None, False)])
def test_a_limit_far_above_the_rate_is_not_drawn(tmp_path: Path, limit: float | None, is_shown: bool) -> None:
    ends = [end(room, number / 10) for number, room in enumerate(rooms(100))]
    page = report(journal(tmp_path, [run(1, 0), pacing(0, 0, limit), *ends, stop(10)]), tmp_path)
    assert ("rate limit, in requests per second" in page.text) is is_shown
    assert ("var(--limit)" in page.source.partition("<figure")[2].partition("</figure>")[0]) is is_shown


def test_retries_and_pauses_are_drawn_if_there_were_any(tmp_path: Path) -> None:
    records = [*busy(retries=True)[:-1], pause(9.95, 5), pacing(30), stop(31)]
    page = report(journal(tmp_path, records), tmp_path)
    for text in ("429s per second", "retries per second", "pause of the rate limit", "Rate limit pauses"):
        assert text in page.text


@pytest.mark.parametrize(
    "records", [[], [run(1, 0), stop(100)], [run(1, 0), end(rooms(1)[0], 1), stop(1.9)]], ids=["none", "idle", "short"]
)
def test_there_is_no_empty_chart(tmp_path: Path, records: list[Line]) -> None:
    assert "svg" not in report(journal(tmp_path, records), tmp_path).tags


def test_a_report_of_a_real_run_with_a_rate_limit_has_a_chart(tmp_path: Path) -> None:
    async def write() -> None:
        async with RoomsSimulator(rooms=12) as sim, client_of(sim) as client:
            plan = await plan_of(client, tmp_path)
            sim.rate_limit = RateLimit(limit=5, window=1)
            await collect(apply(client, plan, tmp_path / "a.journal"))

    asyncio.run(write())
    page = report(Journal.open(tmp_path / "a.journal"), tmp_path)
    assert page.tags.count("svg") == 2
    assert "Complete" in page.text


# --- size and files ---


@pytest.mark.parametrize(("count", "limit"), [(20, 60_000), (500, 150_000)])
def test_a_page_is_small(tmp_path: Path, count: int, limit: int) -> None:
    write_report(with_plan(tmp_path, [f"customer {number}" for number in range(count)], failed=5), tmp_path / "a.html")
    assert (tmp_path / "a.html").stat().st_size < limit


def test_the_page_allows_its_own_script_only_and_no_connection(tmp_path: Path) -> None:
    page = report(with_plan(tmp_path, ["a"]), tmp_path)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page.source)
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}='", policy)
    assert "http" not in policy


def test_a_report_can_be_written_to_an_open_file(tmp_path: Path) -> None:
    opened = with_plan(tmp_path, ["a"])
    file = io.BytesIO()
    assert write_report(opened, file) == []
    assert file.getvalue().startswith(b"<!doctype html>")
    assert file.getvalue().endswith(b"</html>\n")


def test_without_matplotlib_the_error_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_svg", None)
    with pytest.raises(JournalError, match=re.escape("pip install 'aiorooms[report]'")):
        write_report(journal(tmp_path, []), tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


def test_a_path_that_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="the report .* can't be written: No such file or directory"):
        write_report(journal(tmp_path, []), tmp_path / "none" / "a.html")


def test_a_report_does_not_overwrite_its_journal(tmp_path: Path) -> None:
    opened = journal(tmp_path, [])
    before = opened.path.read_bytes()
    with pytest.raises(JournalError, match="would overwrite the journal"):
        write_report(opened, opened.path)
    assert opened.path.read_bytes() == before


def test_importing_the_package_does_not_load_matplotlib() -> None:
    code = "import sys, aiorooms.bulk, aiorooms.cli; print('matplotlib' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


# --- in a browser ---

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_a_browser_lists_the_rooms_and_runs_nothing_of_their_names(tmp_path: Path) -> None:
    assert CHROMIUM is not None
    write_report(with_plan(tmp_path, [*HOSTILE, *map(str, range(200))], failed=len(HOSTILE)), tmp_path / "a.html")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}"]
    ran = subprocess.run(
        [*command, "--dump-dom", f"file://{tmp_path / 'a.html'}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    drawn = ran.stdout.partition('id="rows">')[2].partition("</tbody>")[0]
    assert drawn.count("<tr>") == 100
    assert "Rooms 1 to 100 of 210" in ran.stdout
    assert "<bdi>&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;</bdi>" in drawn
    assert not re.search(r"<(img|script|b)\b", drawn)
