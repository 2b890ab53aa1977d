"""A long list of similar texts in little memory: they are compressed in blocks.

For example, each of 200,000 rooms was modified by someone else. The 200,000 texts of 110 characters that say so would
need 35 MB. They differ only in the id of the room, so that compressed, they need about 6 MB.

Each block of 256 texts is compressed on its own. To return one text, its block is decompressed. The block that was used
last is kept, so iteration decompresses each block once.
"""

import json
import zlib
from collections.abc import Sequence
from typing import Final, cast, overload

__all__ = ["Texts"]

_BLOCK: Final = 256
"""Number of texts in a block."""


class Texts(Sequence[str]):
    """A sequence of texts that can grow. It is equal to any other sequence of the same texts."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._last: list[str] = []
        """The texts that are not compressed yet."""
        self._used: tuple[int, list[str]] = (-1, [])
        """The number of the block that was decompressed last, and its texts."""

    def append(self, text: str) -> None:
        """Add a text at the end."""
        self._last.append(text)
        if len(self._last) == _BLOCK:
            # JSON also encodes half of a surrogate pair, which a text from outside may contain.
            self._blocks.append(zlib.compress(json.dumps(self._last).encode("ascii"), 1))
            self._last = []

    def __len__(self) -> int:
        return len(self._blocks) * _BLOCK + len(self._last)

    @overload
    def __getitem__(self, position: int) -> str: ...
    @overload
    def __getitem__(self, position: slice) -> list[str]: ...
    def __getitem__(self, position: int | slice) -> str | list[str]:
        if isinstance(position, slice):
            return [self[each] for each in range(*position.indices(len(self)))]
        number = position if position >= 0 else position + len(self)
        if not 0 <= number < len(self):
            raise IndexError(f"there is no text {position}")
        block, offset = divmod(number, _BLOCK)
        return self._last[offset] if block == len(self._blocks) else self._texts_of(block)[offset]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, (str, bytes)):
            return NotImplemented
        others = cast("Sequence[object]", other)
        return len(self) == len(others) and all(mine == theirs for mine, theirs in zip(self, others, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as of a list, because it can change

    def __repr__(self) -> str:
        return repr([*self])

    def _texts_of(self, block: int) -> list[str]:
        if self._used[0] != block:
            self._used = (block, cast("list[str]", json.loads(zlib.decompress(self._blocks[block]))))
        return self._used[1]
