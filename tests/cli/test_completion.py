"""`aiorooms completion` prints a script with which a real shell completes commands, options and files."""

import os
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import lines, run


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_printed(shell: str) -> None:
    result = run("completion", shell)
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"_AIOROOMS_COMPLETE={shell}_complete" in result.stdout
    assert "_aiorooms_completion" in result.stdout


def test_another_shell_is_an_error() -> None:
    result = run("completion", "csh")
    assert result.exit_code == 2
    assert result.stderr == "aiorooms: SHELL: 'csh' is not one of bash, zsh, fish\n"


@pytest.fixture
def in_bash(folder: Path) -> Path:
    """Return a folder with a program `aiorooms` for PATH."""
    (programs := folder / "bin").mkdir()
    program = programs / "aiorooms"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m aiorooms "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return programs


COMPLETED: list[tuple[tuple[str, ...], list[str]]] = [
    (("re",), ["resume", "report"]),
    (("apply", "--ou"), ["--outage-patience"]),
    (("apply", "rooms.plan", "--appr"), ["--approve"]),
    (("webhooks", ""), ["audit", "listen", "probe", "replay"]),
    (("completion", ""), ["bash", "zsh", "fish"]),
    (("completion", "z"), ["zsh"]),
    (("apply", "roo"), ["(files)"]),
    (("apply", "rooms.plan", "--journal", ""), ["(files)"]),
    (("show", "--dry"), []),
]
"""What is typed after `aiorooms`, and what bash completes it to."""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes(in_bash: Path) -> None:
    # Outside of a completion, `compopt` does not exist. Completing files is the work of the shell.
    script = """
        source <(aiorooms completion bash)
        compopt() { COMPREPLY+=("(files)"); }
        complete_words() {
            COMP_WORDS=("aiorooms" "$@"); COMP_CWORD=$#; COMPREPLY=()
            _aiorooms_completion aiorooms
            echo "${COMPREPLY[*]}"
        }
    """
    script += "".join(f"complete_words {shlex.join(typed)}\n" for typed, _ in COMPLETED)
    environment = {**os.environ, "PATH": f"{in_bash}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "--norc", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert [line.split() for line in lines(done.stdout)] == [completed for _, completed in COMPLETED]
