"""The items that are not tried again: one file per project, for its owner to look at."""

from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .items import Damaged, Item, SetAside

if TYPE_CHECKING:
    import sqlite3

# Not *.db: nobody adopts it. All processes of the project write to it, each for a moment.
FILE_NAME = "set-aside.sqlite"

_NEWEST_FIRST = "SELECT number, count, length(body) FROM items ORDER BY number DESC"


class Aside:
    """The items that were set aside, on disk where that is possible; the oldest go when there are too many.

    Args:
        folder: The project's folder; None keeps them in memory.
        max_bytes: How much they may hold together.
    """

    def __init__(self, folder: Path | None, max_bytes: int) -> None:
        self._path = folder / FILE_NAME if folder else None
        self._max_bytes = max_bytes
        self._in_memory: list[SetAside] = []

    def add(self, aside: SetAside) -> int:
        """Keeps an item; answers how many spans went for it."""
        if self._path is not None:
            for _ in range(2):
                with suppress(OSError, ImportError):
                    return _write(self._path, aside, self._max_bytes)
        self._in_memory.append(aside)
        dropped = 0
        while len(self._in_memory) > 1 and sum(len(a.item.body) for a in self._in_memory) > self._max_bytes:
            dropped += self._in_memory.pop(0).item.count
        return dropped

    def all(self) -> list[SetAside]:
        """Every item, the oldest first."""
        with suppress(OSError, ImportError):
            if self._path is not None and self._path.exists():
                return _read(self._path) + self._in_memory
        return list(self._in_memory)


def _write(path: Path, aside: SetAside, max_bytes: int) -> int:
    from .file import connect, make_private, move_aside, os_errors

    with suppress(FileExistsError):
        make_private(path)
    try:
        with os_errors(), closing(connect(path)) as db, db:
            _insert(db, aside)
            return _keep_to(max_bytes, db)
    except Damaged:
        move_aside(path)
        raise


def _insert(db: "sqlite3.Connection", aside: SetAside) -> None:
    item = aside.item
    db.execute(
        "CREATE TABLE IF NOT EXISTS items (number INTEGER PRIMARY KEY, since REAL, reason TEXT, seq INTEGER,"
        " kind TEXT, count INTEGER, body BLOB)"
    )
    db.execute(
        "INSERT INTO items VALUES (NULL, ?, ?, ?, ?, ?, ?)",
        (aside.since, aside.reason, item.seq, item.kind, item.count, item.body),
    )


def _keep_to(max_bytes: int, db: "sqlite3.Connection") -> int:
    held = dropped = 0
    for number, spans, size in db.execute(_NEWEST_FIRST).fetchall():
        held += size
        if held > max_bytes and held > size:
            db.execute("DELETE FROM items WHERE number = ?", (number,))
            dropped += spans
    return dropped


def _read(path: Path) -> list[SetAside]:
    from .file import connect, os_errors

    with os_errors(), closing(connect(path)) as db:
        rows = db.execute(
            "SELECT since, reason, seq, kind, body, count FROM items ORDER BY number"
        ).fetchall()
    return [SetAside(Item(*row[2:]), row[1], row[0]) for row in rows]
