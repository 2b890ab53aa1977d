"""Run a test on both event loops, asyncio's own and uvloop, because they read and write at different moments."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Literal

import pytest
import uvloop


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make two tests of a coroutine function: one for each event loop."""

    def run(loop: Literal["asyncio", "uvloop"], **arguments: Any) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
            runner.run(test(**arguments))

    # pytest reads the names of fixtures and parameters from the signature.
    signature = inspect.signature(test)
    loop = inspect.Parameter("loop", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__signature__ = signature.replace(parameters=[loop, *signature.parameters.values()])  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess]
    run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
    both: Callable[..., None] = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])(run)
    return both
