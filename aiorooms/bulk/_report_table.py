"""The part of the report page about the rooms: failures and conflicts by reason, and the list that can be searched.

The list is JSON in a `<script>` element that is no program. `<` is escaped in it, so no name can end the element, and
the script of the page shows names as text. A browser that runs no script shows the rooms that are not updated.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from ._changes import Changed
from ._report_rooms import ReportRoom, ReportRooms
from ._report_words import FIELD_WORDS, html_text, printable, reason_of_state, state_words
from ._summary import Summary

__all__ = ["reason_groups", "room_list"]

_MAX_GROUPS: Final = 50
_MAX_EXAMPLES: Final = 3
_MAX_STATIC: Final = 200
"""Maximum numbers of lines. The page says how many it leaves out."""


def reason_groups(summary: Summary, rooms: ReportRooms) -> str:
    """Return the table of failures and conflicts by reason; empty if there are none."""
    groups: Counter[tuple[str, str]] = Counter()
    for outcome, count in summary.by_outcome.items():
        if outcome.state != "updated":
            groups[state_words(outcome)[0], reason_of_state(outcome)] += count
    if not groups:
        return ""
    examples: dict[tuple[str, str], list[str]] = {}
    for room in rooms.listed:
        some = examples.setdefault((state_words(room.outcome)[0], reason_of_state(room.outcome)), [])
        if len(some) < _MAX_EXAMPLES:
            some.append(_label(room))
    rows = "".join(
        f'<tr><td class="n" data-name="rooms">{count:,}</td><td class="state bad">{name}</td>'
        f"<td>{html_text(reason) or 'no reason was recorded'}</td>"
        f'<td data-name="such as">{"<br>".join(examples.get((name, reason), []))}</td></tr>'
        for (name, reason), count in groups.most_common(_MAX_GROUPS)
    )
    rest = groups.most_common()[_MAX_GROUPS:]
    if rest:
        more, kinds = sum(count for _, count in rest), len(rest)
        rows += f'<tr><td class="n">{more:,}</td><td></td><td>{kinds:,} other reasons</td><td></td></tr>'
    return (
        '<h2>Failures and conflicts, by reason</h2>\n<table class="cards"><thead><tr><th class="n">rooms</th>'
        f"<th>outcome</th><th>reason</th><th>such as</th></tr></thead><tbody>{rows}</tbody></table>\n"
    )


def _label(room: ReportRoom) -> str:
    name = "" if room.unique_name is None else f"<bdi>{html_text(room.unique_name)}</bdi> "
    return f'{name}<span class="id">{html_text(room.room_id)}</span>'


def room_list(rooms: ReportRooms) -> Iterator[str]:
    """Yield the list of the rooms in pieces; nothing if no room is listed."""
    if not rooms.listed:
        return
    outcomes = {outcome: place for place, outcome in enumerate(dict.fromkeys(room.outcome for room in rooms.listed))}
    changes = {words: place for place, words in enumerate(dict.fromkeys(_words(room.changes) for room in rooms.listed))}
    has_changes = len(changes) > 1
    has_reasons = any(map(reason_of_state, outcomes))
    header = ["name", "id", "outcome", *["why"] * has_reasons, *["change"] * has_changes]
    columns = "".join(f'<th scope="col"><button type="button">{name}</button></th>' for name in header)
    yield _LIST.format(left_out=_left_out(rooms), columns=columns, static=_static(rooms))
    data: dict[str, object] = {
        "outcomes": [[*state_words(outcome), printable(reason_of_state(outcome))] for outcome in outcomes],
        "changes": [*map(printable, changes)] if has_changes else [""],
    }
    yield f'<script type="application/json" id="data">{_json(data)[:-1]},"rooms":['
    separator = ""
    for block in _blocks(rooms.listed):
        lines = [
            _json(
                [
                    None if room.unique_name is None else printable(room.unique_name),
                    printable(room.room_id),
                    outcomes[room.outcome],
                    changes[_words(room.changes)] * has_changes,
                ]
            )
            for room in block
        ]
        yield separator + ",\n".join(lines)
        separator = ",\n"
    yield "]}</script>\n"


def _blocks(rooms: Sequence[ReportRoom]) -> Iterator[Iterable[ReportRoom]]:
    return (islice(rooms, begin, begin + 1000) for begin in range(0, len(rooms), 1000))


def _json(value: object) -> str:
    """Return a value as JSON that can be put between the tags of a `<script>` element."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _words(changes: tuple[Changed, ...]) -> str:
    return "; ".join(f"{FIELD_WORDS.get(change.field, change.field)}: {change}" for change in changes)


def _left_out(rooms: ReportRooms) -> str:
    hidden = rooms.total - len(rooms.listed)
    if hidden <= 0:
        return ""
    text = f"{len(rooms.listed):,} of {rooms.total:,} rooms are listed, those that are not updated first. "
    return f'<p class="note">{text}The other {hidden:,} are in the journal.</p>'


def _static(rooms: ReportRooms) -> str:
    """Return the rooms that are not updated, for a browser that runs no script."""
    others = [room for room in rooms.listed if room.outcome.state != "updated"]
    rows = "".join(
        f'<tr><td>{_label(room)}</td><td class="state bad">{state_words(room.outcome)[0]}</td>'
        f"<td>{html_text(reason_of_state(room.outcome))}</td></tr>"
        for room in others[:_MAX_STATIC]
    )
    more = f"<p>{len(others) - _MAX_STATIC:,} more are not shown.</p>" if len(others) > _MAX_STATIC else ""
    table = f"<p>These rooms are not updated:</p><table><tbody>{rows}</tbody></table>{more}" if others else ""
    return f"<p>Searching the rooms needs JavaScript.</p>{table}"


_LIST: Final = """\
<h2 id="rooms-title">Rooms</h2>
{left_out}<noscript>{static}</noscript>
<div id="list" hidden>
<div class="controls"><input id="search" type="search" placeholder="Search names, ids and reasons" \
aria-label="Search names, ids and reasons" autocomplete="off" spellcheck="false">
<select id="filter" aria-label="Outcome"><option value="">all outcomes</option></select></div>
<p class="note" id="count" aria-live="polite"></p><p class="note" id="printed" hidden></p>
<table class="cards" id="rooms" aria-labelledby="rooms-title"><thead><tr>{columns}</tr></thead><tbody id="rows"></tbody>
</table>
<div class="pages"><button id="back" type="button">Back</button><button id="next" type="button">Next</button></div>
</div>
"""
