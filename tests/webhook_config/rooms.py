"""Rooms whose webhook settings have no findings, or differ from these in some fields."""

from typing import Any

from aiorooms import Room

GOOD: dict[str, Any] = {
    "webhook_event_url": "https://hooks.example.com/rooms",
    "webhook_event_failover_url": "https://backup.example.com/rooms",
    "webhook_timeout_secs": 10,
}
URL, FAILOVER, TIMEOUT = GOOD


def room(number: int = 0, **fields: Any) -> Room:
    return Room(id=f"{number:08x}-0000-4000-8000-000000000000", unique_name=f"r{number}", **{**GOOD, **fields})
