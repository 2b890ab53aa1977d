"""Find characters that are not allowed anywhere in a URL, and quote parts of a URL for messages.

The check works on the exact string that will be sent. Parsers silently repair some strings: yarl drops newlines, and
browsers turn backslashes into slashes. So the characters are checked before the URL is parsed. If a URL has a
forbidden character, its parts are not checked, because the URL can't be split reliably.
"""

import re
import unicodedata
from typing import NamedTuple
from urllib.parse import quote

from ..errors import ProblemCode

__all__ = [
    "BAD_ESCAPE",
    "BAD_IN_PATH",
    "BAD_IN_USERINFO",
    "MAX_URL",
    "Finding",
    "character_findings",
    "code_point",
    "percent_encoded",
    "quote_text",
]

MAX_URL = 2000  # Telnyx, error 10003
_MAX_SHOWN = 80  # a message shows at most this many characters of a value

# Visible ASCII without the characters that `_BAD_CHARACTERS` forbids. Most URLs contain nothing else.
_ORDINARY = re.compile(r"[!#-;=?-\[\]_a-z~]*")

# These patterns are compiled on first use, because most programs never need them. Compiling them took 3 % of the
# instructions that `import aiorooms` adds to those of `import aiohttp`.
_CONTROL = r"[\x00-\x1f\x7f-\x9f]"
_BLANK = r"[^\S\x00-\x1f\x7f-\x9f]"  # Unicode whitespace without the control characters
# Zero-width characters, bidi controls and others that display nothing. IDNA silently deletes most of them from a host.
_INVISIBLE = (
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u1806\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800"
    r"\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_BAD_CHARACTERS = (
    (_CONTROL, "a control character", "remove it"),
    (_BLANK, "whitespace", "remove it, or write it as '%20'"),
    (_INVISIBLE, "an invisible character", "remove it"),
    (r"[\ud800-\udfff]", "a lone surrogate", "remove it, because it can't be sent as UTF-8"),
    (r"\\", "a backslash", "write '/', or '%5C' if a backslash is meant"),
    # The suggested fix does not encode these, because they may be template syntax (`https://{host}/`) or markup
    # (`<https://...>`).
    (r'[<>"{}|^`]', "an illegal character", "remove it or percent-encode it (RFC 3986, 2)"),
)


BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")  # RFC 3986, 2.1
BAD_IN_USERINFO = re.compile(r"[^A-Za-z0-9\-._~!$&'()*+,;=:%]")  # RFC 3986, 3.2.1
BAD_IN_PATH = re.compile(r"[^A-Za-z0-9\-._~!$&'()*+,;=:%@/?]")  # RFC 3986, 3.3 and 3.4


class Finding(NamedTuple):
    """One reason why a URL is invalid. It does not contain the URL. `check` converts it to a `Problem`."""

    code: ProblemCode
    wrong: str
    """The mistake, such as `has an empty port`."""
    hint: str
    """How to correct the mistake."""
    fix: str | None = None
    """A repaired URL. If it passes the check, the message suggests it instead of the hint."""
    setting: str | None = None
    """The policy setting that rejects the URL; None if every policy would reject it."""


def character_findings(url: str) -> list[Finding]:
    """Return one finding for each kind of forbidden character in the URL."""
    if _ORDINARY.fullmatch(url):
        return []
    bad = [(match, what, hint) for pattern, what, hint in _BAD_CHARACTERS if (match := re.search(pattern, url))]
    if not bad:
        return []
    fix = re.sub(_INVISIBLE, "", re.sub(_CONTROL, "", url)).strip().replace("\\", "/")
    fix = percent_encoded(re.compile(_BLANK), fix)
    return [
        Finding("bad_characters", f"has {what} at index {m.start()} ({code_point(m.group())})", hint, fix)
        for m, what, hint in bad
    ]


def quote_text(text: str) -> str:
    """Return the `repr` of a text, shortened to about 80 characters."""
    quoted = repr(text[:_MAX_SHOWN])
    if len(text) <= _MAX_SHOWN and len(quoted) <= _MAX_SHOWN + 2:
        return quoted
    return f"{quoted[: _MAX_SHOWN - 2]}...{quoted[0]}"


def code_point(character: str) -> str:
    """Return the code point and the Unicode name of a character, such as `U+0020 SPACE`."""
    return f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()


def percent_encoded(bad: re.Pattern[str], text: str) -> str:
    """Percent-encode all matches of the pattern. A text that is too long for a URL is returned unchanged."""
    return bad.sub(lambda found: quote(found.group(), safe=""), text) if len(text) <= MAX_URL else text
