"""Whole URLs: form, credentials, port and path, values that are not a str, and properties of any text."""

from enum import StrEnum
from unittest.mock import Mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from aiorooms._unset import UNSET
from aiorooms._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy, check, check_webhook_url, check_webhook_urls

from .helpers import PUBLIC, any_text, messages, policies, suggestions, thorough

# -- Accepted URLs

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


# -- Rejected URLs and their messages

BAD = {
    # form
    "": "'' is empty; begin it with 'https://' or 'http://' and a host",
    "/hook": "is relative: it has no scheme and no host",
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
    "https://": "has no host; write one after '://'",
    "https:///": "has no host; write one after '://'",
    "https:///hook": "has no host; write one after '://'",
    "https:///x.io/hook": "has no host; did you mean 'https://x.io/hook'?",
    "https://?x.io": "has no host",
    "https://://x.io/": "has no host; did you mean 'https://x.io/'?",
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
    f"https://x.io/{'a' * 1988}": "has 2001 characters; Telnyx accepts at most 2000 (error 10003)",
    # credentials
    "https://user:secret@x.io/": "'https://***@x.io/' has a user name or password; remove it",
    "https://token:@x.io/": "'https://***@x.io/' has a user name or password",
    "https://x.io/@me?to=me@x.io&at=12:30#": "did you mean 'https://x.io/@me?to=me@x.io&at=12:30'?",
    "https://x.io/a:b@c#": "'https://***@c#' has a fragment; fragments are never sent to a server",
    "https://user@x.io/": "'https://***@x.io/' has a user name or password",
    "https://@x.io/": "has a user name or password",
    "https://a@b@x.io/": "'https://***@x.io/' has a user name",
    "https://user:sec/ret@x.io/": "'https://***@x.io/' has a port with characters other than 0 to 9, or a password",
    # port
    "https://x.io:/": "has an empty port; did you mean 'https://x.io/'?",
    "https://x.io:0/": "has the port 0; a port is a number from 1 to 65535",
    "https://x.io:000/": "has the port 0",
    "https://x.io:65536/": "has a port above 65535",
    f"https://x.io:{'9' * 1000}/": "has a port above 65535",
    "https://x.io:+80/": "has a port with characters other than 0 to 9",
    "https://x.io:-1/": "has a port with characters other than 0 to 9",
    "https://x.io:8_0/": "has a port with characters other than 0 to 9",
    "https://x.io:８０/": "has a port with characters other than 0 to 9",
    "https://x.io:٨٠/": "has a port with characters other than 0 to 9",
    "https://x.io:http/": "has a port with characters other than 0 to 9",
    "https://x.io:80:80/": "has an extra ':' after its host",
}


@pytest.mark.parametrize(("url", "words"), BAD.items(), ids=map(ascii, BAD))
def test_a_bad_form_is_one_problem_with_a_hint(url: str, words: str) -> None:
    (message,) = messages(url)

    assert words in message


SEVERAL = {
    "https://user:secret@x.io:0/#top": ["user name or password", "port 0", "fragment"],
    "ftp://user@x..io:99999/ü%#": [
        "scheme 'ftp'",
        "user name or password",
        "empty label",
        "port above",
        "'%' without",
        "U+00FC",
        "fragment",
    ],
    "ftp:///nope": ["scheme 'ftp'", "no host"],
    " https://x.io/\n<\u200b\\\ud800>#": [
        "control character",
        "whitespace",
        "invisible",
        "surrogate",
        "backslash",
        "an illegal character",
    ],
    "x" * 2001: ["2001 characters", "does not begin with"],
    f"https://x.io:0/{'x' * 2000}#": ["2016 characters", "port 0", "fragment"],
    f"https://x.io/{' ' * 2000}": ["2013 characters", "whitespace"],
}


@pytest.mark.parametrize(("url", "expected"), SEVERAL.items(), ids=lambda value: ascii(value)[:40])
def test_independent_problems_are_reported_together_and_their_consequences_are_not(
    url: str, expected: list[str]
) -> None:
    found = messages(url)

    assert len(found) == len(expected)
    for message, words in zip(found, expected, strict=True):
        assert words in message


# -- Values that are not a str

GIVEN: list[tuple[object, str]] = [
    (None, "None can't clear this field; give a URL, or omit the field to leave it unchanged"),
    (b"https://x.io", "got bytes instead of a str; pass url.decode()"),
    (bytearray(b"https://x.io"), "got bytes instead"),
    (URL("https://x.io"), "got a yarl.URL instead of a str; pass str(url)"),
    (5, "got a value of type 'int' instead of a str"),
    (UNSET, "a value of type 'aiorooms._unset.Unset' instead of a str"),
    ([], "a value of type 'list' instead of a str"),
    (Mock(spec=str), "a value of type 'unittest.mock.Mock' instead of a str"),
    (type("A\nB", (), {"__module__": "m"})(), "a value of type 'm.A\\nB' instead of a str"),
]


@pytest.mark.parametrize(("value", "words"), GIVEN, ids=[words for _, words in GIVEN])
def test_a_value_that_is_not_a_str_is_a_problem_that_names_its_type(value: object, words: str) -> None:
    (message,) = messages(value)

    assert words in message


def test_a_subclass_of_str_is_read_by_its_characters_and_not_by_its_methods() -> None:
    class Hooks(StrEnum):
        ROOMS = "https://x.io/rooms"

    class FakeStr(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "https://x.io/"

        def __hash__(self) -> int:
            raise RuntimeError

    assert messages(Hooks.ROOMS) == []
    assert "has no scheme" in messages(FakeStr("x.io"))[0]


def test_an_object_whose_methods_raise_yields_a_problem_and_no_exception() -> None:
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

    assert "Hostile' instead of a str" in messages(Hostile())[0]
    assert len(check_webhook_urls(Hostile(), Hostile())) == 2


def test_problems_have_the_given_pointer() -> None:
    assert check_webhook_url("x.io")[0].pointer == "/webhook_event_url"
    assert check_webhook_url("x.io", pointer="/a")[0].pointer == "/a"
    assert check_webhook_url(None, pointer="/a")[0].pointer == "/a"  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


# -- URLs that another parser reads differently


@pytest.mark.parametrize("seen", ["http://x.io:81/", "https://y.io:81/", "https://x.io:82/", "https://[/"])
def test_a_url_that_yarl_reads_differently_is_rejected(seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(url: str) -> URL:
        del url
        return URL(seen)

    monkeypatch.setattr(check, "URL", read)

    (found,) = check._problems("https://x.io:81/", DEFAULT_POLICY, "/x")  # pyright: ignore[reportPrivateUsage]

    assert found.code == "ambiguous_url"
    assert found.message == (
        "'https://x.io:81/' is ambiguous: parsers read it in different ways; "
        "write its scheme, host and port in a simpler form"
    )


# -- Properties of any text


@thorough
@given(any_text, policies)
@example("https://%25%32%35%25/", PUBLIC)
@example("https://" + "%25" * 600, PUBLIC)
@example("." * 300, DEFAULT_POLICY)
def test_any_text_is_either_safe_to_send_or_rejected_in_readable_lines(url: str, policy: WebhookUrlPolicy) -> None:
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


numbers = st.booleans() | st.integers() | st.floats() | st.decimals() | st.complex_numbers()
objects = st.none() | numbers | st.binary() | st.dates() | st.uuids() | st.builds(object) | st.from_type(type)


@given(objects | st.lists(st.text()) | st.dictionaries(st.text(), st.text()) | st.tuples(objects, objects))
def test_any_object_that_is_not_a_str_yields_a_problem_and_no_exception(value: object) -> None:
    (message,) = messages(value)

    assert ("can't clear" if value is None else "instead of a str") in message
    assert message.isprintable()


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
def test_no_message_shows_a_password(before: str, after: str, form: str, policy: WebhookUrlPolicy) -> None:
    url = form.format(f"{before}:{SECRET}{after}")
    problems = check_webhook_urls(url, url, policy)

    assert problems
    assert SECRET not in str(problems)
