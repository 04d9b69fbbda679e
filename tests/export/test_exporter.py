"""The exporter: what is on the wire, and what is said when it is refused."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
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
from pandaprobe_otel.session.stamping import SessionSpanProcessor, unseen


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


def send(exporter: PandaProbeSpanExporter, *spans: Any) -> bool:
    """Exports spans, and says whether they arrived."""
    assert exporter.export(spans) is SpanExportResult.SUCCESS
    return exporter.force_flush(5_000)


@pytest.fixture(autouse=True)
def _own_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANDAPROBE_SPOOL_DIR", str(tmp_path))


@pytest.fixture
def exporting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes exporters, and ends them after the test."""
    made: list[PandaProbeSpanExporter] = []

    def exporting(**settings: Any) -> PandaProbeSpanExporter:
        made.append(PandaProbeSpanExporter(**{"protocol": "otlp", **settings}))
        return made[-1]

    yield exporting
    for exporter in made:
        exporter.stop(0.1)


def test_request_is_otlp_with_pandaprobes_headers(ended: Any, exporting: Any) -> None:
    with Receiver() as receiver:
        assert send(exporting(endpoint=receiver.url + "/base/", api_key="sk_pp_1", project_name="p"), ended())
    assert receiver.paths == ["/base/v1/traces"]
    headers = receiver.headers[0]
    assert headers["X-API-Key"] == "sk_pp_1"
    assert headers["X-Project-Name"] == "p"
    assert headers["Content-Type"] == "application/x-protobuf"
    assert headers["Content-Encoding"] == "gzip"
    assert headers["User-Agent"] == f"pandaprobe-otel/{pandaprobe.__version__}"


@pytest.mark.parametrize("meant_for", [None, "https://127.0.0.1:{port}", "http://otel.example", "http://a:b"])
def test_other_peoples_headers_are_not_sent_to_pandaprobe(
    ended: Any, exporting: Any, monkeypatch: pytest.MonkeyPatch, meant_for: str | None
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=another-vendors-secret")
    with Receiver() as receiver:
        if meant_for:
            port = receiver.url.rsplit(":", 1)[1]
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", meant_for.format(port=port))
        send(exporting(endpoint=receiver.url), ended())
    assert "secret" not in str(receiver.headers)


def test_headers_that_are_meant_for_the_same_endpoint_are_sent(
    ended: Any, exporting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{receiver.url}/v1/traces")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=panda%20one,x-api-key=no,content-type=no")
        send(exporting(endpoint=receiver.url, api_key="sk_pp_1", project_name="p"), ended())
    headers = receiver.headers[0]
    assert headers["x-tenant"] == "panda one"
    sent = [value for name, value in headers.items() if name.lower() in ("x-api-key", "content-type")]
    assert sorted(sent) == ["application/x-protobuf", "sk_pp_1"], "ours hold"


def test_one_connection_serves_many_batches(ended: Any, exporting: Any) -> None:
    with Receiver() as receiver:
        exporter = exporting(endpoint=receiver.url)
        for _ in range(5):
            send(exporter, ended())
        assert len(receiver.connections) == 1


def test_child_of_a_fork_has_a_connection_of_its_own(ended: Any, exporting: Any) -> None:
    with Receiver() as receiver:
        exporter = exporting(endpoint=receiver.url)
        send(exporter, ended())
        with warnings.catch_warnings():
            # Python 3.12 warns of threads beside a fork; that is the point here.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            os._exit(not send(exporter, ended()))
        assert os.waitpid(child, 0)[1] == 0
        send(exporter, ended())
        assert len(receiver.connections) == 2
        assert len(receiver.spans) == 3


@pytest.mark.parametrize("session_first", [True, False])
def test_session_survives_more_attributes_than_a_span_can_hold(
    ended: Any, exporting: Any, session_first: bool
) -> None:
    with Receiver() as receiver, pandaprobe.session("s"), pandaprobe.user("u"):
        span = ended(**{f"k{number}": number for number in range(140)})
        assert "session.id" not in span.attributes
        exporter = exporting(endpoint=receiver.url, unseen=unseen)
        send(exporter, *([span, ended(few=1)] if session_first else [ended(few=1), span]))
    assert len(receiver.spans) == 2
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
        (418, {}, "it is not tried again"),
    ],
)
def test_refusal_is_one_line_that_says_the_fix(
    ended: Any,
    exporting: Any,
    status: int,
    headers: dict[str, str],
    fix: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Receiver(*[(status, headers, b"")] * 3) as receiver:
        exporter = exporting(endpoint=receiver.url, api_key="sk_pp_secret")
        for _ in range(3):
            send(exporter, ended())
    lines = [record.getMessage() for record in caplog.records if "do not reach" in record.getMessage()]
    assert len(lines) == 1
    assert str(status) in lines[0]
    assert fix in lines[0]
    assert "sk_pp_secret" not in caplog.text


def partial(rejected: int) -> Answer:
    message = ExportTraceServiceResponse(
        partial_success=ExportTracePartialSuccess(rejected_spans=rejected, error_message="no")
    )
    return 200, {}, message.SerializeToString()


def test_partial_success_is_counted(ended: Any, exporting: Any) -> None:
    with Receiver(partial(1), partial(0), (200, {}, b"<html>")) as receiver:
        exporter = exporting(endpoint=receiver.url)
        for _ in range(3):
            send(exporter, ended(), ended())
    assert (exporter.stats.sent, exporter.stats.lost) == (5, {"rejected": 1})


def test_text_that_cannot_be_encoded_is_replaced(ended: Any, exporting: Any) -> None:
    with Receiver() as receiver:
        assert send(exporting(endpoint=receiver.url), ended("\ud800", key="a\ud800"), ended(good="x"))
    assert [span.name for span in receiver.spans] == ["\ufffd", "span"]


def test_too_large_a_batch_is_split_down_to_one_span_whose_longest_value_is_shortened(
    ended: Any, exporting: Any
) -> None:
    with Receiver(*[(413, {}, b"")] * 2) as receiver:
        assert send(exporting(endpoint=receiver.url), ended("a", text="x" * 5000), ended("b"))
    assert sorted(span.name for span in receiver.spans) == ["a", "b"]
    assert attributes_of(receiver.span("a"))["text"].startswith("x" * 1024 + "… [")


def test_unreachable_endpoint_is_said_once(
    ended: Any, exporting: Any, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = exporting(endpoint="http://127.0.0.1:9")
    exporter.export([ended()])
    assert not exporter.force_flush(1_000)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "is PANDAPROBE_ENDPOINT right and reachable?" in line


def test_request_goes_through_the_proxy_of_the_environment(
    ended: Any, exporting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        send(exporting(endpoint="http://pandaprobe.invalid", api_key="k", project_name="p"), ended())
    assert proxy.paths == ["http://pandaprobe.invalid/v1/traces"]


def test_exporter_reads_the_environment(ended: Any, exporting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as receiver:
        monkeypatch.setenv("PANDAPROBE_ENDPOINT", receiver.url)
        assert send(exporting(), ended())
        assert len(receiver.spans) == 1


def test_body_is_compressed(ended: Any, exporting: Any) -> None:
    with Receiver() as receiver:
        send(exporting(endpoint=receiver.url), *[ended(text="x" * 1000)] * 50)
        assert int(receiver.headers[0]["Content-Length"]) < 5000


def test_without_a_home_folder_spans_wait_in_memory(
    ended: Any, exporting: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("PANDAPROBE_SPOOL_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    with Receiver() as receiver:
        assert send(exporting(endpoint=receiver.url), ended())
        assert len(receiver.spans) == 1
    assert "the user has no home folder" in caplog.text


def test_exporter_says_nothing_secret_of_itself(exporting: Any) -> None:
    exporter = exporting(endpoint="http://127.0.0.1:9", api_key="sk_pp_secret")
    assert "secret" not in repr(exporter) + repr(exporter._settings)
