"""The command `aiorooms`: arguments, output and exit codes. All other logic is in the rest of the package.

The command needs the extra `cli` (click and rich). The rest of the package does not.
"""

import gc
import os
import sys
from importlib.util import find_spec

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit."""
    if find_spec("click") is None or find_spec("rich") is None:
        sys.stderr.write("aiorooms: the command line needs click and rich; run pip install 'aiorooms[cli]'\n")
        raise SystemExit(2)
    # If the shell closed a standard stream (`2>&-`), the next socket would get its file descriptor. Our messages would
    # then be sent to the server.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123 - standard streams stay open
    # Imported objects live until the exit. Not collecting them saves about 40 ms of the 350 ms of a short command.
    gc.disable()
    from ._main import cli  # imported here, because it imports click

    gc.freeze()  # the exit does not visit them either
    gc.enable()
    cli(prog_name="aiorooms")
