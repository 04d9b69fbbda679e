"""A lock between processes that ends with its holder, however the holder ends."""

import os
import sys
from contextlib import suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True
else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        os.fchmod(handle, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class FileLock:
    """A lock that is held; `take` gives one."""

    def __init__(self, path: Path, handle: int) -> None:
        self._path = path
        self._handle = handle

    @classmethod
    def take(cls, path: Path) -> "FileLock | None":
        """Locks `path`; None when another process, or another lock of this one, holds it.

        Raises:
            OSError: When there can be no lock here.
        """
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # A file that its last holder has removed meanwhile locks out nobody who opens the path anew.
            if _try_lock(handle) and os.path.samestat(os.fstat(handle), os.stat(path)):
                return cls(path, handle)
        except FileNotFoundError:
            pass
        except OSError:
            os.close(handle)
            raise
        os.close(handle)
        return None

    def release(self) -> None:
        """Lets others lock. In a forked child: lets go of the parent's lock, which stays the parent's."""
        os.close(self._handle)

    def remove(self) -> None:
        """Lets go, and removes the file."""
        # Windows removes no open file; elsewhere, after the release, it may be another's lock.
        if sys.platform == "win32":
            self.release()
        with suppress(OSError):
            self._path.unlink()
        if sys.platform != "win32":
            self.release()
