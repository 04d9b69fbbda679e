"""The encoder: OpenTelemetry's own is the measure, but for what it loses."""

import logging
from collections import ChainMap, UserDict
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
    set_span_in_context,
)

from pandaprobe_otel.export.encoding import encode

CONTEXT = SpanContext(0xA << 120, 0xB << 56, is_remote=False)
MAX_INT = 2**63 - 1


class Spans:
    """Makes spans with providers of the SDK, and collects them as they end."""

    def __init__(self) -> None:
        self._memory = InMemorySpanExporter()

    def tracer(
        self, resource: Resource | None = None, limits: SpanLimits | None = None, **scope: Any
    ) -> Tracer:
        provider = TracerProvider(
            resource=Resource({}) if resource is None else resource,
            span_limits=limits,
            shutdown_on_exit=False,
        )
        provider.add_span_processor(SimpleSpanProcessor(self._memory))
        return provider.get_tracer(**{"instrumenting_module_name": "test", **scope})

    @property
    def ended(self) -> Sequence[ReadableSpan]:
        return self._memory.get_finished_spans()


@pytest.fixture
def spans() -> Spans:
    return Spans()


def span(name: Any = "span", **fields: Any) -> ReadableSpan:
    given: dict[str, Any] = {"context": CONTEXT, "resource": Resource({}), "start_time": 1, "end_time": 2}
    return ReadableSpan(name, **{**given, **fields})


def only_span(request: ExportTraceServiceRequest) -> Any:
    [resource_spans] = request.resource_spans
    [scope_spans] = resource_spans.scope_spans
    [only] = scope_spans.spans
    return only


def strings(attributes: Any) -> dict[str, str]:
    return {attribute.key: attribute.value.string_value for attribute in attributes}


def value_of(value: Any) -> Any:
    """The message that an attribute's value becomes."""
    [attribute] = only_span(encode([span(attributes={"key": value})])).attributes
    return attribute.value


def assert_as_opentelemetry(spans: Sequence[ReadableSpan]) -> None:
    # Compared as bytes, since a message with a NaN does not equal itself.
    assert encode(spans).SerializeToString() == encode_spans(spans).SerializeToString()


# Text that UTF-8 can hold.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
ids = st.integers(0, 2**64 - 1)
scalars = st.none() | st.booleans() | texts | st.integers(-MAX_INT - 1, MAX_INT) | st.floats() | st.binary()
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(texts.filter(bool), inner, max_size=3)
    ),
    max_leaves=6,
)
plain_attributes = st.dictionaries(texts.filter(bool), values, max_size=4)
# As in the SDK's own spans; at most two are kept, so that some are dropped.
bounded_attributes = st.builds(
    BoundedAttributes,
    maxlen=st.none() | st.just(2),
    attributes=st.dictionaries(texts.filter(bool), texts | st.booleans() | st.integers(-9, 9), max_size=4),
)
attributes = st.none() | plain_attributes | bounded_attributes
trace_states = st.just(TraceState()) | st.just(TraceState([("vendor", "a b"), ("other@vendor", "c")]))
contexts = st.builds(
    SpanContext, st.integers(0, 2**128 - 1), ids, st.booleans(), st.just(TraceFlags(1)), trace_states
)
times = st.none() | ids
few = {"key": st.sampled_from([1, True, 1.0, "1"])}
resources = st.builds(
    Resource, st.fixed_dictionaries({}, optional=few), st.sampled_from([None, "", "https://example.com/1"])
)
scopes = st.builds(
    InstrumentationScope,
    st.sampled_from(["", "a", "b"]),
    st.sampled_from([None, "", "1"]),
    st.sampled_from([None, "https://example.com/2"]),
    st.none() | st.fixed_dictionaries({}, optional=few),
)
events = st.builds(Event, texts, attributes, ids)
links = st.builds(Link, contexts, attributes)
statuses = st.builds(Status, st.just(StatusCode.ERROR), st.none() | texts) | st.builds(
    Status, st.sampled_from([StatusCode.UNSET, StatusCode.OK])
)
readable_spans = st.builds(
    ReadableSpan,
    texts,
    context=contexts,
    parent=st.none() | contexts,
    resource=resources,
    attributes=attributes,
    events=st.lists(events, max_size=2),
    links=st.lists(links, max_size=2),
    kind=st.sampled_from(SpanKind),
    status=statuses,
    start_time=times,
    end_time=times,
    instrumentation_scope=st.none() | scopes,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(readable_spans, max_size=5))
def test_generated_spans_are_encoded_as_by_opentelemetry(spans: list[ReadableSpan]) -> None:
    assert_as_opentelemetry(spans)


def test_no_spans_are_an_empty_request() -> None:
    assert encode([]) == ExportTraceServiceRequest()


def test_spans_of_the_sdk_are_encoded_as_by_opentelemetry(spans: Spans) -> None:
    tracer = spans.tracer(
        Resource({"service.name": "shop", "ports": [1, 2]}, "https://example.com/1"),
        instrumenting_library_version="1.2",
        schema_url="https://example.com/2",
        attributes={"scope": True},
    )
    remote = SpanContext(1, 2, True, TraceFlags(1), trace_state=TraceState([("vendor", "x")]))
    context = set_span_in_context(NonRecordingSpan(remote))
    with tracer.start_as_current_span(
        "server", context, SpanKind.SERVER, links=[Link(remote, {"why": "batch"})]
    ):
        with tracer.start_as_current_span("inner", kind=SpanKind.CLIENT) as inner:
            inner.set_attributes({"s": "é", "i": -1, "f": 0.5, "b": False, "t": ["x", "y"], "e": []})
            inner.add_event("first", {"n": 1}, timestamp=5)
            inner.add_event("second")
            inner.add_link(CONTEXT)
        with pytest.raises(ZeroDivisionError), tracer.start_as_current_span("fails"):
            _ = 1 / 0
    with tracer.start_as_current_span("ok") as ok:
        ok.set_status(StatusCode.OK)
    assert len(spans.ended) == 4
    assert_as_opentelemetry(spans.ended)


def test_nested_attributes_of_the_sdk_are_encoded_as_by_opentelemetry(spans: Spans) -> None:
    nested: dict[str, Any] = {
        "none": None,
        "bytes": b"\xff",
        "list": [{"a": [1]}],
        "dict": {},
        "mixed": [1, "x"],
    }
    with spans.tracer().start_as_current_span("span") as current:
        current.set_attributes(nested)
    assert_as_opentelemetry(spans.ended)


def test_spans_that_the_sdk_has_not_made_are_encoded_as_by_opentelemetry() -> None:
    class Uncopyable(UserDict[str, Any]):
        copy: Any = None

    none: Any = None
    assert_as_opentelemetry([span(attributes=Uncopyable(a=1), status=none)])
    assert_as_opentelemetry([span(attributes=ChainMap({"a": 1}, {"b": 2}))])


def test_what_limits_have_dropped_is_counted_as_by_opentelemetry(spans: Spans) -> None:
    limits = SpanLimits(
        max_span_attributes=1, max_events=1, max_links=1, max_event_attributes=1, max_link_attributes=1
    )
    two = {"a": 1, "b": 2}
    with spans.tracer(limits=limits).start_as_current_span("span", attributes=two) as current:
        for _ in range(3):
            current.add_event("event", two)
            current.add_link(CONTEXT, two)
    encoded = only_span(encode(spans.ended))
    assert (encoded.dropped_attributes_count, encoded.dropped_events_count, encoded.dropped_links_count) == (
        1,
        2,
        2,
    )
    assert_as_opentelemetry(spans.ended)


def test_spans_are_grouped_by_equal_resources_and_scopes_in_order_of_appearance(spans: Spans) -> None:
    tracers = [
        spans.tracer(Resource(resource), instrumenting_module_name=name)
        # The third resource equals the first.
        for resource in ({"a": 1, "b": 2}, {"a": 1}, {"b": 2, "a": 1}, {"a": True})
        for name in ("x", "y")
    ]
    for tracer in [*tracers, *reversed(tracers)]:
        tracer.start_span("span").end()
    assert [len(group.scope_spans) for group in encode(spans.ended).resource_spans] == [2, 2, 2]
    assert_as_opentelemetry(spans.ended)


@pytest.mark.parametrize(
    ("lone", "whole"), [("\ud800", "\ufffd"), ("a\udfffb", "a\ufffdb"), ("\udc00\ud800", "\ufffd\ufffd")]
)
def test_lone_surrogates_become_replacement_characters_everywhere(lone: str, whole: str) -> None:
    def made(text: str) -> ReadableSpan:
        attributes: Any = {text: text, "list": (text,), "dict": {text: text}}
        return span(
            text,
            attributes=attributes,
            events=[Event(text, attributes, 1)],
            links=[Link(CONTEXT, attributes)],
            status=Status(StatusCode.ERROR, text),
            resource=Resource({text: text}, text),
            instrumentation_scope=InstrumentationScope(text, text, text, {text: text}),
        )

    encoded = encode([made(lone)])
    assert encoded == encode([made(whole)])
    encoded.SerializeToString()
    assert_as_opentelemetry([made(whole)])


@given(st.text())
def test_any_text_is_encoded(text: str) -> None:
    assert value_of(text).string_value == "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)


@pytest.mark.parametrize("value", [MAX_INT + 1, -MAX_INT - 2, 10**100])
def test_integers_of_more_than_64_bits_become_strings(value: int) -> None:
    assert value_of(value).string_value == str(value)
    assert value_of([1, value]).array_value.values[1].string_value == str(value)
    assert value_of({"n": value}).kvlist_value.values[0].value.string_value == str(value)


@pytest.mark.parametrize("value", [MAX_INT, -MAX_INT - 1])
def test_integers_of_64_bits_stay_integers(value: int) -> None:
    assert value_of(value).int_value == value


def test_an_integer_that_python_does_not_print_becomes_its_type() -> None:
    value = value_of(10**5000).string_value
    assert value in ("<int>", str(10**4000) + "0" * 1000)


def test_what_a_span_does_not_show_is_added_to_it(spans: Spans) -> None:
    tracer = spans.tracer(limits=SpanLimits(max_span_attributes=1))
    tracer.start_span("whole", attributes={"a": "1"}).end()
    tracer.start_span("lossy", attributes={"a": "1", "b": "2"}).end()

    def lost(span: ReadableSpan) -> dict[str, str]:
        return {"session.id": "s\ud800"} if span.dropped_attributes else {}

    whole, lossy = encode(spans.ended, unseen=lost).resource_spans[0].scope_spans[0].spans
    assert strings(whole.attributes) == {"a": "1"}
    assert strings(lossy.attributes) == {"b": "2", "session.id": "s\ufffd"}


def test_a_failing_look_up_of_lost_attributes_costs_only_them(spans: Spans) -> None:
    spans.tracer(limits=SpanLimits(max_span_attributes=0)).start_span("lossy", attributes={"a": "1"}).end()

    def lost(span: ReadableSpan) -> dict[str, str]:
        raise LookupError

    assert encode(spans.ended, unseen=lost) == encode_spans(spans.ended)


def test_a_resource_gets_the_attributes_that_it_has_none_of() -> None:
    made = [span(resource=Resource(own)) for own in ({"service.name": "own"}, {}, {"service.name": "own"})]
    encoded = encode(made, resource={"service.name": "given", "other": "x"})
    assert [strings(group.resource.attributes) for group in encoded.resource_spans] == [
        {"service.name": "own", "other": "x"},
        {"service.name": "given", "other": "x"},
    ]


class Unprintable:
    def __repr__(self) -> str:
        raise AssertionError


class Failing(list[Any]):
    def __iter__(self) -> Iterator[Any]:
        raise LookupError


@pytest.mark.parametrize("value", [Unprintable(), Failing([1]), {1, 2}, object])
def test_a_value_of_a_foreign_type_becomes_the_name_of_its_type(value: Any) -> None:
    name = f"<{type(value).__name__}>"
    assert value_of(value).string_value == name
    assert value_of([value]).array_value.values[0].string_value == name


def test_values_nest_as_deep_as_a_receiver_reads_them() -> None:
    value: Any = "deep"
    for _ in range(200):
        value = {"k": value}
    encoded = encode([span(events=[Event("event", {"k": value}, 1)])])
    assert ExportTraceServiceRequest.FromString(encoded.SerializeToString()) == encoded
    assert b"<dict>" in encoded.SerializeToString()


def test_a_span_with_wrong_fields_keeps_the_right_ones() -> None:
    fields: dict[str, Any] = {"kind": 7, "start_time": 1.5, "end_time": -1, "attributes": {1: "x"}}
    encoded = only_span(encode([span(Unprintable(), **fields)]))
    assert encoded.span_id == CONTEXT.span_id.to_bytes(8, "big")
    assert (encoded.name, encoded.kind) == ("<Unprintable>", 0)
    assert (encoded.start_time_unix_nano, encoded.end_time_unix_nano) == (0, 0)
    assert strings(encoded.attributes) == {"1": "x"}


def test_a_link_without_ids_is_left_out_alone(spans: Spans) -> None:
    outside = SpanContext(1 << 200, 1, is_remote=False)
    links = [Link(outside, {"a": 1}), Link(CONTEXT)]
    spans.tracer().start_span("span", links=links, attributes={"a": "1"}).end()
    encoded = only_span(encode(spans.ended))
    assert [link.span_id for link in encoded.links] == [CONTEXT.span_id.to_bytes(8, "big")]
    assert strings(encoded.attributes) == {"a": "1"}


def test_a_span_without_ids_is_left_out_alone_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    made = [span("first"), span("without", context=None), span("without", context=None), span("last")]
    with caplog.at_level(logging.WARNING):
        encoded = encode(made)
    assert encoded == encode_spans([made[0], made[-1]])
    assert [record.name for record in caplog.records] == ["pandaprobe_otel.export"]
