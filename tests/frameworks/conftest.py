"""Spans of frameworks, collected, and a mock of the models that they call over HTTP."""

from collections.abc import Iterator
from typing import Any

import aimock
import pytest
from opentelemetry.context import get_current
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import Tracer, get_current_span
from otlp_receiver import attributes_of

from pandaprobe_otel import current_session
from pandaprobe_otel.session.threads import carry_into_threads
from pandaprobe_otel.testing import Captured, capture


def usage(read: int, written: int) -> dict[str, int]:
    """The tokens of an answer, in a script of the mock's."""
    return {"prompt_tokens": read, "completion_tokens": written}


def calls(name: str, arguments: str) -> dict[str, Any]:
    """An answer that calls a tool, in a script of the mock's."""
    return {"toolCalls": [{"name": name, "arguments": arguments, "id": f"call_{name}"}]}


def arrived(spans: Any) -> list[str]:
    """The tree of spans as OTLP has them, each with its session."""
    below: dict[bytes, list[Any]] = {}
    for span in sorted(spans, key=lambda span: span.start_time_unix_nano):
        below.setdefault(span.parent_span_id, []).append(span)

    def lines(parent: bytes, depth: int) -> Iterator[str]:
        for span in below.get(parent, ()):
            yield f"{'  ' * depth}{span.name} of {attributes_of(span).get('session.id')}"
            yield from lines(span.span_id, depth + 1)

    return list(lines(b"", 0))


_collected: list[pytest.Item] = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Notes all tests, before some are left out of this run."""
    _collected[:] = items


@pytest.fixture
def collected(request: pytest.FixtureRequest) -> list[pytest.Item]:
    """The tests of this environment, where all of them were asked for."""
    folder = request.path.parent
    found = {item.path for item in _collected}
    missing = set(folder.glob("test_*.py")) - found
    if missing:
        pytest.skip(
            f"only a part of {folder.name} is run, without {', '.join(sorted(p.name for p in missing))}"
        )
    return _collected


class Spans(SpanProcessor):
    """What is traced: ended spans, and how many were started."""

    def __init__(self, captured: Captured) -> None:
        self._captured = captured
        self.started = 0
        captured.tracer_provider.add_span_processor(self)

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.started += 1

    @property
    def ended(self) -> list[ReadableSpan]:
        return list(self._captured.spans)

    @property
    def tracer(self) -> Tracer:
        """A tracer of the user's own."""
        return self._captured.tracer_provider.get_tracer("user")

    def tokens(self) -> tuple[int, int]:
        """Input and output tokens of all spans together."""
        keys = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
        all_attributes: list[Any] = [span.attributes or {} for span in self.ended]
        read, written = (sum(attributes.get(key, 0) for attributes in all_attributes) for key in keys)
        return read, written


@pytest.fixture
def spans() -> Iterator[Spans]:
    """Everything that was started has ended when the test has, and nothing stays current."""
    # As `init()` does.
    carry_into_threads()
    with capture() as captured:
        spans = Spans(captured)
        yield spans
        assert spans.started == len(spans.ended)
    assert not get_current_span().get_span_context().is_valid
    assert not get_current()
    assert current_session() is None


@pytest.fixture(autouse=True)
def _no_fault_of_ours_is_caught(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Frameworks log what the handlers and processors that they call raise."""
    yield
    faults = ("callback", "trace processor", "detach context")
    said = [record.getMessage() for record in caplog.get_records("call")]
    assert [message for message in said if any(fault in message for fault in faults)] == []


class Models:
    """Models behind an OpenAI API, which answer as the scripts of an environment say."""

    def __init__(self, mock: aimock.AIMock) -> None:
        self.openai = f"{mock.url}/v1"
        self._mock = mock
        self._before = len(mock.requests())

    def served(self) -> tuple[int, int]:
        """Input and output tokens of all answers of this test."""
        answers = [
            asked["response"]["fixture"]["response"] for asked in self._mock.requests()[self._before :]
        ]
        usages = [answer.get("usage", {}) for answer in answers]
        read, written = (
            sum(usage.get(f"{key}_tokens", 0) for usage in usages) for key in ("prompt", "completion")
        )
        return read, written


@pytest.fixture(scope="session")
def _running(scripts: list[Any]) -> Iterator[aimock.AIMock]:
    with aimock.running(scripts) as mock:
        yield mock


@pytest.fixture
def models(_running: aimock.AIMock) -> Models:
    return Models(_running)
