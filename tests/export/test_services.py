"""A turn that goes through several services: each sends its own spans, and PandaProbe has one trace."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
from opentelemetry import propagate
from opentelemetry.context import attach, detach
from opentelemetry.trace import SpanKind
from pandaprobe_receiver import Client, Courier, Receiver

from pandaprobe_otel import propagation, runtime
from pandaprobe_otel.export.mapping import record
from pandaprobe_otel.session.propagation import guard_boundaries
from pandaprobe_otel.settings import resolve
from pandaprobe_otel.tracing.trace import start_trace


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client()
    runtime.activate(made)
    guard_boundaries(resolve({"api_key": "sk_pp_1", "project_name": "shop"}))
    yield made
    guard_boundaries(None)


@contextmanager
def called(headers):
    """In the service that a request with these headers has reached."""
    token = attach(propagate.extract(headers))
    try:
        yield
    finally:
        detach(token)


def call(client, name="call"):
    """The headers of a call to another service."""
    headers = {}
    peer = {"server.address": "billing"}
    with client.tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=peer):
        propagate.inject(headers)
    return headers


def serve(client, headers):
    """The spans of the service that was called."""
    kept = client.take()
    with (
        called(headers),
        client.tracer.start_as_current_span("serve", kind=SpanKind.SERVER),
        start_trace("sub-agent") as trace,
        trace.span("tool", kind="TOOL"),
    ):
        pass
    spans = client.take()
    client.ended.extend(kept)
    return spans


def tree(trace):
    names = {span_id: span["name"] for span_id, span in trace["spans"].items()}
    for span in trace["spans"].values():
        assert span["parent_span_id"] in (None, *names), span["name"]
    return {span["name"]: names.get(span["parent_span_id"]) for span in trace["spans"].values()}


WHOLE = {"call": None, "serve": "call", "sub-agent": "serve", "tool": "sub-agent"}


@pytest.mark.parametrize("above", ["nothing", "a server span"])
def test_spans_of_the_called_service_wait_for_the_trace_and_join_it(client, above):
    receiver = Receiver()
    here, there = Courier(receiver), Courier(receiver)
    outer = nullcontext() if above == "nothing" else client.tracer.start_as_current_span("GET /")
    with outer, start_trace("turn", session_id="c-1"):
        headers = call(client)
        there.bring(serve(client, headers))
        there.wait(5)
        assert set(receiver.paths()) == {"POST /traces/*/spans"}
    here.bring(client.take())
    there.wait(60)
    assert tree(receiver.named("turn")) == WHOLE
    assert receiver.named("turn")["session_id"] == "c-1"
    assert receiver.paths(202) == ["POST /traces"]
    assert (there.acked, there.aside) == ([1], [])


def test_below_the_entry_itself_spans_stand_at_the_top(client):
    receiver = Receiver()
    here, there = Courier(receiver), Courier(receiver)
    headers = {}
    with start_trace("turn", session_id="c-1"):
        propagation.inject(headers)
    here.bring(client.take())
    there.bring(serve(client, headers))
    assert tree(receiver.named("turn")) == {"serve": None, "sub-agent": "serve", "tool": "sub-agent"}


def test_spans_that_end_after_the_server_span_join_too(client):
    receiver = Receiver()
    here, there = Courier(receiver), Courier(receiver)
    with start_trace("turn", session_id="c-1"):
        headers = call(client)
        kept = client.take()
        with called(headers), client.tracer.start_as_current_span("serve", kind=SpanKind.SERVER):
            late = client.tracer.start_span("late")
        there.bring(client.take())
        late.end()
        there.bring(client.take())
        there.wait(5)
        client.ended.extend(kept)
    here.bring(client.take())
    there.wait(60)
    assert tree(receiver.named("turn")) == {"call": None, "serve": "call", "late": "serve"}
    assert receiver.paths(202) == ["POST /traces"]


def test_service_that_calls_itself_waits_for_its_entry(client):
    open_entry = record.SpanRecord(1, 1, None, "turn", 1)
    courier = Courier(open_entry=lambda trace_id: open_entry)
    with start_trace("turn", session_id="c-1"):
        courier.bring(serve(client, call(client)))
        courier.wait(5)
        assert courier.receiver.requests == []
    courier.bring(client.take())
    assert tree(courier.receiver.named("turn")) == WHOLE
    assert courier.receiver.paths() == ["POST /traces"]


def test_service_that_calls_itself_does_not_wait_for_itself(client):
    courier = Courier()
    with start_trace("turn", session_id="c-1"):
        courier.bring(serve(client, call(client)))
        courier.wait(5)
    courier.bring(client.take())
    courier.wait(20)
    assert tree(courier.receiver.named("turn")) == WHOLE
    assert courier.receiver.paths(202) == ["POST /traces"]
    assert sorted(courier.acked) == [1, 2]


def test_turn_that_never_comes_is_made_of_what_is_there(client):
    courier = Courier()
    with start_trace("turn", session_id="c-1") as turn:
        courier.bring(serve(client, call(client)))
    courier.wait(1000)
    assert courier.receiver.stored()[turn.trace_id]["session_id"] == "c-1"
    assert courier.acked == [1]


def test_turns_of_two_requests_stay_apart(client):
    receiver = Receiver()
    here, there = Courier(receiver), Courier(receiver)
    with client.tracer.start_as_current_span("worker"):
        for name in ("turn 1", "turn 2"):
            with start_trace(name, session_id="c-1"):
                there.bring(serve(client, call(client)))
    here.bring(client.take())
    there.wait(60)
    assert tree(receiver.named("turn 1")) == tree(receiver.named("turn 2")) == WHOLE
