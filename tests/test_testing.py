"""What users import in their own tests."""

import pytest

import pandaprobe_otel as pandaprobe
from pandaprobe_otel import runtime
from pandaprobe_otel.testing import assert_session, capture


def agent(session_id: str) -> None:
    with pandaprobe.session(session_id), pandaprobe.start_trace("turn") as turn, turn.span("step"):
        pass


def test_spans_of_a_block_are_captured_and_not_sent() -> None:
    with capture() as captured:
        agent("s")
        captured.tracer_provider.get_tracer("other").start_span("outside").end()
    assert [span.name for span in captured.spans] == ["step", "turn", "outside"]
    assert runtime.active() is None
    agent("later")
    assert len(captured.spans) == 3


def test_session_of_captured_spans_is_asserted() -> None:
    with capture() as captured:
        agent("s")
    assert_session(captured.spans, "s")
    with pytest.raises(AssertionError, match="'step' is of 's', 'turn' is of 's'"):
        assert_session(captured.spans, "other")
    with pytest.raises(AssertionError, match="no span"):
        assert_session([], "s")
