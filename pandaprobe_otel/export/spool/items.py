"""What waits in the spool, and the queue that holds it in memory."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Item:
    """One request that has not been delivered yet.

    `kind` is "spans" or "score", and `count` the spans in `body`.
    """

    seq: int
    kind: str
    body: bytes
    count: int

    @property
    def load(self) -> "Load":
        """What it weighs."""
        return Load(1, self.count, len(self.body))


class SetAside(NamedTuple):
    """An item that is not tried again, why, and since when (seconds since 1970)."""

    item: Item
    reason: str
    since: float


@dataclass(frozen=True)
class Load:
    """How much waits: `bytes` is the sum of the bodies."""

    items: int = 0
    spans: int = 0
    bytes: int = 0

    def __add__(self, other: "Load") -> "Load":
        return Load(self.items + other.items, self.spans + other.spans, self.bytes + other.bytes)

    def __sub__(self, other: "Load") -> "Load":
        return Load(self.items - other.items, self.spans - other.spans, self.bytes - other.bytes)


class Damaged(OSError):
    """The content of a file cannot be what was written."""


class MemoryQueue:
    """Items in order, for as long as the process lives."""

    def __init__(self) -> None:
        self._items: dict[int, Item] = {}
        self.load = Load()

    def put(self, item: Item) -> None:
        """Takes an item."""
        self._items[item.seq] = item
        self.load += item.load

    def all(self) -> list[Item]:
        """Every item, the oldest first."""
        return list(self._items.values())

    def get(self, seq: int) -> Item | None:
        """The item of that number."""
        return self._items.get(seq)

    def read(self, limit: int, hidden: Collection[int]) -> list[Item]:
        """The oldest items that are not hidden."""
        return list(islice((item for item in self._items.values() if item.seq not in hidden), limit))

    def delete(self, seqs: Iterable[int]) -> None:
        """Removes the items that are there."""
        for item in filter(None, [self._items.pop(seq, None) for seq in seqs]):
            self.load -= item.load

    def oldest(self, size: int, keep: Collection[int]) -> dict[int, Load]:
        """The oldest items that make up `size` bytes together, of those not to be kept."""
        return first_of_size(((i.seq, i.load) for i in self._items.values() if i.seq not in keep), size)


def first_of_size(loads: Iterable[tuple[int, Load]], size: int) -> dict[int, Load]:
    """The first of `loads` that make up `size` bytes together."""
    found: dict[int, Load] = {}
    for seq, load in loads:
        if size <= 0:
            break
        found[seq] = load
        size -= load.bytes
    return found
