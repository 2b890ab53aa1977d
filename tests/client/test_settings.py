"""Settings of a client: arguments, environment variables and invalid values."""

from typing import Any

import pytest
from yarl import URL

from aiorooms import ClientSettingsError, RoomsClient


def test_arguments_take_precedence_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClientSettingsError, match="TELNYX_API_KEY"):
        RoomsClient()
    monkeypatch.setenv("TELNYX_API_KEY", "from-env")
    assert repr(RoomsClient()) == "RoomsClient(base_url='https://api.telnyx.com/v2')"
    monkeypatch.setenv("TELNYX_BASE_URL", "https://other.example.com/v2/")
    assert repr(RoomsClient()) == "RoomsClient(base_url='https://other.example.com/v2')"
    assert repr(RoomsClient("k", base_url="https://x.example.com")) == "RoomsClient(base_url='https://x.example.com')"
    monkeypatch.setenv("TELNYX_API_KEY", "from-a-file\n")
    with pytest.raises(ClientSettingsError, match="TELNYX_API_KEY contains spaces, line breaks") as caught:
        RoomsClient()
    assert "from-a-file" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("key", ["", " ", "a b", "a\n", "a\r\nX-Evil: 1", "ключ", 5, b"key"])
def test_an_invalid_key_raises_without_showing_the_key(key: Any) -> None:
    with pytest.raises(ClientSettingsError) as caught:
        RoomsClient(key)
    assert "Evil" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("api.telnyx.com/v2", "has no scheme"),
        ("ftp://api.telnyx.com", "not an absolute http or https URL"),
        ("https://", "base_url"),
        ("https://x.example.com/v2?a=1", "query"),
        ("https://x.example.com/v2#a", "fragment"),
        ("https://user:pass@x.example.com/v2", "credentials"),
        ("https://x.example.com:99999/v2", "base_url"),
        ("http://api.telnyx.com/v2", "unencrypted"),
        ("http://127.0.0.1.example.com/v2", "unencrypted"),
        ("http://10.0.0.1/v2", "unencrypted"),
        ("https://api.telnyx.com\tx/v2", "has a control character"),
        ("https://api.telnyx.com\n", "has a control character|has a line"),
        ("https://api .telnyx.com", "has whitespace"),
        ("https://api.telnyx.com/a b", "has whitespace"),
        ("https://api..telnyx.com", "host"),
        ("http://foo.localhost/v2", "unencrypted"),
        ("", "base_url"),
        (5, "base_url"),
    ],
)
def test_an_invalid_base_url_raises_without_showing_a_password(url: Any, words: str) -> None:
    with pytest.raises(ClientSettingsError, match=words) as caught:
        RoomsClient("key", base_url=url)
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://localhost:80/v2", "http://127.0.0.1", "http://127.9.9.9/", "http://[::1]:8/v2", "https://x.io/v2"]
)
def test_http_without_tls_is_allowed_for_loopback_hosts_or_with_allow_insecure_http(url: str) -> None:
    assert RoomsClient("key", base_url=url).base_url == str(URL(url)).rstrip("/")
    elsewhere = RoomsClient("key", base_url="http://api.example.com", allow_insecure_http=True)
    assert elsewhere.base_url == "http://api.example.com"


@pytest.mark.parametrize(
    "settings",
    [
        {"retry": None},
        {"retry": 3},
        {"pacing": 300},
        {"session": "x"},
        {"webhook_url_policy": None},
        {"timeout": 0},
        {"timeout": None},
        {"timeout": -1},
        {"timeout": "5"},
        {"timeout": True},
        {"max_connections": 0},
        {"max_connections": 2.5},
    ],
)
def test_other_invalid_settings_raise(settings: Any) -> None:
    with pytest.raises(ClientSettingsError, match="|".join(settings)):
        RoomsClient("key", **settings)
