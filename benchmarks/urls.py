"""Check random URLs on the fast path and in full, and compare the results.

aiorooms checks only the origin of a plain URL in full, and caches the result (the fast path). Each run generates URLs
with its own seed: URLs that people use, and the same URLs after up to four random changes, such as an escape, a second
`@` or a control character. For each URL, and for its pair with the previous one, the benchmark checks with a random
policy that

- a URL that the fast path accepts has no finding in the full check, and its host is a host for yarl, too;
- `same_url` says the same as a comparison of the two normal forms;
- a pair that is accepted has two valid URLs, which don't point to the same place.

The first difference ends the benchmark with exit status 1.
"""

import argparse
from collections.abc import Iterator, Sequence
from random import Random
from typing import Final

import attrs
from yarl import URL

from aiorooms import WebhookUrlPolicy
from aiorooms._webhook_url import DEFAULT_POLICY, YARL_ERRORS, check, check_webhook_urls, same, same_url

from ._campaign import CheckError, add_options, execute

_POLICIES: Final = (
    *[DEFAULT_POLICY] * 4,
    WebhookUrlPolicy(allow_private_hosts=False),
    WebhookUrlPolicy(allow_credentials=True),
    WebhookUrlPolicy(schemes=["wss", "https"], allow_credentials=True),
    WebhookUrlPolicy(allowed_hosts=["*.com", "localhost", "https"], denied_hosts=["example.com"]),
)

_SCHEMES: Final = (*["https"] * 12, "http", "http", "HTTPS", "wss", "ftp", "https:/", "")
_ODD_HOSTS: Final = (
    "HOOKS.example.com x.io. http localhost intranet a_b 10.0.0.1 127.1 0x7f.1 256.1.1.1 1.2.3.4.5 [::1] [2001:db8::1]"
    " [::ffff:10.0.0.1] [::1%25eth0] bücher.example xn--bcher-kva.example faß.de 例え。jp 💩.la user@x.io"
    " user:pass@x.io a..b -a.io"
)
_HOSTS: Final = (*["hooks.example.com", "x.io", "https"] * 6, *_ODD_HOSTS.split(" "))
_PORTS: Final = (*[""] * 20, ":443", ":443", ":80", ":8443", ":0443", ":0", ":", ":65536", ":http")
_PATHS: Final = (
    " / // /rooms /rooms/7 /rooms/7/ /a/../b /a/./b /. /.well-known //x /%7Ea /~a /%c3%bc /a%2Fb /a+b ? /? ?a=1"
    " /?a=1&b=2 /?a=+%20 /?q=/?:@ /@me /a:b@c"
)
_PLAIN: Final = "/ // : @ ? % %41 %2f . .. /. /../ - + = & ; , ~ _ ! * ' ( ) a Z 0 7 http https b/../ %7E"
_OTHER: Final = '# %zz [ ] \\ < > { } | ^ ` " :// ://x ü ß 。 \uff0f \uff20 \uff11 \u200b \u202e \ud800 \0 \x7f \x85'
_UNUSUAL: Final = (*_OTHER.split(" "), " ", "\n", "\t", "\u00a0", "x" * 64, "y" * 1990)


@attrs.define(kw_only=True)
class Campaign:
    """Counts over all runs."""

    urls: int = 0
    pairs: int = 0
    fast: int = 0
    """Number of URLs that the fast path accepted."""
    full: int = 0
    """Number of URLs that only the full check accepted."""
    same: int = 0
    """Number of pairs of different texts that point to the same place."""

    def rows(self) -> Sequence[tuple[str, int]]:
        return (
            ("URLs", self.urls),
            ("pairs", self.pairs),
            ("URLs accepted on the fast path", self.fast),
            ("URLs accepted only by the full check", self.full),
            ("pairs of different texts for the same place", self.same),
        )


def random_urls(random: Random, count: int) -> Iterator[str]:
    """Return random URLs, about half of them valid. Many are only a small change away from the previous one."""
    url = ""
    for _ in range(count):
        if not url or random.random() < 0.6:
            scheme, host, port, path = map(random.choice, (_SCHEMES, _HOSTS, _PORTS, _PATHS.split(" ")))
            url = f"{scheme}://{host}{port}{path}"
        for _ in range(random.choice((0, 0, 0, 1, 1, 2, 4))):
            begin = random.randrange(len(url) + 1)
            end = begin + random.choice((0, 0, 0, 1, 3))
            changed = ("", url[begin:end] * 2, url[begin:end].swapcase())
            pieces = random.choice((_PLAIN.split(), _PLAIN.split(), _UNUSUAL, changed))
            url = url[:begin] + random.choice(pieces) + url[end:]
        yield url
        if len(url) > 3_000:
            url = ""


def play(seeds: Sequence[int], *, urls: int = 1_000) -> Campaign:
    """Check `urls` URLs for each seed. Raises `CheckError` if a check fails."""
    campaign = Campaign()
    for seed in seeds:
        random, previous = Random(seed), ""
        for url in random_urls(random, urls):
            policy = random.choice(_POLICIES)
            check_url(campaign, url, policy)
            check_pair(campaign, previous, url, policy)
            previous = url
    return campaign


def check_url(campaign: Campaign, url: str, policy: WebhookUrlPolicy) -> None:
    """Raise `CheckError` if the fast path accepts a URL that the full check rejects."""
    campaign.urls += 1
    found = check.findings(url, policy)
    if check.split_valid(url, policy) is None:
        campaign.full += not found
        return
    campaign.fast += 1
    if found:
        raise CheckError(f"{url!r} was accepted on the fast path, but has {found}, with {policy}")
    if not URL(url).raw_host:
        raise CheckError(f"{url!r} was accepted on the fast path, but has no host")


def check_pair(campaign: Campaign, one: str, other: str, policy: WebhookUrlPolicy) -> None:
    """Raise `CheckError` if an invalid pair is accepted, or `same_url` differs from the comparison in full."""
    campaign.pairs += 1
    try:
        is_same = one == other or same.normal_form(one) == same.normal_form(other)
    except YARL_ERRORS:
        is_same = False
    campaign.same += is_same and one != other
    if same_url(one, other) is not is_same:
        raise CheckError(f"same_url({one!r}, {other!r}) is {not is_same}")
    if not check_webhook_urls(one, other, policy):
        found = check.findings(one, policy) or check.findings(other, policy)
        if found or is_same:
            raise CheckError(f"{one!r} and {other!r} were accepted as a pair: {found or 'they are the same'}")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks urls", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, runs=2_000)
    options = parser.parse_args(arguments)
    execute(options, play, "Every URL had the same result on the fast path and in the full check")
