"""Stamps the session and user on every span of a provider, whoever makes it."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanContext, SpanKind, format_span_id

from ..attributes import PANDAPROBE_ENTRY_ID, PANDAPROBE_TRACE_ID, SESSION_ID, USER_ID
from ..guard import caught
from . import identity, stamps
from .identity import current
from .turn import Turn, turn_in

# Under which clients inject.
_CALLS = (SpanKind.CLIENT, SpanKind.PRODUCER)

_kept: WeakKeyDictionary[ReadableSpan, Mapping[str, str]] = WeakKeyDictionary()


def unseen(span: ReadableSpan) -> Mapping[str, str]:
    """The stamp of a span, as far as its attributes do not show it: lost to their limit, or kept aside."""
    if not (stamps.aside or span.dropped_attributes) or span.context is None:
        return {}
    stamp = _kept.get(span) or stamps.of(span.context.span_id)
    attributes: Mapping[str, Any] = span.attributes or {}
    return {key: id for key, id in stamp.items() if key not in attributes}


class SessionSpanProcessor(SpanProcessor):
    """Sets `session.id` and `user.id` on every span of the provider that it is added to.

    Inside a trace of this package also `pandaprobe.trace.id`, so that no span is taken for another turn's.

    It reads the context that the span is started in, costs one look-up and one attribute write, never
    overwrites what the span's creator has set, and never raises.

        provider.add_span_processor(SessionSpanProcessor())
    """

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Stamps a span that starts."""
        try:
            if span.kind in _CALLS:
                identity.keep_guard()
            if stamp := stamp_in(parent_context):
                self._stamp(span, stamp, parent_context)
        except Exception as error:
            caught("SessionSpanProcessor.on_start", error)

    def _stamp(self, span: Span, stamp: Mapping[str, str], parent_context: Context | None) -> None:
        if PANDAPROBE_TRACE_ID in stamp and span.parent is not None and span.parent.is_remote:
            stamp = _stamp_below(span.parent, stamp, turn_in(parent_context))
        attributes: Any = span.attributes
        # A copy, because the SDK's attributes raise and catch an exception for every key that is missing.
        held = attributes.copy()
        if not stamp.keys().isdisjoint(held):
            # The turn is of another session than a span whose creator has named its own.
            is_of_the_turn = held.get(SESSION_ID, stamp.get(SESSION_ID)) == stamp.get(SESSION_ID)
            stamp = {
                key: held.get(key, id)
                for key, id in stamp.items()
                if is_of_the_turn or key != PANDAPROBE_TRACE_ID
            }
        if not stamps.aside:
            for key, id in stamp.items():
                span.set_attribute(key, id)
        stamps.remember(span.get_span_context().span_id, stamp)

    def on_end(self, span: ReadableSpan) -> None:
        """Keeps the stamp of a span that does not show it: at its limit, the oldest attributes go first."""
        try:
            stamp = stamps.forget(span.context.span_id) if span.context else None
            if stamp and (stamps.aside or span.dropped_attributes):
                _kept[span] = stamp
        except Exception as error:
            caught("SessionSpanProcessor.on_end", error)

    def shutdown(self) -> None:
        """Does nothing: nothing is held."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Does nothing: nothing is held."""
        return True


def stamp_in(context: Context | None) -> Mapping[str, str]:
    """The stamp of what is made in a context; of the current one, when it is None."""
    context = get_current() if context is None else context
    session, user = current(context)
    turn = turn_in(context)
    # A turn is of one session; what another one does inside it is a trace of its own.
    trace_id = turn.trace_id if turn is not None and turn.session_id == session.id else None
    return _attributes_of(session.id, user.id, trace_id)


def _stamp_below(parent: SpanContext, stamp: Mapping[str, str], turn: Turn | None) -> Mapping[str, str]:
    """The stamp of a span whose parent is in another process, and may be the entry of the turn."""
    if turn is None or turn.entry_id != parent.span_id:
        return stamp
    return {**stamp, PANDAPROBE_ENTRY_ID: format_span_id(parent.span_id)}


@lru_cache(1024)
def _attributes_of(session_id: str | None, user_id: str | None, trace_id: str | None) -> Mapping[str, str]:
    ids = {SESSION_ID: session_id, USER_ID: user_id, PANDAPROBE_TRACE_ID: trace_id}
    return {key: id for key, id in ids.items() if id is not None}
