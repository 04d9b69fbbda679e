"""The span processor that exports: OpenTelemetry's batches, with a flush and an end that keep to their time.

`BatchSpanProcessor.force_flush` ignores its timeout and answers True when an export has failed; its
`shutdown` waits up to 30 s. Both run in a thread here, and what the exporter counted is the answer.
"""

import logging
import threading
from collections.abc import Callable
from time import monotonic

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from ..guard import warn_once
from ..settings import Settings
from .exporter import PandaProbeSpanExporter

_logger = logging.getLogger("pandaprobe_otel.export")

# Seconds. PandaProbe's SDK says 10; nobody waits that long for a process to end.
SHUTDOWN_TIMEOUT = 5.0


class Pipeline:
    """A queue of ended spans and the exporter that empties it."""

    def __init__(self, settings: Settings, exporter: PandaProbeSpanExporter) -> None:
        self._exporter = exporter
        self._batches = BatchSpanProcessor(
            exporter,
            max_queue_size=settings.max_queue_size,
            schedule_delay_millis=settings.flush_interval * 1000,
            max_export_batch_size=settings.batch_size,
        )
        self._taken = 0
        self._known_missing = 0

    def take(self, span: ReadableSpan) -> None:
        """Queues an ended span."""
        if span.context and span.context.trace_flags.sampled:
            self._taken += 1
            self._batches.on_end(span)

    def flush(self, timeout: float) -> bool:
        """Sends what is queued; whether all of it arrived within `timeout` seconds."""
        taken = self._taken
        in_time = _within(timeout, self._batches.force_flush)
        missing = max(0, taken - self._exporter.sent)
        arrived = in_time and missing <= self._known_missing
        if in_time:
            self._known_missing = missing
        return arrived

    def shutdown(self, timeout: float) -> bool:
        """Sends what is queued and ends; whether all of it arrived within `timeout` seconds."""
        end = monotonic() + timeout
        self._exporter.end_by(end)
        arrived = self.flush(timeout)
        self._exporter.shutdown()
        return _within(max(0.0, end - monotonic()), self._batches.shutdown) and arrived


class ExportProcessor(SpanProcessor):
    """Hands ended spans to a pipeline, which can be exchanged while spans are open."""

    def __init__(self) -> None:
        self._pipeline: Pipeline | None = None
        self._retired: list[Pipeline] = []

    def use(self, pipeline: Pipeline | None) -> None:
        """Sends spans that end from now on through `pipeline`; what the one before holds is still sent."""
        former, self._pipeline = self._pipeline, pipeline
        if former is not None:
            self._retired.append(former)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Does nothing."""

    def on_end(self, span: ReadableSpan) -> None:
        """Queues an ended span."""
        if self._pipeline is not None:
            self._pipeline.take(span)
        else:
            warn_once(
                _logger, "late span", "spans that end after shutdown() are not sent; init() starts again"
            )

    def flush(self, timeout: float) -> bool:
        """Sends what is queued; whether all of it arrived within `timeout` seconds."""
        end = monotonic() + timeout
        retired, self._retired = self._retired, []
        results = [pipeline.shutdown(max(0.0, end - monotonic())) for pipeline in retired]
        if self._pipeline is not None:
            results.append(self._pipeline.flush(max(0.0, end - monotonic())))
        return all(results)

    def end(self, timeout: float = SHUTDOWN_TIMEOUT) -> bool:
        """Sends what is queued and ends; whether all of it arrived within `timeout` seconds."""
        self.use(None)
        return self.flush(timeout)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """`flush`, as OpenTelemetry calls it."""
        return self.flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        """`end`, as OpenTelemetry calls it."""
        self.end()


def _within(timeout: float, work: Callable[[], object]) -> bool:
    thread = threading.Thread(target=work, name="pandaprobe-flush", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        # Python 3.12 starts no threads while the interpreter shuts down; the exporter's deadline bounds this.
        work()
        return True
    thread.join(timeout)
    return not thread.is_alive()
