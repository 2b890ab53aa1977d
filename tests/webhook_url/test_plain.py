"""Plain URLs: the fast path accepts only what the full check accepts."""

import operator

import pytest
from hypothesis import given

from aiorooms._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy, check, check_webhook_url, same_url
from aiorooms._webhook_url.plain import split_plain
from benchmarks import urls
from benchmarks._campaign import CheckError

from .helpers import CREDENTIALS, PUBLIC, any_text, policies, thorough
from .test_characters import BAD as BAD_CHARACTERS
from .test_check import BAD, GOOD
from .test_host import BAD as BAD_HOSTS

SPLIT = {
    "https://x.io": ("https://x.io", ""),
    "https://x.io/": ("https://x.io", "/"),
    "https://x.io?a=1": ("https://x.io", "?a=1"),
    "HTTPS://user:pass@X.io:0/a//b?c/d?e": ("HTTPS://user:pass@X.io:0", "/a//b?c/d?e"),
    "https://bücher.example/%C3%BC": ("https://bücher.example", "/%C3%BC"),
    "ftp:///nope": ("ftp://", "/nope"),
}
NOT_PLAIN = [
    *("", "/rooms", "x.io/rooms", "https:/x.io", "1://x.io/", "https://x.io/#", "https://x.io#a", "https://x.io/%"),
    *("https://x.io/%4", "https://x.io/a b", "https://x.io/ü", "https://x.io/a\n", f"https://x.io/{'a' * 1988}"),
]


@pytest.mark.parametrize("url", SPLIT)
def test_a_plain_url_is_split_before_its_path(url: str) -> None:
    assert split_plain(url) == SPLIT[url]


@pytest.mark.parametrize("url", NOT_PLAIN, ids=lambda url: ascii(url)[:40])
def test_other_texts_are_not_plain(url: str) -> None:
    assert split_plain(url) is None


@pytest.mark.parametrize("url", [*GOOD, *BAD, *BAD_CHARACTERS, *BAD_HOSTS], ids=lambda url: ascii(url)[:60])
@pytest.mark.parametrize("policy", [DEFAULT_POLICY, PUBLIC, CREDENTIALS], ids=["default", "public", "credentials"])
def test_the_fast_path_and_the_full_check_agree_on_the_tables(url: str, policy: WebhookUrlPolicy) -> None:
    found = check.findings(url, policy)

    if check.split_valid(url, policy) is not None:
        assert found == []
    assert len(check_webhook_url(url, policy)) == len(found)


@pytest.mark.parametrize("seed", range(20))
def test_the_fast_path_and_the_full_check_agree_on_random_urls(seed: int) -> None:
    campaign = urls.play([seed], urls=1_000)

    assert campaign.urls == 1_000
    assert campaign.fast > 100


@thorough
@given(any_text, any_text, policies)
def test_the_fast_path_and_the_full_check_agree_on_any_text(url: str, other: str, policy: WebhookUrlPolicy) -> None:
    campaign = urls.Campaign()

    urls.check_url(campaign, url, policy)
    urls.check_pair(campaign, url, other, policy)


@pytest.mark.parametrize("origin", ["https://https", "http://http", "HTTPS://HTTP", "https://https:"])
def test_a_url_with_two_schemes_is_not_taken_for_a_host_named_like_a_scheme(origin: str) -> None:
    assert check.split_valid(f"{origin}/a", DEFAULT_POLICY) is None
    assert "has two schemes" in check_webhook_url(f"{origin}//x.io")[0].message


def test_the_result_for_an_origin_depends_on_the_policy() -> None:
    for _ in range(2):
        assert check_webhook_url("http://cache.local/a") == ()
        assert check_webhook_url("http://cache.local/b", PUBLIC)[0].code == "private_host"


def test_a_difference_between_fast_path_and_full_check_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def split(url: str) -> tuple[str, str] | None:
        return ("https://x.io", "/") if "x.io" in url else None

    monkeypatch.setattr(check, "split_plain", split)

    with pytest.raises(CheckError, match="accepted on the fast path"):
        urls.play(range(20))


def test_a_pair_that_is_wrongly_called_different_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = urls.Campaign()
    urls.check_pair(campaign, "https://x.io/~a", "https://x.io/%7Ea", DEFAULT_POLICY)
    assert campaign.same == 1
    monkeypatch.setattr(check, "certainly_differ", operator.ne)

    with pytest.raises(CheckError, match="accepted as a pair"):
        urls.check_pair(campaign, "https://x.io/~a", "https://x.io/%7Ea", DEFAULT_POLICY)
    monkeypatch.setattr(urls, "same_url", str.__eq__)
    with pytest.raises(CheckError, match="same_url"):
        urls.check_pair(campaign, "https://x.io/~a", "https://x.io/%7Ea", DEFAULT_POLICY)
    assert same_url("https://x.io/~a", "https://x.io/%7Ea")
