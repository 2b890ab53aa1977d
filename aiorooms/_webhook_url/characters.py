"""What no URL may hold, whatever its parts mean, and how text from a URL is shown in a message.

Check the very string that will be sent. A parser would repair it silently (yarl drops newlines, browsers turn
backslashes into slashes), so a parsed URL says nothing about the string. The raw characters therefore come first; if
one of them is bad, nothing that is read out of the rest can be trusted, and the check ends there.
"""

import re
import unicodedata
from urllib.parse import quote

import attrs

from ..errors import ProblemCode

__all__ = [
    "BAD_ESCAPE",
    "BAD_IN_PATH",
    "BAD_IN_USERINFO",
    "MAX_URL",
    "Finding",
    "character_findings",
    "named",
    "percent_encoded",
    "quote_text",
]

MAX_URL = 2000  # Telnyx, error 10003
_SHOWN = 80  # no message shows more characters of what was given

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BLANK = re.compile(r"[^\S\x00-\x1f\x7f-\x9f]")  # the white space of Unicode, without the control characters
# Zero-width and bidi characters and whatever else shows nothing. IDNA deletes most of them from a host silently.
_INVISIBLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u1806\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800"
    r"\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_BAD_CHARACTERS = (
    (_CONTROL, "a control character", "leave it out"),
    (_BLANK, "a blank", "leave it out, or write it as '%20'"),
    (_INVISIBLE, "an invisible character", "leave it out"),
    (re.compile(r"[\ud800-\udfff]"), "half of a surrogate pair", "leave it out, it can't be sent as UTF-8"),
    (re.compile(r"\\"), "a backslash", "write '/', or '%5C' if a backslash is meant"),
    # No suggestion encodes these: who writes `https://{host}/` or `<https://...>` means something else.
    (re.compile(r'[<>"{}|^`]'), "a character that no URL may have", "leave it out or percent-encode it (RFC 3986, 2)"),
)

BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")  # RFC 3986, 2.1
BAD_IN_USERINFO = re.compile(r"[^A-Za-z0-9\-._~!$&'()*+,;=:%]")  # RFC 3986, 3.2.1
BAD_IN_PATH = re.compile(r"[^A-Za-z0-9\-._~!$&'()*+,;=:%@/?]")  # RFC 3986, 3.3 and 3.4


@attrs.frozen
class Finding:
    """What is wrong, what would be right, and a repaired URL to suggest if that passes the check itself."""

    code: ProblemCode
    wrong: str
    right: str
    fix: str | None = None
    setting: str | None = None
    """The setting of the policy that rejects the URL, if it is a URL at all."""


def character_findings(url: str) -> list[Finding]:
    """Return one finding for each kind of character that no URL may hold."""
    bad = [(match, what, right) for pattern, what, right in _BAD_CHARACTERS if (match := pattern.search(url))]
    if not bad:
        return []
    fix = _INVISIBLE.sub("", _CONTROL.sub("", url)).strip().replace("\\", "/")
    fix = percent_encoded(_BLANK, fix)
    return [
        Finding("bad_characters", f"has {what} at index {m.start()} ({named(m.group())})", right, fix)
        for m, what, right in bad
    ]


def quote_text(text: str) -> str:
    """Quote as repr does, so that no character breaks the line. The end of a long text is left out."""
    quoted = repr(text[:_SHOWN])
    if len(text) <= _SHOWN and len(quoted) <= _SHOWN + 2:
        return quoted
    return f"{quoted[: _SHOWN - 2]}...{quoted[0]}"


def named(character: str) -> str:
    """Return the code point of a character and its Unicode name."""
    return f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()


def percent_encoded(bad: re.Pattern[str], text: str) -> str:
    """Percent-encode everything that the pattern matches."""
    # What is too long is never suggested.
    return bad.sub(lambda found: quote(found.group(), safe=""), text) if len(text) <= MAX_URL else text
