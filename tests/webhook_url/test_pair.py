"""The webhook URL and its failover URL: each is checked, and they must not point to the same place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms._unset import UNSET
from aiorooms._webhook_url import WebhookUrlPolicy, check_webhook_url, check_webhook_urls, same_url
from aiorooms.errors import Problem

from .helpers import PUBLIC, any_text, policies, thorough

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
def test_a_failover_url_that_points_to_the_same_place_is_a_problem(url: str, failover_url: str) -> None:
    (problem,) = check_webhook_urls(url, failover_url)

    assert problem.pointer == "/webhook_event_failover_url"
    assert problem.message == (
        f"{failover_url!r} points to the same place as the webhook URL; give a different failover URL"
    )
    assert check_webhook_urls(failover_url, url)


@pytest.mark.parametrize(("url", "failover_url"), NOT_SAME)
def test_a_different_failover_url_or_none_is_valid(url: object, failover_url: object) -> None:
    assert check_webhook_urls(url, failover_url) == ()


def test_problems_point_to_the_url_that_has_them() -> None:
    problems = check_webhook_urls("x.io", "https://x.io:0/#top")

    assert [problem.pointer for problem in problems] == [
        "/webhook_event_url",
        "/webhook_event_failover_url",
        "/webhook_event_failover_url",
    ]
    assert check_webhook_urls(UNSET, "x.io") == check_webhook_url("x.io", pointer="/webhook_event_failover_url")
    assert check_webhook_urls("http://x.io/", "http://intranet/", PUBLIC)[0].pointer == "/webhook_event_failover_url"
    assert [type(problem) for problem in check_webhook_urls(5, b"")] == [Problem, Problem]


def test_two_invalid_urls_are_the_same_only_if_their_texts_are_equal() -> None:
    same = check_webhook_urls("https://user:secret@x.io/", "https://user:secret@x.io/")

    assert len(same) == 3
    assert "'https://***@x.io/' points to the same place" in same[2].message
    assert len(check_webhook_urls("https://x.io:0/", "https://X.io:0/")) == 2


@pytest.mark.parametrize(("url", "other"), SAME)
def test_same_url_recognizes_other_spellings_of_a_url(url: str, other: str) -> None:
    assert same_url(url, other)
    assert same_url(other, url)


@pytest.mark.parametrize(("url", "other"), NOT_SAME[:7])
def test_same_url_distinguishes_different_urls(url: object, other: object) -> None:
    assert not same_url(str(url), str(other))


def test_same_url_accepts_any_text() -> None:
    assert same_url("", "")
    assert same_url("https://xn--/", "https://xn--/")
    assert not same_url("https://xn--/", "https://x.io/")
    assert not same_url("https://[]@", "https://x.io/")
    assert not same_url("x.io/%41", "x.io/A")
    assert not same_url("https://x.io/#a", "https://x.io/#b")
    assert not same_url("https://x.io/", "")


# -- Properties of any text


@thorough
@given(any_text, any_text | st.none() | st.just(UNSET), policies)
def test_checking_any_pair_of_texts_raises_no_exception(
    url: str, failover_url: object, policy: WebhookUrlPolicy
) -> None:
    alone = check_webhook_url(url, policy)
    assert same_url(url, url)
    assert same_url(url, str(failover_url)) == same_url(str(failover_url), url)
    assert check_webhook_urls(url, failover_url, policy)[: len(alone)] == alone
