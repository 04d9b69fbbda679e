import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from pandaprobe_otel import runtime
from pandaprobe_otel.session.stamping import SessionSpanProcessor
from pandaprobe_otel.session.threads import carry_into_threads


class _Client:
    """A client without an exporter."""

    def __init__(self) -> None:
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SessionSpanProcessor())
        self.tracer = self.tracer_provider.get_tracer("pandaprobe_otel")


@pytest.fixture
def tracer() -> Iterator[trace.Tracer]:
    """A tracer of somebody else, on a provider that is joined."""
    carry_into_threads()
    client = _Client()
    runtime.activate(client)
    yield client.tracer_provider.get_tracer("third-party")
    runtime.activate(None)


@pytest.fixture
def probe(tracer: trace.Tracer) -> Callable[..., str | None]:
    """Starts a span and says which session it belongs to."""

    def probe(context: Any = None, **options: Any) -> str | None:
        span: Any = tracer.start_span("probe", context, **options)
        span.end()
        return span.attributes.get("session.id")

    return probe


@pytest.fixture
def clean() -> Callable[[Callable[[], Any]], Any]:
    """Runs a function in an empty context, so that nothing of the test's own reaches it."""
    return lambda function: contextvars.Context().run(function)
