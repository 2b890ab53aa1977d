"""`rewrite_host` replaces a host, and leaves the rest of the URL unchanged, byte for byte."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms import UNSET, Unset
from aiorooms._webhook_url import host_of, rewrite_host
from aiorooms.errors import ClientSettingsError

from .helpers import any_text, thorough

OLD, NEW = "old.example.com", "new.example.com"


@pytest.mark.parametrize(
    ("url", "scheme", "port", "rewritten"),
    [
        ("https://old.example.com", None, UNSET, "https://new.example.com"),
        ("https://u:p%40@OLD.example.com.:8443/a%2fb/../?x=%20#t", None, UNSET, "https://u:p%40@new.example.com:8443/a%2fb/../?x=%20#t"),
        ("http://old.example.com/a", "https", UNSET, "https://new.example.com/a"),
        ("http://old.example.com:80/a", "https", UNSET, "https://new.example.com/a"),
        ("http://old.example.com:8080/a", "https", UNSET, "https://new.example.com:8080/a"),
        ("HTTPS://old.example.com:443/a", "https", UNSET, "https://new.example.com:443/a"),
        ("https://old.example.com:8443/a", None, None, "https://new.example.com/a"),
        ("https://old.example.com/a", None, 8443, "https://new.example.com:8443/a"),
        ("https://old.example.com:1?x", "http", 8080, "http://new.example.com:8080?x"),
        ("https://old.example.com:?x", None, UNSET, "https://new.example.com:?x"),
        ("https://a.old.example.com/", "http", 1, "https://a.old.example.com/"),
        ("old.example.com/a", "http", 1, "old.example.com/a"),
        ("https://old.example.com\n", None, UNSET, "https://old.example.com\n"),
        ("https://old.exa\nmple.com/", None, UNSET, "https://old.exa\nmple.com/"),
    ],
)  # fmt: skip
def test_host_scheme_and_port_are_replaced_and_nothing_else(
    url: str, scheme: str | None, port: int | Unset | None, rewritten: str
) -> None:
    assert rewrite_host(url, OLD, NEW, scheme=scheme, port=port) == rewritten


@pytest.mark.parametrize(
    ("old", "new", "scheme", "port", "message"),
    [
        ("https://x.io", NEW, None, UNSET, "rewrite_host(old=) is 'https://x.io', which is not a host"),
        (OLD, "x.io:80", None, UNSET, "rewrite_host(new=) is 'x.io:80', which is not a host"),
        (OLD, "", None, UNSET, "rewrite_host(new=) is '', which is not a host"),
        (OLD, NEW, "https://", UNSET, "rewrite_host(scheme=) is 'https://', which is not a scheme"),
        (OLD, NEW, None, 0, "rewrite_host(port=) is 0; give a port from 1 to 65535"),
        (OLD, NEW, None, 65536, "rewrite_host(port=) is 65536"),
        (OLD, NEW, None, True, "rewrite_host(port=) is True; give a port from 1 to 65535"),
        (OLD, NEW, None, "8443/evil", "rewrite_host(port=) is '8443/evil'; give a port from 1 to 65535"),
        (OLD, NEW, None, 1.0, "rewrite_host(port=) is 1.0; give a port from 1 to 65535"),
        (OLD, "b..c", None, UNSET, "rewrite_host(new=) is 'b..c', which has an empty label in its host; each label"),
        (OLD, "<b>", None, UNSET, "rewrite_host(new=) is '<b>', which has an illegal character in its host"),
        (OLD, "b%20c", None, UNSET, "rewrite_host(new=) is 'b%20c', which has percent escapes in its host"),
        (OLD, "1.2.3.4.5", None, UNSET, "rewrite_host(new=) is '1.2.3.4.5', which "),
        (OLD, "b\x01c", None, UNSET, r"rewrite_host(new=) is 'b\x01c', which has an illegal character in its host"),
    ],
)
def test_invalid_arguments_are_settings_errors(old: str, new: str, scheme: str | None, port: Any, message: str) -> None:
    with pytest.raises(ClientSettingsError) as caught:
        rewrite_host("https://old.example.com/", old, new, scheme=scheme, port=port)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "new", ["New.Example.COM", "[2001:DB8::1]", "192.0.2.1", "bücher.example", "xn--bcher-kva.example"]
)
def test_the_new_host_is_written_as_it_is_given(new: str) -> None:
    assert rewrite_host("https://old.example.com:1/a", OLD, new) == f"https://{new}:1/a"


@thorough
@given(any_text)
def test_a_url_of_another_host_is_returned_as_it_is(url: str) -> None:
    rewritten = rewrite_host(url, OLD, NEW, scheme="ftp", port=1)
    if host_of(url) != OLD:
        assert rewritten == url


users = st.sampled_from(["", "@", "u@", "u:p@", "a%40b:c@", "old.example.com:x@"])
hosts = st.sampled_from(["old.example.com", "OLD.Example.com", "old.example.com.", "ⓞld.example.com"])
ports = st.sampled_from(["", ":", ":1", ":443", ":65536", ":080"])
rests = st.sampled_from(
    ["", "/", "?", "#", "/old.example.com", "/%2f%zz//../.", "?u=http://old.example.com/", "/ü €", "#?/@:"]
)


@thorough
@given(users, hosts, ports, rests | st.builds(str.__add__, st.sampled_from("/?#"), any_text))
def test_everything_but_the_host_is_kept_byte_for_byte(user: str, host: str, port: str, rest: str) -> None:
    url = f"https://{user}{host}{port}{rest}"
    rewritten = rewrite_host(url, OLD, NEW)
    assert rewritten == f"https://{user}{NEW}{port}{rest}"


def test_rewriting_back_gives_the_original_url() -> None:
    for url in ("https://old.example.com:1/a%2f", "http://u@old.example.com?x#y"):
        assert rewrite_host(rewrite_host(url, OLD, NEW), NEW, OLD) == url
