from dataclasses import replace
from random import Random
from uuid import UUID

from pandaprobe_otel.export.mapping import to_traces
from pandaprobe_otel.ids import pandaprobe_span_id, pandaprobe_trace_id


def names(trace):
    return [span["name"] for span in trace["spans"]]


def parents(trace):
    by_id = {span["span_id"]: span["name"] for span in trace["spans"]}
    return {span["name"]: by_id.get(span["parent_span_id"]) for span in trace["spans"]}


def test_entry_is_the_trace_and_none_of_its_spans(spans):
    turn = spans.entry(
        "turn", attributes={"session.id": "c-1", "user.id": "u-1", "pandaprobe.tags": ["a", "b"]}
    )
    agent = spans.add("agent", turn)
    spans.add("tool", agent)
    trace = spans.trace()
    assert trace["name"] == "turn"
    assert trace["session_id"] == "c-1"
    assert trace["user_id"] == "u-1"
    assert trace["tags"] == ["a", "b"]
    assert parents(trace) == {"agent": None, "tool": "agent"}


def test_entry_at_the_otel_root_has_the_otel_trace_id(spans):
    turn = spans.entry("turn")
    assert spans.trace()["trace_id"] == str(UUID(int=turn.trace_id))


def test_entry_below_other_spans_has_an_id_of_its_own(spans):
    turn = spans.entry("turn", spans.add("POST /chat"))
    expected = pandaprobe_trace_id(turn.trace_id, turn.span_id, is_root=False)
    assert spans.trace()["trace_id"] == expected


def test_entry_below_spans_that_were_not_exported_keeps_its_id(spans):
    turn = spans.entry("turn", spans.add("dropped"))
    spans.records[:] = [replace(turn, parent_span_id=None)]
    assert spans.trace()["trace_id"] == pandaprobe_trace_id(turn.trace_id, turn.span_id, is_root=False)


def test_spans_without_their_entry_are_a_running_trace(spans):
    turn = spans.entry("turn", attributes={"session.id": "c-1"})
    mark = {"pandaprobe.trace.id": turn.attributes["pandaprobe.trace.id"], "session.id": "c-1"}
    agent = spans.add("agent", turn, mark)
    spans.llm("chat", agent, mark)
    expected = spans.trace()
    spans.records.remove(turn)
    trace = spans.trace()
    assert (trace["trace_id"], trace["session_id"]) == (expected["trace_id"], "c-1")
    assert (trace["name"], trace["status"], trace["ended_at"]) == ("agent", "RUNNING", None)
    assert trace["metadata"] == {"otel.trace_id": f"{turn.trace_id:032x}"}
    assert trace["spans"] == expected["spans"]


def test_marked_span_is_of_its_turn_though_its_parent_is_missing(spans):
    turn = spans.entry("turn")
    mark = {"pandaprobe.trace.id": turn.attributes["pandaprobe.trace.id"]}
    lost = spans.add("lost", turn, mark)
    spans.add("below", spans.add("orphan", lost, mark))
    spans.records.remove(lost)
    trace = spans.trace()
    assert trace["name"] == "turn"
    assert parents(trace) == {"orphan": None, "below": "orphan"}


def test_marked_span_below_another_session_comes_back_to_its_turn(spans):
    turn = spans.entry("turn", attributes={"session.id": "c-1"})
    mark = {"pandaprobe.trace.id": turn.attributes["pandaprobe.trace.id"], "session.id": "c-1"}
    agent = spans.add("agent", turn, mark)
    other = spans.llm("other", agent, {"session.id": "c-2"})
    spans.add("back", other, mark)
    traces = {trace["name"]: trace for trace in spans.traces()}
    assert {name: trace["session_id"] for name, trace in traces.items()} == {"turn": "c-1", "other": "c-2"}
    assert parents(traces["turn"]) == {"agent": None, "back": "agent"}


def test_marked_spans_of_another_session_are_one_trace_apart(spans):
    turn = spans.entry("turn", attributes={"session.id": "c-1"})
    mark = {"pandaprobe.trace.id": turn.attributes["pandaprobe.trace.id"], "session.id": "c-2"}
    spans.llm("chat", spans.add("other", turn, mark), mark)
    sessions = {trace["name"]: (trace["session_id"], names(trace)) for trace in spans.traces()}
    assert sessions == {"turn": ("c-1", []), "other": ("c-2", ["chat"])}


def test_mark_that_is_no_id_is_none(spans):
    spans.add("SELECT", attributes={"pandaprobe.trace.id": "no id"})
    assert spans.traces() == []


def test_span_ids_hold_both_otel_ids(spans):
    child = spans.add("child", spans.entry("turn"))
    assert spans.trace()["spans"][0]["span_id"] == pandaprobe_span_id(child.trace_id, child.span_id)


def test_spans_above_an_entry_are_left_out_and_named(spans):
    job = spans.add("job", attributes={"session.id": "c-1"})
    step = spans.add("step", job)
    spans.entry("turn", step, {"session.id": "c-1"})
    trace = spans.trace()
    assert trace["name"] == "turn"
    assert trace["metadata"]["otel.ancestors"] == ["job", "step"]


def test_three_turns_under_one_job_are_three_traces(spans):
    job = spans.add("job")
    for number in range(3):
        turn = spans.entry(f"turn {number}", job, {"session.id": "c-1"})
        spans.llm(f"chat {number}", turn)
    traces = spans.traces()
    assert [trace["name"] for trace in traces] == ["turn 0", "turn 1", "turn 2"]
    assert [names(trace) for trace in traces] == [["chat 0"], ["chat 1"], ["chat 2"]]


def test_nested_entry_is_a_trace_of_its_own(spans):
    outer = spans.entry("outer", attributes={"session.id": "c-1"})
    inner = spans.entry("inner", spans.add("agent", outer), {"session.id": "c-2"})
    spans.llm("chat", inner)
    traces = {trace["name"]: trace for trace in spans.traces()}
    assert names(traces["outer"]) == ["agent"]
    assert names(traces["inner"]) == ["chat"]


def test_trace_never_spans_two_sessions(spans):
    turn = spans.entry("turn", attributes={"session.id": "c-1"})
    other = spans.add("other", turn, {"session.id": "c-2"})
    spans.llm("chat", other)
    spans.add("back", other, {"session.id": "c-1"})
    sessions = {trace["name"]: (trace["session_id"], names(trace)) for trace in spans.traces()}
    assert sessions == {"turn": ("c-1", []), "other": ("c-2", ["chat"]), "back": ("c-1", [])}


def test_genai_below_a_local_root_makes_it_the_turn(spans):
    server = spans.add("POST /chat", attributes={"session.id": "c-1"})
    handler = spans.add("handler", server)
    agent = spans.add("agent", handler, {"gen_ai.operation.name": "invoke_agent"})
    spans.add("GET", agent)
    spans.llm("chat", spans.add("retry", agent))
    trace = spans.trace()
    assert trace["name"] == "POST /chat"
    assert parents(trace) == {"agent": None, "GET": "agent", "retry": "agent", "chat": "retry"}


def test_lone_model_call_is_trace_and_span(spans):
    spans.llm("chat gpt", attributes={"session.id": "c-1"})
    trace = spans.trace()
    assert trace["name"] == "chat gpt"
    assert parents(trace) == {"chat gpt": None}
    assert trace["spans"][0]["kind"] == "LLM"


def test_turn_has_the_only_session_of_its_spans(spans):
    server = spans.add("POST /chat")
    spans.llm("chat", server, {"session.id": "c-1", "user.id": "u-1"})
    trace = spans.trace()
    assert (trace["name"], trace["session_id"], trace["user_id"]) == ("POST /chat", "c-1", "u-1")


def test_job_over_two_sessions_is_context(spans):
    job = spans.add("job")
    for session in ("c-1", "c-2"):
        step = spans.add(f"step {session}", job, {"session.id": session})
        spans.llm("chat", step, {"session.id": session})
    traces = spans.traces()
    assert [(trace["name"], trace["session_id"]) for trace in traces] == [
        ("step c-1", "c-1"),
        ("step c-2", "c-2"),
    ]
    assert all(trace["metadata"]["otel.ancestors"] == ["job"] for trace in traces)


def test_session_alone_makes_a_local_root_a_trace(spans):
    server = spans.add("GET /cart", attributes={"session.id": "c-1"})
    spans.add("SELECT", server)
    trace = spans.trace()
    assert (trace["name"], trace["session_id"], names(trace)) == ("GET /cart", "c-1", ["SELECT"])


def test_spans_without_genai_and_session_are_no_trace(spans):
    spans.add("SELECT", spans.add("GET /"))
    assert spans.traces() == []


def test_model_call_beside_an_entry_is_kept(spans):
    server = spans.add("POST /chat")
    spans.llm("guard", server)
    spans.entry("turn", server)
    assert {trace["name"]: names(trace) for trace in spans.traces()} == {"POST /chat": ["guard"], "turn": []}


def test_missing_parent_makes_a_local_root(spans):
    spans.llm("chat", attributes={"session.id": "c-1"})
    orphan = replace(spans.records[0], parent_span_id=99)
    (trace,) = to_traces([orphan])
    assert trace["trace_id"] == pandaprobe_trace_id(orphan.trace_id, orphan.span_id, is_root=False)
    assert trace["spans"][0]["parent_span_id"] is None


def test_spans_come_by_start_but_never_before_their_parent(spans):
    turn = spans.entry("turn")
    late = spans.add("late parent", turn)
    spans.add("early child", late, start_ns=turn.start_ns - 5)
    spans.add("sibling", turn)
    assert names(spans.trace()) == ["late parent", "early child", "sibling"]


def test_order_of_arrival_changes_nothing(spans):
    job = spans.add("job")
    for number in range(3):
        turn = spans.entry(f"turn {number}", job, {"session.id": f"c-{number % 2}"})
        spans.llm("chat", spans.add("agent", turn), {"session.id": f"c-{number % 2}"})
    expected = spans.traces()
    for seed in range(10):
        Random(seed).shuffle(spans.records)
        assert spans.traces() == expected


def test_parents_in_a_circle_lose_no_span(spans):
    first = spans.add("a", attributes={"gen_ai.operation.name": "chat"}, parent_span_id=2)
    spans.llm("b", first)
    assert names(spans.trace()) == ["a", "b"]


def test_deep_chains_are_no_problem(spans):
    parent = spans.entry("turn")
    for number in range(3000):
        parent = spans.add(str(number), parent)
    (trace,) = to_traces(spans.records)
    assert len(trace["spans"]) == 3000


def test_otel_traces_are_apart(spans):
    one = spans.entry("one")
    mark = pandaprobe_trace_id(7, one.span_id, is_root=True)
    two = replace(one, name="two", trace_id=7, attributes={"pandaprobe.trace.id": mark})
    spans.records.append(two)
    assert {trace["name"] for trace in spans.traces()} == {"one", "two"}
