"""The breaker: stop a run that fails too often, because its cause is probably one for all rooms.

An operator who left the run alone should not find 200,000 failed rooms in the morning. The breaker counts the updates
that the server has decided: `updated` and `failed`. It ignores `conflict`, `skipped`, `uncertain` and rooms that had
the new values already, because none of them says that the plan is wrong. There are two rules:

- **At the beginning**: more than 20 % of the first 50 decided updates failed.
- **Later**: 50 decided updates in a row failed.

For example, a plan sets a webhook URL that the server rejects for every room. With the 11th failure, more than 20 % of
the first 50 updates will have failed whatever the others do. So the run stops there, and the updates in flight finish.
If a plan of 200,000 rooms goes well, and at room 120,000 the server begins to reject every update, the run stops after
50 of them. If every third update fails from room 120,000 on, the run continues.

A plan of 10 rooms is never stopped, even if all of them fail: it is over before the breaker could save anything.
"""

from typing import Final

__all__ = ["Breaker"]

_FIRST: Final = 50
"""Number of updates that count as the beginning."""

_SHARE: Final = 20
"""Maximum share of failures among the first updates, in percent."""

_MOST: Final = _FIRST * _SHARE // 100
"""Maximum number of failures among the first updates."""

_IN_A_ROW: Final = 50
"""Number of failures in a row that stop the run."""


class Breaker:
    """Counts the outcomes of one run, and says when the run must stop."""

    def __init__(self, *, enabled: bool = True) -> None:
        self.reason: str | None = None
        """Why the run must stop; None until then."""
        self._enabled = enabled
        self._decided = 0
        self._failed = 0
        self._in_a_row = 0

    @property
    def advice(self) -> str:
        """The reason with what to do next, after the run was stopped."""
        return f"{self.reason}; find the cause before you continue, or give --no-breaker to continue anyway"

    def add(self, status: str, *, found: bool = False) -> str | None:
        """Count an outcome. Return the reason if the run must stop now; None at all other outcomes.

        `found` means that the room had the new values already, so that nothing was sent.
        """
        if status not in ("updated", "failed") or found:
            return None
        self._decided += 1
        if status == "updated":
            self._in_a_row = 0
            return None
        self._failed += 1
        self._in_a_row += 1
        if not self._enabled or self.reason is not None:
            return None
        if self._decided <= _FIRST and self._failed > _MOST:
            self.reason = f"{self._failed} of the first {self._decided} updates failed"
        elif self._in_a_row == _IN_A_ROW:
            self.reason = f"{_IN_A_ROW} updates in a row failed"
        return self.reason
