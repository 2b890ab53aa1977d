"""`aiorooms report`: where the page goes, and which names it accepts."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from .conftest import KEY, Invoke, Program, lines, run

JOURNAL = "rooms.plan.journal"

pytestmark = pytest.mark.usefixtures("applied")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((), f"{JOURNAL}.html"),
        (("-o", "a.html"), "a.html"),
        (("--out", "A.HTM"), "A.HTM"),
        (("--out", "report"), "report"),
        (("--out", "v1.2"), "v1.2"),
        (("--out", ".pdf"), ".pdf"),  # a hidden file without an ending
    ],
)
def test_the_page_is_written_to_a_file(arguments: tuple[str, ...], name: str) -> None:
    result = run("report", JOURNAL, *arguments)
    assert (result.exit_code, result.stdout) == (0, f"Wrote the report to {name}.\n")
    page = Path(name).read_text()
    assert page.startswith("<!doctype html>")
    assert "20 of 20 rooms as planned" in page
    assert KEY not in page


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("x.pdf", "open it in a browser and print it to PDF"),
        ("x.PDF", "open it in a browser and print it to PDF"),
        ("x.docx", "a word processor can open it"),
        ("x.md", "a word processor can open it"),
        ("x.csv", "for data, use `aiorooms status --json`"),
        ("x.xlsx", "for data, use `aiorooms status --json`"),
        ("x.json", "for data, use `aiorooms status --json`"),
        ("x.png", "take a screenshot"),
        ("x.html.gz", "give a name that ends with .html"),
    ],
)
def test_a_name_of_another_format_is_invalid(name: str, advice: str) -> None:
    result = run("report", JOURNAL, "--out", name)
    assert result.exit_code == 2
    (line,) = lines(result.stderr)
    assert line.startswith(f"aiorooms: --out: '{name}' would be an HTML page, not a ")
    assert advice in line
    assert not Path(name).exists()


def test_standard_output_has_the_page_and_nothing_else(program: Program) -> None:
    run("report", JOURNAL, "--out", "a.html")
    with program("report", JOURNAL, "--out", "-", encoding="utf-8") as process:
        page, errors = process.communicate(timeout=40)
    assert (process.returncode, errors) == (0, "")
    expected = Path("a.html").read_text()
    assert page.partition("<footer>")[0] == expected.partition("<footer>")[0]
    assert page.endswith("</html>\n")
    assert not Path("-").exists()
    assert not Path(f"{JOURNAL}.html").exists()


def test_damaged_lines_are_named_on_standard_error_only(program: Program) -> None:
    with Path(JOURNAL).open("ab") as file:
        file.write(b"garbage\n")
    with program("report", JOURNAL, "-o", "-") as process:
        page, errors = process.communicate(timeout=40)
    assert process.returncode == 0
    assert page.startswith("<!doctype html>")
    assert len(lines(errors)) == 1
    assert "is damaged; the report does not count damaged lines" in errors


def test_json_and_the_page_can_not_share_standard_output() -> None:
    result = run("report", JOURNAL, "--out", "-", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--out: standard output would contain the report and JSON" in result.stderr


def test_a_full_disk_behind_standard_output_is_one_line(into: Callable[..., tuple[int, str]]) -> None:
    with Path("/dev/full").open("w") as full:
        code, errors = into(full, "report", JOURNAL, "--out", "-")
    assert code == 1
    assert lines(errors) == ["aiorooms: can't write to standard output: No space left on device"]


def test_a_reader_that_closes_the_pipe_is_no_error(program: Program) -> None:
    with program("report", JOURNAL, "--out", "-", stdout=subprocess.PIPE) as process:
        stdout: IO[str] | None = process.stdout
        assert stdout is not None
        stdout.close()
        assert process.wait(40) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_an_existing_page_is_replaced_only_if_asked() -> None:
    Path("a.html").write_text("mine")
    result = run("report", JOURNAL, "--out", "a.html")
    assert result.exit_code == 2
    assert "already exists; give another file, or --overwrite" in result.stderr
    assert Path("a.html").read_text() == "mine"
    result = run("report", JOURNAL, "--out", "a.html", "--overwrite", "--json")
    assert json.loads(result.stdout) == {"report": "a.html", "damaged_lines": []}
    assert "20 of 20" in Path("a.html").read_text()


def test_a_plan_is_no_journal(invoke: Invoke) -> None:
    result = invoke("report", "rooms.plan")
    assert result.exit_code == 2
    hint = "use `aiorooms report rooms.plan.journal`"
    assert result.stderr == f"aiorooms: JOURNAL: 'rooms.plan' is a plan, not a journal; {hint}\n"
