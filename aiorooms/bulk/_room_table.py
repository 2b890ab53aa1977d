"""A table that numbers rooms by their ids, with about 30 bytes of memory per room.

A dict of a million ids would need 150 MB. So an id is kept as a 16-byte digest, and the digests are in one `bytearray`,
in the order in which they were added. Two ids with the same digest are about as unlikely as two equal random UUIDs.

A room is found through an array of slots. Its digest says in which slot to begin, and a slot contains the number of a
room plus 1, or 0 if it is empty. For example, there are 8 slots, and the rooms A and B have been added:

    digests: A B             A's digest says slot 5, B's digest says slot 5 too
    slots:   0 0 0 0 0 1 2 0

To find B, slot 5 is read first. It contains room 0, whose digest is A's. The next slot contains room 1, which is B. To
find C, whose digest says slot 6, the slots 6 and 7 are read. Slot 7 is empty, so C is not in the table. The array is
doubled before more than half of the slots are taken, so few slots are read.

What is known of a room is kept by the owner of the table, for example in an array with one value per room.
"""

from array import array
from hashlib import blake2b
from typing import Final

__all__ = ["RoomTable"]

_DIGEST: Final = 16
"""Length of a digest, in bytes."""

_FIRST_SLOTS: Final = 1024
"""Number of slots of an empty table. It must be a power of 2."""


class RoomTable:
    """The numbers of rooms by id: 0 for the first room that was added, then 1, and so on."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._slots = _empty(_FIRST_SLOTS)
        self._mask = _FIRST_SLOTS - 1

    def __len__(self) -> int:
        return len(self._digests) // _DIGEST

    def find(self, room_id: str) -> int | None:
        """Return the number of a room, or None if it was not added."""
        number = self._slots[self._slot_of(_digest(room_id))]
        return number - 1 if number else None

    def add(self, room_id: str) -> int:
        """Return the number of a room, which is a new one if the room was not added before."""
        digest = _digest(room_id)
        slot = self._slot_of(digest)
        if number := self._slots[slot]:
            return number - 1
        number = len(self._digests) // _DIGEST
        self._digests += digest
        self._slots[slot] = number + 1
        if 2 * number >= self._mask:
            self._grow()
        return number

    def _slot_of(self, digest: bytes) -> int:
        """Return the slot of a digest, or the empty slot where it belongs."""
        slots, digests, mask = self._slots, self._digests, self._mask
        slot = _from_bytes(digest) & mask
        while (taken := slots[slot]) and not digests.startswith(digest, (taken - 1) * _DIGEST):
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        slots = len(self._slots) * 2
        self._slots, self._mask = _empty(slots), slots - 1
        for number in range(len(self)):
            digest = bytes(self._digests[number * _DIGEST : (number + 1) * _DIGEST])
            self._slots[self._slot_of(digest)] = number + 1


def _empty(slots: int) -> "array[int]":
    return array("I", [0]) * slots


_from_bytes: Final = int.from_bytes


def _digest(room_id: str) -> bytes:
    # A text from the server may contain half of a surrogate pair, which UTF-8 can't encode.
    return blake2b(room_id.encode("utf-8", "surrogatepass"), digest_size=_DIGEST).digest()
