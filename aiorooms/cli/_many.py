"""What `update`, `apply` and `resume` share: they send many updates, report each, and sum up, also after a Ctrl-C.

A rejected API key is reported once, as all updates in flight meet it. If standard output is lost, the run stops: going
on would change rooms and report none of them.
"""

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ..client import RoomsClient
from ..errors import AioroomsError, AuthenticationError, PermissionDeniedError
from ._exit_codes import FAILED, OK, UNAUTHORIZED
from ._output import Output, OutputLostError, flush
from ._run import GRACE, Interrupted, run

if TYPE_CHECKING:
    from ._progress import Bar

__all__ = ["NOT_UPDATED", "ManyUpdates"]

NOT_UPDATED: Final = {
    "failed": "failed",
    "uncertain": "uncertain",
    "conflict": "modified by someone else",
    "skipped": "not sent",
}
"""Every status but `updated`, and how a sum names it."""

_BAD_KEY: Final = (AuthenticationError, PermissionDeniedError)


class ManyUpdates(ABC):
    """A run that sends updates to `total` rooms."""

    def __init__(self, client: RoomsClient, out: Output, total: int) -> None:
        self.client = client
        self.out = out
        self.total = total
        self.counts: Counter[str] = Counter()
        """The outcomes of this run, by status."""
        self.interrupted = False
        """Whether a signal came."""
        self.unauthorized = False
        """Whether the server rejected the API key."""
        self.output_error: OutputLostError | None = None
        """Why standard output can't be written any more."""
        self._bar: Bar | None = None
        self._began_at = time.monotonic()

    # --- what differs ---

    @abstractmethod
    async def send(self) -> None:
        """Send all updates, and call `count` with each outcome. It may be cancelled at any time."""

    @abstractmethod
    def stop(self, why: str) -> None:
        """Begin no new update."""

    @abstractmethod
    def summarize(self) -> bool:
        """Report the rest and the totals, and return whether all is well."""

    def in_flight(self) -> int | None:
        """Return how many updates are in flight, if that is known."""
        return None

    # --- what is the same ---

    @property
    def seconds(self) -> float:
        """Seconds since the run was made."""
        return time.monotonic() - self._began_at

    def run(self) -> int:
        """Send, sum up, and return the exit code. Raises `Interrupted` after a signal, when all is said."""
        with self.out.progress(self.total) as self._bar:
            if self._bar is not None:
                self._bar.pacing = self.client.pacing.snapshot
            try:
                run(self.send(), on_stop=self._on_signal)
            except Interrupted:
                self.interrupted = True
        is_well = self.summarize()
        if self.interrupted:
            raise Interrupted("")
        if self.unauthorized:
            return UNAUTHORIZED
        return OK if is_well and self.output_error is None else FAILED

    def count(self, status: str, *, before: int = 0) -> None:
        """Count an outcome; `before` rooms were settled before this run."""
        self.counts[status] += 1
        self.show(before)

    def show(self, before: int = 0) -> None:
        """Bring the progress bar up to date."""
        if self._bar is not None:
            self._bar.show(self.counts, before)

    def write(self, line: str) -> None:
        """Write a line on standard output at once. If that fails, the run stops."""
        if self.output_error is None:
            try:
                self.out.line(line)
                flush()
            except OutputLostError as error:
                self.output_error = error
                self.stop(str(error))

    def should_report(self, error: AioroomsError | None) -> bool:
        """Whether an error is to be reported: not if it says once more that the key is rejected."""
        if not isinstance(error, _BAD_KEY):
            return True
        before, self.unauthorized = self.unauthorized, True
        return not before

    def totals(self, counts: Mapping[str, int], *, before: int = 0) -> str:
        """Return the counts as the beginning of a sentence."""
        parts = [f"{self.counts['updated']:,} updated{f' ({before:,} before)' * bool(before)}"]
        parts += [f"{counts[status]:,} {name}" for status, name in NOT_UPDATED.items() if counts[status]]
        return "interrupted: " * self.interrupted + ", ".join(parts)

    def _on_signal(self) -> None:
        self.stop("interrupted")
        count = self.in_flight()
        updates = (
            "updates in flight have" if count is None else f"{count:,} in flight {'has' if count == 1 else 'have'}"
        )
        self.out.error(f"stopping: {updates} {GRACE:g} s to end; Ctrl-C again stops now")
