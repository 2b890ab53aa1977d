"""Policies, messages and Hypothesis strategies for the tests of webhook URLs."""

import ast
import re

from hypothesis import settings
from hypothesis import strategies as st

from aiorooms._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy, check_webhook_url

PUBLIC = WebhookUrlPolicy(allow_private_hosts=False)
CREDENTIALS = WebhookUrlPolicy(allow_credentials=True)


def messages(url: object, policy: WebhookUrlPolicy = DEFAULT_POLICY) -> list[str]:
    return [problem.message for problem in check_webhook_url(url, policy)]  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def suggestions(found: list[str]) -> list[str]:
    quoted = [match[1] for message in found if (match := re.search(r"did you mean (.*)\?\Z", message))]
    return [ast.literal_eval(text) for text in quoted]


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
"""Pieces of URLs, valid and invalid, which the strategies below join at random."""

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
