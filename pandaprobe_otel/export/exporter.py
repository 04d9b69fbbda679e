"""`PandaProbeSpanExporter`: OpenTelemetry's exporter interface over spool and delivery."""

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from typing_extensions import Unpack

from .._version import __version__
from ..attributes import DEPLOYMENT_ENVIRONMENT_NAME, SERVICE_VERSION
from ..guard import never_raises, report, warn_once
from ..settings import Settings, SettingsKeywords, resolve
from .connection import Connection
from .delivery import Delivery
from .encoding import Above, encode
from .mapping.decoding import records_of
from .mapping.record import SpanRecord
from .otlp import OtlpWire, pack
from .redaction import Redaction
from .rest import RestWire
from .spool import Spool, project_key
from .stats import NOT_ENCODED, Stats
from .wire import Wire

_logger = logging.getLogger("pandaprobe_otel.export")


class PandaProbeSpanExporter(SpanExporter):
    """Sends ended spans to PandaProbe.

    What it is given it writes to the spool at once; a thread of its own sends it from there.

    Args:
        unseen: Gives the stamp of a span, as far as its attributes do not show it.
        above: Gives the parent of a span, and the names of the spans in between that are not exported.
        settings: As for `init`. What is exported is up to the processor.

    Raises:
        TypeError: For a setting that does not exist.
        ValueError: For a value that cannot be read.
    """

    def __init__(
        self,
        *,
        unseen: Callable[[ReadableSpan], Mapping[str, str]] = lambda span: {},
        above: Above = lambda span: (span.parent, ()),
        **settings: Unpack[SettingsKeywords],
    ) -> None:
        self._settings = wanted = resolve(settings)
        self._unseen = unseen
        self._above = above
        self._redaction = Redaction(wanted.redact, wanted.capture_content, wanted.max_media_bytes)
        self._resource = _resource(wanted)
        self.stats = Stats()
        self.on_error: list[Callable[[str], object]] = []
        self.open_entry: Callable[[str], ReadableSpan | None] = lambda trace_id: None
        self._delivery = Delivery(
            Spool.open(
                spool_directory(wanted),
                project_key(wanted.endpoint, wanted.project_name, wanted.api_key),
                wanted.spool_max_bytes,
            ),
            Connection(wanted.endpoint, headers_of(wanted)),
            lambda: wires_for(wanted, self._open_entry),
            self.stats,
            wanted.timeout,
            self._tell,
        )

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Takes a batch; it is sent from the spool."""
        try:
            self._delivery.put("spans", pack(self._encoded(spans)), len(spans))
        except Exception as error:
            report("PandaProbeSpanExporter.export", error)
            self.stats.lose(NOT_ENCODED, len(spans))
            return SpanExportResult.FAILURE
        self.stats.add(spooled=len(spans))
        return SpanExportResult.SUCCESS

    def _encoded(self, spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
        return encode(
            spans,
            unseen=self._unseen,
            above=self._above,
            redaction=self._redaction,
            resource=self._resource,
        )

    def _open_entry(self, trace_id: str) -> SpanRecord | None:
        span = self.open_entry(trace_id)
        return None if span is None else next(records_of(self._encoded([span])), None)

    @never_raises
    def put_score(self, body: bytes) -> None:
        """Takes a score, the JSON body of PandaProbe's request."""
        self._delivery.put("score", self._redaction.score(body), 0)

    def _tell(self, message: str) -> None:
        for callback in self.on_error:
            try:
                callback(message)
            except Exception as error:
                report("a callback of on_error", error)

    def stop(self, timeout: float) -> bool:
        """Sends what can be sent within `timeout` seconds, and leaves the rest in the spool.

        Returns:
            Whether all of it was sent.
        """
        return self._delivery.stop(timeout)

    def shutdown(self) -> None:
        """`stop`, as OpenTelemetry calls it."""
        self.stop(self._settings.shutdown_timeout)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Waits until everything that was taken is sent; whether it was in time."""
        return self._delivery.flush(timeout_millis / 1000)


def wires_for(
    settings: Settings, open_entry: Callable[[str], SpanRecord | None] = lambda trace_id: None
) -> list[Wire]:
    """The wires that may be used, the one that is tried first first."""
    otlp = OtlpWire(settings.max_request_bytes)
    rest = RestWire(
        partial_after=settings.partial_after, pace=settings.traces_per_minute, open_entry=open_entry
    )
    wires: dict[str, list[Wire]] = {"auto": [otlp, rest], "otlp": [otlp], "rest": [rest]}
    return wires[settings.protocol]


def _cache_folder() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def spool_directory(settings: Settings) -> Path | None:
    """Where the spools of all projects are; None when they are in memory."""
    if settings.spool_dir == "off":
        return None
    if settings.spool_dir:
        return Path(settings.spool_dir).expanduser()
    try:
        return _cache_folder() / "pandaprobe-otel" / "spool"
    except RuntimeError:
        message = (
            "the user has no home folder, so spans wait in memory only; PANDAPROBE_SPOOL_DIR names a folder"
        )
        warn_once(_logger, "no home", message)
        return None


def headers_of(settings: Settings) -> dict[str, str]:
    """What every request says of its sender."""
    headers = {"User-Agent": f"pandaprobe-otel/{__version__}"}
    if settings.api_key:
        headers["X-API-Key"] = settings.api_key
    if settings.project_name:
        headers["X-Project-Name"] = settings.project_name
    return headers


def _resource(settings: Settings) -> dict[str, str]:
    own = {DEPLOYMENT_ENVIRONMENT_NAME: settings.environment, SERVICE_VERSION: settings.release}
    return {key: value for key, value in own.items() if value}
