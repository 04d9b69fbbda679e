"""The files of one process in a project's folder: its own, and those that it adopted."""

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .folder import age, look_around, make_private_folder, of_refused_keys
from .items import Damaged
from .lock import FileLock

if TYPE_CHECKING:
    from .file import FileQueue

# A file takes three descriptors, and a process often has no more than 1024.
MOST_ADOPTED = 8

# The numbers of an adopted file's items are above those of every file before.
_BASE_BITS = 40

# SQLite must not open a file that a parent had open before the fork, even when the parent is gone.
_inherited: set[Path] = set()


class Found(NamedTuple):
    """What is new in the folder: files adopted, files that are damaged, and what stays with others."""

    adopted: "list[FileQueue]"
    damaged: "list[FileQueue]"
    others: int
    others_bytes: int


class Disk:
    """The files that are open; imports SQLite with the first one, which some builds of Python lack."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._own: FileQueue | None = None
        self._adopted: dict[int, FileQueue] = {}
        self._bases = count(1 << _BASE_BITS, 1 << _BASE_BITS)

    @property
    def files(self) -> "list[FileQueue]":
        """Every file, the oldest first, the own one last."""
        own = [self._own] if self._own else []
        return [*sorted(self._adopted.values(), key=lambda queue: age(queue.path)), *own]

    def file_of(self, seq: int) -> "FileQueue | None":
        """The file that would hold the item of that number."""
        base = seq >> _BASE_BITS << _BASE_BITS
        return self._adopted.get(base) if base else self._own

    def own(self) -> "FileQueue":
        """The process's own file; made when there is none.

        Raises:
            OSError: When it cannot be made.
            ImportError: When this Python has no SQLite.
        """
        from .file import FileQueue

        if self._folder is None:
            raise OSError("there is no folder")
        if self._own is None:
            make_private_folder(self._folder)
            self._own = FileQueue.create(self._folder)
        return self._own

    def adopt(self) -> Found:
        """Opens files of processes that are gone, the oldest first, as long as not too many are open."""
        found = Found([], [], 0, 0)
        if self._folder is None:
            return found
        folders = [self._folder, *of_refused_keys(self._folder)]
        there = look_around(folders, {queue.path for queue in self.files})
        others, others_bytes = len(there.queues), there.bytes
        for path, size in there.queues.items():
            if len(self._adopted) < MOST_ADOPTED and self._adopt(path, found):
                others, others_bytes = others - 1, others_bytes - size
        return found._replace(others=others, others_bytes=others_bytes)

    def _adopt(self, path: Path, found: Found) -> bool:
        if path in _inherited:
            return False
        try:
            from .file import FileQueue, remove_files

            lock = FileLock.take(path.with_suffix(".lock"))
            if lock is None:
                return False
            if not path.exists():
                remove_files(path, lock)
                return True
            queue = FileQueue(path, lock, next(self._bases))
        except (OSError, ImportError):
            return False
        try:
            queue.open()
        except Damaged:
            found.damaged.append(queue)
        except OSError:
            queue.close()
            return False
        else:
            if queue.load.items:
                self._adopted[queue.base] = queue
                found.adopted.append(queue)
            else:
                queue.remove()
        return True

    def detach(self, queue: "FileQueue") -> bool:
        """Forgets a file; whether it was the own one."""
        if queue is self._own:
            self._own = None
            return True
        self._adopted.pop(queue.base, None)
        return False

    def abandon(self) -> None:
        """In a forked child: leaves the parent its files."""
        for queue in self.files:
            _inherited.add(queue.path)
            queue.abandon()
