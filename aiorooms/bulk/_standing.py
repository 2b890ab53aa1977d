"""Where each room stands, according to the lines of a journal.

A damaged line can't be read, so it may hide a `begin` line, an `end` line, or several lines if a line break is damaged.
For example, the rooms A to D are in a plan, and the lines 5 and 9 of its journal are damaged:

     1  {"aiorooms_journal":2,...}
     2  {"run":1,...}
     3  {"begin":"A",...}
     4  {"begin":"B",...}
     5  (damaged; it was the `end` line of A)
     6  {"end":"B",...,"status":"failed",...}
     7  {"stop":"done",...}
     8  {"run":2,...}
     9  (damaged; it was the `begin` line of C)

- A is `begun`, because its `end` line is hidden. Such a room is read back, so its outcome is found.
- B is `failed`, but line 9 may hide that run 2 sent its update again, and with success. So B is *doubtful*: `resume`
  compares it with the account. If it has the wanted values, its outcome is `updated`; else it stays `failed`.
- C has no state, like D, whose update was not sent. For rooms without a state, `resume` looks for their ids among the
  rooms that changed since the plan was made. If the update of C was applied, C is one of them. It is then compared with
  the plan, and its outcome is `updated`. Otherwise its update was not applied, and is sent.

A room that is `updated` is never doubtful, because no run sends its update again.

Lines may also be missing at the end of a run. If the machine crashes, the lines of the last second may be lost, but not
the `run` line. So a run without a `stop` line makes rooms doubtful too: those that were `failed` or `conflict` before
it began. Rooms without a state are treated as above.
"""

from collections.abc import Iterable

import attrs

from ._journal_records import Begin, End, JournalLine, RoomState, Run, Stop

__all__ = ["Standing", "standing_of"]


@attrs.frozen(kw_only=True)
class Standing:
    """The content of a journal, summed up by room."""

    states: dict[str, RoomState] = attrs.Factory(dict[str, RoomState])
    """The state of each room: its last outcome, or `begun` if its last line is a `begin`."""
    runs: int = 0
    """Number of runs."""
    damaged_lines: list[int] = attrs.Factory(list[int])
    """The numbers of the damaged lines."""
    doubtful: frozenset[str] = frozenset()
    """The ids of rooms that are `failed` or `conflict`, and whose later lines may be damaged or lost."""


def standing_of(lines: Iterable[JournalLine]) -> Standing:
    """Sum up the lines of a journal."""
    states: dict[str, RoomState] = {}
    kept: dict[str, int] = {}
    """For each room that is `failed` or `conflict`: the number of its last line."""
    damaged_lines: list[int] = []
    runs = 0
    doubt = 0
    """The number of the last line after which a line may be missing: a damaged line, or the `run` line of a crash."""
    open_run = 0
    """The number of the `run` line of the last run, if it has no `stop` line."""
    for line in lines:
        match line.record:
            case Begin(begin=room_id):
                states[room_id] = "begun"
                kept.pop(room_id, None)
            case End(end=room_id, status=status):
                states[room_id] = status
                if status in ("failed", "conflict"):
                    kept[room_id] = line.number
                else:
                    kept.pop(room_id, None)
            case Run():
                runs += 1
                doubt, open_run = max(doubt, open_run), line.number
            case Stop():
                open_run = 0
            case _ if line.is_damaged:
                damaged_lines.append(line.number)
                doubt = line.number
            case _:
                pass
    doubt = max(doubt, open_run)
    doubtful = frozenset(room_id for room_id, number in kept.items() if number < doubt)
    return Standing(states=states, runs=runs, damaged_lines=damaged_lines, doubtful=doubtful)
