"""What a rollback can restore: whether the API and the client accept the previous values of a room."""

from .._webhook_url import WebhookUrlPolicy
from ..models import RoomUpdate
from ..models._fields import FIELDS, Values

__all__ = ["can_be_restored", "restoring"]


def can_be_restored(name: str, value: object) -> bool:
    """Return whether the API accepts the previous value of a field. Some fields can't be cleared."""
    return FIELDS[name].nullable or value not in (None, "")


def restoring(before: Values, policy: WebhookUrlPolicy) -> RoomUpdate:
    """Return the update that restores the previous values.

    Raises `InvalidRequestError` if the client rejects them, for example because of a forbidden URL.
    """
    # The API returns "no URL" as an empty string, but rejects an empty string in a request.
    values = {name: None if value == "" else value for name, value in before.items()}
    return RoomUpdate.from_dict(values, webhook_url_policy=policy)
