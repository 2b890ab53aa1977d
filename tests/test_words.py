"""The sources and documents do not use words that the project has replaced with a standard term."""

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
"""Regular expressions for the words that must not be used."""


@pytest.mark.parametrize("words", WORDS)
def test_a_replaced_word_is_not_used_anywhere(words: str) -> None:
    pattern = re.compile(rf"\b({words})\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []
