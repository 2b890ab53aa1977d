"""Wanted values that a Python function computes for each room."""

import inspect
from collections.abc import Callable, Iterator
from typing import cast

from ...errors import InputProblem, InvalidRequestError
from ...models import Room, RoomUpdate
from .._planning import Change, Wanted
from .._problems import room_error

__all__ = ["computed"]


def computed(update_of: Callable[[Room], RoomUpdate | None], *, source: str | None = None) -> Wanted:
    """Return an input for `make_plan`, which calls a function with each room of the account.

    `update_of` returns the update of a room, or None to leave the room unchanged. For example, it is a
    `webhook_config.FixRules`. If it raises `InvalidRequestError`, the problems are those of the plan. `source` is
    recorded in the plan; by default, it is the name of the function. Making the plan raises `TypeError` if the function
    returns anything else.
    """
    return _Computed(update_of, source or _name(update_of))


def _name(update_of: Callable[[Room], object]) -> str:
    return getattr(update_of, "__qualname__", None) or type(update_of).__name__


class _Computed:
    def __init__(self, update_of: Callable[[Room], RoomUpdate | None], source: str) -> None:
        self._update_of = update_of
        self.source = source

    def change_of(self, room: Room) -> Change | None:
        """Return the wanted values of a room."""
        try:
            update = cast("object", self._update_of(room))
        except InvalidRequestError as error:
            raise room_error(room, error) from None
        if update is None or isinstance(update, RoomUpdate):
            return None if update is None else Change(update)
        if inspect.iscoroutine(update):
            update.close()  # or else Python warns that it was never awaited
        given = type(update).__name__
        raise TypeError(f"{_name(self._update_of)} returned a value of type {given}; return a RoomUpdate or None")

    def not_met(self) -> Iterator[InputProblem]:
        """Yield nothing, because the function sees only rooms of the account."""
        return iter(())
