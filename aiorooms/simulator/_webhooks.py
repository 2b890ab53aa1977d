"""The webhook settings of an account with all kinds of mistakes, for trying an audit."""

from collections.abc import Mapping
from typing import Final

from ._answers import JsonValue

__all__ = ["mixed_webhooks"]

_GOOD_HOST: Final = "hooks.example.com"
_BACKUP_HOST: Final = "backup.example.com"
_TIMEOUT: Final = 10
_PERIOD: Final = 100
"""The mistakes are repeated after this many rooms."""


def mixed_webhooks(number: int) -> Mapping[str, JsonValue]:
    """Return the webhook settings of room `number`, counted from 1.

    Of each 100 rooms, the first ones have one mistake each, and the others have none.
    """
    mistakes = _mistakes(number)
    index = (number - 1) % _PERIOD
    good: dict[str, JsonValue] = {
        "webhook_event_url": f"https://{_GOOD_HOST}/rooms/{number}",
        "webhook_event_failover_url": f"https://{_BACKUP_HOST}/rooms/{number}",
        "webhook_timeout_secs": _TIMEOUT,
    }
    return {**good, **mistakes[index]} if index < len(mistakes) else good


def _mistakes(number: int) -> list[dict[str, JsonValue]]:
    path = f"/rooms/{number}"
    return [
        {"webhook_event_url": f"http://{_GOOD_HOST}{path}"},
        {"webhook_event_failover_url": ""},
        {"webhook_event_failover_url": f"https://{_GOOD_HOST}/backup{path}"},
        {"webhook_event_url": f"https://10.0.0.5{path}"},
        {"webhook_event_url": f"https://hooks.corp{path}"},
        {"webhook_event_url": f"https://user:secret@{_GOOD_HOST}{path}"},
        {"webhook_event_url": f"https://{_GOOD_HOST}{path}#top"},
        {"webhook_event_url": f"ftp://{_GOOD_HOST}{path}"},
        {"webhook_timeout_secs": None},
        {"webhook_timeout_secs": 0},
        {"webhook_timeout_secs": "10"},
        {"webhook_event_url": None},
        {"webhook_event_url": f"https://old.example.com{path}"},
    ]
