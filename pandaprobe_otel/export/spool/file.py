"""The queue in a SQLite file, which survives its process."""

import os
import sqlite3
import time
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from .items import Damaged, Item, Load, first_of_size
from .lock import FileLock

# Seconds that a file locked by somebody else is waited for.
_BUSY_TIMEOUT = 0.25

# A file that held more than this shrinks when it is empty; SQLite keeps the room of deleted rows otherwise.
_LARGE = 4 << 20

_SUFFIXES = ("", "-wal", "-shm")


@contextmanager
def os_errors() -> Generator[None, None, None]:
    """Turns SQLite's errors into OSError, and into Damaged where the content is not what was written."""
    try:
        yield
    except sqlite3.Error as error:
        # OperationalError and the like are subclasses; the bare class is for CORRUPT and NOTADB.
        kind = Damaged if type(error) is sqlite3.DatabaseError else OSError
        raise kind(str(error)) from error


def connect(path: Path) -> sqlite3.Connection:
    """Opens a database that any thread may use, one at a time."""
    return sqlite3.connect(path, timeout=_BUSY_TIMEOUT, check_same_thread=False)


class FileQueue:
    """Items in order, in a file that only the holder of its lock opens; every method may raise OSError.

    Args:
        path: The file.
        lock: Its lock, held.
        base: What the numbers of its items are above those in the file, so that no two queues share one.
    """

    def __init__(self, path: Path, lock: FileLock, base: int = 0) -> None:
        self.path = path
        self.base = base
        self.load = Load()
        self._lock = lock
        self._peak = 0
        try:
            with os_errors():
                self._db = connect(path)
        except OSError:
            lock.release()
            raise

    @classmethod
    def create(cls, folder: Path) -> "FileQueue":
        """A new file, named so that files sort by age after the process id."""
        # Whoever cleans the folder may hold a new lock for a moment, before it finds no file to the lock.
        for _ in range(3):
            path = folder / f"{os.getpid()}-{time.time_ns():016x}{token_hex(4)}.db"
            lock = FileLock.take(path.with_suffix(".lock"))
            if lock is not None:
                break
        else:
            raise OSError("a new file is locked")
        try:
            make_private(path)
        except OSError:
            lock.remove()
            raise
        queue = cls(path, lock)
        try:
            queue.open()
        except OSError:
            queue.remove()
            raise
        return queue

    @os_errors()
    def open(self) -> None:
        """Prepares the file and weighs what is in it."""
        # NORMAL never syncs a commit: it survives the process, and a loss of power takes the last ones.
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"journal_size_limit={_LARGE}"):
            self._db.execute(f"PRAGMA {pragma}").close()
        # The body is last: SQLite reads what stands before it without it.
        with self._db:
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS items"
                " (seq INTEGER PRIMARY KEY, kind TEXT, count INTEGER, body BLOB)"
            )
        weigh = "SELECT count(*), coalesce(sum(count), 0), coalesce(sum(length(body)), 0) FROM items"
        self.load = Load(*self._db.execute(weigh).fetchone())
        self._peak = self.load.bytes

    @os_errors()
    def put(self, items: Iterable[Item]) -> None:
        """Takes items, all or none."""
        rows = [(item.seq - self.base, item.kind, item.count, item.body) for item in items]
        with self._db:
            # A commit that failed may have been one all the same.
            self._db.executemany("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?)", rows)
        self.load += Load(len(rows), sum(row[2] for row in rows), sum(len(row[3]) for row in rows))
        self._peak = max(self._peak, self.load.bytes)

    @os_errors()
    def get(self, seq: int) -> Item | None:
        """The item of that number."""
        row = self._db.execute(
            "SELECT kind, body, count FROM items WHERE seq = ?", (seq - self.base,)
        ).fetchone()
        return Item(seq, *row) if row else None

    @os_errors()
    def read(self, limit: int, hidden: Collection[int]) -> list[Item]:
        """The oldest items that are not hidden."""
        rows = self._db.execute(
            "SELECT seq FROM items ORDER BY seq LIMIT ?", (limit + len(hidden),)
        ).fetchall()
        seqs = [self.base + seq for (seq,) in rows if self.base + seq not in hidden]
        return [item for seq in seqs[:limit] if (item := self.get(seq))]

    @os_errors()
    def delete(self, seqs: Iterable[int]) -> None:
        """Removes the items that are there."""
        gone = Load()
        with self._db:
            for key in [(seq - self.base,) for seq in seqs]:
                row = self._db.execute("SELECT count, length(body) FROM items WHERE seq = ?", key).fetchone()
                if row:
                    self._db.execute("DELETE FROM items WHERE seq = ?", key)
                    gone += Load(1, *row)
        self.load -= gone
        if not self.load.items and self._peak > _LARGE:
            self._peak = 0
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()

    @os_errors()
    def oldest(self, size: int, keep: Collection[int]) -> dict[int, Load]:
        """The oldest items that make up `size` bytes together, of those not to be kept."""
        rows = self._db.execute("SELECT seq, count, length(body) FROM items ORDER BY seq")
        try:
            loads = ((self.base + seq, Load(1, spans, length)) for seq, spans, length in rows)
            return first_of_size(((seq, load) for seq, load in loads if seq not in keep), size)
        finally:
            rows.close()

    def readable(self) -> Iterator[Item]:
        """What a damaged file still gives: from its start up to the damage, then from its end."""
        seqs: list[int] = []
        for order, step in (("ASC", 1), ("DESC", -1)):
            part: list[int] = []
            with suppress(sqlite3.Error):
                after = (seqs[-1] if seqs else -1,)
                for (seq,) in self._db.execute(
                    f"SELECT seq FROM items WHERE seq > ? ORDER BY seq {order}", after
                ):
                    part.append(seq)
            seqs += part[::step]
        for seq in seqs:
            with suppress(OSError):
                item = self.get(self.base + seq)
                if item:
                    yield item

    def close(self) -> None:
        """Lets go of the file, for others to take."""
        with suppress(sqlite3.Error):
            self._db.close()
        self._lock.release()

    def remove(self) -> None:
        """Closes and removes the file."""
        with suppress(sqlite3.Error):
            self._db.close()
        remove_files(self.path, self._lock)

    def move_aside(self) -> None:
        """Closes the file and keeps it as `*.corrupt`."""
        with suppress(sqlite3.Error):
            self._db.close()
        move_aside(self.path)
        self._lock.remove()

    def abandon(self) -> None:
        """In a forked child: leaves the parent its file and its lock."""
        _leak(self._db)
        self._lock.release()


def make_private(path: Path) -> None:
    """Creates an empty file that only its owner reads; SQLite gives its side files the same rights."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.close(handle)
    path.chmod(0o600)


def move_aside(path: Path) -> None:
    """Renames a damaged database and its side files to `*.corrupt`."""
    for suffix in _SUFFIXES:
        with suppress(OSError):
            Path(f"{path}{suffix}").rename(Path(f"{path.with_suffix('.corrupt')}{suffix}"))


def remove_files(path: Path, lock: FileLock) -> None:
    """Removes a database, then its side files, then its lock: where there is a database, its lock counts."""
    for suffix in _SUFFIXES:
        with suppress(OSError):
            Path(f"{path}{suffix}").unlink()
    lock.remove()


_leaked: list[sqlite3.Connection] = []


def _leak(db: sqlite3.Connection) -> None:
    # SQLite forbids a child even to close what its parent opened, and the interpreter would do so as it ends:
    # one reference too many keeps the connection beyond that.
    _leaked.append(db)
    with suppress(Exception):
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(db))
