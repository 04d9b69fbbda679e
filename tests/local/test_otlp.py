import gzip
import json
import zlib

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from pandaprobe_otel.local import otlp

SPAN = {
    "traceId": "5B8EFFF798038103D269B633813FC60C",
    "spanId": "EEE19B7EC3C1B174",
    "parentSpanId": "",
    "name": "chat",
    "kind": 3,
    "startTimeUnixNano": "1780000000000000000",
    "endTimeUnixNano": 1780000001000000000,
    "attributes": [
        {"key": "session.id", "value": {"stringValue": "c-1"}},
        {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
        {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "7"}},
        {"key": "flag", "value": {"boolValue": True}},
        {"key": "share", "value": {"doubleValue": 0.5}},
        {"key": "list", "value": {"arrayValue": {"values": [{"intValue": 1}, {}]}}},
        {"key": "map", "value": {"kvlistValue": {"values": [{"key": "a", "value": {"stringValue": "b"}}]}}},
        {"key": "bytes", "value": {"bytesValue": "AP8="}},
        {"key": "cut", "value": {"stringValue": "\ud83d"}},
    ],
    "events": [{"timeUnixNano": "1780000000500000000", "name": "exception", "unknown": 1}],
    "links": [{"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174"}],
    "status": {"code": 2, "message": "boom"},
    "unknownField": {},
}
REQUEST = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
            "scopeSpans": [{"scope": {"name": "js", "version": "2"}, "spans": [SPAN]}],
        }
    ]
}
JSON_HEADERS = {"content-type": "application/json; charset=utf-8"}
PROTOBUF_HEADERS = {"content-type": "application/x-protobuf"}


def as_json(request):
    return json.dumps(request).encode()


@pytest.mark.parametrize("compression", list(Compression))
def test_spans_of_the_sdk_arrive(api, make_tracer, compression):
    with make_tracer(compression).start_as_current_span(
        "chat", attributes={"gen_ai.operation.name": "chat"}
    ) as span:
        span.set_attribute("session.id", "c-1")
        span.set_attribute("numbers", [1, 2])
    (trace,) = api.session("c-1")["traces"]
    assert trace["environment"] == "test"
    assert trace["release"] == "1.2"
    metadata = trace["spans"][0]["metadata"]
    assert metadata["numbers"] == [1, 2]
    assert metadata["service.name"] == "shop"
    assert metadata["otel.scope.name"] == "tests"


def test_exception_of_the_sdk_is_the_error(api, tracer):
    def fail():
        with tracer.start_as_current_span("tool", attributes={"gen_ai.operation.name": "execute_tool"}):
            raise ValueError("no city")

    with pytest.raises(ValueError, match="no city"):
        fail()
    (item,) = api.traces()["items"]
    assert item["status"] == "ERROR"
    assert api.trace(item["trace_id"])["spans"][0]["error"] == "ValueError: no city"


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [("", bytes), ("identity", bytes), ("gzip", gzip.compress), ("deflate", zlib.compress)],
)
def test_json_spans_arrive(api, encoding, compress):
    headers = {**JSON_HEADERS, "content-encoding": encoding}
    status, body, answered = api.request("/v1/traces", compress(as_json(REQUEST)), headers)
    assert (status, json.loads(body), answered["content-type"]) == (200, {}, "application/json")
    (trace,) = api.session("c-1")["traces"]
    assert trace["trace_id"] == "5b8efff7-9803-8103-d269-b633813fc60c"
    (span,) = trace["spans"]
    assert span["token_usage"] == {"prompt_tokens": 7}
    assert span["latency_ms"] == 1000
    assert span["error"] == "boom"
    expected = {
        "flag": True,
        "share": 0.5,
        "list": [1, None],
        "map": {"a": "b"},
        "bytes": "AP8=",
        "cut": "\ufffd",
        "service.name": "shop",
        "otel.scope.name": "js",
        "otel.span_id": "eee19b7ec3c1b174",
    }
    assert {key: span["metadata"][key] for key in expected} == expected


def test_protobuf_is_answered_in_protobuf(api):
    body = ExportTraceServiceRequest().SerializeToString()
    status, answer, headers = api.request("/v1/traces", body, PROTOBUF_HEADERS)
    assert (status, headers["content-type"]) == (200, "application/x-protobuf")
    assert ExportTraceServiceResponse.FromString(answer) == ExportTraceServiceResponse()


def test_spans_without_valid_ids_are_rejected_and_the_others_kept(api):
    spans = [{**SPAN, "spanId": bad} for bad in ("", "00" * 8, "zz", "ab")] + [
        {**SPAN, "traceId": "00" * 16},
        SPAN,
    ]
    body = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    status, answer, _ = api.request("/v1/traces", as_json(body), JSON_HEADERS)
    assert status == 200
    assert json.loads(answer)["partialSuccess"]["rejectedSpans"] == "5"
    assert api.sessions()["total"] == 1


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b"\xff", {}, 400),
        (b'{"resourceSpans": 1}', {}, 400),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [1]}]}]}', {}, 400),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": -1}]}]}]}', {}, 400),
        (b"[" * 100_000, {}, 400),
        (b"{}", {"content-encoding": "gzip"}, 400),
        (gzip.compress(b"{}")[:-5], {"content-encoding": "gzip"}, 400),
        (gzip.compress(b"{}") + b"x", {"content-encoding": "gzip"}, 400),
        (b"{}", {"content-encoding": "br"}, 415),
    ],
)
def test_bad_json_requests_are_answered_with_a_status(api, body, headers, status):
    found, answer, answered = api.request("/v1/traces", body, {**JSON_HEADERS, **headers})
    assert (found, answered["content-type"]) == (status, "application/json")
    assert json.loads(answer)["code"] == 3
    assert json.loads(answer)["message"]


@pytest.mark.parametrize(
    ("content_type", "status"), [("application/x-protobuf", 400), ("text/plain", 415), ("", 415)]
)
def test_bad_protobuf_requests_are_answered_with_a_status(api, content_type, status):
    found, answer, answered = api.request("/v1/traces", b"\xff\xff", {"content-type": content_type})
    assert (found, answered["content-type"]) == (status, "application/x-protobuf")
    assert Status.FromString(answer).message


def test_members_of_a_gzip_body_are_joined():
    body = gzip.compress(b"") + gzip.compress(b"one ") + gzip.compress(b"two")
    assert otlp.decompress(body, "GZIP") == b"one two"


def test_body_may_have_exactly_the_limit():
    assert len(otlp.decompress(gzip.compress(bytes(1000)), "gzip", limit=1000)) == 1000


def test_decompression_bomb_is_refused():
    bomb = gzip.compress(bytes(10_000_000))
    with pytest.raises(otlp.RequestError) as refused:
        otlp.decompress(bomb, "gzip", limit=1_000_000)
    assert refused.value.status == 413


def test_answers_to_failures_of_the_store_ask_for_another_try():
    status = Status.FromString(otlp.error_response("full", 503, otlp.PROTOBUF))
    assert (status.code, status.message) == (14, "full")
