"""The checks of webhook URLs: tables of good and bad ones, policies, pairs, and what must hold for any text at all."""

import ast
import ipaddress
import pickle
import re
import socket
import sys
import unicodedata
from contextlib import suppress
from enum import StrEnum
from unittest.mock import Mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from aiorooms._unset import UNSET
from aiorooms._webhook_url import (
    DEFAULT_POLICY,
    WebhookUrlPolicy,
    check_webhook_url,
    check_webhook_urls,
    is_loopback,
    same_url,
)
from aiorooms._webhook_url import check as _webhook_url
from aiorooms.errors import ClientSettingsError, Problem

PUBLIC = WebhookUrlPolicy(allow_private_hosts=False)
CREDENTIALS = WebhookUrlPolicy(allow_credentials=True)


def messages(url: object, policy: WebhookUrlPolicy = DEFAULT_POLICY) -> list[str]:
    return [problem.message for problem in check_webhook_url(url, policy)]  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def suggestions(found: list[str]) -> list[str]:
    quoted = [match[1] for message in found if (match := re.search(r"did you mean (.*)\?\Z", message))]
    return [ast.literal_eval(text) for text in quoted]


# -- What is accepted

GOOD = [
    "https://hooks.example.com/rooms",
    "https://hooks.example.com",
    "https://hooks.example.com?tenant=42",
    "http://hooks.example.com/",
    "HTTPS://Hooks.EXAMPLE.com/Rooms",
    "https://example.com./rooms",
    "https://example.com:1/",
    "https://example.com:65535/",
    "https://example.com:0443/",
    "http://localhost:8080/x",
    "http://rooms_web:8080/x",
    "https://intranet/x",
    "https://127.0.0.1/",
    "https://169.254.169.254/",
    "https://127.0.0.1./",
    "https://127.1/",
    "https://127.0.1:8080/",
    "https://0x7f.1/",
    "https://0X7F000001/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://2130706433/",
    "https://0x0a.0x8.010.8/",
    "https://0x/",
    "https://8.8.8.8:8443/x",
    "https://[::1]:8080/",
    "https://[2001:DB8::1]/",
    "https://[::ffff:192.0.2.1]/",
    "https://bücher.example/x",
    "https://xn--bcher-kva.example/x",
    "https://例え。jp/x",
    "https://xn--fa-hia.de/",
    "https://💩.la/",
    "https://EXAMPLE.💩.la/",
    "https://ΟΔΟΣ.example/",
    "https://bücher.xn--p1ai/",
    "https://Ⅷ-bücher.example/",
    "https://xn--ls8h.la/",
    "https://r3---sn-a5m.googlevideo.com/",
    "https://1.1.1.1.example.com/",
    "https://1e3.example/",
    "https://0x7f.example/",
    "https://3com.com/",
    "https://a.b/c/../d//e;f=1,2!$&'()*+=:@~-._",
    "https://a.b/%7Eme/%C3%BC%00%0d%0a?q=%5B1%5D&r=/?:@",
    "https://example.com/@user?mail=me@example.com",
    f"https://{'a' * 63}.example/",
    f"https://{'.'.join(['a' * 49] * 5)}.abc/",
    f"https://example.com/{'a' * 1980}",
]


@pytest.mark.parametrize("url", GOOD)
def test_a_good_url_has_no_problem(url: str) -> None:
    assert check_webhook_url(url) == ()


# -- What is refused, and with what words

BAD = {
    # characters
    " https://x.io": "has a blank at index 0 (U+0020 SPACE); did you mean 'https://x.io'?",
    "https://x.io/ ": "did you mean 'https://x.io/'?",
    "https://x.io/a b": "did you mean 'https://x.io/a%20b'?",
    "https://exa mple.com/": "has a blank at index 11",
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
    "https://x.io/\ud800": "has half of a surrogate pair at index 13 (U+D800)",
    "https:\\\\x.io\\hook": "has a backslash at index 6 (U+005C REVERSE SOLIDUS); did you mean 'https://x.io/hook'?",
    "https://x.io/<id>": "has a character that no URL may have at index 13 (U+003C LESS-THAN SIGN); leave it out",
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
    # form
    "": "'' is empty; begin it with 'https://' or 'http://' and a host",
    "/hook": "is relative, it has no scheme and no host",
    "?x=1": "is relative",
    "#x": "is relative",
    "./hook": "is relative",
    "hook": "'hook' does not begin with 'https://' or 'http://'; give a full URL",
    "//x.io/hook": "'//x.io/hook' has no scheme; did you mean 'https://x.io/hook'?",
    "://x.io/hook": "has no scheme; did you mean 'https://x.io/hook'?",
    "example.com/hook": "'example.com/hook' has no scheme; did you mean 'https://example.com/hook'?",
    "example.com:8080/hook": "has no scheme; did you mean 'https://example.com:8080/hook'?",
    "localhost:8080/x": "has no scheme; did you mean 'https://localhost:8080/x'?",
    "localhost": "has no scheme; did you mean 'https://localhost'?",
    "hooks:8080": "has no scheme; did you mean 'https://hooks:8080'?",
    "bücher.example": "has no scheme; did you mean 'https://bücher.example'?",
    "https:": "has a scheme but no host; begin it with",
    "https:example.com": "has a scheme but no host; did you mean 'https://example.com'?",
    "https:/example.com": "has a scheme but no host; did you mean 'https://example.com'?",
    "https//example.com": "has a scheme but no host; did you mean 'https://example.com'?",
    "https:://example.com": "has a scheme but no host; did you mean 'https://example.com'?",
    "HTTP:example.com": "did you mean 'HTTP://example.com'?",
    "https.//example.com": "does not begin with 'https://'",
    "https;//example.com": "does not begin with 'https://'",
    "https://": "has no host; a host comes after '://'",
    "https:///": "has no host; a host comes after '://'",
    "https:///hook": "has no host; a host comes after '://'",
    "https:///x.io/hook": "has no host; did you mean 'https://x.io/hook'?",
    "https://?x.io": "has no host",
    "https://:80/": "has no host",
    "https://https://x.io/": "has two schemes; did you mean 'https://x.io/'?",
    "https://http://x.io/": "has two schemes; did you mean 'http://x.io/'?",
    "ftp://x.io/nope": "has the scheme 'ftp'; did you mean 'https://x.io/nope'?",
    "htps://x.io/": "has the scheme 'htps'; did you mean 'https://x.io/'?",
    "mailto:me": "does not begin with",
    "javascript:alert(1)": "does not begin with",
    "ht_tp://x.io/": "does not begin with",
    "1http://x.io/": "does not begin with",
    "https://x.io/#top": "has a fragment; did you mean 'https://x.io/'?",
    "https://x.io#": "has a fragment; did you mean 'https://x.io'?",
    f"https://x.io/{'a' * 1988}": "has 2001 characters; Telnyx takes 2000 at most (error 10003)",
    # credentials
    "https://user:secret@x.io/": "'https://***@x.io/' has a user name or password; leave them out",
    "https://token:@x.io/": "'https://***@x.io/' has a user name or password",
    "https://x.io/@me?to=me@x.io&at=12:30#": "did you mean 'https://x.io/@me?to=me@x.io&at=12:30'?",
    "https://x.io/a:b@c#": "'https://***@c#' has a fragment; no server ever gets a fragment",
    "https://user@x.io/": "'https://***@x.io/' has a user name or password",
    "https://@x.io/": "has a user name or password",
    "https://a@b@x.io/": "'https://***@x.io/' has a user name",
    "https://user:sec/ret@x.io/": "'https://***@x.io/' has a port that is not in plain digits, or a password",
    # port
    "https://x.io:/": "has an empty port; did you mean 'https://x.io/'?",
    "https://x.io:0/": "has the port 0; a port is a number from 1 to 65535",
    "https://x.io:000/": "has the port 0",
    "https://x.io:65536/": "has a port over 65535",
    f"https://x.io:{'9' * 1000}/": "has a port over 65535",
    "https://x.io:+80/": "has a port that is not in plain digits",
    "https://x.io:-1/": "has a port that is not in plain digits",
    "https://x.io:8_0/": "has a port that is not in plain digits",
    "https://x.io:８０/": "has a port that is not in plain digits",
    "https://x.io:٨٠/": "has a port that is not in plain digits",
    "https://x.io:http/": "has a port that is not in plain digits",
    "https://x.io:80:80/": "has a ':' too many after its host",
    # host names
    "https://./": "has an empty label in its host; a host name has something before, after and between its dots",
    "https://.../": "has an empty label",
    "https://a..b/": "has an empty label in its host; did you mean 'https://a.b/'?",
    "https://.a.b/": "did you mean 'https://a.b/'?",
    "https://a.b../": "did you mean 'https://a.b/'?",
    "https://a。。b/": "has an empty label",
    f"https://{'a' * 64}.io/": "has a host name with a label of 64 characters; between two dots there are 63 at most",
    f"https://{'.'.join(['a' * 49] * 5)}.abcd/": "has a host of 254 characters; a host name has 253 at most (RFC 1035)",
    f"https://{'a.' * 200}io/": "has a host of 402 characters",
    f"https://{'.'.join(['äëïöüáéíóúàèìòùâêîôû'] * 9)}/": "has a host of",
    "https://-a.io/": "has a label in its host that begins or ends with '-'",
    "https://a-.io/": "has a label in its host that begins or ends with '-'",
    "https://a*b.io/": "(U+002A ASTERISK); a host name has letters, digits, '-' and '.' (RFC 1123)",
    "https://$HOST/x": "(U+0024 DOLLAR SIGN)",
    "https://a.io,b.io/": "(U+002C COMMA)",
    "https://a[b]/": "(U+005B LEFT SQUARE BRACKET)",
    "https://a[::1]/": "has a ':' too many after its host",
    "https://xn--/": "has a host name that IDNA does not allow",
    "https://xn--a.io/": "has a host name that IDNA does not allow",
    "https://xn--99999/": "has a host name that IDNA does not allow",
    "https://a\ue000.io/": "has a host name that IDNA does not allow",
    "https://a…b.io/": "has a host name that IDNA does not allow",
    "https://faß.de/": "which IDNA 2003 replaces and IDNA 2008 keeps; did you mean 'https://xn--fa-hia.de/'?",
    "https://σας.example/": "has 'ß' or 'ς' in its host",
    "https://💩faß.de/": "has 'ß' or 'ς' in its host, which IDNA 2003 replaces and IDNA 2008 keeps; write the form",
    "https://💩Ꮵ.de/": "has a host name that IDNA does not allow",
    "https://💩ₖ.de/": "has a host name that IDNA does not allow",
    "https://-bücher.de/": "has a host name that IDNA does not allow",
    "https://\u0301a.de/": "has a host name that IDNA does not allow",
    "https://a\u0378.de/": "has a host name that IDNA does not allow",
    "https://⒈io/": "has a host name that IDNA does not allow",
    "https://℀.io/": "has a host name that IDNA does not allow",
    "https://［.io/": "has a host name that IDNA does not allow",
    "https://［a.io/": "has a host name that IDNA does not allow",
    "https://a／b.io/": "has a host name that IDNA does not allow",
    "https://a＠b.io/": "has a host name that IDNA does not allow",
    f"https://{'ü' * 60}.io/": "has a host name that IDNA does not allow",
    "https://ｅｘａｍｐｌｅ.com/": "of its host in another script; did you mean 'https://example.com/'?",
    "https://example。com/": "did you mean 'https://example.com/'?",
    "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/": "did you mean 'https://localhost/'?",
    "https://ex%41mple.com/": "has a host with percent escapes, which not all programs decode; did you mean 'https://exA",
    "https://a%2fb.io/": "has a host with percent escapes, which not all programs decode; write it plainly",
    "https://a%00.io/": "has a host with percent escapes",
    "https://%2531.io/": "has a host with percent escapes",
    "https://a%.io/": "has a host with percent escapes",
    # addresses
    "https://[::1/": "has a broken IPv6 address",
    "https://[::1]x/": "has a broken IPv6 address; write it as [2001:db8::1], and only ':' and a port after it",
    "https://[::1]:80:90/": "has a broken IPv6 address",
    "https://[[::1]]/": "has a broken IPv6 address",
    "https://[]/": "has a broken IPv6 address",
    "https://[1.2.3.4]/": "has a broken IPv6 address",
    "https://[::1.2.3.04]/": "has a broken IPv6 address",
    "https://[1::2::3]/": "has a broken IPv6 address",
    "https://[１::]/": "has a broken IPv6 address",
    "https://[v1.x]/": "has a broken IPv6 address",
    "https://[fe80::1%25eth0]/": "has an IPv6 address with a zone; did you mean 'https://[fe80::1]/'?",
    "https://[fe80::1%eth0]/": "has an IPv6 address with a zone",
    "https://2001:db8::1/x": "has an IPv6 address without brackets; did you mean 'https://[2001:db8::1]/x'?",
    "https://①②⑦.⓪.⓪.①/": "did you mean 'https://127.0.0.1/'?",
    "https://１２７.0.0.1/": "did you mean 'https://127.0.0.1/'?",
    "https://127。0。0。1/": "did you mean 'https://127.0.0.1/'?",
    "https://%31%32%37.0.0.1/": "did you mean 'https://127.0.0.1/'?",
    "https://1.2.3.4.5/": "has a host that ends in a number and is no IPv4 address",
    "https://256.1.1.1/": "has a host that ends in a number and is no IPv4 address",
    "https://1.2.65536/": "has a host that ends in a number and is no IPv4 address",
    "https://4294967296/": "has a host that ends in a number and is no IPv4 address",
    "https://1.2.3.08/": "has a host that ends in a number and is no IPv4 address",
    "https://example.1/": "has a host that ends in a number and is no IPv4 address",
    "https://example.0xff./": "has a host that ends in a number and is no IPv4 address",
}


@pytest.mark.parametrize(("url", "words"), BAD.items(), ids=map(ascii, BAD))
def test_a_bad_url_has_one_problem_that_says_what_and_how(url: str, words: str) -> None:
    (message,) = messages(url)

    assert words in message


SEVERAL = {
    "https://user:secret@x.io:0/#top": ["user name or password", "port 0", "fragment"],
    "ftp://user@x..io:99999/ü%#": [
        "scheme 'ftp'",
        "user name or password",
        "empty label",
        "port over",
        "'%' without",
        "U+00FC",
        "fragment",
    ],
    "ftp:///nope": ["scheme 'ftp'", "no host"],
    " https://x.io/\n<\u200b\\\ud800>#": [
        "control character",
        "a blank",
        "invisible",
        "surrogate",
        "backslash",
        "no URL may have",
    ],
    "x" * 2001: ["2001 characters", "does not begin with"],
    f"https://x.io:0/{'x' * 2000}#": ["2016 characters", "port 0", "fragment"],
    f"https://x.io/{' ' * 2000}": ["2013 characters", "a blank"],
}


@pytest.mark.parametrize(("url", "expected"), SEVERAL.items(), ids=lambda value: ascii(value)[:40])
def test_all_independent_problems_come_at_once_and_no_consequences(url: str, expected: list[str]) -> None:
    found = messages(url)

    assert len(found) == len(expected)
    for message, words in zip(found, expected, strict=True):
        assert words in message


def test_every_control_blank_invisible_and_lone_surrogate_of_unicode_is_refused() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"}:
            for url in (f"https://x.io/{character}", f"https://x{character}.io/", f"{character}https://x.io/"):
                assert _webhook_url._problems(url, DEFAULT_POLICY, "/x"), ascii(url)  # pyright: ignore[reportPrivateUsage]


def test_every_ascii_character_outside_rfc_3986_is_refused_in_path_and_query() -> None:
    allowed = "-._~!$&'()*+,;=:@/?#"
    for character in map(chr, range(128)):
        good = character.isalnum() or (character in allowed and character != "#")
        assert (not messages(f"https://x.io/a{character}b")) is good, character
        assert (not messages(f"https://x.io/?a{character}b")) is good, character


# -- What is given

GIVEN: list[tuple[object, str]] = [
    (None, "None was given, where a str is wanted; leave the field out to keep the URL that is set"),
    (b"https://x.io", "bytes were given, where a str is wanted; pass url.decode()"),
    (bytearray(b"https://x.io"), "bytes were given"),
    (URL("https://x.io"), "a yarl.URL was given, where a str is wanted; pass str(url)"),
    (5, "a value of type 'int' was given, where a str is wanted"),
    (UNSET, "a value of type 'aiorooms._unset.Unset' was given"),
    ([], "a value of type 'list' was given"),
    (Mock(spec=str), "a value of type 'unittest.mock.Mock' was given"),
    (type("A\nB", (), {"__module__": "m"})(), "a value of type 'm.A\\nB' was given"),
]


@pytest.mark.parametrize(("value", "words"), GIVEN, ids=[words for _, words in GIVEN])
def test_what_is_no_str_is_a_problem_that_names_its_type(value: object, words: str) -> None:
    (message,) = messages(value)

    assert words in message


def test_a_subclass_of_str_is_read_by_its_characters_and_not_by_its_methods() -> None:
    class Hooks(StrEnum):
        ROOMS = "https://x.io/rooms"

    class Liar(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "https://x.io/"

        def __hash__(self) -> int:
            raise RuntimeError

    assert messages(Hooks.ROOMS) == []
    assert "has no scheme" in messages(Liar("x.io"))[0]


def test_an_object_that_raises_when_looked_at_is_only_a_problem() -> None:
    class Meta(type):
        __name__ = property(lambda cls: 1 // 0)  # pyright: ignore[reportAssignmentType]

    class Hostile(metaclass=Meta):
        __qualname__ = "Hostile"

        def __getattribute__(self, name: str) -> object:
            raise RuntimeError(name)

        def __repr__(self) -> str:
            raise RuntimeError

        def __eq__(self, other: object) -> bool:
            raise RuntimeError

        __hash__ = None  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]

    assert "Hostile' was given" in messages(Hostile())[0]
    assert len(check_webhook_urls(Hostile(), Hostile())) == 2


def test_the_pointer_is_the_one_asked_for() -> None:
    assert check_webhook_url("x.io")[0].pointer == "/webhook_event_url"
    assert check_webhook_url("x.io", pointer="/a")[0].pointer == "/a"
    assert check_webhook_url(None, pointer="/a")[0].pointer == "/a"  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


# -- Policies

NOT_PUBLIC = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "203.0.113.7",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[::7f00:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:a9fe:a9fe]",
    "[0:0:0:0:0:ffff:a9fe:a9fe]",
    "[::ffff:8.8.8.8]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::808:808]",
    "[64:ff9b:1::1]",
    "[100::1]",
    "[2001::1]",
    "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
    "[2001:db8::1]",
    "[2002:7f00:1::]",
    "[2002:a00:1::1]",
    "[2002:808:808::1]",
    "[3fff::1]",
    "[5f00::1]",
    "[fc00::1]",
    "[fd12:3456::1]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "localhost.localdomain",
    "printer.local",
    "metadata.google.internal",
    "host.docker.internal.",
    "nas.home.arpa",
    "intranet",
    "例え",
]
IS_PUBLIC = [
    "8.8.8.8",
    "[2606:4700:4700::1111]",
    "example.com",
    "例え.jp",
    "notlocalhost.com",
    "localhost.example.com",
    "mylocal.io",
    "home.arpa.example",
    "127.0.0.1.nip.io",  # only DNS could tell
]


@pytest.mark.parametrize("host", NOT_PUBLIC)
def test_without_private_hosts_a_host_off_the_public_internet_is_refused(host: str) -> None:
    assert messages(f"https://{host}/") == []
    (message,) = messages(f"https://{host}/", PUBLIC)
    assert "has a host that is not on the public internet; give one that is (allow_private_hosts=False)" in message


@pytest.mark.parametrize("host", IS_PUBLIC)
def test_without_private_hosts_a_public_host_is_accepted(host: str) -> None:
    assert messages(f"https://{host}/", PUBLIC) == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1.", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0xa9fea9fe", "0251.0376.0251.0376", "10.1", "0x"],
)
def test_a_private_address_in_an_odd_notation_is_a_matter_of_the_policy(host: str) -> None:
    assert messages(f"https://{host}/") == []
    (found,) = messages(f"https://{host}/", PUBLIC)
    assert "is not on the public internet" in found
    denied = WebhookUrlPolicy(denied_hosts=["127.1", "169.254.169.254", "10.0.0.1", "0.0.0.0"])
    assert len(messages(f"https://{host}/", denied)) == 1


@pytest.mark.parametrize(
    "host",
    [
        "１２７.0.0.1",
        "127。0。0。1",
        "①②⑦.⓪.⓪.①",
        "%31%32%37.0.0.1",
        "%6cocalhost",
        "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
        "localhost..",
        "::1",
        "[fe80::1%25eth0]",
    ],
)
def test_a_private_host_in_disguise_is_called_private_too_and_not_suggested(host: str) -> None:
    found = messages(f"https://{host}/", PUBLIC)

    assert len(found) == 2
    assert "is not on the public internet" in found[1]
    assert suggestions(found) == []


POLICIES: list[tuple[WebhookUrlPolicy, str, str]] = [
    (WebhookUrlPolicy(schemes=["https"]), "https://x.io/", ""),
    (WebhookUrlPolicy(schemes=["https"]), "http://x.io/", "has the scheme 'http'; did you mean 'https://x.io/'?"),
    (WebhookUrlPolicy(schemes=["https"]), "x.io/", "did you mean 'https://x.io/'?"),
    (WebhookUrlPolicy(schemes=["https"]), "hook", "does not begin with 'https://'; give a full URL"),
    (WebhookUrlPolicy(schemes=["HTTP"]), "x.io/", "did you mean 'http://x.io/'?"),
    (WebhookUrlPolicy(schemes=["wss", "ws"]), "Wss://x.io/", ""),
    (WebhookUrlPolicy(schemes=["wss", "ws"]), "https://x.io/", "did you mean 'wss://x.io/'?"),
    (CREDENTIALS, "https://user:secret@x.io/?mail=me@x.io", ""),
    (CREDENTIALS, "https://user:s%40c;r=t:!@x.io/", ""),
    (CREDENTIALS, "https://us@er:secret@x.io/", "has characters in its user name or password that must be percent-enc"),
    (CREDENTIALS, "https://user:100%@x.io/", "has characters in its user name or password"),
    (CREDENTIALS, "https://üser:secret@x.io/", "has characters in its user name or password"),
    (CREDENTIALS, "https://[user]:secret@x.io/", "has characters in its user name or password"),
    (WebhookUrlPolicy(allowed_hosts=["example.com"]), "https://Example.COM./x", ""),
    (
        WebhookUrlPolicy(allowed_hosts=["example.com"]),
        "https://a.example.com/x",
        "is not allowed; allowed are 'example.c",
    ),
    (WebhookUrlPolicy(allowed_hosts=["*.example.com"]), "https://a.b.EXAMPLE.com/x", ""),
    (WebhookUrlPolicy(allowed_hosts=["*.example.com"]), "https://example.com/x", "has a host that is not allowed"),
    (WebhookUrlPolicy(allowed_hosts=["*.example.com"]), "https://notexample.com/x", "has a host that is not allowed"),
    (WebhookUrlPolicy(allowed_hosts=["a.io", "*.a.io"]), "https://x.a.io/", ""),
    (WebhookUrlPolicy(allowed_hosts=["a.io", "*.a.io"]), "https://b.io/", "allowed are 'a.io, *.a.io' (allowed_hosts)"),
    (WebhookUrlPolicy(allowed_hosts=["a.io"]), "b.io/x", "has no scheme; begin it with 'https://' or 'http://'"),
    (WebhookUrlPolicy(allowed_hosts=["BÜCHER.example."]), "https://xn--bcher-kva.example/", ""),
    (WebhookUrlPolicy(allowed_hosts=["xn--bcher-kva.example"]), "https://bücher.example/", ""),
    (WebhookUrlPolicy(allowed_hosts=["192.0.2.1", "::1"]), "https://[0:0::1]/", ""),
    (WebhookUrlPolicy(allowed_hosts=["192.0.2.1", "[::1]"]), "https://192.0.2.1/", ""),
    (WebhookUrlPolicy(denied_hosts=["none"]), "https://x.io/", ""),
    (WebhookUrlPolicy(denied_hosts=["192.0.2.1"]), "https://[::ffff:192.0.2.1]/", "has a host that is denied"),
    (
        WebhookUrlPolicy(denied_hosts=["*.example.com"]),
        "https://a.example.com/",
        "is denied; give another (denied_hosts)",
    ),
    (WebhookUrlPolicy(denied_hosts=["*.example.com"]), "https://example.com/", ""),
    (WebhookUrlPolicy(denied_hosts=["a.io"], allowed_hosts=["a.io"]), "https://a.io/", "has a host that is denied"),
    (WebhookUrlPolicy(allowed_hosts=["localhost"], allow_private_hosts=False), "https://localhost/", "public internet"),
]


@pytest.mark.parametrize(("policy", "url", "words"), POLICIES)
def test_a_policy_decides(policy: WebhookUrlPolicy, url: str, words: str) -> None:
    found = messages(url, policy)

    assert len(found) == bool(words)
    assert words in "".join(found)


WRONG_SETTINGS: list[tuple[dict[str, object], type[Exception], str]] = [
    ({"schemes": "https"}, TypeError, "schemes=) is 'https'; give a tuple or another iterable of str"),
    ({"schemes": b"https"}, TypeError, "schemes=) is b'https'; give a tuple"),
    ({"schemes": None}, TypeError, "schemes=) is None; give a tuple"),
    ({"schemes": ["https", 5]}, TypeError, "schemes=) is ('https', 5); give nothing but str"),
    ({"schemes": []}, ValueError, "schemes=) is empty; give at least one scheme"),
    ({"schemes": ["https://"]}, ValueError, "schemes=) has 'https://', which is not a scheme"),
    ({"schemes": ["1"]}, ValueError, "schemes=) has '1', which is not a scheme"),
    ({"schemes": ["https\n"]}, ValueError, "schemes=) has 'https\\n', which is not a scheme"),
    ({"allow_credentials": 1}, TypeError, "WebhookUrlPolicy(allow_credentials=) is 1; give a bool"),
    ({"allow_private_hosts": None}, TypeError, "WebhookUrlPolicy(allow_private_hosts=) is None; give a bool"),
    ({"allowed_hosts": "example.com"}, TypeError, "allowed_hosts=) is 'example.com'; give a tuple"),
    ({"denied_hosts": "example.com"}, TypeError, "denied_hosts=) is 'example.com'; give a tuple"),
    ({"allowed_hosts": [""]}, ValueError, "allowed_hosts=) has '', which has an empty label"),
    ({"allowed_hosts": ["*"]}, ValueError, "allowed_hosts=) has '*', which has a character in its host"),
    ({"allowed_hosts": ["*."]}, ValueError, "allowed_hosts=) has '*.', which has an empty label"),
    ({"allowed_hosts": ["a.*.io"]}, ValueError, "U+002A ASTERISK"),
    ({"allowed_hosts": ["*.*.io"]}, ValueError, "U+002A ASTERISK"),
    ({"allowed_hosts": ["a.io:443"]}, ValueError, "has a ':' too many"),
    ({"allowed_hosts": ["a.io/x"]}, ValueError, "U+002F SOLIDUS"),
    ({"allowed_hosts": ["https://a.io"]}, ValueError, "has a ':' too many"),
    ({"allowed_hosts": [" a.io"]}, ValueError, "has a blank at index 0"),
    ({"allowed_hosts": ["a\u200b.io"]}, ValueError, "has an invisible character"),
    ({"denied_hosts": ["10.0.0.0/8"]}, ValueError, "U+002F SOLIDUS"),
    ({"denied_hosts": ["*.10.0.0.1"]}, ValueError, "'*.10.0.0.1', which has '*.' before an address"),
    ({"denied_hosts": ["*.::1"]}, ValueError, "has '*.' before an address"),
    (
        {"denied_hosts": ["xn--"]},
        ValueError,
        "denied_hosts=) has 'xn--', which has a host name that IDNA does not allow",
    ),
]


@pytest.mark.parametrize(("wrong", "error", "words"), WRONG_SETTINGS)
def test_a_wrong_setting_is_refused_by_name_when_the_policy_is_made(
    wrong: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(ClientSettingsError, match=re.escape(words)) as caught:
        WebhookUrlPolicy(**wrong)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TypeError) is (error is TypeError)
    assert [caught.value.setting] == list(wrong)


def test_a_policy_is_a_value() -> None:
    policy = WebhookUrlPolicy(schemes=iter(["HTTPS"]), allowed_hosts={"*.Example.com."}, denied_hosts=["::1"])

    assert policy.schemes == ("https",)
    assert policy.allowed_hosts == ("*.example.com",)
    assert policy.denied_hosts == ("[::1]",)
    assert WebhookUrlPolicy() == DEFAULT_POLICY
    assert hash(WebhookUrlPolicy()) == hash(DEFAULT_POLICY)
    copy = pickle.loads(pickle.dumps(policy))
    assert copy == policy
    assert hash(copy) == hash(policy)


def test_the_cache_keeps_policies_apart_and_takes_nothing_too_long() -> None:
    cache = _webhook_url._cached_problems  # pyright: ignore[reportPrivateUsage]
    cache.cache_clear()

    assert messages("http://cache.local/") == []
    assert messages("http://cache.local/", PUBLIC) != []
    assert messages("http://cache.local/") == []
    assert cache.cache_info()[:2] == (1, 2)
    messages("x" * 3000)
    messages(None)
    assert cache.cache_info().currsize == 2


# -- The pair

SAME = [
    ("https://x.io/hook", "https://x.io/hook"),
    ("https://x.io/hook", "HTTPS://X.IO/hook"),
    ("https://x.io/hook", "https://x.io:443/hook"),
    ("http://x.io:80/hook", "http://x.io:0080/hook"),
    ("https://x.io", "https://x.io/"),
    ("https://x.io?a=1", "https://x.io/?a=1"),
    ("https://x.io/", "https://x.io/?"),
    ("https://x.io/hook", "https://x.io./hook"),
    ("https://x.io/~a/%c3%bc", "https://x.io/%7Ea/%C3%BC"),
    ("https://x.io/a/../b", "https://x.io/b"),
    ("https://bücher.example/", "https://xn--bcher-kva.example/"),
    ("https://[::1]/", "https://[0:0::1]/"),
]
NOT_SAME = [
    ("https://x.io/hook", "http://x.io/hook"),
    ("https://x.io/hook", "https://x.io/hook/"),
    ("https://x.io/hook", "https://x.io/Hook"),
    ("https://x.io/hook", "https://x.io:8443/hook"),
    ("https://x.io/hook", "https://x.io/hook?failover=1"),
    ("https://x.io/a%2Fb", "https://x.io/a/b"),
    ("https://x.io/hook", "https://y.io/hook"),
    ("https://x.io/hook", None),
    ("https://x.io/hook", UNSET),
    (UNSET, "https://x.io/hook"),
    (None, None),
    (UNSET, UNSET),
]


@pytest.mark.parametrize(("url", "failover_url"), SAME)
def test_a_failover_that_leads_to_the_same_place_is_a_problem(url: str, failover_url: str) -> None:
    (problem,) = check_webhook_urls(url, failover_url)

    assert problem.pointer == "/webhook_event_failover_url"
    assert problem.message == (
        f"{failover_url!r} leads to the same place as the webhook URL; give another one, or clear it"
    )
    assert check_webhook_urls(failover_url, url)


@pytest.mark.parametrize(("url", "failover_url"), NOT_SAME)
def test_a_failover_elsewhere_or_none_at_all_is_fine(url: object, failover_url: object) -> None:
    assert check_webhook_urls(url, failover_url) == ()


def test_both_urls_are_checked_under_their_own_pointers() -> None:
    problems = check_webhook_urls("x.io", "https://x.io:0/#top")

    assert [problem.pointer for problem in problems] == [
        "/webhook_event_url",
        "/webhook_event_failover_url",
        "/webhook_event_failover_url",
    ]
    assert check_webhook_urls(UNSET, "x.io") == check_webhook_url("x.io", pointer="/webhook_event_failover_url")
    assert check_webhook_urls("http://x.io/", "http://intranet/", PUBLIC)[0].pointer == "/webhook_event_failover_url"
    assert [type(problem) for problem in check_webhook_urls(5, b"")] == [Problem, Problem]


def test_two_bad_urls_are_compared_only_as_they_are_written() -> None:
    same = check_webhook_urls("https://user:secret@x.io/", "https://user:secret@x.io/")

    assert len(same) == 3
    assert "'https://***@x.io/' leads to the same place" in same[2].message
    assert len(check_webhook_urls("https://x.io:0/", "https://X.io:0/")) == 2


@pytest.mark.parametrize(("url", "other"), SAME)
def test_same_url_knows_other_ways_to_write_a_url(url: str, other: str) -> None:
    assert same_url(url, other)
    assert same_url(other, url)


@pytest.mark.parametrize(("url", "other"), NOT_SAME[:7])
def test_same_url_tells_urls_apart(url: object, other: object) -> None:
    assert not same_url(str(url), str(other))


def test_same_url_takes_any_text() -> None:
    assert same_url("", "")
    assert same_url("https://xn--/", "https://xn--/")
    assert not same_url("https://xn--/", "https://x.io/")
    assert not same_url("https://[]@", "https://x.io/")
    assert not same_url("x.io/%41", "x.io/A")
    assert not same_url("https://x.io/#a", "https://x.io/#b")
    assert not same_url("https://x.io/", "")


def test_is_loopback_knows_this_machine() -> None:
    assert all(map(is_loopback, ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.8.9.1", "::1"]))
    assert not any(map(is_loopback, ["", "10.0.0.1", "127.0.0.1.nip.io", "notlocalhost", "::", "intranet", "8.8.8.8"]))


# -- The second reader


@pytest.mark.parametrize("seen", ["http://x.io:81/", "https://y.io:81/", "https://x.io:82/", "https://[/"])
def test_a_url_that_yarl_reads_in_another_way_is_refused(seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(url: str) -> URL:
        del url
        return URL(seen)

    monkeypatch.setattr(_webhook_url, "URL", read)

    (found,) = _webhook_url._problems("https://x.io:81/", DEFAULT_POLICY, "/x")  # pyright: ignore[reportPrivateUsage]

    assert found.code == "ambiguous_url"
    assert found.message == (
        "'https://x.io:81/' is not read alike by all programs; write its scheme, host and port more plainly"
    )


# -- What holds for any text

PLAIN = (
    "https http ftp HTTPS : / // :// https:// http:// ? # @ . .. - % %41 %2f %zz [ ] [::1] [::ffff:7f00:1] ::1 %25eth0"
)
HOSTS = (
    "example com .com localhost .local a_b 127 0x7f 0177 .1 256 2130706433 1e3 xn-- xn--a bücher faß 。 １２７ ① ⒈ …"
)
OTHER = ":80 :0 :65536 :８０ + ℀ ／ \\ < { | \" ' ~ * ! ＠ user:secret@ 💩 \u0301 \u05d0 \u0130 \u212a \ufdfa \u0600"
UNSEEN = ["\u200b", "\u200d", "\u202e", "\u00ad", "\ud800", "\0", "\n", "\t", " ", "\u00a0", "\u2028", "\U000e0041"]
LONG = ["a" * 64, "ü" * 60, "x" * 2000]
TOKENS = [*PLAIN.split(" "), *HOSTS.split(" "), *OTHER.split(" "), *UNSEEN, *LONG]
urlish = st.lists(st.sampled_from(TOKENS) | st.text(max_size=2), max_size=12).map("".join)
hostish = st.lists(st.sampled_from(TOKENS) | st.characters(), min_size=1, max_size=5).map("".join)
any_text = st.text(st.characters(exclude_categories=())) | urlish | hostish.map(lambda host: f"https://{host}/x")
policies = st.sampled_from(
    [
        DEFAULT_POLICY,
        PUBLIC,
        CREDENTIALS,
        WebhookUrlPolicy(schemes=["wss"]),
        WebhookUrlPolicy(allowed_hosts=["*.com", "localhost"], denied_hosts=["example.com"]),
    ]
)
thorough = settings(max_examples=250, deadline=None)


@thorough
@given(any_text, policies)
@example("https://%25%32%35%25/", PUBLIC)
@example("https://" + "%25" * 600, PUBLIC)
@example("." * 300, DEFAULT_POLICY)
def test_any_text_is_accepted_and_safe_to_send_or_refused_in_readable_lines(url: str, policy: WebhookUrlPolicy) -> None:
    found = messages(url, policy)

    if not found:
        assert len(url) <= 2000
        assert min(url) > " "
        assert url.encode()
        read = URL(url)
        assert read.scheme in policy.schemes
        assert read.raw_host
        assert read.host
        assert read.raw_fragment == ""
        assert url.count("@") == 0 or policy.allow_credentials or read.raw_user is None
    for message in found:
        assert message.isprintable()
        assert len(message) < 400
        assert "; " in message
    for suggestion in suggestions(found):
        assert suggestion != url
        assert messages(suggestion, policy) == []


@thorough
@given(any_text, any_text | st.none() | st.just(UNSET), policies)
def test_a_pair_of_any_texts_raises_nothing(url: str, failover_url: object, policy: WebhookUrlPolicy) -> None:
    alone = check_webhook_url(url, policy)
    assert same_url(url, url)
    assert same_url(url, str(failover_url)) == same_url(str(failover_url), url)
    assert check_webhook_urls(url, failover_url, policy)[: len(alone)] == alone


numbers = st.booleans() | st.integers() | st.floats() | st.decimals() | st.complex_numbers()
objects = st.none() | numbers | st.binary() | st.dates() | st.uuids() | st.builds(object) | st.from_type(type)


@given(objects | st.lists(st.text()) | st.dictionaries(st.text(), st.text()) | st.tuples(objects, objects))
def test_any_object_is_a_problem_and_raises_nothing(value: object) -> None:
    (message,) = messages(value)

    assert "a str is wanted" in message
    assert message.isprintable()


ipv4 = st.ip_addresses(v=4)
bases = st.sampled_from(["{}", "0x{:x}", "0X{:08X}", "0{:o}", "00{:o}"])


@st.composite
def written_ipv4(draw: st.DrawFn) -> str:
    """Write an IPv4 address in any of the ways that inet_aton reads."""
    value = int(draw(ipv4))
    count = draw(st.integers(0, 3))
    labels = [value >> 8 * (3 - index) & 255 for index in range(count)] + [value & (256 ** (4 - count) - 1)]
    return ".".join(draw(bases).format(label) for label in labels) + draw(st.sampled_from(["", "."]))


@st.composite
def wrapped_ipv4(draw: st.DrawFn) -> str:
    """Write an IPv6 address that holds an IPv4 address."""
    prefix, shift = draw(
        st.sampled_from(
            [("::", 0), ("::ffff:0:0", 0), ("64:ff9b::", 0), ("64:ff9b:1::", 0), ("2002::", 80), ("2001::", 64)]
        )
    )
    return f"[{ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(draw(ipv4)) << shift)}]"


addresses = (
    ipv4.map(str) | st.ip_addresses(v=6).map(lambda address: f"[{address}]") | written_ipv4() | wrapped_ipv4() | hostish
)


@thorough
@given(addresses)
@example("0x7f.1")
@example("[::ffff:8.8.8.8]")
@example("[2002:7f00:1::]")
def test_without_private_hosts_nothing_that_python_reads_as_private_is_accepted(host: str) -> None:
    if messages(f"https://{host}/", PUBLIC):
        return
    seen = (URL(f"https://{host}/").raw_host or "").removesuffix(".")
    read: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = []
    with suppress(ValueError):
        read.append(ipaddress.ip_address(seen))
    with suppress(OSError):
        read.append(ipaddress.IPv4Address(socket.inet_aton(seen)))
    read += [address.sixtofour for address in read if isinstance(address, ipaddress.IPv6Address) and address.sixtofour]
    for address in read:
        assert address.is_global
        kinds = (address.is_private, address.is_loopback, address.is_link_local, address.is_unspecified)
        assert not any((*kinds, address.is_multicast, address.is_reserved))


@thorough
@given(written_ipv4())
def test_an_ipv4_address_in_any_notation_is_read_as_inet_aton_reads_it(host: str) -> None:
    address = str(ipaddress.IPv4Address(socket.inet_aton(host.removesuffix("."))))

    assert messages(f"https://{host}/") == []
    assert messages(f"https://{host}/", WebhookUrlPolicy(allowed_hosts=[address])) == []
    assert messages(f"https://{host}/", PUBLIC) == [
        message.replace(f"//{address}/", f"//{host}/") for message in messages(f"https://{address}/", PUBLIC)
    ]


SECRET = "s3cr3t"
passwords = st.lists(st.sampled_from([SECRET, *"/?#@:\\ %ü<[]~.1"]), max_size=6).map("".join)


@thorough
@given(
    passwords,
    passwords,
    st.sampled_from(
        [
            "https://user:{}@x.io:0/#top",
            "https://user:{}@x.io/a b",
            "https://{}:@x.io/#",
            "https:user:{}@x.io/",
            "https:/user:{}@x.io/",
            "https:///user:{}@x.io/",
            "//user:{}@x.io/",
            "user:{}@x.io/hook",
            "https//user:{}@x.io/",
            "https://https://user:{}@x.io/",
            "ftp://user:{}@x.io/",
            "\nhttps:\\\\user:{}@x.io",
        ]
    ),
    policies,
)
def test_a_password_is_shown_in_no_message(before: str, after: str, form: str, policy: WebhookUrlPolicy) -> None:
    url = form.format(f"{before}:{SECRET}{after}")
    problems = check_webhook_urls(url, url, policy)

    assert problems
    assert SECRET not in str(problems)
