r"""Escape text for the terminal, and words of a command for a shell.

A room's name, a file name or a message of the operating system must neither break a line nor control the terminal. For
example, a file named ESC[2J.plan is shown as `\x1b[2J.plan`, and does not clear the screen. Only tabs between columns
and the colours that rich adds are written as they are. In a command to copy, the word becomes `$'\x1b[2J.plan'`, which
a shell reads as the same bytes.
"""

import os
import re
import shlex
from datetime import datetime
from typing import Final

from .._text import timestamp

__all__ = ["command_line", "escape", "escape_drawn", "field_text"]


def escape(text: str) -> str:
    """Escape unprintable characters, including tabs and line breaks."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


_COLOUR: Final = re.compile(r"(\x1b\[[0-9;]*m)")


def escape_drawn(line: str) -> str:
    """Escape a line that rich has drawn, but keep its colours."""
    return "".join(part if _COLOUR.fullmatch(part) else escape(part) for part in _COLOUR.split(line))


def field_text(value: object) -> str:
    """Return the value of a field as text, in the API's format. None becomes an empty string."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return timestamp(value)
        case _:
            return escape(str(value))


def command_line(*words: object) -> str:
    """Return a command of aiorooms to copy into a shell."""
    return " ".join(map(_shell_word, ("aiorooms", *map(str, words))))


def _shell_word(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{''.join(map(_in_shell, word))}'"


def _in_shell(char: str) -> str:
    """Return a character as it is written between `$'` and `'`."""
    if not char.isprintable():
        return "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))
    return f"\\{char}" if char in "\\'" else char
