"""Policy files: what they contain, and the problems of files that can't be used."""

from pathlib import Path

import pytest

from aiorooms import WebhookUrlPolicy
from aiorooms.errors import ClientSettingsError, PolicyFileError

SETTINGS = ("schemes", "allow_credentials", "allow_private_hosts", "allowed_hosts", "denied_hosts")
LABELS = "each label, the part between two dots, needs at least one character"


def read(tmp_path: Path, text: str | bytes) -> WebhookUrlPolicy:
    path = tmp_path / "policy.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return WebhookUrlPolicy.from_toml(path)


def problems(tmp_path: Path, text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(PolicyFileError) as caught:
        read(tmp_path, text)
    assert str(caught.value).isprintable()
    assert caught.value.path == tmp_path / "policy.toml"
    assert isinstance(caught.value, ClientSettingsError)
    return caught.value.problems


def test_an_empty_file_is_the_default_policy(tmp_path: Path) -> None:
    assert read(tmp_path, "# nothing\n") == WebhookUrlPolicy()


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    assert read(tmp_path, b'\xef\xbb\xbfschemes = ["https"]\n') == WebhookUrlPolicy(schemes=["https"])


def test_each_setting_can_be_given(tmp_path: Path) -> None:
    text = """
        schemes = ["HTTPS"]
        allow_credentials = true
        allow_private_hosts = false
        allowed_hosts = ["Example.com", "*.example.com"]
        denied_hosts = ["old.example.com", "[2001:db8::1]"]
    """
    assert read(tmp_path, text) == WebhookUrlPolicy(
        schemes=["https"],
        allow_credentials=True,
        allow_private_hosts=False,
        allowed_hosts=["example.com", "*.example.com"],
        denied_hosts=["old.example.com", "[2001:db8::1]"],
    )


def test_all_invalid_settings_are_reported_together(tmp_path: Path) -> None:
    text = """
        scheme = ["https"]
        allow_private_hosts = "no"
        allow_credentials = 0
        allowed_hosts = "example.com"
        denied_hosts = ["x..io", "a.io"]
        schemes = []
        [webhook]
    """
    assert problems(tmp_path, text) == (
        "'scheme' is not a setting; did you mean 'schemes'?",
        "allow_private_hosts is 'no'; give true or false",
        "allow_credentials is 0; give true or false",
        "allowed_hosts is 'example.com'; give a list of strings",
        "denied_hosts has 'x..io', which has an empty label in its host; " + LABELS,
        "schemes is empty; give at least one scheme, such as 'https'",
        f"'webhook' is not a setting; the settings are {', '.join(SETTINGS)}",
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"schemes = [", "the file is not valid TOML: "),
        (b"schemes = ['\xff']", "the file is not UTF-8 (byte 13)"),
        (b"\xef\xbb\xbfa\xff", "the file is not UTF-8 (byte 5)"),
        (b"a = " + b"[" * 100_000, "the file is not valid TOML: "),
        (b"#" * 1_000_001, "the file has more than 1,000,000 bytes"),
        (b"denied_hosts = [1, 2]", "denied_hosts is [1, 2]; give a list of strings"),
    ],
    ids=["syntax", "encoding", "byte order mark", "depth", "size", "numbers"],
)
def test_a_file_that_is_no_policy_is_one_problem(tmp_path: Path, content: bytes, problem: str) -> None:
    (found,) = problems(tmp_path, content)
    assert found.startswith(problem)


def test_a_file_that_can_not_be_opened_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match=r"policy file '.*no\.toml': can't read the file: No such file"):
        WebhookUrlPolicy.from_toml(tmp_path / "no.toml")
    with pytest.raises(PolicyFileError, match="can't read the file: Is a directory"):
        WebhookUrlPolicy.from_toml(str(tmp_path))
    with pytest.raises(PolicyFileError, match=r"policy file 'a\\x00\.toml': can't read the file: embedded null byte"):
        WebhookUrlPolicy.from_toml("a\0.toml")
