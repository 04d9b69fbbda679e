"""Looks at what waits in a project's folder, without a lock and without writing."""

import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .aside import FILE_NAME
from .folder import age, look_around, of_refused_keys
from .items import Load

# Seconds that a file locked by its owner is waited for.
_BUSY_TIMEOUT = 1.0
_NANOSECOND_DIGITS = 16


@dataclass
class Waiting:
    """What waits in a folder.

    Args:
        load: How much.
        files: How many files hold some of it.
        oldest: Seconds since the oldest of those files was begun.
        set_aside: The spans that are not tried again, by reasons.
        unreadable: How many files could not be read.
    """

    load: Load = field(default_factory=Load)
    files: int = 0
    oldest: float = 0.0
    set_aside: Counter[str] = field(default_factory=Counter[str])
    unreadable: int = 0


def peek(folder: Path) -> Waiting:
    """What waits in a folder, and in those of refused keys of its project, at the moment of asking."""
    waiting = Waiting()
    for path in look_around([folder, *of_refused_keys(folder)], set()).queues:
        rows = _rows(
            path, "SELECT count(*), coalesce(sum(count), 0), coalesce(sum(length(body)), 0) FROM items"
        )
        if rows is None:
            waiting.unreadable += path.exists()
            continue
        load = Load(*rows[0])
        if load.items:
            waiting.load += load
            waiting.files += 1
            waiting.oldest = max(waiting.oldest, _age(path))
    for reason, spans in _rows(folder / FILE_NAME, "SELECT reason, count FROM items") or []:
        waiting.set_aside[reason] += spans
    return waiting


def _age(path: Path) -> float:
    with suppress(ValueError):
        return max(0.0, time.time() - int(age(path)[:_NANOSECOND_DIGITS], 16) / 1e9)
    return 0.0


def _rows(path: Path, query: str) -> list[tuple[Any, ...]] | None:
    if not path.exists():
        return None
    try:
        import sqlite3
    except ImportError:
        return None
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, timeout=_BUSY_TIMEOUT, uri=True)) as db:
            return db.execute(query).fetchall()
    except sqlite3.Error:
        return None
