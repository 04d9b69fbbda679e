from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pandaprobe_otel import runtime
from pandaprobe_otel.session.stamping import SessionSpanProcessor


class _Client:
    """A client whose exporter keeps what it gets."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SessionSpanProcessor())
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
        self.tracer = self.tracer_provider.get_tracer("pandaprobe_otel")


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    runtime.activate(_Client(exporter))
    yield exporter
    runtime.activate(None)
