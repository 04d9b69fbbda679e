"""For the tests of your own code: what is traced in a block, without a receiver.

from pandaprobe_otel.testing import assert_session, capture

def test_agent_keeps_its_session():
    with capture() as captured:
        run_agent("conversation-123")
    assert_session(captured.spans, "conversation-123")
"""

from collections.abc import Generator, Iterable
from contextlib import contextmanager

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from . import runtime
from .session.stamping import SessionSpanProcessor


class Captured(SpanProcessor):
    """The spans that end while it is in force.

    Args:
        tracer_provider: For libraries that take one; spans of this package are made with it by themselves.
    """

    captures_content = True

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SessionSpanProcessor())
        self.tracer_provider.add_span_processor(self)
        self.tracer = self.tracer_provider.get_tracer("pandaprobe_otel")

    def on_end(self, span: ReadableSpan) -> None:
        """Keeps an ended span."""
        self.spans.append(span)


@contextmanager
def capture() -> Generator[Captured, None, None]:
    """A block in which spans of this package are kept instead of sent."""
    before, captured = runtime.active(), Captured()
    runtime.activate(captured)
    try:
        yield captured
    finally:
        runtime.activate(before)


def assert_session(spans: Iterable[ReadableSpan], session_id: str | None) -> None:
    """Asserts that there are spans, and that all of them belong to a session.

    Args:
        spans: What was captured.
        session_id: The session; None for spans that belong to none.

    Raises:
        AssertionError: Naming the spans that do not, and their sessions.
    """
    found = [(span.name, (span.attributes or {}).get("session.id")) for span in spans]
    assert found, "no span was captured"
    others = [f"{name!r} is of {seen!r}" for name, seen in found if seen != session_id]
    assert not others, f"not of session {session_id!r}: {', '.join(others)}"
