"""The folder of a project: whose files are in it, and how much they hold."""

import os
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

# In the folder of a key that the backend does not know (any more).
_REFUSED = "refused"


def project_key(endpoint: str, project_name: str | None, api_key: str | None) -> str:
    """A name for the place that items go to and the key that they go with, which cannot be read from it.

    Two organisations may have a project of the same name, and what is meant for one must not reach the other.
    """
    return f"{_digest(endpoint, project_name or '')}-{_digest(api_key or '')}"


def _digest(*parts: str) -> str:
    digest = blake2b(digest_size=8, person=b"pandaprobe-spool")
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def note_key(folder: Path, *, refused: bool) -> None:
    """Leaves what waits in a folder to any key of the same project, when its own is refused."""
    with suppress(OSError):
        if refused and folder.exists():
            (folder / _REFUSED).touch(0o600)
        elif not refused:
            (folder / _REFUSED).unlink()


def of_refused_keys(folder: Path) -> list[Path]:
    """The folders of other keys of the same project that were refused."""
    place = folder.name.partition("-")[0]
    with suppress(OSError):
        markers = folder.parent.glob(f"{place}-*/{_REFUSED}")
        return [marker.parent for marker in markers if marker.parent != folder]
    return []


class Around(NamedTuple):
    """What others have in folders: their queues' files, the oldest first, and the bytes of everything."""

    queues: dict[Path, int]
    bytes: int


def look_around(folders: list[Path], own: set[Path]) -> Around:
    """Finds what others have in folders."""
    queues: dict[Path, int] = {}
    total = 0
    for folder in folders:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                name, _, kind = entry.name.partition(".")
                path = folder / f"{name}.db"
                if path in own:
                    continue
                size = 0
                with suppress(OSError):
                    size = entry.stat().st_size
                total += size
                # A lock without a file is what a process left that ended while it removed both.
                if kind in ("db", "db-wal", "db-shm", "lock"):
                    queues[path] = queues.get(path, 0) + size
    return Around(dict(sorted(queues.items(), key=lambda item: age(item[0]))), total)


def age(path: Path) -> str:
    """What queues' files are sorted by."""
    return path.name.partition("-")[2]


def make_private_folder(folder: Path) -> None:
    """Makes a folder that only its owner enters, and the one around it where that is new.

    Raises:
        OSError: When it cannot be made, or is somebody else's.
    """
    if not folder.parent.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.parent.chmod(0o700)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)
