"""How calls end that the caller reads: by what he raises, and as the process exits."""

import atexit
import os
import sys
import weakref
from typing import Any

from ... import guard

# How Python says that there is nothing more, and that no more is wanted.
_ENDS = (StopIteration, StopAsyncIteration, GeneratorExit)


@guard.never_raises
def failure_since(before: BaseException | None) -> BaseException | None:
    """What made something end: the exception that is being handled, and was not as it began.

    Args:
        before: What was handled then.
    """
    error = sys.exc_info()[1]
    return None if error is before or isinstance(error, _ENDS) else error


# By id, since a proxy hashes as what it wraps.
_open: "weakref.WeakValueDictionary[int, Any]" = weakref.WeakValueDictionary()


def keep_open(call: Any) -> None:
    """Has `_pandaprobe_abandon` of this called at the exit of the process, unless it is gone by then."""
    if not _open:
        # Anew, so that it runs before the exit handlers of a provider that was made since.
        atexit.unregister(_end_open)
        atexit.register(_end_open, os.getpid())
    _open[id(call)] = call


def _end_open(pid: int) -> None:
    """Ends the spans of what this process, not the one it forked from, leaves open."""
    for call in list(_open.values()) if pid == os.getpid() else ():
        call._pandaprobe_abandon()
