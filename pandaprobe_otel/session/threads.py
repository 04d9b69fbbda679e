"""Carries the session into threads and thread pools.

Python gives a new thread an empty context, and a pooled thread the one that its last job left behind. So a
thread starts, and a job runs, with the session of whoever started or submitted it, and what a job sets ends
with it.

Inside one of our own traces the whole OpenTelemetry context goes along, so that spans hang under the trace.
Elsewhere only the session does: whose parent other people's spans have is not ours to change.
"""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import thread as pools
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry.context import attach, get_current

from ..guard import never_raises
from . import identity
from .turn import turn_in

_OFFICIAL = "opentelemetry.instrumentation.threading"

_lock = threading.Lock()
_on = False
_carried: "WeakKeyDictionary[threading.Thread, _Carried]" = WeakKeyDictionary()
# Python's own names for what a pool runs, and for what runs it.
_pools: Any = pools


def carry_into_threads() -> None:
    """Switches it on, for the whole process and once."""
    global _on
    from wrapt import wrap_function_wrapper

    with _lock:
        if not _on:
            _on = True
            wrap_function_wrapper(threading.Thread, "start", _start)
            # A subclass may have a `run` of its own; on every Python that we allow, it runs inside this one.
            wrap_function_wrapper(threading.Thread, "_bootstrap_inner", _run)
            # Not `submit`: Logfire, which patches that as well, leaves it alone where somebody has before.
            wrap_function_wrapper(_pools._WorkItem, "__init__", _submit)


class _Carried:
    """The session of the one who starts a thread or submits a job."""

    def __init__(self) -> None:
        self._context = get_current()
        self._ambient = identity.ambient.get()

    def __enter__(self) -> None:
        self._ambient_token = identity.ambient.set(self._ambient)
        self._token = attach(self._context_here())

    def __exit__(self, *_: object) -> None:
        identity.put_back(self._token)
        identity.ambient.reset(self._ambient_token)

    def _context_here(self) -> Any:
        if _official_instrumentation_carries():
            return get_current()
        if turn_in(self._context) is not None:
            return self._context
        return identity.transplant(self._context, get_current())


def _official_instrumentation_carries() -> bool:
    module: Any = sys.modules.get(_OFFICIAL)
    return module is not None and module.ThreadingInstrumentor().is_instrumented_by_opentelemetry


def _start(wrapped: Callable[..., Any], thread: threading.Thread, args: Any, kwargs: Any) -> Any:
    # A pool's worker outlives the job that it is started for.
    if getattr(thread, "_target", None) is not _pools._worker:
        _note(thread)
    return wrapped(*args, **kwargs)


@never_raises
def _note(thread: threading.Thread) -> None:
    _carried[thread] = _Carried()


def _run(wrapped: Callable[..., Any], thread: threading.Thread, args: Any, kwargs: Any) -> Any:
    carried = _carried.pop(thread, None)
    if carried is None:
        return wrapped(*args, **kwargs)
    with carried:
        return wrapped(*args, **kwargs)


def _submit(wrapped: Callable[..., Any], item: object, args: Any, kwargs: Any) -> Any:
    future, *work = args
    # From Python 3.14 on, what is called comes as one with its arguments.
    as_one: bool = len(work) == 1
    call: Any = work[0] if as_one else work
    if not isinstance(call[0], Callable):
        return wrapped(*args, **kwargs)
    carried, function = _Carried(), call[0]

    def job(*args: Any, **kwargs: Any) -> Any:
        with carried:
            return function(*args, **kwargs)

    call = job, *call[1:]
    return wrapped(future, *((call,) if as_one else call), **kwargs)
