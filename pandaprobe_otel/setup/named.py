"""The exporter that `OTEL_TRACES_EXPORTER=pandaprobe` and OpenTelemetry's configuration files name."""

from collections.abc import Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from typing_extensions import Unpack

from ..settings import SettingsKeywords, configure, resolve
from .client import start_from_environment
from .yielding import when_provider_is_set


class NamedExporter(SpanExporter):
    """Has the client join the provider, and leaves the spans to the client's own processors.

    Those stamp too, send what is still open when the process ends, and are there once, however often
    PandaProbe is asked for: by name, by `opentelemetry-instrument` and by `init`.

    Args:
        settings: As for `init`; they hold where `init` is not told otherwise.

    Raises:
        TypeError: For a setting that does not exist.
        ValueError: For a value that cannot be read.
    """

    def __init__(self, **settings: Unpack[SettingsKeywords]) -> None:
        resolve(settings)
        configure(settings)
        provider: Any = trace.get_tracer_provider()
        if isinstance(provider, trace.ProxyTracerProvider):
            # A configuration file makes the exporters first.
            when_provider_is_set(lambda _: start_from_environment())
        else:
            start_from_environment()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Does nothing: the client has them."""
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Does nothing: nothing is held."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Does nothing: nothing is held."""
        return True
