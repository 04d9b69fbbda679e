"""`flush` and `shutdown` keep to their time and tell the truth."""

import time
from pathlib import Path
from typing import Any

import in_process
import pytest
from opentelemetry.sdk.trace import TracerProvider
from otlp_receiver import OK, Receiver

from pandaprobe_otel.export.processor import ExportProcessor, Pipeline
from pandaprobe_otel.settings import resolve


class Sender:
    """A provider with our exporting processor."""

    def __init__(self, url: str, **settings: Any) -> None:
        wanted = {"endpoint": url, "flush_interval": 60, "protocol": "otlp", "spool_dir": "off"}
        wanted |= {"export": "all", **settings}
        self.processor = ExportProcessor()
        self.pipeline = Pipeline(resolve(wanted), self.processor.lineage)
        self.processor.use(self.pipeline)
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(self.processor)

    def make(self, count: int = 1) -> None:
        for _ in range(count):
            self.provider.get_tracer("x").start_span("span").end()


@pytest.fixture
def watch() -> Any:
    start = time.monotonic()
    return lambda: time.monotonic() - start


def test_flush_says_yes_when_all_arrived() -> None:
    with Receiver() as receiver:
        sender = Sender(receiver.url)
        sender.make(300)
        assert sender.processor.flush(5)
        assert len(receiver.spans) == 300
        assert sender.processor.end(5)


@pytest.mark.parametrize("status", [301, 401, 403, 404])
def test_flush_says_no_at_once_when_a_setting_is_wrong_and_the_spans_wait(status: int, watch: Any) -> None:
    with Receiver((status, {}, b"")) as receiver:
        sender = Sender(receiver.url)
        sender.make()
        assert not sender.processor.flush(5)
        assert watch() < 2
        assert sender.processor.flush(5), "they were kept, and go when the receiver takes them"
        assert len(receiver.spans) == 1
        assert sender.processor.end(5)


@pytest.mark.parametrize("status", [400, 422])
def test_flush_says_no_when_spans_were_refused(status: int) -> None:
    with Receiver((status, {}, b"")) as receiver:
        sender = Sender(receiver.url)
        sender.make()
        assert not sender.processor.flush(5)
        sender.make()
        assert sender.processor.flush(5), "what was lost before is not said again"
        assert sender.processor.end(5)
        assert sender.pipeline.stats.lost == {f"HTTP {status}": 1}


def test_flush_says_no_when_the_queue_overflowed() -> None:
    with Receiver() as receiver:
        sender = Sender(receiver.url, batch_size=1, max_queue_size=1)
        sender.make(500)
        flushed = sender.processor.flush(5)
        assert flushed is (len(receiver.spans) == 500)
        assert len(receiver.spans) + sender.pipeline.stats.lost["queue full"] == 500
        sender.processor.end(5)


def test_flush_keeps_to_its_time_when_nothing_answers(watch: Any) -> None:
    with Receiver(None, None) as receiver:
        sender = Sender(receiver.url)
        sender.make()
        assert not sender.processor.flush(0.3)
        assert watch() < 1
        assert not sender.processor.end(0.3)
        assert watch() < 2


def test_shutdown_keeps_to_its_time_when_nothing_listens(watch: Any) -> None:
    sender = Sender("http://127.0.0.1:9")
    sender.make()
    assert not sender.processor.end(0.5)
    assert watch() < 1.5


def test_shutdown_does_not_wait_for_a_receiver_that_is_away_when_the_spans_are_on_disk(
    tmp_path: Path, watch: Any
) -> None:
    sender = Sender("http://127.0.0.1:9", spool_dir=str(tmp_path))
    sender.make()
    assert not sender.processor.end(10)
    assert watch() < 2


def test_shutdown_sends_what_is_queued() -> None:
    with Receiver() as receiver:
        sender = Sender(receiver.url)
        sender.make(3)
        sender.provider.shutdown()
        assert len(receiver.spans) == 3


def test_spans_after_shutdown_are_said_once_to_be_lost(caplog: pytest.LogCaptureFixture) -> None:
    with Receiver() as receiver:
        sender = Sender(receiver.url)
        assert sender.processor.end(5)
        sender.make(3)
    assert [record.getMessage() for record in caplog.records] == [
        "spans that end after shutdown() are not sent; init() starts again"
    ]


def test_nothing_made_is_all_arrived() -> None:
    sender = Sender("http://127.0.0.1:9")
    assert sender.processor.flush(1)
    assert sender.processor.end(1)


def test_passing_failure_is_made_good() -> None:
    with Receiver((503, {}, b""), (429, {"Retry-After": "1"}, b""), (500, {}, b""), OK) as receiver:
        sender = Sender(receiver.url)
        sender.make()
        assert sender.processor.flush(20)
        assert len(receiver.paths) == 4
        assert len(receiver.spans) == 1
        sender.processor.end(5)


def test_what_a_full_spool_drops_is_counted_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pandaprobe_otel.export import delivery

    # What is taken to be sent is not dropped, and that may be all of it where this thread is slow.
    monkeypatch.setattr(delivery, "_MOST_LOADED", 100)
    told: list[str] = []
    sender = Sender("http://127.0.0.1:9", spool_dir=str(tmp_path), spool_max_bytes=2000, batch_size=10)
    sender.pipeline.exporter.on_error.append(told.append)
    sender.make(500)
    assert not sender.processor.flush(0.5)
    lost = sender.pipeline.stats.lost["spool full"]
    assert 0 < lost < 500
    assert sender.pipeline.stats.lost == {"spool full": lost}
    assert told
    sender.processor.end(0.5)


def test_request_that_always_fails_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    from pandaprobe_otel.export import delivery

    monkeypatch.setattr(delivery, "_FIRST_WAIT", 0.01)
    poison = 500, {}, b""
    with Receiver(poison, OK, *[poison] * 5, OK) as receiver:
        sender = Sender(receiver.url, batch_size=1)
        sender.make(2)
        assert not sender.processor.flush(10)
        assert len(receiver.spans) == 1
        assert sender.pipeline.stats.lost == {"HTTP 500": 1}
        sender.make()
        assert sender.processor.flush(10)
        sender.processor.end(5)


def test_opentelemetry_counts_our_batches_where_its_internal_metrics_are_on() -> None:
    with Receiver() as receiver:
        ended = in_process.run(
            """
            from opentelemetry import metrics, trace
            from opentelemetry.sdk.metrics import MeterProvider
            from opentelemetry.sdk.metrics.export import InMemoryMetricReader
            reader = InMemoryMetricReader()
            metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
            import pandaprobe_otel as pandaprobe
            pandaprobe.init()
            with pandaprobe.session("s"):
                for number in range(3):
                    trace.get_tracer("theirs").start_span(str(number)).end()
            pandaprobe.flush(10)
            found = {}
            for resource in reader.get_metrics_data().resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        found[metric.name] = sum(point.value for point in metric.data.data_points)
            tell(**found)
            """,
            PANDAPROBE_ENDPOINT=receiver.url,
            OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED="true",
        )
    assert ended.told["otel.sdk.processor.span.processed"] == 3
