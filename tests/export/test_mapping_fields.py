import json

import pytest

from pandaprobe_otel.export.mapping import SpanEvent

EXCEPTION = SpanEvent("exception", 1, {"exception.type": "ValueError", "exception.message": "no city"})


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"pandaprobe.span.kind": "TOOL", "gen_ai.operation.name": "chat"}, "TOOL"),
        ({"pandaprobe.span.kind": "unknown", "gen_ai.operation.name": "chat"}, "LLM"),
        ({"gen_ai.operation.name": "text_completion"}, "LLM"),
        ({"gen_ai.operation.name": "generate_content"}, "LLM"),
        ({"gen_ai.operation.name": "execute_tool"}, "TOOL"),
        ({"gen_ai.operation.name": "invoke_agent"}, "AGENT"),
        ({"gen_ai.operation.name": "create_agent"}, "AGENT"),
        ({"gen_ai.operation.name": "embeddings"}, "EMBEDDING"),
        ({"gen_ai.operation.name": "retrieval"}, "RETRIEVER"),
        ({"gen_ai.operation.name": "invoke_workflow"}, "CHAIN"),
        ({"gen_ai.operation.name": "unknown", "openinference.span.kind": "AGENT"}, "AGENT"),
        ({"openinference.span.kind": "RERANKER"}, "RETRIEVER"),
        ({"openinference.span.kind": "GUARDRAIL"}, "OTHER"),
        ({"traceloop.span.kind": "workflow"}, "CHAIN"),
        ({"llm.request.type": "completion"}, "LLM"),
        ({"gen_ai.operation.name": ["chat"]}, "OTHER"),
        ({}, "OTHER"),
    ],
)
def test_kind_is_that_of_the_first_convention_that_knows(span_of, attributes, kind):
    assert span_of(attributes)["kind"] == kind


def test_requested_model_is_shown_and_the_other_kept(span_of):
    span = span_of({"gen_ai.request.model": "gpt-5", "gen_ai.response.model": "gpt-5-2026"})
    assert span["model"] == "gpt-5"
    assert span["metadata"]["gen_ai.response.model"] == "gpt-5-2026"
    assert "gen_ai.request.model" not in span["metadata"]


@pytest.mark.parametrize("key", ["gen_ai.request.model", "llm.model_name", "gen_ai.response.model"])
def test_model_has_several_spellings(span_of, key):
    span = span_of({key: "m", "gen_ai.response.model": "m"})
    assert span["model"] == "m"
    assert "gen_ai.response.model" not in span["metadata"]


def test_model_parameters_are_merged(span_of):
    span = span_of(
        {
            "gen_ai.request.model": "m",
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.stop_sequences": ("a", "b"),
            "llm.invocation_parameters": '{"temperature": 0.1, "user": "u"}',
            "pandaprobe.model_parameters": '{"effort": "low"}',
        }
    )
    assert span["model_parameters"] == {
        "temperature": 0.5,
        "stop_sequences": ["a", "b"],
        "user": "u",
        "effort": "low",
    }


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"status_code": "ERROR", "status_message": "boom", "events": [EXCEPTION]}, "boom"),
        ({"status_code": "ERROR", "events": [EXCEPTION]}, "no city"),
        ({"status_code": "ERROR"}, "timeout"),
        ({"status_code": "OK", "events": [EXCEPTION]}, None),
        ({}, None),
    ],
)
def test_error_says_why_a_span_failed(span_of, fields, error):
    span = span_of({"error.type": "timeout"}, **fields)
    assert span["error"] == error
    assert span["status"] == fields.get("status_code", "OK")


def test_first_token_is_timed_from_the_start(span_of):
    span = span_of(
        {"gen_ai.response.time_to_first_chunk": 0.25}, start_ns=1_780_000_000_000_000_123, end_ns=None
    )
    assert span["started_at"] == "2026-05-28T20:26:40.000000+00:00"
    assert span["completion_start_time"] == "2026-05-28T20:26:40.250000+00:00"
    assert span["ended_at"] is None


def test_what_no_field_holds_is_metadata(spans):
    turn = spans.entry("turn")
    record = spans.add(
        "span",
        turn,
        {
            "http.route": "/",
            "gen_ai.usage.details": [1, {"a": None}],
            "pandaprobe.metadata": '{"team": "a", "http.route": "mine"}',
            "session.id": "c-1",
        },
        resource={"service.name": "shop", "service.version": "1.2", "deployment.environment.name": "prod"},
        scope_name="scope",
        scope_version="3",
        events=[EXCEPTION],
    )
    (span,) = spans.trace()["spans"]
    assert span["metadata"] == {
        "http.route": "mine",
        "gen_ai.usage.details": [1, {"a": None}],
        "team": "a",
        "otel.trace_id": f"{record.trace_id:032x}",
        "otel.span_id": f"{record.span_id:016x}",
        "otel.scope.name": "scope",
        "otel.scope.version": "3",
        "otel.events": [
            {
                "name": "exception",
                "time": "1970-01-01T00:00:00.000000+00:00",
                "attributes": EXCEPTION.attributes,
            }
        ],
        "service.name": "shop",
    }


@pytest.mark.parametrize("name", ["metadata", "model_parameters", "token_usage", "cost"])
@pytest.mark.parametrize("text", ['{"a": "b', "[1]", '"text"', "{" * 100_000])
def test_json_that_is_no_object_is_kept_as_text(span_of, name, text):
    assert span_of({f"pandaprobe.{name}": text})["metadata"][f"pandaprobe.{name}"] == text


def test_resource_gives_environment_and_release(spans):
    spans.entry(
        "turn",
        resource={"service.version": "1.2", "deployment.environment.name": "prod"},
    )
    trace = spans.trace()
    assert (trace["environment"], trace["release"]) == ("prod", "1.2")


@pytest.mark.parametrize(
    ("attributes", "fields", "status"),
    [
        ({}, {}, "COMPLETED"),
        ({}, {"status_code": "ERROR"}, "ERROR"),
        ({}, {"end_ns": None}, "RUNNING"),
        ({"pandaprobe.status": "PENDING"}, {"status_code": "ERROR"}, "PENDING"),
        ({"pandaprobe.status": "odd"}, {}, "COMPLETED"),
    ],
)
def test_status_of_a_trace(spans, attributes, fields, status):
    spans.entry("turn", attributes=attributes, **fields)
    assert spans.trace()["status"] == status


def test_failed_trace_keeps_its_message(spans):
    spans.entry("turn", status_code="ERROR", status_message="boom")
    assert spans.trace()["metadata"]["error"] == "boom"


def test_failed_span_does_not_fail_its_trace(spans):
    spans.add("tool", spans.entry("turn"), status_code="ERROR")
    assert spans.trace()["status"] == "COMPLETED"


def test_entry_keeps_what_is_no_field_of_a_trace(spans):
    spans.entry("turn", attributes={"gen_ai.usage.input_tokens": 5, "pandaprobe.metadata": '{"a": 1}'})
    metadata = spans.trace()["metadata"]
    assert metadata["gen_ai.usage.input_tokens"] == 5
    assert metadata["a"] == 1


def test_another_user_of_a_span_is_kept(spans):
    turn = spans.entry("turn", attributes={"user.id": "u-1"})
    spans.add("same", turn, {"user.id": "u-1"})
    spans.add("other", turn, {"user.id": "u-2"})
    trace = spans.trace()
    assert trace["user_id"] == "u-1"
    assert [span["metadata"].get("user.id") for span in trace["spans"]] == [None, "u-2"]


def test_tags_may_be_json_or_a_single_one(spans):
    for value in (json.dumps(["a", "b", "a"]), ("a", "b")):
        spans.records.clear()
        spans.entry("turn", attributes={"pandaprobe.tags": value})
        assert spans.trace()["tags"] == ["a", "b"]
    spans.records.clear()
    spans.entry("turn", attributes={"pandaprobe.tags": "a"})
    assert spans.trace()["tags"] == ["a"]
