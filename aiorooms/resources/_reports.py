"""Report the outcomes of updates as events."""

from ..errors import AioroomsError
from ..models import UpdateResult
from ..telemetry import EndStatus, UpdateEnded
from ..telemetry._telemetry import Telemetry
from ._statuses import status_of

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
    status: EndStatus
    if isinstance(error, AioroomsError):
        status, attempts, text = status_of(error), error.attempts, str(error)
    else:
        status, attempts, text = "failed" if isinstance(error, Exception) else "cancelled", 0, type(error).__name__
    if telemetry.wants_attempts or status == "uncertain":
        event = UpdateEnded(room_id=room_id, status=status, attempts=attempts, elapsed=elapsed, error=text)
        telemetry.emit(event)
