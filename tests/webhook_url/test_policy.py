"""Policies: which URLs they accept, and which settings are invalid."""

import pickle
import re

import pytest

from aiorooms._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy
from aiorooms.errors import ClientSettingsError

from .helpers import CREDENTIALS, messages

# (policy, URL, part of the message, or "" if the policy accepts the URL)
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
        "is not allowed; the allowed hosts are 'example.c",
    ),
    (WebhookUrlPolicy(allowed_hosts=["*.example.com"]), "https://a.b.EXAMPLE.com/x", ""),
    (WebhookUrlPolicy(allowed_hosts=["*.example.com"]), "https://example.com/x", "has a host that is not allowed"),
    (WebhookUrlPolicy(allowed_hosts=["*.example.com"]), "https://notexample.com/x", "has a host that is not allowed"),
    (WebhookUrlPolicy(allowed_hosts=["a.io", "*.a.io"]), "https://x.a.io/", ""),
    (
        WebhookUrlPolicy(allowed_hosts=["a.io", "*.a.io"]),
        "https://b.io/",
        "hosts are 'a.io, *.a.io' (allowed_hosts)",
    ),
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
        "is denied; give another one (denied_hosts)",
    ),
    (WebhookUrlPolicy(denied_hosts=["*.example.com"]), "https://example.com/", ""),
    (WebhookUrlPolicy(denied_hosts=["a.io"], allowed_hosts=["a.io"]), "https://a.io/", "has a host that is denied"),
    (WebhookUrlPolicy(allowed_hosts=["localhost"], allow_private_hosts=False), "https://localhost/", "public internet"),
]


@pytest.mark.parametrize(("policy", "url", "words"), POLICIES)
def test_a_policy_accepts_or_rejects_a_url(policy: WebhookUrlPolicy, url: str, words: str) -> None:
    found = messages(url, policy)

    assert len(found) == bool(words)
    assert words in "".join(found)


# (settings, error class, part of the message)
WRONG_SETTINGS: list[tuple[dict[str, object], type[Exception], str]] = [
    ({"schemes": "https"}, TypeError, "schemes=) is 'https'; give a tuple or another iterable of str"),
    ({"schemes": b"https"}, TypeError, "schemes=) is b'https'; give a tuple"),
    ({"schemes": None}, TypeError, "schemes=) is None; give a tuple"),
    ({"schemes": ["https", 5]}, TypeError, "schemes=) is ('https', 5); give only str"),
    ({"schemes": []}, ValueError, "schemes=) is empty; give at least one scheme"),
    ({"schemes": ["https://"]}, ValueError, "schemes=) has 'https://', which is not a scheme"),
    ({"schemes": ["1"]}, ValueError, "schemes=) has '1', which is not a scheme"),
    ({"schemes": ["https\n"]}, ValueError, "schemes=) has 'https\\n', which is not a scheme"),
    ({"allow_credentials": 1}, TypeError, "WebhookUrlPolicy(allow_credentials=) is 1; give a bool"),
    ({"allow_private_hosts": None}, TypeError, "WebhookUrlPolicy(allow_private_hosts=) is None; give a bool"),
    ({"allowed_hosts": "example.com"}, TypeError, "allowed_hosts=) is 'example.com'; give a tuple"),
    ({"denied_hosts": "example.com"}, TypeError, "denied_hosts=) is 'example.com'; give a tuple"),
    ({"allowed_hosts": [""]}, ValueError, "allowed_hosts=) has '', which has an empty label"),
    ({"allowed_hosts": ["*"]}, ValueError, "allowed_hosts=) has '*', which has an illegal character in its host"),
    ({"allowed_hosts": ["*."]}, ValueError, "allowed_hosts=) has '*.', which has an empty label"),
    ({"allowed_hosts": ["a.*.io"]}, ValueError, "U+002A ASTERISK"),
    ({"allowed_hosts": ["*.*.io"]}, ValueError, "U+002A ASTERISK"),
    ({"allowed_hosts": ["a.io:443"]}, ValueError, "has an extra ':'"),
    ({"allowed_hosts": ["a.io/x"]}, ValueError, "U+002F SOLIDUS"),
    ({"allowed_hosts": ["https://a.io"]}, ValueError, "has an extra ':'"),
    ({"allowed_hosts": [" a.io"]}, ValueError, "has whitespace at index 0"),
    ({"allowed_hosts": ["a\u200b.io"]}, ValueError, "has an invisible character"),
    ({"denied_hosts": ["10.0.0.0/8"]}, ValueError, "U+002F SOLIDUS"),
    ({"denied_hosts": ["*.10.0.0.1"]}, ValueError, "'*.10.0.0.1', which has '*.' before an IP address"),
    ({"denied_hosts": ["*.::1"]}, ValueError, "has '*.' before an IP address"),
    (
        {"denied_hosts": ["xn--"]},
        ValueError,
        "denied_hosts=) has 'xn--', which has a host name that IDNA does not allow",
    ),
]


@pytest.mark.parametrize(("wrong", "error", "words"), WRONG_SETTINGS)
def test_an_invalid_setting_is_rejected_by_name_when_the_policy_is_created(
    wrong: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(ClientSettingsError, match=re.escape(words)) as caught:
        WebhookUrlPolicy(**wrong)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TypeError) is (error is TypeError)
    assert [caught.value.setting] == list(wrong)


def test_a_policy_is_normalized_hashable_and_can_be_pickled() -> None:
    policy = WebhookUrlPolicy(schemes=iter(["HTTPS"]), allowed_hosts={"*.Example.com."}, denied_hosts=["::1"])

    assert policy.schemes == ("https",)
    assert policy.allowed_hosts == ("*.example.com",)
    assert policy.denied_hosts == ("[::1]",)
    assert WebhookUrlPolicy() == DEFAULT_POLICY
    assert hash(WebhookUrlPolicy()) == hash(DEFAULT_POLICY)
    copy = pickle.loads(pickle.dumps(policy))
    assert copy == policy
    assert hash(copy) == hash(policy)
