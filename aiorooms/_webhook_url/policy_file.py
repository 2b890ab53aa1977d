"""Read a `WebhookUrlPolicy` from a TOML file, so that scripts, the command line and CI share one rule.

The keys are the settings of `WebhookUrlPolicy`. A missing key has its default. For example:

    schemes = ["https"]
    allow_private_hosts = false
    allowed_hosts = ["example.com", "*.example.com"]
"""

import tomllib
from pathlib import Path
from typing import Any, Final, cast

import attrs

from .._text import quoted, similar
from ..errors import ClientSettingsError, PolicyFileError
from .policy import DEFAULT_POLICY, WebhookUrlPolicy

__all__ = ["read_settings"]

_MAX_SIZE: Final = 1_000_000
"""Maximum size of a policy file in bytes."""


def read_settings(path: str | Path) -> dict[str, Any]:
    """Return the settings in a policy file.

    Raises `PolicyFileError`, with all problems, if the file can't be read or a setting is unknown or invalid.
    """
    defaults = attrs.asdict(DEFAULT_POLICY)
    path = Path(path)
    settings = _read(path)
    problems: list[str] = []
    for name, value in settings.items():
        if name not in defaults:
            hint = similar(name, defaults, f"the settings are {', '.join(defaults)}")
            problems.append(f"{quoted(name)} is not a setting; {hint}")
        elif isinstance(defaults[name], bool):
            if not isinstance(value, bool):
                problems.append(f"{name} is {quoted(value)}; give true or false")
        elif not _is_list_of_str(value):
            problems.append(f"{name} is {quoted(value)}; give a list of strings")
        else:
            try:
                WebhookUrlPolicy(**{name: value})
            except ClientSettingsError as error:
                problems.append(f"{name} {error.wrong}; {error.hint}")
    if problems:
        raise PolicyFileError(path, problems)
    return settings


def _is_list_of_str(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in cast("list[object]", value))


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_SIZE + 1)
    except OSError as error:
        raise PolicyFileError(path, [f"can't read the file: {error.strerror or error}"]) from None
    except ValueError as error:  # no file has such a path, because it contains a NUL character, for example
        raise PolicyFileError(path, [f"can't read the file: {error}"]) from None
    if len(content) > _MAX_SIZE:
        raise PolicyFileError(path, [f"the file has more than {_MAX_SIZE:,} bytes"])
    try:
        # Some editors on Windows begin a file with a byte order mark.
        return tomllib.loads(content.decode().removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        wrong = f"the file is not UTF-8 (byte {error.start + 1})"
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        wrong = f"the file is not valid TOML: {error}"
    raise PolicyFileError(path, [wrong])
