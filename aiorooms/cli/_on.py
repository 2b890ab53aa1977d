"""The option `--on`, which names the store of a run on several machines."""

import importlib.util
import os
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from ._command import Context, Step

__all__ = ["STORE", "on_option", "read_on", "unless_on"]

F = TypeVar("F", bound=Callable[..., Any])

STORE: Final = "AIOROOMS_STORE"
"""The environment variable that `--on env` reads. Other users of the machine can see a password in an option."""

_SCHEMES: Final = ("redis://", "rediss://", "unix://", "memory://", "redis+sentinel://")


def on_option(text: str, *, required: bool = False) -> Callable[[F], F]:
    """Return a decorator that adds `--on`."""
    return click.option(
        "--on", metavar="URL", required=required, help=f"{text}, such as redis://HOST:6379/0. `env` reads {STORE}."
    )


def read_on(ctx: Context) -> None:
    """Replace `env` by the URL in the environment, and check the URL."""
    on: str | None = ctx.params["on"]
    if on is None:
        return
    if on == "env" and not (on := os.environ.get(STORE)):
        ctx.add_problem(f"{STORE} is not set", "--on")
        return
    ctx.params["on"] = on
    if not on.startswith(_SCHEMES):
        ctx.add_problem("it is not the URL of a store; begin it with redis://, rediss://, unix:// or memory://", "--on")
    elif importlib.util.find_spec("docket") is None:
        ctx.add_problem("it needs pydocket; install it: pip install 'aiorooms[distributed]'", "--on")


def unless_on(step: Step) -> Step:
    """Return a step that does nothing if `--on` is given."""

    def check(ctx: Context) -> None:
        if ctx.params["on"] is None:
            step(ctx)

    return check
