"""Call the right function for each type of event."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar, cast

from ._events import Event, RoomEvent

__all__ = ["OnEvent", "WebhookRouter"]

E = TypeVar("E", bound=RoomEvent)

OnEvent: TypeAlias = Callable[[Event], Awaitable[object]]
"""An async function that handles an event. What it returns is ignored."""


class WebhookRouter:
    """A handler that calls the functions that were registered for the class of an event.

        webhooks = WebhookRouter()

        @webhooks.on(SessionStarted)
        async def started(event: SessionStarted) -> None: ...

    Pass the router itself as `on_event`. Functions for a base class, such as `RoomEvent`, get all events of its
    subclasses. If no function is registered for an event, nothing happens.
    """

    def __init__(self) -> None:
        self._functions: list[tuple[type[RoomEvent], Callable[[Any], Awaitable[object]]]] = []

    def on(self, kind: type[E]) -> Callable[[Callable[[E], Awaitable[object]]], Callable[[E], Awaitable[object]]]:
        """Return a decorator that registers an async function for a class of events. It returns the function itself.

        Several functions can be registered for one class. They are called in their order. Raises `TypeError` if `kind`
        is not a class of events, or if the function is not async.
        """
        given = cast("object", kind)
        if not (isinstance(given, type) and issubclass(given, RoomEvent)):
            raise TypeError(f"{kind!r} is not a class of events; give one such as SessionStarted")

        def register(function: Callable[[E], Awaitable[object]]) -> Callable[[E], Awaitable[object]]:
            if not inspect.iscoroutinefunction(function):
                raise TypeError(f"{function!r} is not an async function; write it as `async def`")
            self._functions.append((kind, function))
            return function

        return register

    async def __call__(self, event: Event) -> None:
        """Call all functions for an event, one after another. What one raises is raised, and ends the others."""
        for kind, function in self._functions:
            if isinstance(event, kind):
                await function(event)
