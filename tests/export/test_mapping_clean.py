import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandaprobe_schemas import check

from pandaprobe_otel.export.mapping import SpanEvent, SpanRecord, clean_json, to_traces
from pandaprobe_otel.export.mapping.clean import MAX_DEPTH, clean_text, shortened_id, token_count

KEYS = [
    "session.id",
    "user.id",
    "error.type",
    "gen_ai.operation.name",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.call.arguments",
    "gen_ai.request.model",
    "gen_ai.request.seed",
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.prompt.0.role",
    "gen_ai.prompt.0",
    "gen_ai.prompt.0.content",
    "gen_ai.prompt.0.tool_calls.0.name",
    "llm.input_messages.0.message.role",
    "llm.input_messages.0.message.contents.0.message_content.type",
    "llm.cost.total",
    "input.value",
    "pandaprobe.trace.id",
    "pandaprobe.span.kind",
    "pandaprobe.input",
    "pandaprobe.output",
    "pandaprobe.metadata",
    "pandaprobe.tags",
    "pandaprobe.status",
    "pandaprobe.cost",
    "pandaprobe.token_usage",
    "pandaprobe.model_parameters",
]
TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary(max_size=5)
PART = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("content", "id", "name", "arguments", "response", "modality", "uri"), LEAVES),
).flatmap(
    lambda part: st.sampled_from(["text", "reasoning", "tool_call", "tool_call_response", "uri", None]).map(
        lambda kind: {**part, "type": kind}
    )
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", 7])},
    optional={"parts": st.lists(PART | LEAVES, max_size=3) | LEAVES, "content": LEAVES, "name": LEAVES},
)
TREES = st.recursive(
    LEAVES, lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXT, below, max_size=3), max_leaves=6
)
VALUES = (
    TREES
    | st.lists(MESSAGE, max_size=3)
    | st.lists(MESSAGE, max_size=3).map(lambda m: json.dumps(m, default=str))
)
ATTRIBUTES = st.dictionaries(st.sampled_from(KEYS) | TEXT, VALUES, max_size=6)
RECORDS = st.builds(
    SpanRecord,
    trace_id=st.integers(1, 2),
    span_id=st.integers(1, 6),
    parent_span_id=st.none() | st.integers(1, 6),
    name=TEXT | st.text(min_size=513, max_size=600),
    start_ns=st.integers(0, 2**64 - 1),
    end_ns=st.none() | st.integers(0, 2**64 - 1),
    status_code=st.sampled_from(["UNSET", "OK", "ERROR"]),
    status_message=TEXT,
    attributes=ATTRIBUTES,
    events=st.lists(
        st.builds(SpanEvent, TEXT | st.just("exception"), st.integers(0, 2**64), ATTRIBUTES), max_size=1
    ),
    resource=ATTRIBUTES,
)


def texts(value):
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(st.lists(RECORDS, max_size=6))
def test_any_spans_become_bodies_that_pandaprobe_takes(records):
    for body in to_traces(records):
        check(body, "TraceCreate")
        for text in texts(body):
            text.encode()
            assert "\0" not in text


@given(st.lists(RECORDS, max_size=6))
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
def test_every_span_stands_in_one_trace_at_most(records):
    seen = [span["span_id"] for body in to_traces(records) for span in body["spans"]]
    assert len(seen) == len(set(seen))


@given(st.text(st.characters(exclude_categories=())))
def test_text_loses_nothing_but_what_cannot_be_stored(text):
    cleaned = clean_text(text)
    cleaned.encode()
    assert len(cleaned) == len(text)
    assert all(new == old or new == "\ufffd" for new, old in zip(cleaned, text, strict=True))


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        (float("nan"), None),
        (float("-inf"), None),
        ("a\0b\ud83d", "a\ufffdb\ufffd"),
        ("\N{PANDA FACE}", "\N{PANDA FACE}"),
        ({"a\0": (1, {"b": float("inf")})}, {"a\ufffd": [1, {"b": None}]}),
        (b"\x00\xff", "AP8="),
        pytest.param(10**5000, None, id="endless number"),
        (2**64, 2**64),
    ],
)
def test_values_become_json(value, cleaned):
    assert clean_json(value) == cleaned


def test_endless_nesting_is_cut():
    value: list[object] = []
    value.append(value)
    assert f"nested deeper than {MAX_DEPTH} levels" in json.dumps(clean_json(value))


def test_long_ids_stay_different():
    one, other = shortened_id("x" * 300 + "1"), shortened_id("x" * 300 + "2")
    assert len(one) == len(other) == 255
    assert one != other


def test_ids_are_text(spans):
    spans.entry("turn", attributes={"session.id": 17, "user.id": 4})
    trace = spans.trace()
    assert (trace["session_id"], trace["user_id"]) == ("17", "4")


def test_empty_ids_are_none(spans):
    spans.entry("turn", attributes={"session.id": " ", "user.id": ""})
    trace = spans.trace()
    assert (trace["session_id"], trace["user_id"]) == (None, None)


def test_metadata_says_what_was_shortened(spans):
    turn = spans.entry(
        "n" * 600,
        attributes={"session.id": "s" * 256, "user.id": "u" * 300},
        resource={"service.version": "v" * 256, "deployment.environment.name": "e" * 255},
    )
    spans.add("span", turn, {"gen_ai.request.model": "m" * 256})
    trace = spans.trace()
    assert trace["metadata"]["pandaprobe.shortened"] == {
        "name": 600,
        "session_id": 256,
        "user_id": 300,
        "release": 256,
    }
    assert trace["spans"][0]["metadata"]["pandaprobe.shortened"] == {"model": 256}
    assert [len(trace[field]) for field in ("name", "session_id", "user_id", "release", "environment")] == [
        512,
        255,
        255,
        255,
        255,
    ]


def test_span_without_a_name_gets_one(spans):
    spans.entry("")
    assert spans.trace()["name"] == "unnamed"


def test_counts_of_any_number_are_int32():
    assert [token_count(value) for value in (0, 2**31, "7", "x", None)] == [0, 2**31 - 1, 7, None, None]
