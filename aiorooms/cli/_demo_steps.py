"""Run the commands of the demo as a user would: each is a process of its own, with its own output.

A command is shown, wrapped so that it can be copied into a shell, and then run in the folder of the demo. On a
terminal, it writes to the terminal itself, so that its progress bar moves. Otherwise its lines are copied to standard
output.

No process outlives its step, not even after Ctrl-C. A command gets no signal from the terminal, because it runs in a
session of its own. Otherwise Ctrl-C would make it wait for updates in flight, while the demo wants to end.
"""

import asyncio
import os
import shlex
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import attrs

from ._escaping import escape
from ._output import Output, flush
from ._stderr import write_stderr

__all__ = ["Commands", "EndedCommand", "process_of", "wrapped"]

_POLL: Final = 0.005
"""Time between two checks whether a process should be killed, in seconds."""

_PACKAGES: Final = Path(__file__).parent.parent.parent

_KEPT_LINES: Final = 20
"""Number of lines of a command's output that are kept for a report of its failure."""

_FOREIGN: Final = ("TELNYX_", "AIOROOMS_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
"""Beginnings of the names of variables that a command of the demo must not inherit, in upper case."""

_SHOW_CURSOR: Final = "\x1b[?25h"


@attrs.frozen(kw_only=True)
class EndedCommand:
    """A command that has ended."""

    words: tuple[str, ...]
    exit_code: int
    """The exit code, which is negative if the process was killed."""
    seconds: float
    lines: Sequence[str]
    """The last lines that it wrote, unless it wrote to the terminal itself."""


class Commands:
    """Runs commands of aiorooms against one server, in one folder."""

    def __init__(self, out: Output, folder: Path, base_url: str, api_key: str) -> None:
        self.ended: list[EndedCommand] = []
        """All commands that have ended, in their order."""
        self._out = out
        self._folder = folder
        self.environment: Mapping[str, str] = _environment(base_url, api_key)
        """The environment of the commands."""
        self._is_shared = out.on_terminal and sys.stderr.isatty()
        """Whether commands write to the terminal themselves."""

    async def run(self, *words: str, kill_when: Callable[[], bool] | None = None) -> EndedCommand:
        """Show a command, run it to its end, and return how it ended. Kill it as soon as `kill_when` returns True."""
        self.show(*words)
        clock = asyncio.get_running_loop().time
        began = clock()
        lines: list[str] = []
        async with self._process(words) as process:
            killing = None if kill_when is None else asyncio.create_task(_kill(process, kill_when))
            try:
                if process.stdout is not None:
                    await self._copy(process.stdout, lines)
                exit_code = await process.wait()
            finally:
                if killing is not None:
                    killing.cancel()
        ended = EndedCommand(words=words, exit_code=exit_code, seconds=clock() - began, lines=lines)
        self.ended.append(ended)
        return ended

    def show(self, *words: str) -> None:
        """Show a command."""
        for line in wrapped(("aiorooms", *words)):
            if not self._out.json:
                self._out.styled((escape(line), "bold cyan"))
        flush()

    @asynccontextmanager
    async def _process(self, words: Sequence[str]) -> AsyncGenerator[Process]:
        if self._is_shared:
            out, errors = sys.stdout.fileno(), sys.stderr.fileno()
        elif self._out.json and sys.stderr.isatty():
            out, errors = DEVNULL, sys.stderr.fileno()  # only the progress bar and errors are shown
        else:
            out, errors = PIPE, STDOUT
        async with AsyncExitStack() as stack:
            process = await stack.enter_async_context(process_of(words, self._folder, self.environment, out, errors))
            try:
                yield process
            finally:
                await stack.aclose()
                if (process.returncode or 0) < 0 and sys.stderr.isatty():
                    write_stderr(f"{_SHOW_CURSOR}\n")  # the progress bar had hidden it

    async def _copy(self, stream: asyncio.StreamReader, lines: list[str]) -> None:
        """Copy the lines of a process to standard output, unless it is JSON. Keep the last ones."""
        async for line in stream:
            text = line.decode(errors="replace").rstrip("\r\n")
            lines.append(text)
            del lines[:-_KEPT_LINES]
            if not self._out.json:
                self._out.line(text)


@asynccontextmanager
async def process_of(
    words: Sequence[str], folder: Path, environment: Mapping[str, str], out: int, errors: int | None = None
) -> AsyncGenerator[Process]:
    """Run a command in a process, and kill it at the end of the block. `errors` defaults to `out`."""
    process = await asyncio.create_subprocess_exec(
        # -P: the folder of the demo is not a place to import modules from.
        *(sys.executable, "-P", "-m", "aiorooms", *words),
        stdin=DEVNULL,
        stdout=out,
        stderr=out if errors is None else errors,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _kill(process: Process, when: Callable[[], bool]) -> None:
    while process.returncode is None:
        if when():
            process.kill()
            return
        await asyncio.sleep(_POLL)


def _environment(base_url: str, api_key: str) -> Mapping[str, str]:
    """Return the environment of a command. It contains no setting of the user for a real server."""
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith(_FOREIGN)}
    paths = (str(_PACKAGES), inherited.get("PYTHONPATH", ""))
    return {
        **inherited,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "TELNYX_API_KEY": api_key,
        "TELNYX_BASE_URL": base_url,
    }


_COLUMNS: Final = 80


def wrapped(words: Sequence[str]) -> list[str]:
    """Return a command as lines of at most 80 columns, if its words allow that.

    All lines but the last one end with a backslash, so a shell reads them as one command.
    """
    lines = ["$"]
    for word in map(shlex.quote, words):
        if len(lines[-1]) + len(word) + len(" ") > _COLUMNS - len(" \\"):
            lines[-1] += " \\"
            lines.append(f"    {word}")
        else:
            lines[-1] += f" {word}"
    return lines
