"""The project speaks the vocabulary of its field: its old private words are not in the sources any more."""

import re

import pytest

from .documents import ROOT

SOURCES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("aiorooms/**/*.md"),
    *ROOT.glob("aiorooms/**/*.py"),
    *ROOT.glob("benchmarks/**/*.py"),
]

WORDS = [
    r"signs? of life",
    r"outcome unknown|maybe applied",
    r"its turn|their turns?|(wait|waits|waiting) in a line",
    r"looks? at the room",
    r"under way",
    r"in hand",
    r"whoever",
    r"be it",
    r"at the most|in the end",
    r"as far as (it is|is|was) (known|seen)",
    r"bears",
    r"(is|are|was|were) told",
    r"somebody|anybody",
    r"leaves? (it|them|a field) alone",
]
"""The worst of what the vocabulary replaced."""


@pytest.mark.parametrize("words", WORDS)
def test_no_private_word_is_left(words: str) -> None:
    pattern = re.compile(rf"\b({words})\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []
