"""Report the outcomes of updates as events."""

from ..errors import AioroomsError
from ..models import UpdateResult
from ..telemetry import EndStatus, UpdateEnded
from ..telemetry._telemetry import Telemetry

__all__ = ["report_error", "report_result", "report_success"]


def report_result(telemetry: Telemetry, result: UpdateResult) -> None:
    """Report one outcome of `update_many`."""
    if telemetry.wants_attempts or result.status == "uncertain":
        event = UpdateEnded(
            room_id=result.room_id,
            status=result.status,
            attempts=result.attempts,
            elapsed=result.elapsed,
            error=None if result.error is None else str(result.error),
        )
        telemetry.emit(event)


def report_success(telemetry: Telemetry, room_id: str, attempts: int, elapsed: float) -> None:
    """Report that a single update was applied."""
    if telemetry.wants_attempts:
        event = UpdateEnded(room_id=room_id, status="updated", attempts=attempts, elapsed=elapsed, error=None)
        telemetry.emit(event)


def report_error(telemetry: Telemetry, room_id: str, error: BaseException, elapsed: float) -> None:
    """Report that a single update has raised an error, or was cancelled."""
    if isinstance(error, AioroomsError):
        uncertain, attempts, text = error.uncertain, error.attempts, str(error)
    else:
        uncertain, attempts, text = False, 0, type(error).__name__
    if telemetry.wants_attempts or uncertain:
        ended: EndStatus = "uncertain" if uncertain else "failed" if isinstance(error, Exception) else "cancelled"
        event = UpdateEnded(room_id=room_id, status=ended, attempts=attempts, elapsed=elapsed, error=text)
        telemetry.emit(event)
