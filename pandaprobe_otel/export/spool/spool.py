"""What has not been delivered: written down before it is sent, and kept until the backend has it.

Every process has a file of its own and a lock on it. The lock ends with the process, and another one of the
same project adopts the file: so an item has one sender at a time, and no two processes write to one file.
"""

import logging
import math
import os
import threading
import time
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from ...guard import REPEATED, warn_once
from ..forks import Forked, tell_of_forks
from .aside import Aside
from .disk import Disk
from .folder import note_key
from .items import Damaged, Item, Load, MemoryQueue, SetAside

if TYPE_CHECKING:
    from .file import FileQueue


_logger = logging.getLogger("pandaprobe_otel.export")

# What waits without a disk holds the user's memory.
MEMORY_BYTES = 64 << 20

# Seconds until a disk that failed is written to again.
DISK_PAUSE = 5.0

# Of the bound, what items that were set aside may take.
_ASIDE_SHARE = 8


@dataclass
class SpoolStats:
    """What happened to items besides delivery, in this process.

    `dropped` are spans that went because the spool was full, `lost` those in memory at the end or in a file
    that was damaged; nobody knows how many were in one that cannot even be opened. `adopted` and `set_aside`
    count items.
    """

    dropped: int = 0
    lost: int = 0
    adopted: int = 0
    set_aside: int = 0


class Spool(Forked):
    """A queue of items that survives the process; no method raises, and none waits for more than the disk.

    Every method may be called from any thread; one thread at a time takes and acknowledges.
    """

    def __init__(self, folder: Path | None, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._start()
        tell_of_forks(self)

    @classmethod
    def open(cls, directory: Path | None, project: str, max_bytes: int) -> "Spool":
        """A spool, without a file until there is something to keep.

        Args:
            directory: Where the folders of all projects are; None keeps items in memory only.
            project: The folder in it; `project_key` makes one.
            max_bytes: How much the project's folder may hold; then the oldest items go.
        """
        return cls(directory / project if directory else None, max_bytes)

    def _start(self) -> None:
        self._pid = os.getpid()
        # A signal handler may drain the spool on top of a call that it interrupted.
        self._lock = threading.RLock()
        self._disk = Disk(self._folder)
        self._memory = MemoryQueue()
        self._aside = Aside(self._folder, self._max_bytes // _ASIDE_SHARE)
        # What was taken, by number; of a damaged file, only whoever took it has it.
        self._known: dict[int, Load] = {}
        self._only_taken: dict[int, Load] = {}
        # Delivered or dropped, though the disk still has them: not taken again.
        self._gone: dict[int, Load] = {}
        self._taken: frozenset[int] = frozenset()
        self._last_seq = 0
        self._budget = self._max_bytes
        self._disk_from = -math.inf if self._folder else math.inf
        self._rescuing = False
        self.stats = SpoolStats()

    @contextmanager
    def _held(self) -> Generator[None, None, None]:
        if self._pid != os.getpid():
            self.after_fork_in_child()
        with self._lock:
            yield

    def put(self, kind: str, body: bytes, count: int) -> int:
        """Keeps a request, on disk where that is possible; answers its number.

        Args:
            kind: "spans" or "score".
            body: The request's body.
            count: The spans in it.
        """
        with self._held():
            self._last_seq += 1
            seq = self._last_seq
            self._store(Item(seq, kind, body, count))
            self._keep_to_bound()
            return seq

    def take(self, limit: int, *, besides: Collection[int] = ()) -> list[Item]:
        """The oldest items, at most `limit`; they stay until they are acknowledged.

        Args:
            limit: The most items.
            besides: The numbers of those that are taken already.
        """
        with self._held():
            hidden = self._gone.keys() | set(besides)
            items: list[Item] = []
            for queue in self._queues():
                if len(items) < limit:
                    items += self._read(queue, limit - len(items), hidden)
            self._taken = frozenset(besides).union(item.seq for item in items)
            self._known |= {item.seq: item.load for item in items}
            return items

    def ack(self, seqs: Iterable[int]) -> None:
        """Forgets items that were delivered."""
        with self._held():
            self._delete({seq: self._known.get(seq, Load()) for seq in seqs})

    def set_aside(self, seq: int, reason: str) -> None:
        """Keeps an item for its owner to look at; it is not sent any more.

        Args:
            seq: The item's number.
            reason: Why, in words without content of the user's.
        """
        with self._held():
            item = self._get(seq)
            if item is None:
                return
            self.stats.dropped += self._aside.add(SetAside(item, reason, time.time()))
            self.stats.set_aside += 1
            self._delete({seq: item.load})
            message = (
                "requests that are refused for good are set aside (%s); `pandaprobe-otel doctor` shows them"
            )
            warn_once(_logger, f"spool set aside {reason}", message, reason, every=REPEATED)

    def set_aside_items(self) -> list[SetAside]:
        """What any process of the project set aside, the oldest first."""
        with self._held():
            return self._aside.all()

    def note_key(self, *, refused: bool) -> None:
        """Notes what the backend says of the API key: what is refused may be sent with another one."""
        if self._folder is not None:
            note_key(self._folder, refused=refused)

    @property
    def is_durable(self) -> bool:
        """Whether everything that waits would survive the process."""
        with self._held():
            return self._folder is not None and not self._memory.load.items and not self._only_taken

    def pending(self) -> Load:
        """What waits in this process's file, in those that it adopted, and in memory."""
        with self._held():
            waiting = sum((queue.load for queue in self._queues()), Load())
            return waiting - sum(self._gone.values(), Load())

    def adopt(self) -> int:
        """Takes over files of processes that are gone, the oldest first; answers how many items.

        Some files at a time: when it found any, it is worth another call once nothing waits.
        """
        with self._held():
            for queue in self._disk.files:
                if not queue.path.exists():
                    self._failed(queue, Damaged("somebody removed the file"))
            waiting = self.pending().items
            found = self._disk.adopt()
            for queue in found.damaged:
                self._failed(queue, Damaged("the file cannot be opened"))
            adopted = self.pending().items - waiting
            self.stats.adopted += adopted
            # A process may hold its share whatever the others hold, and all that they leave.
            self._budget = max(self._max_bytes - found.others_bytes, self._max_bytes // (found.others + 1))
            self._keep_to_bound()
            return adopted

    def close(self) -> None:
        """Leaves what waits to the next process, and removes files that are empty."""
        with self._held():
            if self._folder is not None:
                self._disk_from = -math.inf
                self._save()
            kept_nowhere = sum(self._only_taken.values(), self._memory.load)
            if kept_nowhere.items:
                self.stats.lost += kept_nowhere.spans
                _logger.warning("%d spans were in memory only, and are lost", kept_nowhere.spans)
            for queue in self._disk.files:
                delivered = sum(1 for seq in self._gone if self._disk.file_of(seq) is queue)
                if queue.load.items <= delivered:
                    queue.remove()
                else:
                    queue.close()
                self._disk.detach(queue)
            self._memory = MemoryQueue()
            self._known.clear()
            self._only_taken.clear()
            self._gone.clear()

    def _queues(self) -> "list[FileQueue | MemoryQueue]":
        return [*self._disk.files, self._memory]

    def _queues_of(self, seq: int) -> "list[FileQueue | MemoryQueue]":
        file = self._disk.file_of(seq)
        return [self._memory, file] if file else [self._memory]

    def _get(self, seq: int) -> Item | None:
        for queue in self._queues_of(seq) if seq not in self._gone else []:
            try:
                item = queue.get(seq)
            except OSError as error:
                self._failed(queue, error)
            else:
                if item is not None:
                    return item
        return None

    def _read(self, queue: "FileQueue | MemoryQueue", limit: int, hidden: Collection[int]) -> list[Item]:
        try:
            return queue.read(limit, hidden)
        except OSError as error:
            self._failed(queue, error)
            return []

    def _store(self, item: Item) -> None:
        self._memory.put(item)
        self._save()

    def _save(self) -> None:
        """Moves what is in memory to the disk, where that is possible."""
        for again in (False, True):
            if not self._memory.load.items or monotonic() < self._disk_from:
                return
            own = None
            try:
                own = self._disk.own()
                own.put(self._memory.all())
                self._memory = MemoryQueue()
            except (OSError, ImportError) as error:
                # In place of a file that is damaged a new one is tried, once.
                if again or self._rescuing or own is None or not isinstance(error, Damaged):
                    self._disk_from = monotonic() + DISK_PAUSE
                self._failed(own, error)

    def _delete(self, loads: dict[int, Load]) -> None:
        """Removes items; what the disk does not let go stays hidden, and is tried again the next time."""
        for seq, load in loads.items():
            self._known.pop(seq, None)
            self._only_taken.pop(seq, None)
            if self._memory.get(seq) is None and self._disk.file_of(seq):
                self._gone[seq] = load
        self._memory.delete(loads)
        for queue in self._disk.files:
            seqs = [seq for seq in self._gone if self._disk.file_of(seq) is queue]
            try:
                queue.delete(seqs)
            except OSError as error:
                self._failed(queue, error)
                continue
            for seq in seqs:
                del self._gone[seq]
            if queue.base and not queue.load.items:
                self._disk.detach(queue)
                queue.remove()

    def _keep_to_bound(self) -> None:
        held = self.pending().bytes - self._memory.load.bytes
        for queue in self._disk.files:
            held -= self._drop(queue, held - self._budget)
        self._drop(self._memory, self._memory.load.bytes - min(self._max_bytes, MEMORY_BYTES))

    def _drop(self, queue: "FileQueue | MemoryQueue", size: int) -> int:
        if size <= 0:
            return 0
        # The newest stays, so that every item can be sent once; what is being sent may well arrive.
        keep = self._taken | self._gone.keys() | {self._last_seq}
        try:
            loads = queue.oldest(size, keep)
        except OSError as error:
            self._failed(queue, error)
            return 0
        dropped = sum(loads.values(), Load())
        if loads:
            self.stats.dropped += dropped.spans
            self._delete(loads)
            message = "the spool is full: the oldest spans go. PANDAPROBE_SPOOL_MAX_BYTES makes room for more"
            warn_once(_logger, "spool full", message, every=REPEATED)
        return dropped.bytes

    def _failed(self, queue: "FileQueue | MemoryQueue | None", error: Exception) -> None:
        if isinstance(error, Damaged) and queue is not None and not isinstance(queue, MemoryQueue):
            self._replace(queue)
            message = "a damaged file of the spool is kept as *.corrupt; what it still gave is sent"
            warn_once(_logger, "spool damaged", message, every=REPEATED)
        else:
            message = "spans wait in memory, because the spool in %s fails (%s)"
            warn_once(_logger, "spool fails", message, self._folder, error, every=REPEATED)

    def _replace(self, queue: "FileQueue") -> None:
        """Leaves a damaged file, with what can still be read of it."""
        gone = {seq: load for seq, load in self._gone.items() if self._disk.file_of(seq) is queue}
        known = {seq: load for seq, load in self._known.items() if self._disk.file_of(seq) is queue}
        taken = {seq: load for seq, load in known.items() if seq in self._taken}
        own = self._disk.detach(queue)
        saved: dict[int, Load] = {}
        if not self._rescuing:
            self._rescuing = True
            for item in queue.readable():
                # The numbers of another's file end with it, so that what was taken is not taken again.
                if item.seq not in gone and (own or item.seq not in taken):
                    saved[item.seq] = item.load
                    self._last_seq += not own
                    self._store(item if own else replace(item, seq=self._last_seq))
            self._rescuing = False
        only_taken = {seq: load for seq, load in taken.items() if seq not in saved}
        self._only_taken |= only_taken
        found = sum([*saved.values(), *gone.values(), *only_taken.values()], Load())
        self.stats.lost += max(0, (queue.load - found).spans)
        for seq in gone:
            del self._gone[seq]
        for seq in known.keys() - (saved.keys() if own else ()):
            del self._known[seq]
        queue.move_aside()

    def before_fork(self) -> None:
        """Lets no other thread be within SQLite while the process forks; for a second at most."""
        self._lock.acquire(timeout=1.0)

    def after_fork_in_parent(self) -> None:
        """Goes on."""
        with suppress(RuntimeError):
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Starts empty: what waits is the parent's."""
        self._disk.abandon()
        self._start()
