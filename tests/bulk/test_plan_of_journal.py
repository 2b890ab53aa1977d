"""A journal finds its plan: at the path that it names, or beside the journal if both were copied together."""

import shutil
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from aiorooms.bulk import Journal, JournalError, Plan, PlanFileError, apply, plan_rollback, resume
from aiorooms.bulk._plan_of_journal import plan_of
from aiorooms.simulator import RoomsSimulator

from .conftest import account, append_lines, client_of, collect, counts, handwritten_journal, write_plan
from .conftest import plan_of as new_plan

NAME = "june.plan"
JOURNAL = "june.plan.journal"


@pytest.fixture
async def there(tmp_path: Path) -> Path:
    """Return a folder with a plan and its journal."""
    folder = tmp_path / "there"
    folder.mkdir()
    plan = write_plan(folder / NAME)
    async with RoomsSimulator() as sim, client_of(sim) as client:
        plan = attrs.evolve(plan, base_url=client.base_url)
        await handwritten_journal(client, plan, folder / JOURNAL, [])
    return folder


@pytest.fixture
def here(tmp_path: Path, there: Path) -> Path:
    """Return a folder with copies of both."""
    shutil.copytree(there, folder := tmp_path / "here")
    return folder


def another(path: Path) -> None:
    path.unlink(missing_ok=True)
    write_plan(path, 4)


def overwrite(path: Path) -> None:
    path.write_text("x")


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"20", b"30"))


@pytest.mark.parametrize("happened", [Path.unlink, another, edit, overwrite])
def test_the_plan_beside_the_journal_is_used_if_the_other_path_has_no_such_plan(
    there: Path, here: Path, happened: Callable[[Path], None]
) -> None:
    happened(there / NAME)
    assert plan_of(Journal.open(here / JOURNAL)).path == here / NAME


def test_the_recorded_path_comes_first(there: Path, here: Path) -> None:
    assert plan_of(Journal.open(here / JOURNAL)).path == there / NAME


def test_a_journal_that_is_named_without_its_folder_finds_its_plan(
    there: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(there)
    monkeypatch.chdir(here)
    assert plan_of(Journal.open(JOURNAL)).path == Path(NAME)


def test_a_journal_from_windows_finds_its_plan(here: Path, there: Path) -> None:
    journal = Journal.open(here / JOURNAL)
    head = attrs.evolve(journal.head, plan_file=rf"C:\plans\{NAME}")
    assert plan_of(attrs.evolve(journal, head=head)).path == here / NAME


@pytest.mark.parametrize(
    ("at_recorded", "beside", "kind", "reason", "text"),
    [
        (
            Path.unlink,
            Path.unlink,
            PlanFileError,
            "plan_missing",
            "there/june.plan' .*; beside the journal,",
        ),
        (another, another, JournalError, "other_plan", "doesn't belong to the plan .*here/june.plan"),
        (
            Path.unlink,
            another,
            JournalError,
            "other_plan",
            "there/june.plan' can't .*doesn't belong to the plan",
        ),
        (another, Path.unlink, JournalError, "other_plan", "doesn't belong to .*; beside the journal, .*can't be read"),
        (Path.unlink, edit, PlanFileError, "edited_plan", "can't be read: .*here/june.plan' was modified after it"),
        (edit, Path.unlink, PlanFileError, "edited_plan", "was modified after it was made.*here/june.plan' can't be"),
    ],
)
def test_an_error_says_what_is_at_both_paths(
    there: Path,
    here: Path,
    at_recorded: Callable[[Path], None],
    beside: Callable[[Path], None],
    kind: type[PlanFileError | JournalError],
    reason: str,
    text: str,
) -> None:
    at_recorded(there / NAME)
    beside(here / NAME)
    with pytest.raises(kind, match=text) as caught:
        plan_of(Journal.open(here / JOURNAL))
    assert caught.value.reason == reason
    assert str(caught.value).count("\n") == 0


def test_a_path_that_is_given_is_the_only_one(there: Path, here: Path) -> None:
    another(there / NAME)
    with pytest.raises(JournalError, match="doesn't belong to the plan"):
        plan_of(Journal.open(here / JOURNAL), there / NAME)


async def test_a_run_is_resumed_and_rolled_back_in_another_folder(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
        before = account(sim)
        (old := tmp_path / "old").mkdir()
        plan = await new_plan(client, old, name=NAME)
        await collect(apply(client, plan, old / JOURNAL, limit=2))
        old.rename(new := tmp_path / "new")
        assert counts(await collect(resume(client, new / JOURNAL))) == {"updated": 3}
        # The plan has the previous values of a room whose `begin` line is damaged.
        lines = (new / JOURNAL).read_bytes().splitlines(keepends=True)
        damaged = next(number for number, line in enumerate(lines) if line.startswith(b'{"begin"'))
        lines[damaged] = b"x" + lines[damaged]
        (new / JOURNAL).write_bytes(b"".join(lines))
        result = await plan_rollback(client, Journal.open(new / JOURNAL), tmp_path / "back.plan")
        assert (result.plan.rooms, result.conflicts) == (5, [])
        await collect(apply(client, Plan.open(tmp_path / "back.plan"), tmp_path / "back.journal"))
        assert account(sim) == before


async def test_a_third_file_with_the_same_name_is_not_taken(there: Path, here: Path, tmp_path: Path) -> None:
    append_lines(here / JOURNAL, '{"stop":"by hand","at":1.0}')
    shutil.move(here / JOURNAL, tmp_path / JOURNAL)
    another(tmp_path / NAME)
    assert plan_of(Journal.open(tmp_path / JOURNAL)).path == there / NAME
