"""Stamps the session and user on every span and log record of a provider, whoever makes them."""

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from ..attributes import SESSION_ID, USER_ID
from ..guard import never_raises
from . import stamps
from .identity import current

_overflowed: WeakKeyDictionary[ReadableSpan, Mapping[str, str]] = WeakKeyDictionary()


def evicted(span: ReadableSpan) -> Mapping[str, str]:
    """The stamped attributes that an ended span has lost to its attribute limit."""
    stamp = _overflowed.get(span)
    if not stamp:
        return {}
    attributes: Mapping[str, Any] = span.attributes or {}
    return {key: id for key, id in stamp.items() if key not in attributes}


class SessionSpanProcessor(SpanProcessor):
    """Sets `session.id` and `user.id` on every span of the provider that it is added to.

    It reads the context that the span is started in, costs one look-up and one attribute write, never
    overwrites what the span's creator has set, and never raises.

        provider.add_span_processor(SessionSpanProcessor())
    """

    @never_raises
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Stamps a span that starts."""
        stamp = _stamp(parent_context)
        if not stamp:
            return
        attributes: Any = span.attributes
        if attributes:
            stamp |= {key: attributes[key] for key in stamp if key in attributes}
        for key, id in stamp.items():
            span.set_attribute(key, id)
        stamps.remember(span.get_span_context().span_id, stamp)

    @never_raises
    def on_end(self, span: ReadableSpan) -> None:
        """Keeps the stamp of a span that had more attributes than its limit: the oldest are dropped first."""
        stamp = stamps.forget(span.context.span_id) if span.context else None
        if stamp and span.dropped_attributes:
            _overflowed[span] = stamp

    def shutdown(self) -> None:
        """Does nothing: nothing is held."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Does nothing: nothing is held."""
        return True


def _stamp(context: Context | None) -> dict[str, str]:
    session, user = current(context)
    stamp = {} if session.id is None else {SESSION_ID: session.id}
    if user.id is not None:
        stamp[USER_ID] = user.id
    return stamp


class SessionLogRecordProcessor(LogRecordProcessor):
    """Sets `session.id` and `user.id` on every log record of the provider that it is added to.

        logger_provider.add_log_record_processor(SessionLogRecordProcessor())

    Add it before the processor that exports: log processors run in the order in which they were added.
    """

    @never_raises
    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Stamps a log record that is emitted."""
        record = log_record.log_record
        attributes: Any = record.attributes
        for key, id in _stamp(record.context).items():
            if key not in attributes:
                attributes[key] = id

    def shutdown(self) -> None:
        """Does nothing: nothing is held."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Does nothing: nothing is held."""
        return True
