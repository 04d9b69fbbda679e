"""Which spans are sent, and where they hang when their parents are not."""

import gzip
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import in_process
import pandaprobe_receiver
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    set_span_in_context,
    use_span,
)
from otlp_receiver import Receiver, attributes_of

import pandaprobe_otel as pandaprobe
from pandaprobe_otel import runtime
from pandaprobe_otel.export.processor import ExportProcessor, Pipeline
from pandaprobe_otel.export.selection import in_sample
from pandaprobe_otel.export.spool import Item
from pandaprobe_otel.ids import pandaprobe_span_id
from pandaprobe_otel.session.stamping import SessionSpanProcessor, unseen
from pandaprobe_otel.settings import resolve

GENAI = {"gen_ai.operation.name": "chat"}


class Sender:
    """A provider with the processors of `init()`, an exporter of the user's, and what arrives."""

    def __init__(self, receiver: Receiver, provider: TracerProvider | None = None, **settings: Any) -> None:
        self.receiver = receiver
        wanted = {"endpoint": receiver.url, "flush_interval": 60, "protocol": "otlp", "spool_dir": "off"}
        self.processor = ExportProcessor()
        self.pipeline = Pipeline(resolve(wanted | settings), self.processor.lineage, unseen)
        self.processor.use(self.pipeline)
        self.theirs = InMemorySpanExporter()
        self.tracer_provider = provider or TracerProvider(shutdown_on_exit=False)
        for processor in (SessionSpanProcessor(), self.processor, SimpleSpanProcessor(self.theirs)):
            self.tracer_provider.add_span_processor(processor)
        self.tracer = self.tracer_provider.get_tracer("theirs")

    def start(self, name: str, parent: Any = INVALID_SPAN, **attributes: Any) -> Any:
        return self.tracer.start_span(name, set_span_in_context(parent, Context()), attributes=attributes)

    def sent(self) -> dict[str, str | None]:
        """Every span that has arrived, with its parent; both by name."""
        assert self.processor.flush(5)
        names = {span.span_id: span.name for span in self.receiver.spans}
        return {
            span.name: names[span.parent_span_id] if span.parent_span_id else None
            for span in self.receiver.spans
        }

    def traces(self) -> dict[str, Any]:
        """PandaProbe's traces of what has arrived so far, as soon as REST can send it, by id."""
        assert self.processor.flush(5)
        courier = pandaprobe_receiver.Courier()
        for number, request in enumerate(self.receiver.requests, 1):
            courier.load(Item(number, "spans", gzip.compress(request.SerializeToString(), 1), 1))
        return courier.receiver.stored()


@pytest.fixture
def sender() -> Iterator[Callable[..., Sender]]:
    made: list[Sender] = []
    with Receiver() as receiver:

        def sender(*args: Any, **settings: Any) -> Sender:
            made.append(Sender(receiver, *args, **settings))
            runtime.activate(made[-1])
            return made[-1]

        yield sender
        for each in made:
            each.processor.end(1)


def make_one_of_each(sender: Sender) -> None:
    with use_span(sender.start("server"), end_on_exit=True):
        sender.tracer.start_span("query").end()
        sender.tracer.start_span("chat", attributes=GENAI).end()
        with pandaprobe.start_trace("turn") as turn, turn.span("step"):
            sender.tracer.start_span("request").end()
        with pandaprobe.session("s"):
            sender.tracer.start_span("in session").end()


@pytest.mark.parametrize(
    ("export", "sent"),
    [
        # The server span is the turn of what is in no trace.
        (
            "session",
            {
                **dict.fromkeys(("chat", "turn", "in session"), "server"),
                "step": "turn",
                "request": "step",
                "server": None,
            },
        ),
        ("genai", {"chat": "server", "turn": "server", "step": "turn", "server": None}),
        (
            "all",
            {
                **dict.fromkeys(("query", "chat", "turn", "in session"), "server"),
                "step": "turn",
                "request": "step",
                "server": None,
            },
        ),
    ],
)
def test_spans_are_sent_by_what_they_belong_to(sender: Any, export: str, sent: Any) -> None:
    one = sender(export=export)
    make_one_of_each(one)
    assert one.sent() == sent
    assert (one.pipeline.stats.selected, one.pipeline.stats.made) == (len(sent), 7)


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.system": "openai"},
        {"gen_ai.provider.name": "openai"},
        {"openinference.span.kind": "LLM"},
        {"traceloop.span.kind": "workflow"},
        {"llm.request.type": "chat"},
        {"pandaprobe.input": "1"},
    ],
)
def test_genai_spans_of_every_convention_are_sent(sender: Any, attributes: Any) -> None:
    one = sender(export="genai")
    one.start("said", **attributes).end()
    one.start("unsaid", **{"gen_ai.conversation.id": "c", "http.route": "/"}).end()
    assert one.sent() == {"said": None}


def test_span_of_a_genai_instrumentation_is_known_before_it_says_what_it_is(sender: Any) -> None:
    one = sender()
    tracer = one.tracer_provider.get_tracer("openinference.instrumentation.langchain")
    chain = tracer.start_span("chain")
    one.start("chat", chain, **GENAI).end()
    assert one.processor.flush(5)
    chain.end()
    assert one.sent() == {"chat": "chain", "chain": None}


def test_other_exporters_see_every_span_unchanged(sender: Any) -> None:
    one = sender()
    make_one_of_each(one)
    one.sent()
    theirs = {span.name: span for span in one.theirs.get_finished_spans()}
    assert len(theirs) == 7
    for name in ("query", "chat", "turn", "in session"):
        assert theirs[name].parent.span_id == theirs["server"].context.span_id
        assert not any("skipped" in key for key in theirs[name].attributes)


# Every node after the first is the child of an earlier one; whether it is selected; and the order of ends.
trees = st.integers(2, 10).flatmap(
    lambda size: st.tuples(
        st.tuples(*(st.integers(0, number) for number in range(size - 1))),
        st.lists(st.booleans(), min_size=size, max_size=size),
        st.permutations(range(size)),
    )
)


def nearest(number: int, parents: tuple[int, ...], kept: list[bool]) -> int | None:
    while number:
        number = parents[number - 1]
        if kept[number]:
            return number
    return None


@given(tree=trees)
@hypothesis_settings(deadline=None, max_examples=60)
def test_tree_that_arrives_is_the_tree_without_what_was_not_selected(shared: Sender, tree: Any) -> None:
    parents, kept, ends = tree
    shared.receiver.requests.clear()
    server = shared.start("server")
    with use_span(server), pandaprobe.session("s"), pandaprobe.start_trace("turn") as turn:
        spans: list[Any] = []
        for number in range(len(kept)):
            above = spans[parents[number - 1]] if number else turn._span
            context = set_span_in_context(above)
            attributes = GENAI if kept[number] else None
            spans.append(shared.tracer.start_span(str(number), context, attributes=attributes))
        for number in ends:
            spans[number].end()
    server.end()
    above = {str(number): nearest(number, parents, kept) for number in range(len(kept)) if kept[number]}
    expected = {name: "turn" if parent is None else str(parent) for name, parent in above.items()}
    assert shared.sent() == {"turn": None, **expected}

    (trace,) = shared.traces().values()
    assert trace["trace_id"] == turn.trace_id
    assert trace["metadata"]["otel.ancestors"] == ["server"]
    ids = {
        name: pandaprobe_span_id(span.context.trace_id, span.context.span_id)
        for name, span in zip(map(str, range(len(spans))), spans, strict=True)
    }
    assert {span["name"]: span["parent_span_id"] for span in trace["spans"].values()} == {
        name: None if parent is None else ids[str(parent)] for name, parent in above.items()
    }


@given(tree=trees, flushes=st.sets(st.integers(0, 9)), late=st.sets(st.integers(0, 9)))
@hypothesis_settings(deadline=None, max_examples=60)
def test_no_parent_is_missing_when_spans_say_late_what_they_are(
    shared: Sender, tree: Any, flushes: set[int], late: set[int]
) -> None:
    parents, kept, ends = tree
    shared.receiver.requests.clear()
    spans: list[Any] = []
    for number in range(len(kept)):
        attributes = GENAI if kept[number] and number not in late else {}
        spans.append(shared.start(str(number), spans[parents[number - 1]] if number else None, **attributes))
    for number in ends:
        if kept[number]:
            spans[number].set_attributes(GENAI)
        spans[number].end()
        if number in flushes:
            shared.processor.flush(5)
    sent = shared.sent()  # which fails when a parent has not arrived
    selected = {str(number) for number in range(len(kept)) if kept[number]}
    assert set(sent) in (selected, {"0", *selected})
    for name, parent in sent.items():
        above = int(name)
        while parent is not None and above != int(parent):
            assert above, "it hangs under a span that is not above it"
            above = parents[above - 1]


class Ids(IdGenerator):
    """Hypothesis makes `random` give the same ids in every example."""

    def generate_span_id(self) -> int:
        return secrets.randbits(64)

    def generate_trace_id(self) -> int:
        return secrets.randbits(128)


@pytest.fixture(scope="module")
def shared() -> Iterator[Sender]:
    with Receiver() as receiver:
        sender = Sender(receiver, TracerProvider(id_generator=Ids(), shutdown_on_exit=False), export="genai")
        yield sender
        sender.processor.end(1)


@pytest.fixture(autouse=True)
def _shared_is_active(request: pytest.FixtureRequest) -> None:
    if "shared" in request.fixturenames:
        runtime.activate(request.getfixturevalue("shared"))


def test_turn_below_a_span_that_is_not_sent_arrives_at_once_with_the_id_that_it_had(sender: Any) -> None:
    one = sender()
    server = one.start("POST /chat")
    with use_span(server), pandaprobe.start_trace("turn", session_id="s") as turn:
        pass
    traces = one.traces()
    assert list(traces) == [turn.trace_id]
    assert traces[turn.trace_id]["metadata"]["otel.ancestors"] == ["POST /chat"]
    server.end()
    assert one.sent() == {"turn": None}


def test_request_with_two_agents_and_no_trace_is_one_turn(sender: Any) -> None:
    one = sender()
    server = one.start("server")
    handler = one.start("handler", server)
    for name in ("first", "second"):
        one.start(name, handler, **GENAI).end()
        one.processor.flush(5)
    handler.end()
    server.end()
    (turn,) = one.traces().values()
    assert turn["name"] == "server"
    assert sorted(span["name"] for span in turn["spans"].values()) == ["first", "second"]


def test_names_of_all_spans_above_a_turn_are_kept(sender: Any) -> None:
    one = sender()
    server = one.start("server")
    with use_span(server), pandaprobe.session("s"):
        middle = one.tracer.start_span("middle")
    unselected = one.start("unselected", middle)
    with use_span(unselected), pandaprobe.session("s"), pandaprobe.start_trace("turn"):
        pass
    for span in (unselected, middle, server):
        span.end()
    turn = next(trace for trace in one.traces().values() if trace["name"] == "turn")
    assert turn["metadata"]["otel.ancestors"] == ["server", "middle", "unselected"]


def test_parent_in_another_process_stays_the_parent(sender: Any) -> None:
    one = sender()
    remote = NonRecordingSpan(SpanContext(7, 8, True, TraceFlags(TraceFlags.SAMPLED)))
    server = one.start("server", remote)
    one.start("chat", server, **GENAI).end()
    server.end()
    one.processor.flush(5)
    chat, sent = one.receiver.spans
    assert chat.parent_span_id == sent.span_id
    assert sent.parent_span_id == (8).to_bytes(8, "big")
    assert sent.flags & 0x200, "marked as remote"


class DropsNoise(Sampler):
    """Samples each span by its own name."""

    def should_sample(
        self, parent_context: Any, trace_id: int, name: str, kind: Any, attributes: Any, *_: Any
    ) -> Any:
        decisions = {"dropped": Decision.DROP, "recorded": Decision.RECORD_ONLY}
        return SamplingResult(decisions.get(name, Decision.RECORD_AND_SAMPLE), attributes)

    def get_description(self) -> str:
        return "by name"


@pytest.mark.parametrize(("name", "parent"), [("recorded", "agent"), ("dropped", None)])
def test_parent_that_the_sampler_has_dropped_is_bridged(sender: Any, name: str, parent: str | None) -> None:
    one = sender(TracerProvider(sampler=DropsNoise(), shutdown_on_exit=False))
    agent = one.start("agent", **GENAI)
    between = one.start(name, agent, **GENAI)
    one.start("chat", between, **GENAI).end()
    between.end()
    agent.end()
    assert one.sent() == {"agent": None, "chat": parent}


def test_span_under_which_another_was_sent_is_sent_itself(sender: Any) -> None:
    limits = SpanLimits(max_attributes=2)
    one = sender(TracerProvider(span_limits=limits, shutdown_on_exit=False))
    agent = one.start("agent", **GENAI)
    one.start("chat", agent, **GENAI).end()
    one.processor.flush(5)
    agent.set_attributes({"more": 1, "than": 2, "fit": 3})
    agent.end()
    assert one.sent() == {"chat": "agent", "agent": None}


def test_session_that_has_fallen_off_a_span_still_selects_it(sender: Any) -> None:
    one = sender()
    with pandaprobe.session("s"):
        span = one.tracer.start_span("long")
    span.set_attributes({str(number): number for number in range(140)})
    span.end()
    assert one.sent() == {"long": None}


def test_request_that_joins_a_session_late_is_sent(sender: Any) -> None:
    one = sender()
    with use_span(one.start("server"), end_on_exit=True):
        one.tracer.start_span("before").end()
        pandaprobe.set_session("s")
        one.tracer.start_span("after").end()
    pandaprobe.set_session(None)
    assert one.sent() == {"after": "server", "server": None}


def test_open_spans_are_selected_at_exit_as_others_are(sender: Any) -> None:
    one = sender()
    server = one.start("server")
    agent = one.start("agent", server, **GENAI)
    one.start("chat", agent, **GENAI).end()
    assert one.processor.end(5)
    arrived = {span.name: span for span in one.receiver.spans}
    assert set(arrived) == {"server", "agent", "chat"}
    assert arrived["chat"].parent_span_id == arrived["agent"].span_id
    assert arrived["agent"].parent_span_id == arrived["server"].span_id
    for name in ("agent", "server"):
        assert attributes_of(arrived[name])["pandaprobe.span.open"] is True


def test_request_in_which_the_package_is_first_used_is_bridged() -> None:
    with Receiver() as receiver:
        in_process.run(
            f"""
            import pandaprobe_otel as pandaprobe
            from opentelemetry import trace
            from opentelemetry.sdk.trace import TracerProvider
            trace.set_tracer_provider(TracerProvider())
            with trace.get_tracer("theirs").start_as_current_span("server"):
                pandaprobe.init(endpoint="{receiver.url}")
                with pandaprobe.session("s"), pandaprobe.start_trace("turn"): pass
                pandaprobe.flush()
            """
        )
    assert receiver.span("turn").parent_span_id == b""


def test_child_of_a_fork_bridges_what_its_parent_does_not_send() -> None:
    with Receiver() as receiver:
        in_process.run(
            f"""
            import os, warnings
            import pandaprobe_otel as pandaprobe
            from opentelemetry import trace
            warnings.simplefilter("ignore", DeprecationWarning)
            pandaprobe.init(endpoint="{receiver.url}")
            with trace.get_tracer("theirs").start_as_current_span("server"), pandaprobe.session("s"):
                child = os.fork()
                if child == 0:
                    with pandaprobe.start_trace("turn"): pass
                    os._exit(not pandaprobe.flush())
                tell(code=os.waitpid(child, 0)[1])
            """
        )
    assert [(span.name, span.parent_span_id) for span in receiver.spans] == [("turn", b"")]


@pytest.mark.parametrize(
    ("session_id", "rate"), [("conversation-123", 0.3594), ("user-7/chat-1", 0.8882), ("Zürich", 0.2591)]
)
def test_sample_of_sessions_never_changes(session_id: str, rate: float) -> None:
    assert in_sample(session_id, rate)
    assert not in_sample(session_id, rate - 0.0001)


def test_sample_is_a_share_of_the_sessions() -> None:
    sessions = [f"session-{number}" for number in range(10_000)]
    shares = [sum(in_sample(session, rate) for session in sessions) / 10_000 for rate in (0.0, 0.1, 0.5, 1.0)]
    assert shares == pytest.approx([0.0, 0.1, 0.5, 1.0], abs=0.02)
    assert shares[0] == 0
    assert shares[-1] == 1


def test_sessions_are_sent_whole_or_not_at_all(sender: Any) -> None:
    one = sender(session_sample_rate=0.5)
    sessions = [f"session-{number}" for number in range(20)]
    for session in sessions:
        with pandaprobe.session(session), pandaprobe.start_trace(session) as turn, turn.span(session):
            one.tracer.start_span(session).end()
    with pandaprobe.start_trace("without session"):
        pass
    one.processor.flush(5)
    sent = [span.name for span in one.receiver.spans]
    kept = [session for session in sessions if in_sample(session, 0.5)]
    assert 0 < len(kept) < 20
    assert sorted(sent) == sorted([*kept * 3, "without session"])
    assert one.pipeline.stats.unselected == 3 * (20 - len(kept))


def test_turn_of_a_session_in_the_sample_hangs_over_one_that_is_not(sender: Any) -> None:
    one = sender(session_sample_rate=0.5)
    outside, inside = (
        next(name for name in map(str, range(100)) if in_sample(name, 0.5) is kept) for kept in (False, True)
    )
    with (
        pandaprobe.start_trace("outer", session_id=outside),
        pandaprobe.start_trace("inner", session_id=inside) as turn,
    ):
        pass
    assert one.sent() == {"inner": None}
    assert list(one.traces()) == [turn.trace_id]
