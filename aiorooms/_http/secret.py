"""The API key and other secrets, kept out of everything that shows the state of a program.

A key can appear in three places besides a request. Each has its own protection:

- **A repr**: an `ApiKey` shows itself as `ApiKey(***)`. The class is not a subclass of `str`, because tools such as
  error trackers show the characters of a `str`, whatever its `repr` returns.
- **A text from the server**, which may repeat the headers of the request: `ApiKey.redact` replaces the key there.
- **Local variables in a traceback**, which rich, cgitb and error trackers show: `hide_frames` cuts the traceback at its
  first frame of this package or of aiohttp. Example: a call is cancelled while aiohttp waits for the answer. The
  traceback of the `CancelledError` leads into `aiohttp.ClientSession._request`, whose variable `headers` contains the
  key. After the cut, the traceback ends in `attempts`, where the exception is raised again and no variable shows the
  key.
"""

import contextlib
import inspect
import json
import re
from hashlib import blake2b
from traceback import walk_tb
from types import FrameType, TracebackType
from typing import Final, cast
from urllib.parse import quote

__all__ = ["ApiKey", "Hidden", "hide_frames"]


class Hidden:
    """A value that no repr shows, such as a URL with a password."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Hidden(***)"


class ApiKey:
    """An API key, which may be invalid: see `is_valid`."""

    __slots__ = ("_key", "_pattern")

    def __init__(self, key: str) -> None:
        self._key = key
        self._pattern: re.Pattern[str] | None = None

    def __repr__(self) -> str:
        return "ApiKey(***)"

    @property
    def given_type(self) -> type[object]:
        """The type of the given key, which is `str` for a valid key."""
        return type(self._key)

    @property
    def is_empty(self) -> bool:
        """Whether the key has no characters."""
        return not self._key

    @property
    def is_valid(self) -> bool:
        """Whether the key has only characters that may be in an API key."""
        return self._key.isascii() and self._key.isprintable() and " " not in self._key

    @property
    def has_scheme(self) -> bool:
        """Whether the key begins with `Bearer`, as the value of the header does."""
        return self._key[:7].lower() == "bearer "

    @property
    def authorization(self) -> str:
        """The value of the header `Authorization`."""
        return f"Bearer {self._key}"

    def digest(self, base_url: str) -> str:
        """Return a text that identifies the key at a base URL, and from which nobody can calculate the key."""
        data = f"{base_url}\n{self._key}".encode("utf-8", "surrogatepass")
        return blake2b(data, digest_size=16, person=b"aiorooms").hexdigest()

    def redact(self, text: str) -> str:
        """Replace the key in a text, in upper or lower case, also if it is percent-encoded or escaped as in JSON.

        A key of fewer than 8 characters is not replaced: it can't be a key of Telnyx, and may be part of an ordinary
        word.
        """
        if len(self._key) < _MIN_LENGTH:
            return text
        if self._pattern is None:
            forms = {self._key, quote(self._key, safe=""), json.dumps(self._key)[1:-1]}
            # Longer forms come first, because a shorter one may be part of a longer one.
            self._pattern = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))), re.IGNORECASE)
        return self._pattern.sub("[API key]", text)


_MIN_LENGTH: Final = 8


def hide_frames(error: BaseException) -> None:
    """Remove frames whose variables may contain the key from an exception and the exceptions that it is chained to.

    Call this function in an `except` block that raises the exception again. If the exception is a bug or comes from a
    hook, a note says where it was raised, because its traceback no longer does.
    """
    errors: list[BaseException | None] = [error]
    seen: set[int] = set()
    running = _running_frames()
    while errors:
        current = errors.pop()
        if current is None or id(current) in seen:
            continue
        at = current.__traceback__
        if current is not error and at is not None and at.tb_frame in running:
            continue  # the caller was handling it before the call
        seen.add(id(current))
        hidden = _cut(current)
        if hidden is not None and current is error and isinstance(error, Exception):
            places = (f"{at.f_code.co_filename}:{line} in {at.f_code.co_name}" for at, line in walk_tb(hidden))
            note = "Raised in these frames (hidden, as their variables may contain the API key):\n  "
            # An exception may reject every assignment, as a frozen dataclass does.
            with contextlib.suppress(AttributeError):
                error.add_note(note + "\n  ".join(places))
        errors += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            errors += cast("BaseExceptionGroup[BaseException]", current).exceptions


def _cut(error: BaseException) -> TracebackType | None:
    """Cut a traceback at its first frame of this package or of aiohttp, and return what was cut off."""
    before, at = None, error.__traceback__
    while at is not None and not _may_have_key(at.tb_frame.f_globals.get("__name__", "")):
        before, at = at, at.tb_next
    if before is None:
        BaseException.with_traceback(error, None)  # works even if the exception rejects assignments
    else:
        before.tb_next = None
    return at


def _running_frames() -> set[FrameType]:
    """Return the frames of the caller, of its caller, and so on."""
    frames: set[FrameType] = set()
    frame = inspect.currentframe()
    while frame is not None:
        frames.add(frame)
        frame = frame.f_back
    return frames


def _may_have_key(module: str) -> bool:
    return module.startswith((_PACKAGE, "aiohttp."))


_PACKAGE: Final = __name__.rpartition(".")[0]
