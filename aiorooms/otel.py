"""OpenTelemetry: a span for each call, with its attempts as children, and metrics. Needs the extra `otel`.

    import aiorooms.otel

    aiorooms.otel.instrument()  # once, before or after clients are created

Each call has a span such as `aiorooms PATCH /rooms/{room_id}`, which begins when its first attempt is queued and ends
with the call. Each attempt is a child of the kind CLIENT, with the attributes of the semantic conventions for HTTP:
`http.request.method`, `url.template`, `url.path`, `http.response.status_code`, `http.request.resend_count` (from the
second attempt on), `http.response.header.x-request-id` and `error.type`. A timeout has the error type
`APITimeoutError`, and an attempt whose body was cut off has an error type too. While an attempt is sent, its span is
the current one, so spans of opentelemetry-instrumentation-aiohttp-client are its children. A retry is an event of the
call's span.

The metrics are `http.client.request.duration` (seconds, for each attempt), `aiorooms.wait.duration` (seconds that an
attempt has waited for the rate limit or a connection) and `aiorooms.retries`.
"""

import time
from collections.abc import Callable
from contextvars import Token
from typing import Final

import attrs

from .telemetry import AttemptEnded, AttemptStarted, CallEnded, CallEvent, Event, RetryScheduled
from .telemetry._telemetry import listen

try:
    from opentelemetry import context, metrics, trace
except ImportError:  # pragma: no cover - the tests install it
    raise ImportError("aiorooms.otel needs OpenTelemetry; install it: pip install 'aiorooms[otel]'") from None

__all__ = ["instrument"]

_NAME: Final = "aiorooms"


@attrs.define
class _Spans:
    """The open spans of one call."""

    call: trace.Span
    attempt: trace.Span | None = None
    token: Token[context.Context] | None = None


class _Listener:
    def __init__(self, tracer: trace.Tracer, meter: metrics.Meter) -> None:
        self._tracer = tracer
        self._is_stopping = False
        self._stop_listening: Callable[[], None] = lambda: None
        self._spans: dict[int, _Spans] = {}
        """By the number of the call. Each call ends with a `CallEnded`, so no entry remains."""
        self._duration = meter.create_histogram(
            "http.client.request.duration", unit="s", description="Duration of an attempt."
        )
        self._wait = meter.create_histogram(
            "aiorooms.wait.duration", unit="s", description="Time that an attempt has waited before it was sent."
        )
        self._retries = meter.create_counter("aiorooms.retries", description="Number of retries.")

    def start(self) -> Callable[[], None]:
        """Begin to listen. Return a function that ends this after the calls that have spans."""
        self._stop_listening = listen(self)
        return self._stop

    def _stop(self) -> None:
        self._is_stopping = True
        if not self._spans:
            self._stop_listening()

    def __call__(self, event: Event) -> None:
        if self._is_stopping and not (isinstance(event, CallEvent) and event.call in self._spans):
            return
        match event:
            case AttemptStarted():
                self._start(event)
            case AttemptEnded():
                self._end(event)
            case RetryScheduled():
                self._retry(event)
            case CallEnded():
                self._end_call(event)
            case _:
                pass

    def _start(self, event: AttemptStarted) -> None:
        self._wait.record(event.waited, _labels(event))
        spans = self._spans.get(event.call)
        if spans is None:
            spans = self._spans[event.call] = _Spans(self._start_call(event, event.waited))
        parent = trace.set_span_in_context(spans.call)
        spans.attempt = self._tracer.start_span(
            f"{event.method} {event.route}",
            parent,
            trace.SpanKind.CLIENT,
            {**_labels(event), "url.path": event.path},
        )
        if event.attempt > 1:
            spans.attempt.set_attribute("http.request.resend_count", event.attempt - 1)
        spans.token = context.attach(trace.set_span_in_context(spans.attempt, parent))

    def _start_call(self, event: CallEvent, ago: float) -> trace.Span:
        attributes = {**_labels(event), "url.path": event.path}
        began = time.time_ns() - round(ago * 1e9)
        return self._tracer.start_span(f"{_NAME} {event.method} {event.route}", attributes=attributes, start_time=began)

    def _end(self, event: AttemptEnded) -> None:
        attributes: dict[str, str | int] = {**_labels(event)}
        if event.status is not None:
            attributes["http.response.status_code"] = event.status
        kind = _error_type(event.status, event.error)
        if kind is not None:
            attributes["error.type"] = kind
        self._duration.record(event.duration, attributes)
        spans = self._spans.get(event.call)
        if spans is None or spans.attempt is None:
            return
        if spans.token is not None:
            context.detach(spans.token)
        spans.attempt.set_attributes(attributes)
        if event.request_id is not None:
            spans.attempt.set_attribute("http.response.header.x-request-id", [event.request_id])
        if kind is not None:
            spans.attempt.set_status(trace.StatusCode.ERROR)
        spans.attempt.end()
        spans.attempt = spans.token = None

    def _retry(self, event: RetryScheduled) -> None:
        self._retries.add(1, _labels(event))
        spans = self._spans.get(event.call)
        if spans is not None:
            spans.call.add_event("retry", {"reason": event.reason, "delay": event.delay})

    def _end_call(self, event: CallEnded) -> None:
        spans = self._spans.pop(event.call, None)
        if spans is None:  # no attempt was sent
            spans = _Spans(self._start_call(event, event.elapsed))
        if event.error is not None:
            spans.call.set_attribute("error.type", event.error)
            spans.call.set_status(trace.StatusCode.ERROR)
        spans.call.end()
        if self._is_stopping:
            self._stop()


def _labels(event: CallEvent) -> dict[str, str]:
    return {"http.request.method": event.method, "url.template": event.route}


def _error_type(status: int | None, error: str | None) -> str | None:
    """Return the error type by the semantic conventions: the status if that is the error, else the name of a class."""
    if error is None:
        return None
    return str(status) if status is not None and status >= 400 else error


def instrument(
    *, tracer_provider: trace.TracerProvider | None = None, meter_provider: metrics.MeterProvider | None = None
) -> Callable[[], None]:
    """Report the calls of all clients of this process. Return a function that ends this.

    Without arguments, the global providers are used.
    """
    tracer = trace.get_tracer(_NAME, tracer_provider=tracer_provider)
    meter = metrics.get_meter(_NAME, meter_provider=meter_provider)
    return _Listener(tracer, meter).start()
