"""A finished span as the mapping reads it, wherever it comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

StatusCode = Literal["UNSET", "OK", "ERROR"]


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened at one moment of a span, an exception for example."""

    name: str
    time_ns: int
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(slots=True)
class SpanRecord:
    """A span with its resource and instrumentation scope.

    Args:
        trace_id: 128 bits.
        span_id: 64 bits.
        parent_span_id: None for the root of the OTel trace.
        start_ns: Nanoseconds since 1970.
        end_ns: Nanoseconds since 1970, None while the span is open.
        attributes: Plain values: what JSON has, and bytes.
        resource: The attributes of the resource.
        parent_is_remote: Whether the parent is known to be a span of another process.
    """

    trace_id: int
    span_id: int
    parent_span_id: int | None
    name: str
    start_ns: int
    end_ns: int | None = None
    status_code: StatusCode = "UNSET"
    status_message: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    events: Sequence[SpanEvent] = ()
    resource: Mapping[str, Any] = field(default_factory=dict[str, Any])
    scope_name: str = ""
    scope_version: str = ""
    parent_is_remote: bool = False
