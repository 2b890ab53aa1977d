"""Check a run before the operator is asked, and then ask.

All problems are reported together: those of the files, a key that the server rejects, and a missing confirmation. A
single error of the API keeps its exit code, so a revoked key exits with 3.
"""

import sys
from collections.abc import Sequence

from ..bulk import Plan
from ..bulk._plan_review import review_of
from ..bulk._preflight import Preflight, check_key
from ..client import RoomsClient
from ..errors import AioroomsError, APIError, ClientStateError
from ._command import InvalidInputError
from ._output import Output
from ._review import lines_before_question
from ._run import run
from ._stderr import confirm
from ._words import error_line

__all__ = ["check", "confirmed", "missing_confirmation"]


def check(found: Preflight, probe_client: RoomsClient, problems: Sequence[str] = (), *, with_key: bool) -> Plan:
    """Return the plan of a run that can begin. Else raise its only error, or `InvalidInputError` with all problems.

    `problems` are further ones that the caller has found. `with_key` says whether to send a request that checks the
    key.
    """
    errors: list[AioroomsError] = [*found.problems]
    has_rooms = found.plan is None or found.plan.rooms > 0
    if with_key and has_rooms and not found.has_other_server:
        error = run(_key_error(probe_client))
        if error is not None:
            errors.append(error)
    if errors and not problems and len(errors) == 1:
        raise errors[0]
    if errors or problems:
        raise InvalidInputError([*map(error_line, errors), *problems])
    assert found.plan is not None  # otherwise there was a problem
    return found.plan


async def _key_error(client: RoomsClient) -> AioroomsError | None:
    async with client:
        try:
            await check_key(client)
        except (APIError, ClientStateError) as error:
            return error
    return None


def missing_confirmation(rooms: int, *, yes: bool) -> tuple[str, ...]:
    """Return a problem if more than one room would change, and the user can neither be asked nor has confirmed it."""
    if yes or rooms <= 1 or (sys.stdin.isatty() and sys.stderr.isatty()):
        return ()
    return (f"{rooms:,} rooms would change; without a terminal, confirm with --yes",)


def confirmed(plan: Plan, question: str, rooms: int, out: Output, *, yes: bool) -> bool:
    """Return whether to go ahead. If more than one room would change, show what changes and ask, unless `yes`."""
    if yes or rooms <= 1:
        return True
    for line in lines_before_question(plan, review_of(plan.updates())):
        out.note(line)
    if confirm(question):
        return True
    out.note("Nothing was changed.")
    return False
