"""Code that `update`, `apply` and `resume` share: send updates, report each outcome, and print the totals.

The totals are printed even after Ctrl-C. Errors of single rooms are grouped (see `_room_errors`). If standard output
can't be written any more, the run stops, because it would otherwise change rooms without reporting them.
"""

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from typing import Final

from .._text import counted
from ..bulk._outcomes import OUTCOME_WORDS
from ..client import RoomsClient
from ..errors import AioroomsError, AuthenticationError, PermissionDeniedError
from ._exit_codes import FAILED, OK, UNAUTHORIZED
from ._output import Output, OutputLostError, flush
from ._room_errors import RoomErrors
from ._run import GRACE, Interrupted, run
from ._stats import Sample

__all__ = ["TOTALS", "ManyUpdates"]

TOTALS: Final = {key: name for key, name in OUTCOME_WORDS.items() if key != "begun"}
"""Every total, and its name on the terminal. The totals add up to the number of rooms."""

_REJECTED_KEY: Final = (AuthenticationError, PermissionDeniedError)


class ManyUpdates(ABC):
    """A run that sends updates to `total` rooms."""

    def __init__(self, client: RoomsClient, out: Output, total: int) -> None:
        self.client = client
        self.out = out
        self.total = total
        self.counts: Counter[str] = Counter()
        """Number of outcomes of this run, by status."""
        self.interrupted = False
        """Whether a signal, such as Ctrl-C, interrupted the run."""
        self.unauthorized = False
        """Whether the server rejected the API key."""
        self.errors = RoomErrors()
        """The errors of single rooms."""
        self.output_error: OutputLostError | None = None
        """The error that made standard output unusable, or None."""
        self._started_at = time.monotonic()
        self.before = 0
        """Number of rooms that have an outcome from earlier runs."""

    # --- implemented by each command ---

    @abstractmethod
    async def send(self) -> None:
        """Send all updates, and call `count` with each outcome. This coroutine may be cancelled at any time."""

    @abstractmethod
    def stop(self, why: str) -> None:
        """Start no further update. `why` is the reason."""

    @abstractmethod
    def summarize(self) -> bool:
        """Report the rooms without an outcome, and the totals. Return whether everything succeeded."""

    def phase(self) -> str:
        """Return what the run does before its first update, as text; empty if there is nothing to say."""
        return ""

    # --- shared ---

    @property
    def seconds(self) -> float:
        """Seconds since this object was created."""
        return time.monotonic() - self._started_at

    def run(self) -> int:
        """Send all updates, print the totals, and return the exit code.

        After a signal, print the totals and raise `Interrupted`.
        """
        with self.out.progress(self.total, self._sample):
            try:
                run(self.send(), on_stop=self._on_signal)
            except Interrupted:
                self.interrupted = True
        try:
            succeeded = self.summarize()
        except OutputLostError as error:  # for example, the terminal was closed
            succeeded, self.output_error = False, error
        if self.interrupted:
            raise Interrupted("")
        if self.unauthorized:
            return UNAUTHORIZED
        return OK if succeeded and self.output_error is None else FAILED

    def count(self, status: str, *, before: int = 0) -> None:
        """Count an outcome. `before` is the number of rooms that have an outcome from an earlier run."""
        self.counts[status] += 1
        self.before = before

    def write(self, line: str) -> None:
        """Write a line to standard output and flush it. If that fails, stop the run."""
        if self.output_error is None:
            try:
                self.out.line(line)
                flush()
            except OutputLostError as error:
                self.output_error = error
                self.stop(str(error))

    def report(self, room_id: str, status: str, line: str, error: AioroomsError | None) -> None:
        """Print the error of a room, or only count it if it is of the same kind as an earlier one."""
        self.check_key(error)
        if self.errors.add(room_id, status, line):
            self.out.error(line)

    def check_key(self, error: AioroomsError | None) -> None:
        """Record whether an error says that the server rejects the API key."""
        self.unauthorized |= isinstance(error, _REJECTED_KEY)

    def totals(self, counts: Mapping[str, int]) -> str:
        """Return the totals as text, such as `18 updated, 1 failed`. Totals of 0 are omitted, except for `updated`."""
        named = [f"{counts[key]:,} {name}" for key, name in TOTALS.items() if counts[key] or key == "updated"]
        return "interrupted: " * self.interrupted + ", ".join(named)

    def _sample(self) -> Sample:
        counts = self.counts.copy()  # in one step, because the bar calls this in its own thread
        return Sample(
            done=self.before + counts.total(),
            before=self.before,
            total=self.total,
            phase=self.phase(),
            failed=counts["failed"],
            uncertain=counts["uncertain"],
            conflicts=counts["conflict"],
            pacing=self.client.pacing.snapshot(),
        )

    def _on_signal(self) -> None:
        self.stop("interrupted")
        # Updates that wait are not in flight: `stop` has ended them.
        count = self.client.pacing.snapshot().in_flight
        requests = f"waiting up to {GRACE:g} s for {counted(count, 'request')} in flight; " if count else ""
        self.out.error(f"stopping: {requests}press Ctrl-C again to abort")
