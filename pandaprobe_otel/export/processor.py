"""The span processor that exports: OpenTelemetry's batches, which can be exchanged while spans are open."""

import atexit
import logging
from collections.abc import Callable, Mapping
from itertools import count
from time import monotonic, time_ns
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from ..attributes import PANDAPROBE_SPAN_OPEN, PANDAPROBE_TRACE_ID
from ..guard import caught, never_raises, warn_once
from ..ids import pandaprobe_trace_id
from ..settings import Settings
from .exporter import PandaProbeSpanExporter
from .forks import Forked, tell_of_forks
from .lineage import Lineage
from .selection import Selection
from .stats import NOT_ENCODED, QUEUE_FULL, Stats

_logger = logging.getLogger("pandaprobe_otel.export")


class Pipeline:
    """A queue of ended spans and the exporter that empties it.

    Args:
        lineage: Is told of the spans that are not selected.
        unseen: Gives the stamp of a span, as far as its attributes do not show it.
    """

    def __init__(
        self,
        settings: Settings,
        lineage: Lineage,
        unseen: Callable[[ReadableSpan], Mapping[str, str]] = lambda span: {},
    ) -> None:
        self.selection = selection = Selection(settings.export, settings.session_sample_rate, unseen)
        self._lineage = lineage
        self.exporter = exporter = PandaProbeSpanExporter(
            unseen=unseen,
            above=lambda span: lineage.above(span, selection),
            **vars(settings),
        )
        exporter.open_entry = self._open_entry
        self.shutdown_timeout = settings.shutdown_timeout
        self.stats: Stats = exporter.stats
        self._flush_on_trace_end = settings.flush_on_trace_end
        # Its export is only a write to the spool, so that flushing it takes milliseconds.
        self._batches = BatchSpanProcessor(
            exporter,
            max_queue_size=settings.max_queue_size,
            schedule_delay_millis=settings.flush_interval * 1000,
            max_export_batch_size=settings.batch_size,
        )
        self._begin()

    def _begin(self) -> None:
        self._selected = count(1)
        self._unselected = count(1)
        self._known_lost = 0

    def begin_anew(self) -> None:
        """Counts from nothing: what the parent of a fork has made is the parent's to send."""
        self.stats.reset()
        self._begin()

    def take(self, span: ReadableSpan) -> None:
        """Queues an ended span, or notes that it is not sent."""
        context = span.context
        if not context or not context.trace_flags.sampled:
            self._lineage.skip(span)
            return
        said = self.selection.said_by(span)
        if self.selection.selects(span, said) or self._lineage.is_needed(context.span_id):
            # `next` is one step for the interpreter, where `+= 1` is three.
            self.stats.selected = next(self._selected)
            if span.parent is not None and PANDAPROBE_TRACE_ID not in said:
                self._lineage.need_root(span)
            self._batches.on_end(span)
            if self._flush_on_trace_end and self._is_entry(span):
                self.flush(self.shutdown_timeout)
        else:
            self.stats.unselected = next(self._unselected)
            self._lineage.skip(span)

    def flush(self, timeout: float) -> bool:
        """Sends what is queued; whether all of it arrived within `timeout` seconds."""
        end = monotonic() + timeout
        self._spool()
        return self.exporter.force_flush(int((end - monotonic()) * 1000)) and self._nothing_more_lost()

    def shutdown(self, timeout: float) -> bool:
        """Sends what can be sent within `timeout` seconds, and leaves the rest in the spool."""
        end = monotonic() + timeout
        self._spool()
        arrived = self.exporter.stop(end - monotonic())
        self._batches.shutdown()
        return arrived and self._nothing_more_lost()

    def _open_entry(self, trace_id: str) -> ReadableSpan | None:
        spans = self._lineage.open()
        return next(
            (span for span in spans if self._turn_of(span) == trace_id and self._is_entry(span)), None
        )

    def _is_entry(self, span: ReadableSpan) -> bool:
        context = span.context
        return context is not None and self._turn_of(span) == pandaprobe_trace_id(
            context.trace_id, context.span_id, is_root=span.parent is None
        )

    def _turn_of(self, span: ReadableSpan) -> str | None:
        return self.selection.said_by(span).get(PANDAPROBE_TRACE_ID)

    def _spool(self) -> None:
        selected = self.stats.selected
        self._batches.force_flush()
        lost = self.stats.lost
        overflowed = selected - self.stats.spooled - lost[NOT_ENCODED] - lost[QUEUE_FULL]
        if overflowed > 0:
            self.stats.lose(QUEUE_FULL, overflowed)

    def _nothing_more_lost(self) -> bool:
        before, self._known_lost = self._known_lost, sum(self.stats.lost.values())
        return self._known_lost == before


class ExportProcessor(SpanProcessor, Forked):
    """Hands ended spans to a pipeline, which can be exchanged while spans are open."""

    def __init__(self) -> None:
        self._pipeline: Pipeline | None = None
        self._retired: list[Pipeline] = []
        self.lineage = Lineage()
        tell_of_forks(self)
        # A provider may have been told not to shut down at exit.
        atexit.register(self.shutdown)

    def after_fork_in_child(self) -> None:
        """Forgets what is the parent's to end and to send."""
        self._retired = []
        if self._pipeline is not None:
            self.lineage.inherit(self._pipeline.selection)
            self._pipeline.begin_anew()

    def use(self, pipeline: Pipeline | None) -> None:
        """Sends spans that end from now on through `pipeline`; what the one before holds is still sent."""
        former, self._pipeline = self._pipeline, pipeline
        if former is not None:
            self._retired.append(former)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Remembers an open span."""
        try:
            self.lineage.start(span)
        except Exception as error:
            caught("ExportProcessor.on_start", error)

    def on_end(self, span: ReadableSpan) -> None:
        """Queues an ended span."""
        try:
            if self._pipeline is None:
                message = "spans that end after shutdown() are not sent; init() starts again"
                warn_once(_logger, "late span", message)
            else:
                self._pipeline.take(span)
            if span.context is not None:
                self.lineage.end(span.context.span_id)
        except Exception as error:
            caught("ExportProcessor.on_end", error)

    def flush(self, timeout: float) -> bool:
        """Sends what is queued; whether all of it arrived within `timeout` seconds."""
        end = monotonic() + timeout
        retired, self._retired = self._retired, []
        results = [pipeline.shutdown(max(0.0, end - monotonic())) for pipeline in retired]
        if self._pipeline is not None:
            results.append(self._pipeline.flush(max(0.0, end - monotonic())))
        return all(results)

    def end(self, timeout: float | None = None) -> bool:
        """Sends what is queued, and the spans that are still open, and ends.

        Args:
            timeout: In seconds; the setting's when not given.

        Returns:
            Whether all of it arrived in time; what did not is in the spool.
        """
        pipeline = self._pipeline
        if pipeline is not None:
            self._take_open(pipeline)
            timeout = pipeline.shutdown_timeout if timeout is None else timeout
        self.use(None)
        return self.flush(timeout or 0.0)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """`flush`, as OpenTelemetry calls it."""
        return self.flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        """`end`, as OpenTelemetry calls it."""
        self.end()

    @never_raises
    def _take_open(self, pipeline: Pipeline) -> None:
        now = time_ns()
        for span in self.lineage.open():
            pipeline.take(_as_ended(span, now))
            self.lineage.end(span.get_span_context().span_id)


def _as_ended(span: Span, now: int) -> ReadableSpan:
    attributes: Mapping[str, Any] = span.attributes or {}
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={**attributes, PANDAPROBE_SPAN_OPEN: True},
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=now,
        instrumentation_scope=span.instrumentation_scope,
    )
