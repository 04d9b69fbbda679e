"""The processors: they stamp what others make, overwrite nothing and never raise."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter
from opentelemetry.sdk.trace import TracerProvider

import pandaprobe_otel as pandaprobe
from pandaprobe_otel import guard
from pandaprobe_otel.session import log_stamping, stamping, stamps


def test_creators_own_ids_are_kept(tracer: trace.Tracer) -> None:
    with pandaprobe.session("s"), pandaprobe.user("u"):
        span: Any = tracer.start_span("span", attributes={"session.id": "own", "x": 1})
    assert dict(span.attributes) == {"session.id": "own", "x": 1, "user.id": "u"}


def test_span_of_a_turn_carries_its_id_unless_its_creator_names_another_session(tracer: trace.Tracer) -> None:
    with pandaprobe.start_trace("turn", session_id="s") as turn:
        inside: Any = tracer.start_span("inside")
        other: Any = tracer.start_span("other", attributes={"session.id": "other"})
        with pandaprobe.session("block"):
            block: Any = tracer.start_span("block")
    assert inside.attributes["pandaprobe.trace.id"] == turn.trace_id
    assert "pandaprobe.trace.id" not in other.attributes
    assert "pandaprobe.trace.id" not in block.attributes


def test_span_without_a_session_is_left_alone(tracer: trace.Tracer) -> None:
    span: Any = tracer.start_span("span")
    assert dict(span.attributes) == {}


def test_unsampled_spans_cost_nothing_and_break_nothing() -> None:
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(stamping.SessionSpanProcessor())
    with pandaprobe.session("s"), provider.get_tracer("x").start_as_current_span("span") as span:
        pandaprobe.set_session("t")
        assert not span.is_recording()
    pandaprobe.set_session(None)


@pytest.fixture
def logs() -> Iterator[tuple[Any, InMemoryLogRecordExporter]]:
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(log_stamping.SessionLogRecordProcessor())
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    yield provider, exporter
    provider.shutdown()


def test_log_records_are_stamped(logs: tuple[Any, InMemoryLogRecordExporter]) -> None:
    provider, exporter = logs
    logger = provider.get_logger("x")
    with pandaprobe.session("s"), pandaprobe.user("u"):
        logger.emit(body="inside")
        logger.emit(body="own", attributes={"session.id": "own"})
    logger.emit(body="outside")
    provider.force_flush()
    seen = {
        item.log_record.body: dict(item.log_record.attributes or {}) for item in exporter.get_finished_logs()
    }
    assert seen == {
        "inside": {"session.id": "s", "user.id": "u"},
        "own": {"session.id": "own", "user.id": "u"},
        "outside": {},
    }


def test_processor_never_raises(
    tracer: trace.Tracer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    content = "sec" + "ret"

    def fail(context: Any) -> Any:
        raise LookupError(content)

    monkeypatch.setattr(stamping, "current", fail)
    monkeypatch.setattr(guard, "loud", False)
    for _ in range(2):
        tracer.start_span("span").end()
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "on_start" in record.getMessage()
    assert "LookupError" in record.getMessage()
    assert content not in caplog.text


def test_spans_that_never_end_are_forgotten(tracer: trace.Tracer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "_open", {})
    monkeypatch.setattr(stamps, "_MOST", 10)
    with pandaprobe.session("s"):
        spans = [tracer.start_span("span") for _ in range(50)]
    assert len(stamps._open) == 10
    for span in spans:
        span.end()
    assert not stamps._open
