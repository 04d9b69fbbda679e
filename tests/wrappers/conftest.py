"""Spans of this process, collected; and an OpenAI API to make them with."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

from pandaprobe_otel import runtime
from pandaprobe_otel.local.fake_openai import FakeOpenAI


@dataclass
class Collector:
    """Stands for an active PandaProbe client, and keeps the spans that end."""

    tracer_provider: TracerProvider = field(default_factory=TracerProvider)
    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    captures_content: bool = True

    def __post_init__(self) -> None:
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def tracer(self) -> Tracer:
        return self.tracer_provider.get_tracer("test")

    @property
    def all(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    @property
    def only(self) -> ReadableSpan:
        (span,) = self.all
        return span


@pytest.fixture
def spans() -> Iterator[Collector]:
    before = runtime.active()
    collector = Collector()
    runtime.activate(collector)
    yield collector
    runtime.activate(before)


@pytest.fixture
def switched_off() -> Iterator[None]:
    """PandaProbe, started with `enabled=False`."""

    class Off:
        tracer_provider = runtime.NO_PROVIDER
        tracer = runtime.NO_TRACER
        captures_content = True

    before = runtime.active()
    runtime.activate(Off())
    yield
    runtime.activate(before)


@pytest.fixture(scope="session")
def api() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake
