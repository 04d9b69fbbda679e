"""When spans are sent, and where they end up. Tests make spans with the SDK and read what PandaProbe has."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)
from pandaprobe_receiver import Client, Courier, Receiver

from pandaprobe_otel import runtime
from pandaprobe_otel.export import assembly
from pandaprobe_otel.session.scope import session
from pandaprobe_otel.tracing.trace import start_trace


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client()
    runtime.activate(made)
    yield made
    runtime.activate(None)


@pytest.fixture
def courier() -> Courier:
    return Courier()


def names(trace):
    return sorted(span["name"] for span in trace["spans"].values())


def parents(trace):
    by_id = {span_id: span["name"] for span_id, span in trace["spans"].items()}
    return {span["name"]: by_id.get(span["parent_span_id"]) for span in trace["spans"].values()}


def chat(trace, name="chat", tokens=1, text="hi"):
    with trace.span(name, kind="LLM", model="m") as span:
        span.set_input({"messages": [{"role": "user", "content": text}]})
        span.set_output({"messages": [{"role": "assistant", "content": f"{text}!"}]})
        span.set_token_usage(prompt_tokens=tokens, completion_tokens=1)


def said(value):
    return value["messages"][0]["content"]


def turn(name="turn", session_id="c-1", **options):
    with start_trace(name, session_id=session_id, **options) as trace:
        with trace.span("tool", kind="TOOL"):
            pass
        with trace.span("agent", kind="AGENT"):
            chat(trace)
    return trace


def test_whole_turn_is_one_request(client, courier):
    made = turn(user_id="u-1", tags=["a"])
    courier.bring(client.take())
    trace = courier.receiver.named("turn")
    assert courier.receiver.paths() == ["POST /traces"]
    assert trace["trace_id"] == made.trace_id
    assert (trace["session_id"], trace["user_id"], trace["tags"]) == ("c-1", "u-1", ["a"])
    assert (said(trace["input"]), said(trace["output"])) == ("hi", "hi!")
    assert parents(trace) == {"tool": None, "agent": None, "chat": "agent"}
    assert courier.acked == [1]


def test_children_wait_for_their_entry(client, courier):
    turn()
    *children, entry = client.take()
    courier.bring(children)
    assert courier.receiver.requests == []
    assert courier.wire.loaded == 3
    courier.bring([entry])
    assert courier.receiver.paths() == ["POST /traces"]
    assert names(courier.receiver.named("turn")) == ["agent", "chat", "tool"]
    assert sorted(courier.acked) == [1, 2]
    assert courier.wire.loaded == 0
    assert courier.wire.next_at() is None


def test_three_turns_under_one_worker_are_three_traces(client, courier):
    with client.tracer.start_as_current_span("worker"), session("c-1"):
        for number in range(3):
            turn(f"turn {number}")
            courier.bring(client.take())
    courier.bring(client.take())
    traces = courier.receiver.stored().values()
    assert sorted(trace["name"] for trace in traces) == ["turn 0", "turn 1", "turn 2"]
    assert {trace["session_id"] for trace in traces} == {"c-1"}
    assert courier.acked == [1, 2, 3, 4]


def test_job_with_a_session_above_its_turns_is_context(client, courier):
    with (
        session("c-1"),
        client.tracer.start_as_current_span("job"),
        client.tracer.start_as_current_span("step"),
    ):
        turn()
        courier.bring(client.take())
    courier.bring(*[[span] for span in client.take()])
    assert courier.receiver.paths() == ["POST /traces"]
    assert courier.acked == [1, 2, 3]


def test_context_that_comes_with_its_turn_is_named(client, courier):
    with client.tracer.start_as_current_span("POST /chat"):
        turn()
    courier.bring(client.take())
    assert courier.receiver.named("turn")["metadata"]["otel.ancestors"] == ["POST /chat"]


def test_sub_agent_is_a_part_of_the_turn(client, courier):
    with start_trace("turn", session_id="c-1"), start_trace("sub-agent") as inner:
        chat(inner)
    courier.bring(client.take())
    trace = courier.receiver.named("turn")
    assert parents(trace) == {"sub-agent": None, "chat": "sub-agent"}
    assert len(courier.receiver.stored()) == 1


def test_two_sessions_in_one_otel_trace_are_two_traces(client, courier):
    with start_trace("outer", session_id="c-1") as outer:
        turn("inner", "c-2")
        chat(outer)
    courier.bring(*[[span] for span in client.take()])
    outer, inner = courier.receiver.named("outer"), courier.receiver.named("inner")
    assert (outer["session_id"], names(outer)) == ("c-1", ["chat"])
    assert (inner["session_id"], names(inner)) == ("c-2", ["agent", "chat", "tool"])


def test_lone_model_call_is_a_trace(client, courier):
    with (
        session("c-1"),
        client.tracer.start_as_current_span(
            "chat gpt", attributes={"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt"}
        ),
    ):
        pass
    courier.bring(client.take())
    trace = courier.receiver.named("chat gpt")
    assert (trace["session_id"], names(trace)) == ("c-1", ["chat gpt"])


def test_spans_that_make_no_trace_are_done_with(client, courier):
    with client.tracer.start_as_current_span("GET /"), client.tracer.start_as_current_span("SELECT"):
        pass
    courier.bring(*[[span] for span in client.take()])
    assert courier.receiver.requests == []
    assert courier.acked == [1, 2]


def test_model_call_below_a_root_that_was_done_with_is_kept(client, courier):
    with (
        client.tracer.start_as_current_span("GET /"),
        client.tracer.start_as_current_span("chat", attributes={"gen_ai.operation.name": "chat"}),
    ):
        pass
    call, root = client.take()
    courier.bring([root], [call])
    courier.wait(5)
    assert names(courier.receiver.named("GET /")) == ["chat"]


def test_remote_parent_makes_a_local_root(client, courier):
    remote = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1))
    with session("c-1"):
        client.tracer.start_span("server", set_span_in_context(NonRecordingSpan(remote))).end()
    courier.bring(client.take())
    assert courier.receiver.named("server")["session_id"] == "c-1"


def test_late_span_joins_its_trace(client, courier):
    turn()
    tool, call, agent, entry = client.take()
    courier.bring([tool, agent, entry], [call])
    assert courier.receiver.paths()[:2] == ["POST /traces", "PATCH /traces/*"]
    trace = courier.receiver.named("turn")
    assert parents(trace) == {"tool": None, "agent": None, "chat": "agent"}
    assert (said(trace["input"]), said(trace["output"])) == ("hi", "hi!")


def test_late_span_without_a_mark_joins_its_trace(client, courier):
    with session("c-1"), client.tracer.start_as_current_span("root"):
        with client.tracer.start_as_current_span("chat 1", attributes={"gen_ai.operation.name": "chat"}):
            pass
        late = client.tracer.start_span("chat 2", attributes={"gen_ai.operation.name": "chat"})
    courier.bring(client.take())
    late.end()
    courier.bring(client.take())
    assert names(courier.receiver.named("root")) == ["chat 1", "chat 2"]


def test_late_span_waits_for_its_parent(client, courier):
    turn()
    tool, call, agent, entry = client.take()
    courier.bring([tool, entry], [call])
    assert names(courier.receiver.named("turn")) == ["tool"]
    courier.bring([agent])
    assert parents(courier.receiver.named("turn")) == {"tool": None, "agent": None, "chat": "agent"}


def test_long_turn_is_sent_in_part_and_completed(client, courier):
    with start_trace("turn", session_id="c-1", user_id="u-1", tags=["a"]) as trace:
        with trace.span("agent", kind="AGENT") as agent:
            chat(trace, "chat 1", text="first")
            courier.bring(client.take())
            courier.wait(59)
            assert courier.receiver.requests == []
            courier.wait(5)
            partial = courier.receiver.stored()[trace.trace_id]
            assert (partial["name"], partial["status"], partial["ended_at"]) == ("chat 1", "RUNNING", None)
            assert (partial["session_id"], partial["user_id"]) == ("c-1", "u-1")
            assert (said(partial["input"]), said(partial["output"])) == ("first", "first!")
            agent.set_token_usage(prompt_tokens=1, completion_tokens=1)
        chat(trace, "chat 2", text="second")
    courier.bring(client.take())
    courier.wait(5)
    whole = courier.receiver.stored()[trace.trace_id]
    assert (whole["name"], whole["status"], whole["tags"]) == ("turn", "COMPLETED", ["a"])
    assert whole["ended_at"] is not None
    assert (said(whole["input"]), said(whole["output"])) == ("first", "second!")
    assert parents(whole) == {"agent": None, "chat 1": "agent", "chat 2": None}
    usage = {span["name"]: span["token_usage"] for span in whole["spans"].values()}
    assert usage["agent"] is None
    assert usage["chat 1"]["total_tokens"] == 2
    assert courier.receiver.paths().count("POST /traces") == 1
    assert courier.acked == [1, 2]


def test_what_the_entry_says_of_itself_holds(client, courier):
    with start_trace("turn", session_id="c-1", input="asked") as trace:
        chat(trace, text="first")
        courier.bring(client.take())
        courier.wait(65)
        trace.set_output("answered")
    courier.bring(client.take())
    courier.wait(5)
    whole = courier.receiver.named("turn")
    assert (whole["input"], whole["output"]) == ("asked", "answered")


def test_what_cannot_be_stored_puts_nothing_out(client, courier):
    with start_trace("turn", session_id="c-1") as trace:
        chat(trace, "chat", text="first")
        courier.bring(client.take())
        courier.wait(61)
        get_current_span().set_attribute("pandaprobe.output", math.nan)
    courier.bring(client.take())
    assert "PATCH /traces/*" in courier.receiver.paths()
    assert said(courier.receiver.named("turn")["output"]) == "first!"


def test_end_of_the_process_waits_for_nothing(client, courier):
    with start_trace("turn", session_id="c-1") as trace:
        chat(trace)
        courier.bring(client.take())
        courier.run(final=True)
        courier.now += 2
        courier.run(final=True)
        assert names(courier.receiver.stored()[trace.trace_id]) == ["chat"]
        assert courier.acked == [1]


def test_orphan_becomes_a_trace_of_its_own(client, courier):
    with (
        session("c-1"),
        client.tracer.start_as_current_span("open"),
        client.tracer.start_as_current_span("chat", attributes={"gen_ai.operation.name": "chat"}),
    ):
        pass
    courier.bring(client.take()[:1])
    assert courier.receiver.requests == []
    courier.wait(65)
    assert names(courier.receiver.named("chat")) == ["chat"]


def test_root_above_an_orphan_that_was_sent_is_context(client, courier):
    with session("c-1"), client.tracer.start_as_current_span("worker"):
        with client.tracer.start_as_current_span("chat", attributes={"gen_ai.operation.name": "chat"}):
            pass
        courier.bring(client.take())
        courier.wait(65)
    courier.bring(client.take())
    assert [trace["name"] for trace in courier.receiver.stored().values()] == ["chat"]


def test_turn_of_another_process_gets_its_spans(client):
    receiver = Receiver()
    turn()
    *children, entry = client.take()
    here, there = Courier(receiver), Courier(receiver)
    here.bring([entry])
    there.bring(children)
    there.wait(65)
    trace = receiver.named("turn")
    assert names(trace) == ["agent", "chat", "tool"]
    assert trace["status"] == "COMPLETED"
    assert receiver.paths(202) == ["POST /traces"]


def test_turn_of_very_many_spans_does_not_wait(client, courier, monkeypatch):
    monkeypatch.setattr(assembly, "_MOST_WAITING", 20)
    with start_trace("turn", session_id="c-1") as trace:
        for _ in range(21):
            with client.tracer.start_as_current_span("step"):
                pass
        courier.bring(client.take())
        courier.wait(5)
        assert len(courier.receiver.stored()[trace.trace_id]["spans"]) == 21
    courier.bring(client.take())
    assert courier.receiver.named("turn")["status"] == "COMPLETED"


def test_what_is_remembered_is_bounded(client):
    courier = Courier()
    courier.wire._assembly._known._most = 5
    for _ in range(10):
        turn()
    courier.bring(client.take())
    known = courier.wire._assembly._known
    assert len(known._outlines) == 5
    assert sum(map(len, known._below.values())) == 5


NODES = st.recursive(
    st.sampled_from(["llm", "step", "other-llm"]),
    lambda below: st.tuples(
        st.sampled_from(["turn c-1", "turn c-2", "step", "llm"]), st.lists(below, max_size=4)
    ),
    max_leaves=12,
)
TREES = st.lists(
    st.tuples(st.sampled_from(["turn c-1", "turn c-2"]), st.lists(NODES, max_size=5)), min_size=1, max_size=3
)


def grow(client, node, count):
    kind, below = node if isinstance(node, tuple) else (node, [])
    name = f"{kind} {next(count)}"
    if kind.startswith("turn"):
        with start_trace(name, session_id=kind[5:]):
            for each in below:
                grow(client, each, count)
        return
    attributes = {"gen_ai.operation.name": "chat", "input.value": name, "output.value": name}
    with (
        session("c-3") if kind == "other-llm" else nullcontext(),
        client.tracer.start_as_current_span(name, attributes=None if kind == "step" else attributes),
    ):
        for each in below:
            grow(client, each, count)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(forest=TREES, with_context=st.booleans(), seed=st.integers(0, 2**32))
def test_order_and_batches_change_nothing(client, forest, with_context, seed):
    at_once, bit_by_bit = (Courier(Receiver(checks=False)) for _ in range(2))
    spans = grown(client, forest, with_context)
    at_once.bring(spans)
    for batch in shuffled(spans, seed):
        bit_by_bit.bring(batch)
    assert comparable(bit_by_bit) == comparable(at_once)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(forest=TREES, with_context=st.booleans(), seed=st.integers(0, 2**32))
def test_parts_add_up_to_the_whole(client, forest, with_context, seed):
    at_once = Courier(Receiver(checks=False))
    in_parts = Courier(Receiver(checks=False, lag=3), partial_after=10)
    spans = grown(client, forest, with_context)
    at_once.bring(spans)
    for batch in shuffled(spans, seed):
        in_parts.bring(batch)
        in_parts.wait(8)
    in_parts.wait(20)
    # PandaProbe does not let it be changed.
    assert comparable(in_parts, but="started_at") == comparable(at_once, but="started_at")


def grown(client, forest, with_context):
    count = iter(range(1000))
    with client.tracer.start_as_current_span("context") if with_context else nullcontext():
        for tree in forest:
            grow(client, tree, count)
    return client.take()


def shuffled(spans, seed):
    random = Random(seed)
    random.shuffle(spans)
    while spans:
        size = random.randint(1, 5)
        yield spans[:size]
        del spans[:size]


def comparable(courier, but=""):
    assert sorted(courier.acked) == list(range(1, courier._seq + 1))
    assert (courier.wire.loaded, courier.wire._items._open, courier.wire._assembly._waiting) == (0, {}, {})
    traces = courier.receiver.stored()
    for trace in traces.values():
        trace.pop(but, None)
        # Only what comes with an entry is known to be above it.
        trace["metadata"].pop("otel.ancestors", None)
        for span in trace["spans"].values():
            # PandaProbe shows it so.
            if span["parent_span_id"] not in trace["spans"]:
                span["parent_span_id"] = None
    return traces
