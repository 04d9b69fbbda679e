"""`start_trace` and `Trace.span`."""

import asyncio
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, TraceFlags, use_span

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.ids import pandaprobe_span_id, pandaprobe_trace_id

QUESTION = {"messages": [{"role": "user", "content": "Hi"}]}


def spans_of(exported: InMemorySpanExporter) -> dict[str, Any]:
    return {span.name: span for span in exported.get_finished_spans()}


def attributes_of(exported: InMemorySpanExporter, name: str) -> Mapping[str, Any]:
    return spans_of(exported)[name].attributes


def test_trace_and_its_spans_are_otel_spans(exported: InMemorySpanExporter) -> None:
    with pandaprobe.start_trace("turn") as turn, turn.span("outer") as outer:
        with turn.span("inner"):
            pass
        assert outer.span_id == pandaprobe_span_id(
            int(turn.otel_trace_id, 16), trace.get_current_span().get_span_context().span_id
        )
    spans = spans_of(exported)
    assert spans["turn"].parent is None
    assert spans["outer"].parent.span_id == spans["turn"].context.span_id
    assert spans["inner"].parent.span_id == spans["outer"].context.span_id


def test_root_trace_has_the_otel_trace_id(exported: InMemorySpanExporter) -> None:
    with pandaprobe.start_trace("turn") as turn:
        assert turn.trace_id == str(UUID(turn.otel_trace_id))
    assert attributes_of(exported, "turn")["pandaprobe.trace.id"] == turn.trace_id


def test_turns_under_one_span_are_traces_of_their_own(exported: InMemorySpanExporter) -> None:
    ids = set()
    with trace.get_tracer("x").start_as_current_span("worker"), pandaprobe.session("s"):
        pass
    parent = NonRecordingSpan(SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1)))
    with use_span(parent):
        for _ in range(3):
            with pandaprobe.start_trace("turn") as turn:
                assert turn.otel_trace_id == f"{7:032x}"
                ids.add(turn.trace_id)
    assert len(ids) == 3
    assert all(
        span.attributes["pandaprobe.trace.id"] == pandaprobe_trace_id(7, span.context.span_id, is_root=False)
        for span in exported.get_finished_spans()
    )


def test_sub_agent_of_the_same_session_is_part_of_the_turn(exported: InMemorySpanExporter) -> None:
    with pandaprobe.session("s"), pandaprobe.start_trace("turn") as turn:
        with pandaprobe.start_trace("sub-agent") as sub:
            assert sub.trace_id == turn.trace_id
        with pandaprobe.start_trace("other", session_id="other") as other:
            assert other.trace_id != turn.trace_id
            assert other.otel_trace_id == turn.otel_trace_id
        with pandaprobe.session("third"), pandaprobe.start_trace("third") as third:
            assert third.trace_id not in (turn.trace_id, other.trace_id)
    assert attributes_of(exported, "sub-agent")["pandaprobe.trace.id"] == turn.trace_id


async def test_trace_after_its_turn_is_a_turn_of_its_own(exported: InMemorySpanExporter) -> None:
    async def late() -> str:
        await ended.wait()
        with pandaprobe.start_trace("late") as trace:
            return trace.trace_id

    ended = asyncio.Event()
    with pandaprobe.session("s"), pandaprobe.start_trace("turn") as turn:
        task = asyncio.create_task(late())
    ended.set()
    assert await task != turn.trace_id


def test_explicit_session_holds_for_everything_inside(exported: InMemorySpanExporter) -> None:
    with pandaprobe.session("block"), pandaprobe.start_trace("turn", session_id="explicit", user_id=7):
        assert pandaprobe.current_session() == "explicit"
        with pandaprobe.start_trace("inner"):
            pass
    assert pandaprobe.current_session() is None
    for name in ("turn", "inner"):
        assert {"session.id": "explicit", "user.id": "7"}.items() <= attributes_of(exported, name).items()


def test_trace_carries_what_it_is_given(exported: InMemorySpanExporter) -> None:
    with pandaprobe.start_trace("turn", input=QUESTION, tags=["a"], metadata={"k": 1}) as turn:
        turn.set_output({"messages": [{"role": "assistant", "content": "Hello"}]})
        turn.set_metadata({"l": [2]})
        turn.set_tags(["b", "c"])
        turn.set_status("RUNNING")
    seen = attributes_of(exported, "turn")
    assert json.loads(seen["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Hi"}]}
    ]
    assert json.loads(seen["gen_ai.output.messages"])[0]["parts"][0]["content"] == "Hello"
    assert json.loads(seen["pandaprobe.metadata"]) == {"k": 1, "l": [2]}
    assert seen["pandaprobe.tags"] == ("b", "c")
    assert seen["pandaprobe.status"] == "RUNNING"
    assert seen["gen_ai.operation.name"] == "invoke_agent"
    assert seen["gen_ai.agent.name"] == "turn"


def test_values_are_those_of_when_they_were_set(exported: InMemorySpanExporter) -> None:
    messages, metadata = [{"role": "user", "content": "Hi"}], {"k": 1}
    started = pandaprobe.start_trace("turn", input={"messages": messages}, metadata=metadata)
    messages.append({"role": "assistant", "content": "later"})
    with started as turn:
        turn.set_metadata({"l": 2})
    assert "later" not in attributes_of(exported, "turn")["gen_ai.input.messages"]
    assert metadata == {"k": 1}


def test_span_carries_what_it_is_given(exported: InMemorySpanExporter) -> None:
    with (
        pandaprobe.start_trace("turn") as turn,
        turn.span("call", kind="LLM", model="m", metadata={"k": 1}) as span,
    ):
        span.set_input(QUESTION)
        span.set_output("plain")
        span.set_model_parameters({"temperature": 0.5, "max_tokens": 9, "reasoning_effort": "low"})
        span.set_token_usage(
            prompt_tokens=3, completion_tokens=2, reasoning_tokens=1, cache_read_tokens=4, total_tokens=5
        )
        span.set_cost(total=0.5, input=0.2)
        span.set_completion_start_time(datetime.now(timezone.utc) + timedelta(seconds=2))
    seen = attributes_of(exported, "call")
    assert seen["pandaprobe.span.kind"] == "LLM"
    assert seen["gen_ai.operation.name"] == "chat"
    assert seen["gen_ai.request.model"] == "m"
    assert seen["gen_ai.request.temperature"] == 0.5
    assert seen["gen_ai.request.max_tokens"] == 9
    assert json.loads(seen["pandaprobe.model_parameters"]) == {"reasoning_effort": "low"}
    assert seen["gen_ai.usage.input_tokens"] == 3
    assert seen["gen_ai.usage.output_tokens"] == 2
    assert seen["gen_ai.usage.reasoning.output_tokens"] == 1
    assert seen["gen_ai.usage.cache_read.input_tokens"] == 4
    assert json.loads(seen["pandaprobe.token_usage"]) == {"total_tokens": 5}
    assert json.loads(seen["pandaprobe.cost"]) == {"total": 0.5, "input": 0.2}
    assert 1.9 < seen["gen_ai.response.time_to_first_chunk"] < 2.1
    assert json.loads(seen["pandaprobe.output"]) == "plain"
    assert spans_of(exported)["call"].kind is trace.SpanKind.CLIENT


def test_completion_start_time_without_a_zone_is_utc(exported: InMemorySpanExporter) -> None:
    with pandaprobe.start_trace("turn") as turn, turn.span("call", kind="LLM") as span:
        span.set_completion_start_time(datetime.now(timezone.utc).replace(tzinfo=None) + timedelta(seconds=2))
    assert 1.9 < attributes_of(exported, "call")["gen_ai.response.time_to_first_chunk"] < 2.1


def test_tool_span_has_its_arguments_and_result(exported: InMemorySpanExporter) -> None:
    with pandaprobe.start_trace("turn") as turn, turn.span("search", kind="TOOL") as span:
        span.set_input({"query": "x"})
        span.set_output("found")
    seen = attributes_of(exported, "search")
    assert seen["gen_ai.tool.name"] == "search"
    assert json.loads(seen["gen_ai.tool.call.arguments"]) == {"query": "x"}
    assert seen["gen_ai.tool.call.result"] == "found"


@dataclass
class Point:
    x: int


class Unprintable:
    def __repr__(self) -> str:
        raise LookupError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "null"),
        ({"a": float("inf"), 1: datetime(2026, 1, 2)}, '{"a": null, "1": "2026-01-02T00:00:00"}'),
        ({(1, 2): {"set"}}, '{"(1, 2)": ["set"]}'),
        (Point(1), '{"x": 1}'),
        (b"123", '"<3 bytes>"'),
        ("\ud800", '"?"'),
        ("é", '"é"'),
        (Unprintable(), '"<Unprintable that raises LookupError>"'),
        (pandaprobe.SpanKind.LLM, '"LLM"'),
    ],
)
def test_any_value_can_be_recorded(exported: InMemorySpanExporter, value: Any, text: str) -> None:
    with pandaprobe.start_trace("turn", metadata={"v": value}) as turn:
        turn.set_output(value)
    assert attributes_of(exported, "turn")["pandaprobe.output"] == text


def test_value_that_contains_itself_can_be_recorded(exported: InMemorySpanExporter) -> None:
    value: list[Any] = []
    value.append(value)
    with pandaprobe.start_trace("turn") as turn:
        turn.set_output(value)
    json.loads(attributes_of(exported, "turn")["pandaprobe.output"])


def test_exception_marks_and_leaves(exported: InMemorySpanExporter) -> None:
    with pytest.raises(LookupError), pandaprobe.start_trace("turn") as turn, turn.span("step"):
        raise LookupError("lost")
    for name in ("turn", "step"):
        span = spans_of(exported)[name]
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "lost")
        assert span.attributes["error.type"] == "LookupError"
        assert [event.name for event in span.events] == ["exception"]


async def test_cancelled_work_ends_its_spans(exported: InMemorySpanExporter) -> None:
    async def work() -> None:
        async with pandaprobe.start_trace("turn") as turn, turn.span("step"):
            await asyncio.sleep(5)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert {name: span.status.status_code for name, span in spans_of(exported).items()} == {
        "step": StatusCode.ERROR,
        "turn": StatusCode.ERROR,
    }
    assert not trace.get_current_span().get_span_context().is_valid


def test_set_error_and_status(exported: InMemorySpanExporter) -> None:
    with pandaprobe.start_trace("turn") as turn, turn.span("step") as span:
        span.set_error("it broke")
        turn.set_status(pandaprobe.TraceStatus.ERROR)
    assert spans_of(exported)["step"].status.description == "it broke"
    assert spans_of(exported)["turn"].status.status_code is StatusCode.ERROR


async def test_parallel_work_hangs_under_its_own_parent(exported: InMemorySpanExporter) -> None:
    async def branch(turn: pandaprobe.Trace, name: str) -> None:
        async with turn.span(name):
            await asyncio.sleep(0.001)
            async with turn.span(f"{name}.child"):
                await asyncio.sleep(0.001)

    async with pandaprobe.start_trace("turn") as turn:
        await asyncio.gather(branch(turn, "a"), branch(turn, "b"))
    spans = spans_of(exported)
    for name in "ab":
        assert spans[name].parent.span_id == spans["turn"].context.span_id
        assert spans[f"{name}.child"].parent.span_id == spans[name].context.span_id


def test_span_of_a_trace_finds_it_in_a_thread_without_context(exported: InMemorySpanExporter) -> None:
    def step() -> None:
        with turn.span("step"):
            pass

    with pandaprobe.start_trace("turn") as turn:
        import contextvars

        thread = threading.Thread(target=lambda: contextvars.Context().run(step))
        thread.start()
        thread.join()
    spans = spans_of(exported)
    assert spans["step"].parent.span_id == spans["turn"].context.span_id


@pytest.mark.parametrize(
    "call",
    [
        lambda: pandaprobe.start_trace("t", sesion_id="typo"),  # type: ignore[call-arg]
        lambda: pandaprobe.start_trace(""),
        lambda: pandaprobe.start_trace(7),  # type: ignore[arg-type]
        lambda: pandaprobe.start_trace("t", tags="one"),
        lambda: pandaprobe.start_trace("t", tags=[1]),  # type: ignore[list-item]
        lambda: pandaprobe.start_trace("t", metadata=[1]),  # type: ignore[arg-type]
        lambda: pandaprobe.start_trace("t", session_id=1.5),  # type: ignore[arg-type]
        lambda: pandaprobe.trace(nam="x"),  # type: ignore[call-overload]
        lambda: pandaprobe.trace(tags="one")(print),
    ],
)
def test_wrong_arguments_are_refused_at_the_call(exported: InMemorySpanExporter, call: Any) -> None:
    with pytest.raises(TypeError):
        call()


def test_unknown_kinds_and_statuses_are_refused_with_the_known_ones(exported: InMemorySpanExporter) -> None:
    with pandaprobe.start_trace("t") as turn:
        with pytest.raises(ValueError, match="AGENT, TOOL, LLM"):
            turn.span("x", kind="MODEL")
        with pytest.raises(ValueError, match="PENDING, RUNNING"):
            turn.set_status("DONE")


def test_everything_is_a_no_op_without_a_client(caplog: pytest.LogCaptureFixture) -> None:
    from pandaprobe_otel import runtime

    assert runtime.active() is None
    with (
        pandaprobe.start_trace("t", input=QUESTION, session_id="s") as turn,
        turn.span("x", kind="LLM") as span,
    ):
        span.set_output("x")
        span.set_token_usage(prompt_tokens=1)
        turn.set_status("ERROR")
        assert turn.trace_id == span.span_id == str(UUID(int=0))
        assert pandaprobe.current_session() is None
