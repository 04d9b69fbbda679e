"""The exporter: what is on the wire, and what is said when it is refused."""

import os
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from otlp_receiver import Answer, Receiver, attributes_of

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.export.exporter import PandaProbeSpanExporter
from pandaprobe_otel.session.stamping import SessionSpanProcessor, evicted


@pytest.fixture
def ended() -> Any:
    """Makes an ended span with attributes."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SessionSpanProcessor())
    provider.add_span_processor(SimpleSpanProcessor(memory))

    def ended(name: str = "span", /, **attributes: Any) -> Any:
        span = provider.get_tracer("x").start_span(name)
        for key, value in attributes.items():
            span.set_attribute(key, value)
        span.end()
        return memory.get_finished_spans()[-1]

    return ended


def test_request_is_otlp_with_pandaprobes_headers(ended: Any) -> None:
    with Receiver() as receiver:
        exporter = PandaProbeSpanExporter(
            endpoint=receiver.url + "/base/", api_key="sk_pp_1", project_name="p"
        )
        assert exporter.export([ended()]) is SpanExportResult.SUCCESS
    assert receiver.paths == ["/base/v1/traces"]
    headers = receiver.headers[0]
    assert headers["X-API-Key"] == "sk_pp_1"
    assert headers["X-Project-Name"] == "p"
    assert headers["Content-Type"] == "application/x-protobuf"
    assert headers["Content-Encoding"] == "gzip"
    assert headers["User-Agent"] == f"pandaprobe-otel/{pandaprobe.__version__}"


def test_other_peoples_headers_are_not_sent_to_pandaprobe(
    ended: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=another-vendors-secret")
    with Receiver() as receiver:
        PandaProbeSpanExporter(endpoint=receiver.url).export([ended()])
    assert "secret" not in str(receiver.headers)


def test_one_connection_serves_many_batches(ended: Any) -> None:
    with Receiver() as receiver:
        exporter = PandaProbeSpanExporter(endpoint=receiver.url)
        for _ in range(5):
            exporter.export([ended()])
        assert len(receiver.connections) == 1


def test_child_of_a_fork_has_a_connection_of_its_own(ended: Any) -> None:
    with Receiver() as receiver:
        exporter = PandaProbeSpanExporter(endpoint=receiver.url)
        exporter.export([ended()])
        import warnings

        with warnings.catch_warnings():
            # Python 3.12 warns of threads beside a fork; that is the point here.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            os._exit(exporter.export([ended()]) is not SpanExportResult.SUCCESS)
        assert os.waitpid(child, 0)[1] == 0
        exporter.export([ended()])
        assert len(receiver.connections) == 2
        assert len(receiver.spans) == 3


@pytest.mark.parametrize("session_first", [True, False])
def test_session_survives_more_attributes_than_a_span_can_hold(ended: Any, session_first: bool) -> None:
    with Receiver() as receiver, pandaprobe.session("s"), pandaprobe.user("u"):
        span = ended(**{f"k{number}": number for number in range(140)})
        assert "session.id" not in span.attributes
        exporter = PandaProbeSpanExporter(endpoint=receiver.url, lost_attributes=evicted)
        exporter.export([span, ended(few=1)] if session_first else [ended(few=1), span])
    for sent in receiver.spans:
        assert {"session.id": "s", "user.id": "u"}.items() <= attributes_of(sent).items()
    assert "session.id" not in span.attributes


@pytest.mark.parametrize(
    ("status", "headers", "fix"),
    [
        (401, {}, "set PANDAPROBE_API_KEY"),
        (403, {}, "check PANDAPROBE_PROJECT_NAME"),
        (404, {}, "PANDAPROBE_ENDPOINT is the base URL, without /v1/traces"),
        (
            301,
            {"Location": "https://new.example/v1/traces"},
            "set PANDAPROBE_ENDPOINT to where it redirects, https://new.example",
        ),
        (418, {}, "did not take them"),
    ],
)
def test_refusal_is_one_line_that_says_the_fix(
    ended: Any, status: int, headers: dict[str, str], fix: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Receiver(*[(status, headers, b"")] * 3) as receiver:
        exporter = PandaProbeSpanExporter(endpoint=receiver.url, api_key="sk_pp_secret")
        for _ in range(3):
            assert exporter.export([ended()]) is SpanExportResult.FAILURE
        assert len(receiver.paths) == 3, "a refusal is no reason to try the same again"
    (line,) = [record.getMessage() for record in caplog.records]
    assert str(status) in line
    assert fix in line
    assert "sk_pp_secret" not in line


def partial(rejected: int) -> Answer:
    message = ExportTraceServiceResponse(
        partial_success=ExportTracePartialSuccess(rejected_spans=rejected, error_message="no")
    )
    return 200, {}, message.SerializeToString()


def test_partial_success_is_no_success(ended: Any, caplog: pytest.LogCaptureFixture) -> None:
    with Receiver(partial(1), partial(0), (200, {}, b"<html>")) as receiver:
        exporter = PandaProbeSpanExporter(endpoint=receiver.url)
        results = [exporter.export([ended(), ended()]) for _ in range(3)]
    assert [result.name for result in results] == ["FAILURE", "SUCCESS", "SUCCESS"]
    assert (exporter.sent, exporter.lost) == (5, 1)


def test_span_that_cannot_be_encoded_does_not_stop_the_others(ended: Any) -> None:
    with Receiver() as receiver:
        exporter = PandaProbeSpanExporter(endpoint=receiver.url)
        assert exporter.export([ended("\ud800"), ended(good="x")]) is SpanExportResult.FAILURE
    assert (exporter.sent, exporter.lost) == (1, 1)
    assert attributes_of(receiver.spans[0])["good"] == "x"


def test_unreachable_endpoint_is_given_up_in_time(ended: Any, caplog: pytest.LogCaptureFixture) -> None:
    exporter = PandaProbeSpanExporter(endpoint="http://127.0.0.1:9", timeout=0.7)
    assert exporter.export([ended()]) is SpanExportResult.FAILURE
    (line,) = [record.getMessage() for record in caplog.records]
    assert "is PANDAPROBE_ENDPOINT right and reachable?" in line


def test_request_goes_through_the_proxy_of_the_environment(
    ended: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        PandaProbeSpanExporter(endpoint="http://pandaprobe.invalid", api_key="k", project_name="p").export(
            [ended()]
        )
    assert proxy.paths == ["http://pandaprobe.invalid/v1/traces"]


def test_exporter_reads_the_environment(ended: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as receiver:
        monkeypatch.setenv("PANDAPROBE_ENDPOINT", receiver.url)
        PandaProbeSpanExporter().export([ended()])
        assert len(receiver.spans) == 1


def test_body_is_smaller_than_what_it_says(ended: Any) -> None:
    with Receiver() as receiver:
        PandaProbeSpanExporter(endpoint=receiver.url).export([ended(text="x" * 1000)] * 50)
        assert int(receiver.headers[0]["Content-Length"]) < 5000


def test_exporter_says_nothing_secret_of_itself() -> None:
    exporter = PandaProbeSpanExporter(endpoint="http://127.0.0.1:9", api_key="sk_pp_secret")
    assert "secret" not in repr(exporter) + repr(exporter._settings)
