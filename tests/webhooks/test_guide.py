"""The examples of the guide to receiving webhooks run as they stand."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp.test_utils import TestClient, TestServer
from starlette.applications import Starlette
from starlette.routing import Route

from ..documents import RECEIVING_GUIDE, blocks, run
from .signing import event_body, public, signed

JOINED = event_body("video.room.participant.joined", event_id="e-2", context="Alice")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TELNYX_PUBLIC_KEY", public())
    monkeypatch.chdir(tmp_path)


def test_the_guide_has_three_examples() -> None:
    assert len(blocks(RECEIVING_GUIDE, "python")) == 3


async def test_the_example_for_aiohttp(capsys: pytest.CaptureFixture[str]) -> None:
    names = run(blocks(RECEIVING_GUIDE, "python")[0])
    async with TestClient(TestServer(names["app"])) as http:
        for _ in range(2):
            async with http.post("/webhooks", data=JOINED, headers=signed(JOINED)) as answer:
                assert answer.status == 200
    assert capsys.readouterr().out == "Alice joined room r-1\n"


@pytest.mark.parametrize("framework", ["fastapi", "starlette"])
def test_the_examples_for_fastapi_and_starlette(framework: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = run(blocks(RECEIVING_GUIDE, "python")[1])
    app: Any = names["app"]
    if framework == "starlette":
        route = Route("/webhooks", names["webhooks"], methods=["POST"])
        app = Starlette(routes=[route], lifespan=names["lifespan"])

    async def use() -> list[int]:
        started = event_body()
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://backend") as http,
        ):
            unsigned: dict[str, str] = {}
            deliveries = [(started, signed(started)), (started, signed(started))]
            deliveries += [(JOINED, unsigned), (JOINED, signed(JOINED))]
            answers = [await http.post("/webhooks", content=body, headers=headers) for body, headers in deliveries]
            return [answer.status_code for answer in answers]

    assert asyncio.run(use()) == [200, 200, 400, 200]
    assert capsys.readouterr().out == "session started in room r-1\nvideo.room.participant.joined\n"


def test_the_example_without_a_framework(capsys: pytest.CaptureFixture[str]) -> None:
    run(blocks(RECEIVING_GUIDE, "python")[2])
    assert capsys.readouterr().out == blocks(RECEIVING_GUIDE, "text")[0]
