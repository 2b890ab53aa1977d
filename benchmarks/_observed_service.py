"""The service that `benchmarks.service` observes: FastAPI, with JSON logs, Prometheus and OpenTelemetry.

Each worker process has a client of its own. It appends its log lines and its spans to files in the folder that
`OBSERVED` names. Prometheus collects the metrics of all workers in the folder that `PROMETHEUS_MULTIPROC_DIR` names.
"""

import json
import logging
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from fastapi import FastAPI, HTTPException, Request
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import Counter, Histogram

from aiorooms import APIError, RoomsClient
from aiorooms.otel import instrument
from aiorooms.telemetry import AttemptEnded, AttemptStarted, CallEnded, Event, RateLimitPaused, RetryScheduled

FOLDER: Final = Path(os.environ["OBSERVED"])

ATTEMPTS: Final = Histogram("rooms_attempt_seconds", "Duration of attempts", ["method", "result"])
WAITS: Final = Histogram("rooms_wait_seconds", "Wait for the rate limit or a connection")
RETRIES: Final = Counter("rooms_retries", "Retries")
DELAYS: Final = Counter("rooms_retry_delay_seconds", "Delays before retries")
PAUSES: Final = Counter("rooms_pauses", "Waits of a second or longer", ["reason"])
CALLS: Final = Counter("rooms_calls", "Calls, including read-backs", ["method"])


def count(event: Event) -> None:
    """Count an event in the metrics."""
    match event:
        case AttemptStarted():
            WAITS.observe(event.waited)
        case AttemptEnded():
            result = str(event.status or event.error)
            ATTEMPTS.labels(event.method, result).observe(event.duration)
        case RetryScheduled():
            RETRIES.inc()
            DELAYS.inc(event.delay)
        case RateLimitPaused():
            PAUSES.labels(event.reason).inc()
        case CallEnded():
            CALLS.labels(event.method).inc()
        case _:
            pass


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = vars(record)
        wanted = ("event", "call", "method", "status", "error", "attempt", "delay", "waited", "seconds", "reason")
        return json.dumps({name: fields[name] for name in wanted if name in fields})


class _Spans(SpanExporter):
    """Appends the name and the parent of each span to a file."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with (FOLDER / f"spans.{os.getpid()}").open("a") as file:
            for span in spans:
                attributes = dict(span.attributes or {})
                data = {"name": span.name, "has_parent": span.parent is not None, **attributes}
                file.write(json.dumps(data, default=str) + "\n")
        return SpanExportResult.SUCCESS


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Set up logs and traces, and keep one client while the worker runs."""
    handler = logging.FileHandler(FOLDER / f"log.{os.getpid()}")
    handler.setFormatter(_JsonLines())
    logger = logging.getLogger("aiorooms")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(_Spans(), max_queue_size=100_000))
    stop = instrument(tracer_provider=provider)
    async with RoomsClient(timeout=2, on_event=count) as client:
        app.state.client = client
        yield
    stop()
    provider.shutdown()
    handler.close()


app: Final = FastAPI(lifespan=lifespan)


@app.patch("/rooms/{room_id}/{participants}")
async def update(room_id: UUID, participants: int, request: Request) -> dict[str, Any]:
    """Update a room within 20 s."""
    client: RoomsClient = request.app.state.client
    try:
        room = await client.rooms.update(room_id, max_participants=participants, deadline=20)
    except APIError as error:
        raise HTTPException(502, str(error)) from None
    return room.to_dict()
