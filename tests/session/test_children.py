"""Child processes: they join the session, and the trace of this package, that they were started in."""

import json
import subprocess
import sys
import uuid
from typing import Any

import in_process
import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import attach, detach
from otlp_receiver import Receiver, attributes_of

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.session import identity

CHILD = """
import sys, threading
import pandaprobe_otel as pandaprobe
from opentelemetry import baggage, trace

pandaprobe.init(endpoint=sys.argv[1], protocol=sys.argv[2])
tracer = trace.get_tracer("child")
thread = threading.Thread(target=lambda: tracer.start_span("in a thread").end())
tracer.start_span("alone").end()
thread.start(), thread.join()
with pandaprobe.start_trace("tool"):
    pass
assert pandaprobe.flush()
"""
SEEN = "import pandaprobe_otel as p, json; print(json.dumps([p.current_session(), p.current_user()]))"


def child_env(**extra: str) -> dict[str, str]:
    return {**in_process.clean_environment(), **pandaprobe.session_env(), **extra}


def seen_by_child(env: dict[str, str], program: str = SEEN) -> Any:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], env=env, capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


@pytest.mark.parametrize("id", ["c-1", "a b+c%2B,d=e;f", "Gespräch 🐼", "שלום", "x" * 255, "🐼" * 255])
def test_every_id_survives(id: str, tracer: trace.Tracer) -> None:
    with pandaprobe.session(id), pandaprobe.user(id):
        written = pandaprobe.session_env()["BAGGAGE"]
    assert [known.id for known in identity.ids_in(written)] == [id, id]


def test_child_has_what_was_set_and_not_what_has_ended(tracer: trace.Tracer) -> None:
    with pandaprobe.session("ended"):
        pass
    pandaprobe.set_user("Zoë 7")
    assert seen_by_child(child_env()) == [None, "Zoë 7"]
    pandaprobe.set_user(None)


def test_nothing_is_given_where_nothing_holds(tracer: trace.Tracer) -> None:
    with tracer.start_as_current_span("somebody else's"):
        assert pandaprobe.session_env() == {}


def test_what_is_inherited_ends_where_code_says_otherwise() -> None:
    program = """
import json, pandaprobe_otel as p
seen = [p.current_session()]
with p.session("block"):
    seen.append(p.current_session())
with p.session(None):
    seen += [p.current_session(), p.session_env()]
p.set_session("set")
seen += [p.current_session(), p.session_env()]
print(json.dumps(seen))
"""
    seen = seen_by_child({**in_process.clean_environment(), "BAGGAGE": "session.id=outer"}, program)
    assert seen == ["outer", "block", None, {"BAGGAGE": ""}, "set", {"BAGGAGE": "session.id=set"}]


def test_grandchild_has_the_session_too() -> None:
    program = f"""
import os, subprocess, sys
import pandaprobe_otel
subprocess.run([sys.executable, "-c", {SEEN!r}], check=True)
"""
    env = {**in_process.clean_environment(), "BAGGAGE": "session.id=outer"}
    assert seen_by_child(env, program) == ["outer", None]


@pytest.mark.parametrize(
    "text", ["session.id", "=,;", "session.id=%ZZ", "session.id=", "x" * 9000, "a=b," * 200, "session.id=%00"]
)
def test_baggage_that_is_no_good_is_no_harm(text: str) -> None:
    session, user = identity.ids_in(text)
    assert session.id in (None, "%ZZ", "\N{REPLACEMENT CHARACTER}")
    assert user is identity.UNKNOWN


def test_baggage_of_others_goes_along_as_far_as_it_fits(tracer: trace.Tracer) -> None:
    with pandaprobe.session("s"):
        token = attach(baggage.set_baggage("tenant", "a b"))
        assert pandaprobe.session_env() == {"BAGGAGE": "session.id=s,tenant=a%20b"}
        detach(token)
        token = attach(baggage.set_baggage("\udc80", "x" * 9000))
        assert pandaprobe.session_env() == {"BAGGAGE": "session.id=s"}
        detach(token)


def run_child(receiver: Receiver, protocol: str = "otlp") -> None:
    program = [sys.executable, "-W", "error", "-c", CHILD, receiver.url, protocol]
    subprocess.run(program, env=child_env(PANDAPROBE_SPOOL_DIR="off"), check=True)


def test_spans_of_a_child_hang_under_the_trace_that_it_was_started_in(tracer: trace.Tracer) -> None:
    with Receiver() as receiver, pandaprobe.start_trace("turn", session_id="s") as turn, turn.span("step"):
        parent = trace.get_current_span().get_span_context()
        run_child(receiver)
    spans = {span.name: span for span in receiver.spans}
    assert sorted(spans) == ["alone", "in a thread", "tool"]
    for span in spans.values():
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (
            turn.otel_trace_id,
            f"{parent.span_id:016x}",
        )
        assert attributes_of(span)["session.id"] == "s"
        assert attributes_of(span)["pandaprobe.trace.id"] == turn.trace_id


def test_parents_of_a_child_outside_our_traces_stay_as_they_were(tracer: trace.Tracer) -> None:
    with Receiver() as receiver, tracer.start_as_current_span("somebody else's"), pandaprobe.session("s"):
        run_child(receiver)
    assert [span.parent_span_id for span in receiver.spans] == [b""] * 3
    assert {attributes_of(span)["session.id"] for span in receiver.spans} == {"s"}


def test_traceparent_of_somebody_else_changes_no_parent() -> None:
    env = {"TRACEPARENT": f"00-{uuid.uuid4().hex}-00f067aa0ba902b7-01", "BAGGAGE": "session.id=s"}
    with Receiver() as receiver:
        program = [sys.executable, "-W", "error", "-c", CHILD, receiver.url, "otlp"]
        subprocess.run(program, env={**in_process.clean_environment(), **env}, check=True)
    assert [span.parent_span_id for span in receiver.spans] == [b""] * 3


def test_rest_adds_the_spans_of_a_child_to_the_turn(tracer: trace.Tracer) -> None:
    with Receiver() as receiver, pandaprobe.start_trace("turn", session_id="s") as turn:
        run_child(receiver, "rest")
    assert receiver.paths == [f"/traces/{turn.trace_id}/spans"]
    assert [span["name"] for span in receiver.bodies[0]] == ["alone", "in a thread", "tool"]
