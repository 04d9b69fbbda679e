from collections.abc import Callable
from typing import Any

import pytest
from pandaprobe_schemas import check

from pandaprobe_otel.export.mapping import SpanRecord, to_traces
from pandaprobe_otel.ids import pandaprobe_trace_id

TRACE_ID = 0x0123456789ABCDEF_FEDCBA9876543210
START_NS = 1_780_000_000_000_000_000
MILLISECOND = 1_000_000

Attributes = dict[str, Any]


class Spans:
    """Makes the spans of one OTel trace, a millisecond after each other."""

    def __init__(self) -> None:
        self.records: list[SpanRecord] = []

    def add(
        self, name: str, parent: SpanRecord | None = None, attributes: Attributes | None = None, **fields: Any
    ) -> SpanRecord:
        number = len(self.records) + 1
        start_ns = START_NS + number * MILLISECOND
        values: dict[str, Any] = {
            "trace_id": TRACE_ID,
            "span_id": number,
            "parent_span_id": parent.span_id if parent else None,
            "name": name,
            "start_ns": start_ns,
            "end_ns": start_ns + 10 * MILLISECOND,
            "attributes": attributes or {},
        }
        record = SpanRecord(**(values | fields))
        self.records.append(record)
        return record

    def entry(
        self,
        name: str,
        parent: SpanRecord | None = None,
        attributes: Attributes | None = None,
        **fields: Any,
    ) -> SpanRecord:
        turn = pandaprobe_trace_id(TRACE_ID, len(self.records) + 1, is_root=parent is None)
        return self.add(name, parent, {"pandaprobe.trace.id": turn, **(attributes or {})}, **fields)

    def llm(
        self, name: str, parent: SpanRecord | None = None, attributes: Attributes | None = None
    ) -> SpanRecord:
        return self.add(name, parent, {"gen_ai.operation.name": "chat", **(attributes or {})})

    def traces(self) -> list[dict[str, Any]]:
        """All traces, each of them a body that PandaProbe takes."""
        found = to_traces(self.records)
        for body in found:
            check(body, "TraceCreate")
            ids = [span["span_id"] for span in body["spans"]]
            for position, span in enumerate(body["spans"]):
                assert span["parent_span_id"] is None or span["parent_span_id"] in ids[:position]
        return found

    def trace(self) -> dict[str, Any]:
        """The only trace."""
        (body,) = self.traces()
        return body


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def span_of() -> Callable[..., dict[str, Any]]:
    """The PandaProbe span that a span with these attributes becomes."""

    def mapped(attributes: Attributes, **fields: Any) -> dict[str, Any]:
        spans = Spans()
        spans.add("span", spans.entry("turn"), attributes, **fields)
        return spans.trace()["spans"][0]

    return mapped
