"""OpenTelemetry spans as PandaProbe traces: pure functions, no I/O."""

from .clean import clean_json
from .record import SpanEvent, SpanRecord, StatusCode
from .traces import to_traces

__all__ = ["SpanEvent", "SpanRecord", "StatusCode", "clean_json", "to_traces"]
