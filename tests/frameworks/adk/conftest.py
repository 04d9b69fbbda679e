"""What the model answers, and where ADK's own spans go."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import get_current

from pandaprobe_otel import current_session, runtime
from pandaprobe_otel.session.threads import carry_into_threads
from pandaprobe_otel.testing import Captured

from ..conftest import Spans, calls, usage


def pytest_configure(config: pytest.Config) -> None:
    for ignored in (
        # The mock's own word for why a model stopped.
        "ignore:FUNCTION_CALL is not a valid FinishReason:UserWarning",
        # ADK leaves the connections of its clients to the garbage collector, some to the end of the process.
        "ignore:unclosed:ResourceWarning",
        "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning",
        # Of its own.
        "ignore:The `plugins` argument is deprecated:DeprecationWarning",
        "ignore:.*Agent is deprecated:DeprecationWarning",
    ):
        config.addinivalue_line("filterwarnings", ignored)


@pytest.fixture(scope="session")
def scripts() -> list[dict[str, Any]]:
    return [
        {
            "match": {"userMessage": "weather", "hasToolResult": False},
            "response": {**calls("get_weather", '{"city":"Paris"}'), "usage": usage(50, 7)},
        },
        {
            "match": {"userMessage": "weather", "hasToolResult": True},
            "response": {"content": "It is sunny in Paris.", "usage": usage(64, 6)},
        },
        {
            "match": {"userMessage": "broken", "hasToolResult": False},
            "response": {**calls("fail", "{}"), "usage": usage(40, 5)},
        },
        {
            "match": {"userMessage": "delegate", "hasToolResult": False},
            "response": {**calls("expert", '{"request":"hello"}'), "usage": usage(42, 8)},
        },
        {
            "match": {"userMessage": "delegate", "hasToolResult": True},
            "response": {"content": "The expert says hi.", "usage": usage(61, 5)},
        },
        {
            "match": {"userMessage": "bill", "hasToolResult": False},
            "response": {**calls("transfer_to_agent", '{"agent_name":"billing"}'), "usage": usage(45, 9)},
        },
        # What the first agent did is told to the other one as a user's word.
        {
            "match": {"userMessage": "transfer_to_agent"},
            "response": {"content": "Billing here.", "usage": usage(70, 4)},
        },
        {
            "match": {"userMessage": "limited"},
            "response": {"error": {"message": "Slow down.", "type": "rate_limit_error"}, "status": 429},
        },
        # What another agent has said is told to the next one as a user's word.
        {"match": {"userMessage": "said"}, "response": {"content": "Agreed.", "usage": usage(20, 2)}},
        {"match": {"userMessage": "hello"}, "response": {"content": "Hi there.", "usage": usage(12, 3)}},
    ]


class Everything(Captured):
    """What ends in the process: ADK takes its tracers from the global provider, which can be set once."""

    def __init__(self) -> None:
        super().__init__()
        trace.set_tracer_provider(self.tracer_provider)


@pytest.fixture(scope="session")
def everything() -> Everything:
    return Everything()


@pytest.fixture
def spans(everything: Everything) -> Iterator[Spans]:
    """Everything that was started has ended when the test has, and nothing stays current."""
    carry_into_threads()
    everything.spans.clear()
    runtime.activate(everything)
    spans = Spans(everything)
    yield spans
    assert spans.started == len(spans.ended)
    assert not get_current()
    assert current_session() is None
    # Now, while what pytest was told above to ignore holds; it does not as pytest itself ends.
    gc.collect()
