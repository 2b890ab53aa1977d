"""The option `--on`, which names the store of a run on several machines."""

import importlib.util
import os
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from .._pacing.shared.settings import REDIS_SCHEMES, check_redis_url
from ..errors import ClientSettingsError
from ._command import Context, Step

__all__ = ["STORE", "on_option", "read_on", "read_on_or_memory", "unless_on"]

F = TypeVar("F", bound=Callable[..., Any])

STORE: Final = "AIOROOMS_STORE"
"""The environment variable that `--on env` reads. Other users of the machine can see a password in an option."""

_MEMORY: Final = "memory://"


def on_option(text: str, more: str = "", *, required: bool = False) -> Callable[[F], F]:
    """Return a decorator that adds `--on`. `more` is appended to the help text."""
    shown = f"{text}, such as redis://HOST:6379/0. `env` reads {STORE}.{more}"
    return click.option("--on", metavar="URL", required=required, help=shown)


def read_on(ctx: Context, *, with_memory: bool = False) -> None:
    """Replace `env` by the URL in the environment, and check the URL. `with_memory` says whether it may be memory://."""
    on: str | None = ctx.params["on"]
    if on is None:
        return
    if on == "env" and not (on := os.environ.get(STORE)):
        ctx.add_problem(f"{STORE} is not set", "--on")
        return
    ctx.params["on"] = on
    if importlib.util.find_spec("docket") is None:
        ctx.add_problem("it needs pydocket; install it: pip install 'aiorooms[distributed]'", "--on")
    elif with_memory and on == _MEMORY:
        pass
    elif not on.startswith(REDIS_SCHEMES):
        ctx.add_problem("it is not the URL of a Redis; begin it with redis://, rediss:// or unix://", "--on")
    else:
        try:
            check_redis_url("--on", on)
        except ClientSettingsError as error:
            ctx.add_problem(f"it {error.wrong}; {error.hint}", "--on")


def read_on_or_memory(ctx: Context) -> None:
    """Read `--on` like `read_on`, and also accept memory://."""
    read_on(ctx, with_memory=True)


def unless_on(step: Step) -> Step:
    """Return a step that does nothing if `--on` is given."""

    def check(ctx: Context) -> None:
        if ctx.params["on"] is None:
            step(ctx)

    return check
