"""OpenTelemetry: spans and metrics of calls and attempts, with the SDK's exporters."""

import asyncio
from collections.abc import Callable, Iterator

import attrs
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from aiorooms import RetryPolicy, RoomsClient, RoomUpdate
from aiorooms.errors import AioroomsError
from aiorooms.otel import instrument
from aiorooms.simulator import Faults, RateLimit, RoomsSimulator
from aiorooms.telemetry import _telemetry

from .conftest import QUICK

CALL, ATTEMPT = "aiorooms PATCH /rooms/{room_id}", "PATCH /rooms/{room_id}"


@attrs.frozen
class Exported:
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader
    tracer_provider: TracerProvider
    stop: Callable[[], None]

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def points(self, name: str) -> list[HistogramDataPoint | NumberDataPoint]:
        data = self.reader.get_metrics_data()
        assert data is not None
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
            if isinstance(point, (HistogramDataPoint, NumberDataPoint))
        ]


@pytest.fixture
def exported() -> Iterator[Exported]:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracer_provider = TracerProvider()
    tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
    meter_provider = MeterProvider([reader])
    stop = instrument(tracer_provider=tracer_provider, meter_provider=meter_provider)
    yield Exported(exporter, reader, tracer_provider, stop)
    stop()
    stop()  # has no effect
    meter_provider.shutdown()


async def test_a_call_is_a_span_with_its_attempts_as_children(exported: Exported) -> None:
    tracer = exported.tracer_provider.get_tracer("test")
    async with RoomsSimulator(rooms=1) as sim:
        sim.script("503")
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            with tracer.start_as_current_span("request") as request:
                await client.rooms.update(sim.room_ids[0], max_participants=20)
                assert trace.get_current_span() is request
    (call,) = exported.spans(CALL)
    first, second = exported.spans(ATTEMPT)
    assert call.parent is not None
    assert call.parent.span_id == request.get_span_context().span_id
    for attempt in (first, second):
        assert attempt.parent is not None
        assert call.context is not None
        assert attempt.parent.span_id == call.context.span_id
        assert attempt.kind is trace.SpanKind.CLIENT
    assert first.attributes is not None
    assert second.attributes is not None
    assert first.attributes["http.response.status_code"] == 503
    assert first.attributes["error.type"] == "503"
    assert first.status.status_code is trace.StatusCode.ERROR
    assert "http.request.resend_count" not in first.attributes
    assert second.attributes["http.request.resend_count"] == 1
    assert second.attributes["http.response.status_code"] == 200
    assert second.status.status_code is trace.StatusCode.UNSET
    assert [event.name for event in call.events] == ["retry"]
    assert call.status.status_code is trace.StatusCode.UNSET


async def test_a_timeout_and_a_cut_body_are_errors_of_their_attempts(exported: Exported) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        sim.script("stall_before", "truncated")
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK, timeout=0.3) as client:
            await client.rooms.update(sim.room_ids[0], max_participants=20)
    kinds = [span.attributes.get("error.type") for span in exported.spans(ATTEMPT) if span.attributes is not None]
    assert kinds[::2] == ["APITimeoutError", None]
    assert kinds[1] in ("APIConnectionError", "APIResponseError")


async def test_a_failed_call_is_an_error_even_if_it_was_never_sent(exported: Exported) -> None:
    async with RoomsSimulator(rooms=1, rate_limit=RateLimit(1, 60.0)) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=RetryPolicy(max_elapsed=0.1)) as client:
            await client.rooms.update(sim.room_ids[0], max_participants=20)
            with pytest.raises(AioroomsError):
                await client.rooms.update(sim.room_ids[0], max_participants=21)
    calls = exported.spans(CALL)
    assert len(calls) == 2
    assert calls[1].attributes is not None
    assert calls[1].attributes["error.type"] == "RateLimitTimeoutError"
    assert calls[1].status.status_code is trace.StatusCode.ERROR


async def test_spans_of_the_aiohttp_instrumentation_are_children_of_attempts(exported: Exported) -> None:
    instrumentor = AioHttpClientInstrumentor()
    instrumentor.instrument(tracer_provider=exported.tracer_provider)
    try:
        async with RoomsSimulator(rooms=1) as sim:
            async with RoomsClient(sim.api_key, base_url=sim.url) as client:
                await client.rooms.update(sim.room_ids[0], max_participants=20)
    finally:
        instrumentor.uninstrument()
    (attempt,) = exported.spans(ATTEMPT)
    (inner,) = exported.spans("PATCH")
    assert inner.parent is not None
    assert attempt.context is not None
    assert inner.parent.span_id == attempt.context.span_id


async def test_the_metrics_agree_with_the_server(exported: Exported) -> None:
    async with RoomsSimulator(rooms=40, faults=Faults(rate=0.2, kinds=("503",)), seed=5) as sim:
        retry = RetryPolicy(max_attempts=10, base_delay=0.001, max_delay=0.002)
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=retry) as client:
            updates = [(room_id, RoomUpdate(max_participants=20)) for room_id in sim.room_ids]
            async for result in client.rooms.update_many(updates):
                assert result.status == "updated"
    counts: dict[object, int] = {}
    for point in exported.points("http.client.request.duration"):
        assert isinstance(point, HistogramDataPoint)
        assert point.attributes is not None
        status = point.attributes["http.response.status_code"]
        counts[status] = counts.get(status, 0) + point.count
    assert counts == {200: 40, 503: sim.stats.requests - 40}
    (retries,) = exported.points("aiorooms.retries")
    assert isinstance(retries, NumberDataPoint)
    assert retries.value == sim.stats.requests - 40
    assert len(exported.spans(CALL)) == 40
    assert len(exported.spans(ATTEMPT)) == sim.stats.requests


async def test_nothing_is_reported_after_the_end_of_the_instrumentation(exported: Exported) -> None:
    instrument(tracer_provider=exported.tracer_provider)()
    stop = instrument(tracer_provider=exported.tracer_provider)
    stop()
    async with RoomsSimulator(rooms=1) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url) as client:
            await client.rooms.update(sim.room_ids[0], max_participants=20)
    assert len(exported.spans(CALL)) == 1


async def test_calls_in_flight_when_the_instrumentation_begins_or_ends_leave_nothing_behind(exported: Exported) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        sim.script("503", "503")
        retry = RetryPolicy(base_delay=0.3, max_delay=0.3)
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=retry) as client:
            call = asyncio.create_task(client.rooms.update(sim.room_ids[0], max_participants=20))
            while sim.stats.requests < 1:
                await asyncio.sleep(0.01)
            exported.stop()
            await call
            assert trace.get_current_span() is trace.INVALID_SPAN
            await client.rooms.update(sim.room_ids[0], max_participants=21)
    assert len(exported.spans(CALL)) == 1, "the call that had begun was lost, or a later one was reported"
    assert not _telemetry._LISTENERS


async def test_a_call_that_began_before_the_instrumentation_has_no_spans(exported: Exported) -> None:
    exported.stop()
    async with RoomsSimulator(rooms=1) as sim:
        sim.script("503")
        retry = RetryPolicy(base_delay=0.3, max_delay=0.3)
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=retry) as client:
            call = asyncio.create_task(client.rooms.update(sim.room_ids[0], max_participants=20))
            while sim.stats.requests < 1:
                await asyncio.sleep(0.01)
            stop = instrument(tracer_provider=exported.tracer_provider)
            await call
            stop()
    assert not exported.exporter.get_finished_spans()
    assert not _telemetry._LISTENERS
