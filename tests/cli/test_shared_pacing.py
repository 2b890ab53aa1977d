"""`--shared-pacing` and `AIOROOMS_SHARED_PACING`: commands share the rate limit through Redis."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from aiorooms.cli._notices import Notices
from aiorooms.simulator import RoomsSimulator
from aiorooms.telemetry import SharedPacingChanged
from benchmarks._redis_server import redis_server

from .conftest import Invoke, lines, planned, run
from .test_notices import AT

VARIABLE = "AIOROOMS_SHARED_PACING"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as given:
        yield given


def names_in(url: str) -> list[bytes]:
    store = redis.Redis.from_url(url)  # pyright: ignore[reportUnknownMemberType]
    names = [*store.scan_iter()]  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
    store.flushall()  # pyright: ignore[reportUnknownMemberType]
    store.close()
    return names  # pyright: ignore[reportUnknownVariableType]


@pytest.mark.parametrize("by_option", [True, False])
def test_apply_shares_the_limit(invoke: Invoke, url: str, monkeypatch: pytest.MonkeyPatch, *, by_option: bool) -> None:
    planned(invoke)
    names_in(url)
    if not by_option:
        monkeypatch.setenv(VARIABLE, url)
    result = invoke("apply", "rooms.plan", "--yes", *(["--shared-pacing", url] if by_option else []))
    assert result.exit_code == 0, result.stderr
    assert [name.endswith(b":state") for name in names_in(url)] == [True]


def test_the_environment_holds_for_all_commands(invoke: Invoke, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names_in(url)
    monkeypatch.setenv(VARIABLE, url)
    assert invoke("list").exit_code == 0
    assert len(names_in(url)) == 1


def test_without_redis_a_run_succeeds_and_says_so(sim: RoomsSimulator, invoke: Invoke, tmp_path: Path) -> None:
    planned(invoke)
    given = f"unix://user:secret@{tmp_path}/none.sock"
    result = invoke("apply", "rooms.plan", "--yes", "--shared-pacing", given)
    assert result.exit_code == 0
    assert "the rate limit can't be shared, so this process paces itself: the store fails" in result.stderr
    assert "secret" not in result.stderr + result.stdout


def test_an_invalid_url_is_one_of_all_problems(sim: RoomsSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TELNYX_API_KEY", raising=False)
    result = run("apply", "none.plan", "--shared-pacing", "http://user:secret@host")
    assert result.exit_code == 2
    assert any(
        "--shared-pacing is not a URL of Redis; begin it with redis://, rediss:// or unix://" in line
        for line in lines(result.stderr)
    )
    monkeypatch.setenv(VARIABLE, "redis://host:99999")
    result = run("apply", "none.plan")
    assert any(line.startswith(f"aiorooms: {VARIABLE} is not a valid URL") for line in lines(result.stderr))
    assert "secret" not in result.stderr


def test_only_a_failure_and_its_end_are_announced() -> None:
    notices = Notices()

    def told(*, is_shared: bool, why: str = "") -> str | None:
        return notices.record(SharedPacingChanged(is_shared=is_shared, why=why), 0.0, AT)

    assert told(is_shared=True) is None
    failed = told(is_shared=False, why="it does not answer")
    assert failed == (
        "the rate limit can't be shared, so this process paces itself: the store fails (it does not answer)"
    )
    assert told(is_shared=True) == "the rate limit is shared now"
