"""Review a plan: which fields change, from what to what, and what a rollback could not bring back. Pure.

The changes are counted by field and, for URLs, by host (`_changes`). A rollback sends the old values, so it can't bring
back what an update can't set. For example, a plan gives a room its first URL: a rollback would have to clear the URL,
which the API can't do.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import attrs

from .._checks import text_message
from .._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy
from ..errors import InvalidRequestError
from ._changes import ChangeCounter, FieldReview, changes_of
from ._plan_records import PlannedUpdate
from ._restoring import can_be_restored, restoring

__all__ = ["NotRestorable", "PlanReview", "PlanReviewer", "review_of"]


@attrs.frozen
class NotRestorable:
    """Why a rollback could not bring back the old values of some rooms."""

    field: str | None
    """The field; None if the reason is not about a single field."""
    reason: str
    rooms: int
    example: str
    """The id of the first of these rooms."""


@attrs.frozen
class PlanReview:
    """What a reviewer needs to know about the changes in a plan."""

    rooms: int
    fields: Sequence[FieldReview]
    """The fields that change, in the order of the API's reference page."""
    not_restorable: Sequence[NotRestorable]

    @property
    def rooms_not_restorable(self) -> int:
        """Number of rooms that a rollback could not bring back. Each room is counted once."""
        return sum(group.rooms for group in self.not_restorable)


class PlanReviewer:
    """Builds the review of a plan room by room."""

    def __init__(self, policy: WebhookUrlPolicy = DEFAULT_POLICY) -> None:
        """`policy` decides which old URLs a rollback may send."""
        self._policy = policy
        self._total = 0
        self._changes = ChangeCounter()
        self._not_restorable: Counter[tuple[str | None, str]] = Counter()
        self._reasons: dict[tuple[str | None, str], tuple[str, str]] = {}
        """The reason and the first room's id of each group."""

    def add(self, planned: PlannedUpdate) -> None:
        """Add a room."""
        self._total += 1
        self._changes.add(changes_of(planned.before, planned.after))
        self._check_restorable(planned)

    def result(self) -> PlanReview:
        """Return the review of all rooms that were added."""
        groups = [
            NotRestorable(key[0], self._reasons[key][0], rooms, self._reasons[key][1])
            for key, rooms in self._not_restorable.most_common()
        ]
        return PlanReview(self._total, self._changes.fields(), groups)

    def _check_restorable(self, planned: PlannedUpdate) -> None:
        """Count a room whose old values can't be sent. The first reason counts, so that each room is counted once."""
        for name, value in planned.before.items():
            if not can_be_restored(name, value):
                self._count(name, "not_clearable", f"{name} had no value, and the API can't clear it", planned)
                return
        try:
            restoring(planned.before, self._policy)
        except InvalidRequestError as error:
            problem = error.problems[0]
            field = problem.field
            what = "the old values" if field is None else f"the old {field}"
            self._count(field, problem.code, f"{what} would be rejected: {text_message(problem)}", planned)

    def _count(self, field: str | None, code: str, reason: str, planned: PlannedUpdate) -> None:
        key = (field, code)
        self._not_restorable[key] += 1
        if key not in self._reasons:
            self._reasons[key] = (reason, planned.room_id)


def review_of(updates: Iterable[PlannedUpdate], policy: WebhookUrlPolicy = DEFAULT_POLICY) -> PlanReview:
    """Return the review of these updates, such as `Plan.updates()`."""
    reviewer = PlanReviewer(policy)
    for planned in updates:
        reviewer.add(planned)
    return reviewer.result()
