"""Options for probes, and reading the private key that signs their events from a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from ..errors import ClientSettingsError
from ..webhook_config import EventSigner
from ._command import Context
from ._options import FILE

__all__ = ["probe_options", "read_key_file", "read_signer"]

F = TypeVar("F", bound=Callable[..., Any])

_MAX_KEY: Final = 4096


def probe_options(command: F) -> F:
    """Add `--allow-private` and `--signing-key`. The step `read_signer` replaces the latter with `signer`."""
    allow_private = click.option(
        "--allow-private",
        is_flag=True,
        help="Also connect to private addresses, such as 127.0.0.1.  [default: report them as failures]",
    )
    signing_key = click.option(
        "--signing-key",
        metavar="FILE",
        type=FILE,
        help="Sign the events with the Ed25519 private key in this file (PEM or base64).  [default: unsigned]",
    )
    return allow_private(signing_key(command))


def read_signer(ctx: Context) -> None:
    """Set `signer` from the file `signing_key`, or to None."""
    path: Path | None = ctx.params.pop("signing_key")
    ctx.params["signer"] = None if path is None else read_key_file(ctx, path, "--signing-key")


def read_key_file(ctx: Context, path: Path, name: str) -> EventSigner | None:
    """Return a signer with the key in a file. If there is none, record a problem of the option `name`."""
    try:
        with path.open("rb") as file:
            # No variable holds the key, because a report of an error may show the variables.
            return EventSigner(file.read(_MAX_KEY).decode("ascii", "replace"))
    except OSError as error:
        ctx.add_problem(f"{str(path)!r} can't be read: {error.strerror or error}", name)
    except ClientSettingsError as error:
        ctx.add_problem(f"{str(path)!r} {error.wrong}; {error.hint}", name)
    return None
