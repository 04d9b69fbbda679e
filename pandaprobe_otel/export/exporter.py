"""`PandaProbeSpanExporter`: OpenTelemetry's exporter interface over the wires to PandaProbe."""

import math
from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from typing_extensions import Unpack

from .._version import __version__
from ..attributes import DEPLOYMENT_ENVIRONMENT_NAME, SERVICE_VERSION
from ..guard import report
from ..settings import Settings, SettingsKeywords, resolve
from .connection import Connection
from .otlp import OtlpWire


class PandaProbeSpanExporter(SpanExporter):
    """Sends ended spans to PandaProbe; for a span processor of your own.

        exporter = PandaProbeSpanExporter(api_key="sk_pp_…", project_name="support-agent")
        provider.add_span_processor(BatchSpanProcessor(exporter))

    Args:
        lost_attributes: Gives the stamped attributes that a span has lost to its attribute limit.
        settings: As for `init`.

    Raises:
        TypeError: For a setting that does not exist.
        ValueError: For a value that cannot be read.
    """

    def __init__(
        self,
        *,
        lost_attributes: Callable[[ReadableSpan], Mapping[str, str]] = lambda span: {},
        **settings: Unpack[SettingsKeywords],
    ) -> None:
        self._settings = resolve(settings)
        self._wire = OtlpWire(
            Connection(self._settings.endpoint, _headers(self._settings)),
            lost_attributes,
            _resource(self._settings),
        )
        self._end_at = math.inf
        self.sent = 0
        self.lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends a batch; FAILURE when any span of it was not accepted."""
        give_up_at = min(monotonic() + self._settings.timeout, self._end_at)
        try:
            accepted = self._wire.send(spans, give_up_at)
        except Exception as error:
            report("PandaProbeSpanExporter.export", error)
            accepted = 0
        self.sent += accepted
        self.lost += len(spans) - accepted
        return SpanExportResult.SUCCESS if accepted == len(spans) else SpanExportResult.FAILURE

    def end_by(self, moment: float) -> None:
        """Gives up whatever is not sent by `moment`, on the clock of `time.monotonic`."""
        self._end_at = moment

    def shutdown(self) -> None:
        """Ends waiting between attempts."""
        self._wire.stop()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Does nothing: an exporter holds no spans."""
        return True


def _headers(settings: Settings) -> dict[str, str]:
    headers = {"User-Agent": f"pandaprobe-otel/{__version__}"}
    if settings.api_key:
        headers["X-API-Key"] = settings.api_key
    if settings.project_name:
        headers["X-Project-Name"] = settings.project_name
    return headers


def _resource(settings: Settings) -> dict[str, str]:
    own = {DEPLOYMENT_ENVIRONMENT_NAME: settings.environment, SERVICE_VERSION: settings.release}
    return {key: value for key, value in own.items() if value}
