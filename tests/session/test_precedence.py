"""Which id wins, for every pair of sources, whichever of the two is the outer one."""

import contextvars
import importlib
from contextlib import ExitStack
from itertools import combinations
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.util.genai.handler import TelemetryHandler

import pandaprobe_otel as pandaprobe
from pandaprobe_otel import runtime
from pandaprobe_otel.session import conversations, identity
from pandaprobe_otel.session.identity import Known, Source

# The strongest first, as the contract has them.
SOURCES = ["creator", "parameter", "block", "set", "framework", "inbound", "parent"]
AT_THE_SPAN = {"creator", "parameter"}
FIELDS = {"session": "session.id", "user": "user.id"}


def establish(stack: ExitStack, tracer: trace.Tracer, source: str, field: str, id: str) -> None:
    if source == "block":
        stack.enter_context(getattr(pandaprobe, field)(id))
    elif source == "set":
        getattr(pandaprobe, f"set_{field}")(id)
    elif source == "parent":
        span = tracer.start_span("parent", attributes={FIELDS[field]: id})
        stack.callback(context.detach, context.attach(trace.set_span_in_context(span)))
    else:
        frame = identity.open_frame(**{field: Known(id, Source[source.upper()])})
        frame.enter()
        stack.callback(frame.leave)


def span_with(tracer: trace.Tracer, sources: dict[str, str], field: str) -> Any:
    attributes = {FIELDS[field]: sources["creator"]} if "creator" in sources else {}
    if "parameter" not in sources:
        return tracer.start_span("span", attributes=attributes)
    with pandaprobe.start_trace("span", **{f"{field}_id": sources["parameter"]}) as started:
        # The creator of a span inside is stronger than the parameter that holds around it.
        return tracer.start_span("span", attributes=attributes) if attributes else started._span


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("strong_is_outer", [True, False], ids=["outer", "inner"])
@pytest.mark.parametrize(("strong", "weak"), list(combinations(SOURCES, 2)))
def test_stronger_source_wins(
    tracer: trace.Tracer, strong: str, weak: str, strong_is_outer: bool, field: str
) -> None:
    def run() -> None:
        with ExitStack() as stack:
            for source in (strong, weak) if strong_is_outer else (weak, strong):
                if source not in AT_THE_SPAN:
                    establish(stack, tracer, source, field, source)
            at_the_span = {source: source for source in (strong, weak) if source in AT_THE_SPAN}
            span = span_with(tracer, at_the_span, field)
            assert span.attributes[FIELDS[field]] == strong

    contextvars.Context().run(run)


@pytest.mark.parametrize("source", SOURCES)
def test_each_source_alone_is_heard(tracer: trace.Tracer, source: str) -> None:
    def run() -> None:
        with ExitStack() as stack:
            if source not in AT_THE_SPAN:
                establish(stack, tracer, source, "session", "id")
            span = span_with(tracer, {source: "id"} if source in AT_THE_SPAN else {}, "session")
            assert span.attributes["session.id"] == "id"

    contextvars.Context().run(run)


def test_no_session_in_a_block_means_none(tracer: trace.Tracer) -> None:
    pandaprobe.set_session("set")
    with pandaprobe.session("outer"), pandaprobe.session(None):
        assert pandaprobe.current_session() is None
        span: Any = tracer.start_span("span")
        assert "session.id" not in span.attributes
    pandaprobe.set_session(None)


def test_empty_id_changes_nothing(tracer: trace.Tracer) -> None:
    with pandaprobe.session("outer"), pandaprobe.session("") as inner:
        assert inner == pandaprobe.current_session() == "outer"
        with pandaprobe.start_trace("t", session_id=""):
            assert pandaprobe.current_session() == "outer"


def test_innermost_block_wins(tracer: trace.Tracer) -> None:
    with pandaprobe.session("a"), pandaprobe.session("b"):
        assert pandaprobe.current_session() == "b"


def test_set_session_waits_for_the_block_to_end(tracer: trace.Tracer) -> None:
    with pandaprobe.session("block"):
        pandaprobe.set_session("set")
        assert pandaprobe.current_session() == "block"
    assert pandaprobe.current_session() == "set"
    pandaprobe.set_session(None)
    assert pandaprobe.current_session() is None


def test_closing_a_span_does_not_undo_set_session(tracer: trace.Tracer) -> None:
    with tracer.start_as_current_span("request"):
        pandaprobe.set_session("set")
    assert pandaprobe.current_session() == "set"
    pandaprobe.set_session(None)


def test_current_span_joins_a_session_that_is_set(tracer: trace.Tracer) -> None:
    with tracer.start_as_current_span("request") as span:
        pandaprobe.set_session("set")
        pandaprobe.set_user("u")
        pandaprobe.set_session("other")
    assert {"session.id": "set", "user.id": "u"}.items() <= span.attributes.items()  # type: ignore[attr-defined]
    pandaprobe.set_session(None)
    pandaprobe.set_user(None)


def test_current_span_does_not_join_inside_a_block(tracer: trace.Tracer) -> None:
    with tracer.start_as_current_span("request") as span, pandaprobe.session("block"):
        pandaprobe.set_session("set")
    assert "session.id" not in span.attributes  # type: ignore[attr-defined]
    pandaprobe.set_session(None)


def test_conversation_of_an_instrumentation_is_a_frameworks_session(tracer: trace.Tracer) -> None:
    def sessions() -> list[Any]:
        # What instrumentations make their spans with.
        handler = TelemetryHandler(tracer_provider=runtime.tracer_provider())
        with (
            handler.workflow("graph", conversation_id="thread-1") as workflow,
            handler.tool("search") as tool,
        ):
            inside: Any = tracer.start_span("inside")
            return [span.attributes["session.id"] for span in (workflow.span, tool.span, inside)]

    assert sessions() == ["thread-1"] * 3
    with pandaprobe.session("block"):
        assert sessions() == ["block"] * 3


def test_name_of_the_conversation_that_is_not_documented_is_still_there() -> None:
    assert hasattr(importlib.import_module(conversations.MODULE), conversations.KEY)
