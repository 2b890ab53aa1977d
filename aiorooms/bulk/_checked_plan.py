"""The lines of a plan file during a run: what is sent is what was checked.

A plan file is read more than once in a run: first to check its checksum, then to read rooms back and to send the
updates. If someone edits the file in between, the later passes would read values that were never checked. So the first
pass keeps a digest of each line, and each later pass compares the lines with them. The digest is Python's hash of the
bytes, which has 64 bits and depends on a random key of the process. A plan with a million rooms needs 8 MB.

For example, a plan has 200 rooms, and someone replaces `20` by `30` in the file when 86 updates have begun. Line 87
differs from what was checked. The run begins no further update, lets the updates in flight finish, and then raises
`PlanFileError`. (If the file is replaced, not edited, the run goes on: its open file is still the old one.)
"""

import os
from array import array
from collections.abc import Iterator
from typing import BinaryIO

from ._files import os_errors_as
from ._plan import Plan, modified_plan, replaced_plan, unreadable_plan

__all__ = ["CheckedPlan"]


class CheckedPlan:
    """An open plan file whose checksum was verified."""

    def __init__(self, plan: Plan, file: BinaryIO) -> None:
        """Read the whole file. Raises `PlanFileError` as `Plan.room_lines` does."""
        self.plan = plan
        self._file = file
        self._digests = array("q", map(hash, plan.room_lines(file)))
        with os_errors_as(unreadable_plan, plan.path):
            file.seek(0)
            self.start: int = len(file.readline())
        """The offset of the first room's line in the file."""

    def __len__(self) -> int:
        """The number of rooms."""
        return len(self._digests)

    def check_same(self, file: BinaryIO) -> None:
        """Raise `PlanFileError` if another open file is not the file that was checked."""
        with os_errors_as(unreadable_plan, self.plan.path):
            if not os.path.samestat(os.fstat(file.fileno()), os.fstat(self._file.fileno())):
                raise replaced_plan(self.plan.path)

    def lines(self) -> Iterator[bytes]:
        """Yield the line of each room. Raises `PlanFileError` at the first line that differs from what was checked.

        Only one iterator can be in use at a time, because all of them read the same open file.
        """
        path = self.plan.path
        with os_errors_as(unreadable_plan, path):
            self._file.seek(self.start)
            for digest in self._digests:
                line = self._file.readline()
                if hash(line) != digest:
                    raise modified_plan(path)
                yield line
