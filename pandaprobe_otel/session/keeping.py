"""Contexts that keep nothing of ours, as Datadog's: it holds spans and baggage, and sends that to every host.

Where `ddtrace` is imported first, it is OpenTelemetry's context. Ours then stands around it. Only this module
touches OpenTelemetry's name for the context that is in charge.
"""

from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any

from opentelemetry import context as _context
from opentelemetry.context import Context, attach, create_key, detach, get_value, set_value

from ..guard import never_raises

_PREFIX = "pandaprobe-"
_PROBE = create_key(f"{_PREFIX}probe")
_NOTHING = Context()
_api: Any = _context


@never_raises
def keep_ours(without_ids: Callable[[Context], Context]) -> None:
    """Has whatever context is in charge keep what this package puts into it.

    Args:
        without_ids: Gives what a context that cannot keep ours, and sends its baggage away, is told.
    """
    token = attach(set_value(_PROBE, True))
    is_kept = get_value(_PROBE)
    detach(token)
    if not is_kept and hasattr(_api, "_RUNTIME_CONTEXT"):
        _api._RUNTIME_CONTEXT = _Keeping(_api._RUNTIME_CONTEXT, without_ids)


class _Keeping:
    """A runtime context of OpenTelemetry: our keys beside those of another one."""

    def __init__(self, theirs: Any, without_ids: Callable[[Context], Context]) -> None:
        self._theirs = theirs
        self._without_ids = without_ids
        self._ours = ContextVar("pandaprobe_kept", default=_NOTHING)

    def attach(self, context: Context) -> Token[Context]:
        self._theirs.attach(self._without_ids(context))
        ours = {key: value for key, value in context.items() if key.startswith(_PREFIX)}
        return self._ours.set(Context(ours))

    def get_current(self) -> Context:
        return Context({**self._theirs.get_current(), **self._ours.get()})

    def detach(self, token: Token[Context]) -> None:
        # What is attached to Datadog's is never detached: its spans end themselves.
        self._ours.reset(token)
