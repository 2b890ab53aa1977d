"""Fit the parts of the progress bar into the width of a terminal, so that the bar stays on one line. No I/O.

Each part has forms from long to short, and a rank. While the parts are too wide, the part with the lowest rank gets its
next shorter form, and is left out after the last one. The bar itself gets the columns that are left, if these suffice.

Example: the parts are `900/20,000` (rank 9), `98/s, limit 100/s` or `98/s` (rank 3), `eta 3:12` (rank 5) and `0 failed`
(rank 2). They need 44 columns on one line. In 40 columns, `0 failed` is left out. In 30 columns, the rate has its short
form. In 20 columns, the rate is left out, and in 12 columns the time left too.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len, set_cell_size

__all__ = ["MIN_BAR", "Part", "fit"]

MIN_BAR: Final = 6
"""Columns. A shorter bar shows nothing."""


class Part(NamedTuple):
    """A part of the line."""

    forms: tuple[str, ...]
    """The text, from long to short."""
    rank: int
    """The part with the lowest rank is shortened first."""
    style: str = ""


class Fitted(NamedTuple):
    """The line that fits."""

    parts: list[tuple[str, str]]
    """The texts and their styles, to be separated by a blank."""
    bar: int
    """Columns for the bar, which is followed by a blank; 0 if there is no room for it."""


def fit(parts: Sequence[Part], width: int) -> Fitted:
    """Return what fits into `width` columns. If not even one part does, its text is cut."""
    forms = [list(part.forms) for part in parts if part.forms[0]]
    parts = [part for part in parts if part.forms[0]]
    order = sorted(range(len(parts)), key=lambda number: parts[number].rank)

    def needed() -> int:
        shown = [form[0] for form in forms if form]
        return sum(map(cell_len, shown)) + max(0, len(shown) - 1)

    for number in order:
        is_last = number == order[-1]
        while needed() > width and len(forms[number]) > is_last:
            forms[number].pop(0)
    left = width - needed() - 1
    texts = [(_cut(form[0], width), part.style) for form, part in zip(forms, parts, strict=True) if form]
    return Fitted(texts, left if left >= MIN_BAR else 0)


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width)
