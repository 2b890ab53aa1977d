"""Words and escaped text of the report page: states of rooms, fields, and text that comes from outside."""

import html
from typing import Final

from ._outcomes import OUTCOME_WORDS
from ._summary import RoomResult

__all__ = ["FIELD_WORDS", "STATE_KINDS", "html_text", "printable", "reason_of_state", "state_words"]

STATE_KINDS: Final = {
    "updated": "good",
    "already_right": "good",
    "failed": "bad",
    "uncertain": "bad",
    "conflict": "bad",
    "skipped": "bad",
    "not_begun": "muted",
}
"""For each state of a room, its kind, which decides its colour."""

FIELD_WORDS: Final = {
    "unique_name": "Name",
    "max_participants": "Maximum number of participants",
    "enable_recording": "Recording",
    "webhook_event_url": "Webhook URL",
    "webhook_event_failover_url": "Failover URL",
    "webhook_timeout_secs": "Webhook timeout in seconds",
}
"""The names of the fields for a reader who does not know the API."""


def printable(text: str) -> str:
    """Escape unprintable characters, also those that reverse the direction of the text."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def html_text(text: str) -> str:
    """Return a text of any origin as HTML."""
    return html.escape(printable(text))


def state_words(outcome: RoomResult) -> tuple[str, str]:
    """Return the words for the state of a room when its last run has ended, and its kind."""
    state: str = outcome.state
    if state == "updated" and outcome.found:
        state = "already_right"
    elif state == "begun":  # its run has ended
        state = "uncertain"
    return OUTCOME_WORDS[state], STATE_KINDS[state]


def reason_of_state(outcome: RoomResult) -> str:
    """Return why a room has its outcome, in one line; empty if there is no reason."""
    return "in flight when its run ended" if outcome.state == "begun" else outcome.reason
