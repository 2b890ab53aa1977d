"""Plan files: a file that is not a plan, or was modified, is an error."""

import errno
import hashlib
import json
import os
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from io import BufferedReader, BytesIO, FileIO
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms import RoomUpdate
from aiorooms._webhook_url import DEFAULT_POLICY
from aiorooms.bulk import Plan, PlanFileError, PlannedUpdate, apply, verify
from aiorooms.bulk import _plan as plan_module
from aiorooms.bulk._checked_plan import CheckedPlan
from aiorooms.bulk._duplicates import DuplicateIds
from aiorooms.bulk._lookup import plan_index
from aiorooms.bulk._plan_records import PLANNED, PlannedLine
from aiorooms.bulk._plan_writer import PlanWriter
from aiorooms.models import FIELD_NAMES
from aiorooms.simulator import RoomsSimulator

from ..conftest import plan_file
from .conftest import client_of, collect, files_in, plan_of, planned, write_plan


@pytest.mark.parametrize(
    ("place", "reason"),
    [("no/such/folder/a.plan", "No such file or directory"), ("folder", "Is a directory"), ("file/a.plan", "Not a di")],
)
async def test_a_path_that_can_not_be_written_is_reported_before_the_account_is_read(
    tmp_path: Path, place: str, reason: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        with pytest.raises(PlanFileError, match=rf"the plan '.*' can't be written: {reason}") as caught:
            await plan_of(client, tmp_path, name=place)
        assert "\n" not in str(caught.value)
        assert sim.stats.requests == 0
    assert files_in(tmp_path) == ["file", "folder"]


def test_a_plan_that_is_read_equals_the_one_that_was_written(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "a.plan")
    assert [*plan.updates()] == [planned(number) for number in range(3)]
    assert (plan.rooms, plan.unchanged, plan.source) == (3, 7, "rooms.csv")
    assert UUID(plan.plan_id).version == 4
    assert datetime.fromisoformat(plan.created_at).tzinfo is not None
    first, *_, last = (json.loads(line) for line in (tmp_path / "a.plan").read_text(encoding="utf-8").splitlines())
    assert first["aiorooms_plan"] == plan.version == 3
    latest = "2024-05-01T06:07:08.000009Z"
    assert last == {"rooms": 3, "unchanged": 7, "latest_update": latest, "sha256": plan.sha256}
    assert plan.latest_update == datetime.fromisoformat(latest)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a plan; give a file written by make_plan()"),
        (b"room_id,max_participants\n", "is not a plan"),
        (b'{"aiorooms_journal":1}\n', "is not a plan"),
        (b"[1]\n", "is not a plan"),
        (b"\xff\xfe\x00\n", "is not a plan"),
        (b'{"aiorooms_plan":4}\n', "has format version 4, but this aiorooms reads only 1, 2 and 3; upgrade aiorooms"),
        (b'{"aiorooms_plan":"1"}\n', "has format version '1'"),
        (b'{"aiorooms_plan":1}\n', "is incomplete: its last line is missing; make the plan again"),
        (b'{"aiorooms_plan":1}\n{"rooms":0,"unchanged":0,"sha256":"x"}\n', "was modified after it was made"),
        (b'{"aiorooms_plan":1}\n{"sha256":"SUM"}\n', "was modified after it was made"),
        (b'{"aiorooms_plan":1}\n{"rooms":0,"unchanged":0,"sha256":"SUM"}\n', "was modified after it was made"),
    ],
)
def test_a_file_that_is_not_a_plan_is_a_one_line_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.plan"
    path.write_bytes(content.replace(b"SUM", hashlib.sha256(content.split(b"\n")[0] + b"\n").hexdigest().encode()))
    with pytest.raises(PlanFileError) as caught:
        Plan.open(path)
    assert message in str(caught.value)
    assert caught.value.reason in ("not_a_plan", "newer_plan", "incomplete_plan", "edited_plan")
    assert (caught.value.reason == "edited_plan") == ("was modified after" in message)
    assert "a.plan" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_directory_and_a_missing_file_are_not_plans(tmp_path: Path) -> None:
    with pytest.raises(PlanFileError, match=r"the plan '.*' can't be read: Is a directory"):
        Plan.open(tmp_path)
    with pytest.raises(PlanFileError, match=r"the plan '.*a.plan' can't be read: No such file or directory"):
        Plan.open(tmp_path / "a.plan")


@given(data=st.data())
def test_a_plan_with_one_changed_byte_is_an_error(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.plan")
        write_plan(path)
        content = bytearray(path.read_bytes())
        last_line = content.rindex(b"\n", 0, -1) + 1
        # The second strategy makes many examples change the last line, which contains the checksum.
        place = data.draw(st.integers(0, len(content) - 1) | st.integers(last_line, len(content) - 1))
        byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
        content[place] = byte
        path.write_bytes(content)
        with pytest.raises(PlanFileError):
            Plan.open(path)


@given(data=st.data())
def test_a_plan_with_missing_or_added_bytes_is_an_error(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.plan")
        write_plan(path)
        content = path.read_bytes()
        begin = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(begin, len(content)))
        added = data.draw(st.binary(max_size=20) | st.just(content[begin:end] * 2))
        changed = content[:begin] + added + content[end:]
        if changed != content:
            path.write_bytes(changed)
            with pytest.raises(PlanFileError):
                Plan.open(path)


def test_a_plan_whose_file_was_replaced_after_it_was_opened_is_an_error(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "a.plan")
    write_plan(tmp_path / "a.plan", 5)
    with closing(plan.open_file()) as file:
        for use in (lambda: plan_index(plan, file), lambda: list(plan.updates())):
            with pytest.raises(PlanFileError, match="was modified or replaced after it was opened; open it again"):
                use()


def test_a_plan_that_disappears_is_a_one_line_error(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "a.plan")
    plan.path.unlink()
    for use in (plan.open_file, lambda: list(plan.updates())):
        with pytest.raises(PlanFileError, match=r"the plan '.*a.plan' can't be read: No such file or directory"):
            use()


# -- Plans with the right checksum, but wrong rooms


def plan_for(path: Path, base_url: str, *rooms: PlannedUpdate) -> Plan:
    with plan_file(path, base_url, "rooms.csv") as writer:
        for room in rooms:
            writer.add(room)
        writer.finish(0)
    return Plan.open(path)


LETTERS = attrs.evolve(planned(), room_id="abcdefab-cdef-abcd-efab-cdefabcdefab")

WRONG_ROOMS = {
    "the same room twice": (
        [planned(1), planned(2), planned(3), planned(2)],
        "the lines 3 and 5 are for the same room",
    ),
    "the same room twice, in upper case": (
        [planned(1), attrs.evolve(LETTERS, room_id=LETTERS.room_id.upper()), LETTERS],
        "the lines 3 and 4 are for the same room",
    ),
    "not a UUID": (
        [planned(1), attrs.evolve(planned(), room_id="../x"), planned(1)],
        "line 3 has an invalid room id: '../x' is not a UUID",
    ),
    "no id": ([attrs.evolve(planned(), room_id="")], "line 2 has an invalid room id: '' is not a UUID"),
}


@pytest.mark.parametrize(("rooms", "message"), WRONG_ROOMS.values(), ids=WRONG_ROOMS)
@pytest.mark.parametrize("force", [False, True])
async def test_a_plan_that_lists_a_room_twice_or_no_room_is_an_error_before_anything_is_sent(
    tmp_path: Path, rooms: list[PlannedUpdate], message: str, force: bool
) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        plan = plan_for(tmp_path / "a.plan", sim.url, *rooms)
        for use in (
            lambda: collect(apply(client, plan, tmp_path / "a.journal", force=force)),
            lambda: anext(verify(client, plan)),
        ):
            with pytest.raises(PlanFileError) as caught:
                await use()
            assert message in str(caught.value)
            assert str(caught.value).endswith("edit the input of make_plan() instead, and make a new plan")
            assert caught.value.reason == "edited_plan"
        assert sim.stats.requests == 0
    assert not (tmp_path / "a.journal").exists()


def test_rooms_with_the_same_hash_are_not_the_same_room() -> None:
    ids = DuplicateIds()
    for room_id in ("a", "b", "c"):
        ids.add(room_id)
    ids._hashes[hash("b") % len(ids._hashes)].append(hash("b"))  # as if "d" had the hash of "b"
    assert ids.first_pair(["a", "b", "c", "d"]) is None
    assert ids.first_pair(["a", "b", "c", "B"]) == (1, 3)


def test_the_ids_are_not_read_again_if_all_hashes_are_different() -> None:
    ids = DuplicateIds()
    for number in range(1000):
        ids.add(str(UUID(int=number)))
    again = iter(["never read"])
    assert ids.first_pair(again) is None
    assert next(again) == "never read"


# -- A plan that can't be read any more


class BrokenFile(FileIO):
    """A file on a disk that fails."""

    def readinto(self, buffer: Any, /) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


async def test_a_plan_that_can_not_be_read_any_more_is_a_one_line_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> BinaryIO:
        return BufferedReader(BrokenFile(path))

    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        sim.reset_stats()
        with monkeypatch.context() as patch:
            patch.setattr(plan_module, "open_existing", broken)
            with closing(plan.open_file()) as file:
                for read in (
                    lambda: list(plan.updates()),
                    lambda: CheckedPlan(plan, file),
                    lambda: plan_index(plan, file),
                ):
                    with pytest.raises(PlanFileError, match="a.plan' can't be read: Input/output error$"):
                        read()
            for use in (
                lambda: collect(apply(client, plan, tmp_path / "a.journal")),
                lambda: anext(verify(client, plan)),
            ):
                with pytest.raises(PlanFileError, match="a.plan' can't be read: Input/output error$"):
                    await use()
        assert sim.stats.requests == 0


def test_a_planned_update_that_is_read_equals_the_one_that_was_written() -> None:
    file = BytesIO()
    PlanWriter(file, "http://127.0.0.1:1/v2", "x").add(planned())
    assert PLANNED.read(file.getvalue().splitlines()[1]) == planned()


def test_a_planned_update_returns_the_update_to_send() -> None:
    assert planned().update(DEFAULT_POLICY) == RoomUpdate(max_participants=20)


# -- Lines that this package would write in another way

LINE: dict[str, Any] = json.loads(PLANNED.line(planned()))


def as_line(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


OTHER_FORMS = {
    "spaces": json.dumps(LINE).encode() + b"\n",
    "another order": as_line(dict(reversed(LINE.items()))),
    "lower case": as_line({**LINE, "updated_at": LINE["updated_at"].lower()}),
    "no time zone": as_line({**LINE, "updated_at": LINE["updated_at"].removesuffix("Z")}),
    "another time zone": as_line({**LINE, "updated_at": "2024-05-01T08:07:08.000009+02:00"}),
    "two ids": as_line(LINE).replace(b'{"room_id":', b'{"room_id":"zz","room_id":'),
}


@pytest.mark.parametrize("line", OTHER_FORMS.values(), ids=OTHER_FORMS)
def test_a_line_in_another_form_is_read_as_its_values_and_journaled_in_the_usual_form(line: bytes) -> None:
    read = PlannedLine.read(line)

    assert (read.room_id, read.unique_name, read.updated_at) == (LINE["room_id"], "räum-0", planned().updated_at)
    assert read.after == {"max_participants": 20}
    assert read.line == PLANNED.line(planned())


@pytest.mark.parametrize(
    "line",
    [
        *(
            as_line({**LINE, **wrong})
            for wrong in ({"room_id": 5}, {"unique_name": 5}, {"before": None}, {"after": None})
        ),
        as_line({**LINE, "updated_at": "x"}),
        *(b"\n", b"null\n", b"x\n", as_line({})),
    ],
    ids=ascii,
)
def test_a_malformed_line_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        PlannedLine.read(line)


SCALARS = st.none() | st.booleans() | st.integers(-5, 99) | st.text(max_size=5)
VALUES = st.dictionaries(st.sampled_from(FIELD_NAMES), SCALARS, max_size=6)
WRONG = st.dictionaries(st.sampled_from([*FIELD_NAMES, "x", ""]), SCALARS | st.lists(SCALARS) | st.floats(0, 1))


@given(
    room_id=st.uuids().map(str) | st.text(max_size=8),
    unique_name=st.none() | st.text(max_size=8),
    updated_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    values=st.lists(VALUES, min_size=3, max_size=3),
)
def test_a_line_of_the_writer_is_read_as_its_codec_reads_it(
    room_id: str, unique_name: str | None, updated_at: datetime | None, values: list[dict[str, Any]]
) -> None:
    before, after, pair = values
    one = PlannedUpdate(
        room_id=room_id, unique_name=unique_name, updated_at=updated_at, before=before, after=after, pair=pair
    )
    line = PLANNED.line(one)
    strict = PLANNED.read(line)
    read = PlannedLine.read(line)
    assert read.line is line
    assert read[1:] == (strict.room_id, strict.unique_name, strict.updated_at, strict.after)


@given(name=st.sampled_from(["before", "after", "pair"]), value=WRONG | VALUES | SCALARS)
def test_a_line_is_malformed_for_both_readers_or_for_none(name: str, value: object) -> None:
    line = as_line({**LINE, name: value})
    try:
        after = PLANNED.read(line).after
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            PlannedLine.read(line)
    else:
        assert PlannedLine.read(line).after == after


@pytest.mark.parametrize("value", [1.5, [1], {"a": 1}, {}])
def test_a_value_that_no_field_can_have_is_rejected(value: object) -> None:
    for name in ("before", "after", "pair"):
        with pytest.raises(ValueError, match="it is not the value of a field"):
            PlannedLine.read(as_line({**LINE, name: {"max_participants": 20, "unique_name": value}}))


def test_a_usual_line_is_kept_as_it_is() -> None:
    line = PLANNED.line(planned())

    assert PlannedLine.read(line).line is line
    assert PlannedLine.read(line).updated_at == planned().updated_at
