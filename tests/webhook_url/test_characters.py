"""Characters that are not allowed in a URL, and hints on what to write instead."""

import sys
import unicodedata

import pytest

from aiorooms._webhook_url import DEFAULT_POLICY, check
from aiorooms._webhook_url.characters import character_findings

from .helpers import messages

BAD = {
    " https://x.io": "has whitespace at index 0 (U+0020 SPACE); did you mean 'https://x.io'?",
    "https://x.io/ ": "did you mean 'https://x.io/'?",
    "https://x.io/a b": "did you mean 'https://x.io/a%20b'?",
    "https://exa mple.com/": "has whitespace at index 11",
    "https://x.io/\u00a0": "(U+00A0 NO-BREAK SPACE)",
    "https://x.io/\u3000x": "(U+3000 IDEOGRAPHIC SPACE)",
    "https://x.io/\u2028": "(U+2028 LINE SEPARATOR)",
    "ht\ntps://x.io": "has a control character at index 2 (U+000A); did you mean 'https://x.io'?",
    "https://x.io\t": "has a control character",
    "https://x.io/\0": "(U+0000)",
    "https://x.io/\x7f": "(U+007F)",
    "https://x.io/\x85": "(U+0085)",
    "https://e\u200bvil.com/": "has an invisible character at index 9 (U+200B ZERO WIDTH SPACE)",
    "https://e\u00advil.com/": "(U+00AD SOFT HYPHEN); did you mean 'https://evil.com/'?",
    "https://x.io/\u202egpj": "(U+202E RIGHT-TO-LEFT OVERRIDE)",
    "\ufeffhttps://x.io/": "(U+FEFF ZERO WIDTH NO-BREAK SPACE); did you mean 'https://x.io/'?",
    "https://x.io/\ud800": "has a lone surrogate at index 13 (U+D800)",
    "https:\\\\x.io\\hook": "has a backslash at index 6 (U+005C REVERSE SOLIDUS); did you mean 'https://x.io/hook'?",
    "https://x.io/<id>": "has an illegal character at index 13 (U+003C LESS-THAN SIGN); remove it or",
    "https://x.io/{room_id}": "(U+007B LEFT CURLY BRACKET)",
    '"https://x.io/"': "(U+0022 QUOTATION MARK)",
    "https://x.io/a|b": "(U+007C VERTICAL LINE)",
    "https://x.io/a^b": "(U+005E CIRCUMFLEX ACCENT)",
    "https://x.io/`id`": "(U+0060 GRAVE ACCENT)",
    "https://x.io/100%": "has a '%' without two hex digits after it; did you mean 'https://x.io/100%25'?",
    "https://x.io/%zz": "has a '%' without two hex digits",
    "https://x.io/?a=%2": "has a '%' without two hex digits",
    "https://x.io/ü": "U+00FC LATIN SMALL LETTER U WITH DIAERESIS); did you mean 'https://x.io/%C3%BC'?",
    "https://x.io/?q=ü": "did you mean 'https://x.io/?q=%C3%BC'?",
    "https://x.io/?a[b]=1": "did you mean 'https://x.io/?a%5Bb%5D=1'?",
    f"https://x.io/{'a' * 70}ü": "must be percent-encoded (U+00FC LATIN SMALL LETTER U WITH DIAERESIS); write it",
}


@pytest.mark.parametrize(("url", "words"), BAD.items(), ids=map(ascii, BAD))
def test_a_bad_character_is_one_problem_with_a_hint(url: str, words: str) -> None:
    (message,) = messages(url)

    assert words in message


def test_every_control_character_space_invisible_character_and_lone_surrogate_is_rejected() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"}:
            for url in (f"https://x.io/{character}", f"https://x{character}.io/", f"{character}https://x.io/"):
                assert check._problems(url, DEFAULT_POLICY, "/x"), ascii(url)  # pyright: ignore[reportPrivateUsage]


def test_every_ascii_character_outside_rfc_3986_is_rejected_in_path_and_query() -> None:
    allowed = "-._~!$&'()*+,;=:@/?#"
    for character in map(chr, range(128)):
        good = character.isalnum() or (character in allowed and character != "#")
        assert (not messages(f"https://x.io/a{character}b")) is good, character
        assert (not messages(f"https://x.io/?a{character}b")) is good, character


def test_these_visible_ascii_characters_are_forbidden_everywhere_in_a_url() -> None:
    forbidden = {character for character in map(chr, range(0x21, 0x7F)) if character_findings(character)}
    assert forbidden == set('\\<>"{}|^`')
