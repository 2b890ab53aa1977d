"""A plan and a journal of the first version of aiorooms can still be read, and the journal can be continued."""

from datetime import datetime
from pathlib import Path

import attrs

from aiorooms.bulk import Journal, Plan
from aiorooms.bulk._journal_records import Begin, End, Run, Stop, begin_line, end_line
from aiorooms.bulk._journal_writer import JournalWriter
from aiorooms.bulk._plan_records import PLANNED
from aiorooms.bulk._summary import summarize

PLAN = (
    '{"aiorooms_plan":1,"id":"eb745684-455d-48d7-895b-1daf77cc356f","created_at":"2026-11-26T09'
    ':19:59.414032Z","base_url":"http://127.0.0.1:36073/v2","source":"rooms.csv"}\n'
    '{"room_id":"c386bbc4-cd61-4e30-98f1-6adf91b7584a","unique_name":"room-000001","updated_at"'
    ':"2024-01-01T00:01:00.140891Z","before":{"max_participants":10},"after":{"max_participants'
    '":20}}\n'
    '{"room_id":"c2ce6f44-7ed4-457b-9e2f-eb89414c343c","unique_name":"room-000002","updated_at"'
    ':"2024-01-01T00:02:00.066172Z","before":{"webhook_event_url":"https://old.example.com/room'
    's"},"after":{"webhook_event_url":"https://new.example.com/u?a=1"}}\n'
    '{"room_id":"c9e9c616-612e-4696-a6ce-cc1b78e51061","unique_name":"room-000003","updated_at"'
    ':"2024-01-01T00:03:00.471325Z","before":{"unique_name":"room-000003","enable_recording":fa'
    'lse,"webhook_timeout_secs":null},"after":{"unique_name":"räum \\"5\\"","enable_recording":tr'
    'ue,"webhook_timeout_secs":7}}\n'
    '{"room_id":"e4b06ce6-0741-47a8-bce4-2c8218072e8c","unique_name":"room-000004","updated_at"'
    ':"2024-01-01T00:04:00.220153Z","before":{"max_participants":10},"after":{"max_participants'
    '":21}}\n'
    '{"room_id":"c324c985-9b81-4e76-aec9-d28663ca828d","unique_name":"room-000005","updated_at"'
    ':"2024-01-01T00:05:00.876363Z","before":{"max_participants":10},"after":{"max_participants'
    '":22}}\n'
    '{"rooms":5,"unchanged":0,"latest_update":"2024-01-01T00:05:00.876363Z","sha256":"396933f7c'
    'e402693cd8f41be2163a9d51d18b09a25c58d50136507975a93ff6e"}\n'
).encode()

JOURNAL = (
    '{"aiorooms_journal":1,"plan":"eb745684-455d-48d7-895b-1daf77cc356f","plan_file":"/tmp/room'
    's/old.plan","plan_sha256":"396933f7ce402693cd8f41be2163a9d51d18b09a25c58d50136507975a93ff6'
    'e","base_url":"http://127.0.0.1:36073/v2","rooms":5,"at":1795684799.4784663}\n'
    '{"run":1,"at":1795684799.4785113}\n'
    '{"begin":"c386bbc4-cd61-4e30-98f1-6adf91b7584a","at":1795684799.493,"unique_name":"room-00'
    '0001","updated_at":"2024-01-01T00:01:00.140891Z","before":{"max_participants":10},"after":'
    '{"max_participants":20}}\n'
    '{"end":"c386bbc4-cd61-4e30-98f1-6adf91b7584a","at":1795684799.519,"status":"updated","atte'
    'mpts":1,"elapsed":0.0257,"updated_at":"2026-11-26T09:19:59.506094Z"}\n'
    '{"begin":"c2ce6f44-7ed4-457b-9e2f-eb89414c343c","at":1795684799.519,"unique_name":"room-00'
    '0002","updated_at":"2024-01-01T00:02:00.066172Z","before":{"webhook_event_url":"https://ol'
    'd.example.com/rooms"},"after":{"webhook_event_url":"https://new.example.com/u?a=1"}}\n'
    '{"end":"c2ce6f44-7ed4-457b-9e2f-eb89414c343c","at":1795684799.521,"status":"updated","atte'
    'mpts":1,"elapsed":0.0016,"updated_at":"2026-11-26T09:19:59.520064Z"}\n'
    '{"begin":"c9e9c616-612e-4696-a6ce-cc1b78e51061","at":1795684799.521,"unique_name":"room-00'
    '0003","updated_at":"2024-01-01T00:03:00.471325Z","before":{"unique_name":"room-000003","en'
    'able_recording":false,"webhook_timeout_secs":null},"after":{"unique_name":"räum \\"5\\"","en'
    'able_recording":true,"webhook_timeout_secs":7}}\n'
    '{"end":"c9e9c616-612e-4696-a6ce-cc1b78e51061","at":1795684799.535,"status":"updated","atte'
    'mpts":1,"elapsed":0.0140,"updated_at":"2026-11-26T09:19:59.534146Z"}\n'
    '{"begin":"c324c985-9b81-4e76-aec9-d28663ca828d","at":1795684799.535,"unique_name":"room-00'
    '0005","updated_at":"2024-01-01T00:05:00.876363Z","before":{"max_participants":10},"after":'
    '{"max_participants":22}}\n'
    '{"end":"c324c985-9b81-4e76-aec9-d28663ca828d","at":1795684799.5362976,"status":"failed","a'
    'ttempts":1,"elapsed":0.0012,"error":"404 room c324c985-9b81-4e76-aec9-d28663ca828d not fou'
    'nd (10005: The requested resource or URL could not be found.)","error_type":"NotFoundError'
    '"}\n'
    '{"end":"e4b06ce6-0741-47a8-bce4-2c8218072e8c","at":1795684799.5503576,"status":"conflict",'
    '"attempts":0,"error":"room e4b06ce6-0741-47a8-bce4-2c8218072e8c was changed by somebody el'
    'se since the plan was made (2026-11-26T09:19:59.477845Z)"}\n'
    '{"stop":"done","at":1795684799.5507321}\n'
    '{"later":"kinds are passed over","at":1}\n'
).encode()


def test_an_old_plan_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.plan"
    path.write_bytes(PLAN)
    plan = Plan.open(path)
    assert plan.version == 1
    assert (plan.plan_id, plan.rooms, plan.unchanged) == ("eb745684-455d-48d7-895b-1daf77cc356f", 5, 0)
    assert (plan.base_url, plan.source) == ("http://127.0.0.1:36073/v2", "rooms.csv")
    assert plan.latest_update == datetime.fromisoformat("2024-01-01T00:05:00.876363Z")
    updates = [*plan.updates()]
    assert updates[2].before == {
        "unique_name": "room-000003",
        "enable_recording": False,
        "webhook_timeout_secs": None,
    }
    assert updates[2].after == {"unique_name": 'räum "5"', "enable_recording": True, "webhook_timeout_secs": 7}
    # The current version writes the same lines.
    assert [PLANNED.line(one) for one in updates] == PLAN.splitlines(keepends=True)[1:-1]


async def test_an_old_journal_is_read_and_continued(tmp_path: Path) -> None:
    path = tmp_path / "old.journal"
    path.write_bytes(JOURNAL)
    journal = Journal.open(path)
    assert (journal.plan_id, journal.head.rooms) == ("eb745684-455d-48d7-895b-1daf77cc356f", 5)
    assert journal.plan_file == Path("/tmp/rooms/old.plan")
    assert journal.header["plan_sha256"] == "396933f7ce402693cd8f41be2163a9d51d18b09a25c58d50136507975a93ff6e"
    assert [*journal.states().values()] == ["updated", "updated", "updated", "failed", "conflict"]
    entries = [*journal.entries()]
    assert [type(one) for one in entries] == [
        Run,
        *[Begin, End] * 4,
        End,
        Stop,
    ]  # the record of an unknown kind is skipped
    assert len([*journal.records()]) == len(entries) + 1
    ended = entries[2]
    assert isinstance(ended, End)
    assert (ended.elapsed, ended.updated_at) == (0.0257, datetime.fromisoformat("2026-11-26T09:19:59.506094Z"))
    # The current version writes the same lines.
    lines = JOURNAL.splitlines(keepends=True)
    assert begin_line(PLAN.splitlines(keepends=True)[3], 1795684799.521) == lines[6]
    for entry, line in ((entries[2], lines[3]), (entries[8], lines[9])):
        assert isinstance(entry, End)
        values = attrs.asdict(entry)
        assert end_line(values.pop("end"), values.pop("at"), values.pop("status"), **values) == line
    summary = summarize(journal)
    assert sorted((one.state, count) for one, count in summary.by_outcome.items()) == [
        ("conflict", 1),
        ("failed", 1),
        ("updated", 3),
    ]
    assert [(run.ended, run.has_end) for run in summary.runs] == [("done", True)]
    (tmp_path / "old.plan").write_bytes(PLAN)
    async with JournalWriter.reopen(journal, Plan.open(tmp_path / "old.plan")) as writer:
        writer.write(begin_line(PLAN.splitlines(keepends=True)[4], 1.5))
    assert path.read_bytes().startswith(JOURNAL)
    assert Journal.open(path).runs() == 2
    # The new lines have checksums, and are checked.
    assert all(b',"crc":"' in line for line in path.read_bytes()[len(JOURNAL) :].splitlines())
    damaged = path.read_bytes().replace(b'"at":1.500', b'"at":1.501')
    path.write_bytes(damaged)
    assert Journal.open(path).damaged_lines() == [15]
    run, _, begin = damaged.rpartition(b',"crc":')
    path.write_bytes(run + b',"crb":' + begin)
    assert Journal.open(path).damaged_lines() == [15]
