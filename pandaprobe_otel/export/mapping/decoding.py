"""OTLP's messages as span records."""

from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK, ResourceSpans, Span

from .record import SpanEvent, SpanRecord, StatusCode

_STATUS_CODES: tuple[StatusCode, ...] = ("UNSET", "OK", "ERROR")
_TRACE_ID_BYTES, _SPAN_ID_BYTES = 16, 8


def records_of(request: ExportTraceServiceRequest) -> Iterator[SpanRecord | None]:
    """The spans of a request; None for one without valid ids."""
    for resource_spans in request.resource_spans:
        yield from _records(resource_spans)


def _records(resource_spans: ResourceSpans) -> Iterator[SpanRecord | None]:
    resource = _attributes(resource_spans.resource.attributes)
    for scope_spans in resource_spans.scope_spans:
        scope = scope_spans.scope
        for span in scope_spans.spans:
            if _is_id(span.trace_id, _TRACE_ID_BYTES) and _is_id(span.span_id, _SPAN_ID_BYTES):
                yield _record(span, resource, scope.name, scope.version)
            else:
                yield None


def _is_id(value: bytes, length: int) -> bool:
    return len(value) == length and any(value)


def _record(span: Span, resource: dict[str, Any], scope_name: str, scope_version: str) -> SpanRecord:
    code = int(span.status.code)
    return SpanRecord(
        trace_id=int.from_bytes(span.trace_id, "big"),
        span_id=int.from_bytes(span.span_id, "big"),
        parent_span_id=int.from_bytes(span.parent_span_id, "big") or None,
        name=span.name,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano or None,
        status_code=_STATUS_CODES[code] if code < len(_STATUS_CODES) else "UNSET",
        status_message=span.status.message,
        attributes=_attributes(span.attributes),
        events=[
            SpanEvent(event.name, event.time_unix_nano, _attributes(event.attributes))
            for event in span.events
        ],
        resource=resource,
        scope_name=scope_name,
        scope_version=scope_version,
        parent_is_remote=bool(span.flags & SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK),
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    # What most values are.
    if text := value.string_value:
        return text
    which = value.WhichOneof("value")
    if which is None:
        return None
    if which == "array_value":
        return [_value(item) for item in value.array_value.values]
    if which == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    plain = getattr(value, which)
    return b64encode(plain).decode() if isinstance(plain, bytes) else plain
