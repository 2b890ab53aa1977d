"""URLs with the same receiver, and the time limits of rooms."""

import pytest

from aiorooms import UNSET
from aiorooms.webhook_config._receivers import receiver_of, timeout_of


@pytest.mark.parametrize(
    ("url", "receiver"),
    [
        ("https://x.io/a", "https://x.io:443/a"),
        ("HTTPS://X.io:443/a?b", "https://x.io:443/a"),
        ("https://user:secret@x.io./a?", "https://x.io:443/a"),
        ("http://x.io?a", "http://x.io:80/"),
        ("http://x.io:8080/a/b", "http://x.io:8080/a/b"),
        ("http://h:99999/x?1", "http://h:99999/x?1"),
        ("https:///x?1", "https:///x?1"),
        ("https://x.io/#a", "https://x.io/#a"),
        ("x.io", "x.io"),
        ("", ""),
    ],
)
def test_the_receiver_is_scheme_host_port_and_path_or_an_invalid_url_itself(url: str, receiver: str) -> None:
    assert receiver_of(url) == receiver


@pytest.mark.parametrize(
    ("timeout_secs", "seconds"), [(1, 1), (30, 30), (-5, 10), (0, 10), (31, 10), (True, 10), (None, 10), (UNSET, 10)]
)
def test_a_timeout_that_no_room_can_have_is_replaced(timeout_secs: object, seconds: float) -> None:
    assert timeout_of(timeout_secs) == seconds
