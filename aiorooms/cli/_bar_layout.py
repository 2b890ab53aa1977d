"""Fit the parts of the progress bar into the width of a terminal, so that the bar stays on one line. No I/O.

Each part has forms from long to short, and each form has a rank. While the parts are too wide, the form with the lowest
rank gives way to the next shorter form of its part, and the last form to nothing. The bar itself gets the columns that
are left, if these suffice.

Example: the forms are `900/20,000` (rank 7) and `4 %` (rank 9), `98/s, limit 100/s` (rank 1) and `98/s` (rank 3),
`3:12 left` (rank 4), and `0 failed` (rank 2). On one line, they need 47 columns. In 40 columns, the rate has its short
form and `0 failed` is still there. In 30 columns, `0 failed` is left out. In 20 columns, the rate is left out too, and
in 10 columns the time left.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from rich.cells import cell_len, set_cell_size

__all__ = ["MIN_BAR", "Form", "Part", "fit"]

MIN_BAR: Final = 6
"""Columns. A shorter bar shows nothing."""

Form: TypeAlias = tuple[str, int]
"""A text and its rank."""


class Part(NamedTuple):
    """A part of the line."""

    forms: tuple[Form, ...]
    """The forms from long to short. Their ranks increase."""
    style: str = "none"


class Fitted(NamedTuple):
    """The line that fits."""

    parts: list[tuple[str, str]]
    """The texts and their styles, to be separated by a blank."""
    bar: int
    """Columns for the bar, which is followed by a blank; 0 if there is no room for it."""


def fit(parts: Sequence[Part], width: int) -> Fitted:
    """Return what fits into `width` columns. If not even the form with the highest rank does, its text is cut."""
    forms = [[*part.forms] for part in parts]
    by_rank = sorted((rank, number) for number, part in enumerate(parts) for _, rank in part.forms)
    for _, number in by_rank[:-1]:
        if _columns(forms) <= width:
            break
        forms[number].pop(0)
    left = width - _columns(forms) - 1
    texts = [(_cut(form[0][0], width), part.style) for form, part in zip(forms, parts, strict=True) if form]
    return Fitted(texts, left if left >= MIN_BAR else 0)


def _columns(forms: Sequence[Sequence[Form]]) -> int:
    """Return the columns of the first forms, with a blank between them."""
    shown = [form[0][0] for form in forms if form]
    return sum(map(cell_len, shown)) + max(0, len(shown) - 1)


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width)
