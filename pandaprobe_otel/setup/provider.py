"""Joins the TracerProvider that is there, or builds one."""

import logging
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry import trace
from opentelemetry._logs import get_logger_provider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.util.types import AttributeValue

from .._version import __version__
from ..attributes import (
    DEPLOYMENT_ENVIRONMENT_NAME,
    SERVICE_VERSION,
    TELEMETRY_DISTRO_NAME,
    TELEMETRY_DISTRO_VERSION,
)
from ..export.processor import ExportProcessor
from ..guard import warn_once
from ..session.stamping import SessionLogRecordProcessor, SessionSpanProcessor
from ..settings import Settings

_logger = logging.getLogger("pandaprobe_otel.setup")


# What was added to a provider, so that nothing is added twice.
_joined: "WeakKeyDictionary[object, ExportProcessor]" = WeakKeyDictionary()
_private: TracerProvider | None = None


def join_or_build(settings: Settings) -> tuple[trace.TracerProvider, ExportProcessor]:
    """The provider that our own spans are made with, and our exporting processor on it.

    No provider yet: one is built and made global. An SDK provider: our processors are added to it, and
    nothing else of it is touched. One that takes no processors: our own spans get a provider of their own.
    """
    global _private
    provider: Any = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        trace.set_tracer_provider(TracerProvider(resource=_resource(settings)))
        # Another thread may have been first.
        provider = trace.get_tracer_provider()
    elif not hasattr(provider, "add_span_processor"):
        if _private is None:
            _private = TracerProvider(resource=_resource(settings))
        warn_once(
            _logger,
            "foreign provider",
            "the global TracerProvider (%s) takes no span processors: only spans of this package reach"
            " PandaProbe; set an OpenTelemetry SDK TracerProvider before init() to have all of them",
            type(provider).__qualname__,
        )
        provider = _private
    return provider, _join(provider)


def _join(provider: Any) -> ExportProcessor:
    processor = _joined.get(provider)
    if processor is None:
        _joined[provider] = processor = ExportProcessor()
        provider.add_span_processor(SessionSpanProcessor())
        provider.add_span_processor(processor)
    return processor


def stamp_logs() -> None:
    """Adds the stamping of log records to the global LoggerProvider, when it is one of the SDK."""
    provider: Any = get_logger_provider()
    if hasattr(provider, "add_log_record_processor") and provider not in _stamped:
        _stamped[provider] = True
        provider.add_log_record_processor(SessionLogRecordProcessor())


_stamped: "WeakKeyDictionary[object, bool]" = WeakKeyDictionary()


def _resource(settings: Settings) -> Resource:
    # `Resource.create` reads OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.
    resource = Resource.create()
    own: dict[str, AttributeValue] = {
        TELEMETRY_DISTRO_NAME: "pandaprobe-otel",
        TELEMETRY_DISTRO_VERSION: __version__,
    }
    if settings.environment:
        own[DEPLOYMENT_ENVIRONMENT_NAME] = settings.environment
    if settings.release and SERVICE_VERSION not in resource.attributes:
        own[SERVICE_VERSION] = settings.release
    return resource.merge(Resource(own))
