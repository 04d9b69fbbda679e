"""Joins the TracerProvider that is there, or builds one."""

import logging
from collections.abc import Callable
from inspect import signature
from typing import Any

from opentelemetry import trace
from opentelemetry._logs import get_logger_provider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.util.types import AttributeValue

from .._version import __version__
from ..attributes import (
    DEPLOYMENT_ENVIRONMENT_NAME,
    SERVICE_VERSION,
    TELEMETRY_DISTRO_NAME,
    TELEMETRY_DISTRO_VERSION,
)
from ..export.processor import ExportProcessor
from ..guard import never_raises, warn_once
from ..session.stamping import SessionSpanProcessor
from ..settings import Settings
from .yielding import YieldingTracerProvider, when_provider_is_set

_logger = logging.getLogger("pandaprobe_otel.setup")


# What was added to a provider, so that nothing is added twice. By identity, for Logfire's has no hash; they
# are kept, as by every tracer that they make.
_joined: dict[int, tuple[object, ExportProcessor]] = {}
_built: YieldingTracerProvider | None = None
_private: TracerProvider | None = None


def join_or_build(settings: Settings) -> tuple[trace.TracerProvider, ExportProcessor]:
    """The provider that our own spans are made with, and our exporting processor on it.

    No provider yet: one is built, which gives way when the user sets another. An SDK provider: our processors
    are added to it, and nothing else of it is touched. One that takes no processors: our own spans get a
    provider of their own.
    """
    global _built, _private
    provider: Any = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        _built = YieldingTracerProvider(resource=_resource(settings))
        _built.take_place()
        when_provider_is_set(_give_way)
        # Another thread may have been first.
        provider = trace.get_tracer_provider()
    elif not _takes_processors(provider):
        if _private is None:
            _private = TracerProvider(resource=_resource(settings))
        provider = _private
    return provider, _join(provider, ExportProcessor)


def _join(provider: Any, processor_for: Callable[[], ExportProcessor]) -> ExportProcessor:
    _, processor = _joined.get(id(provider), (None, None))
    if processor is None:
        processor = processor_for()
        _joined[id(provider)] = provider, processor
        for added in (SessionSpanProcessor(), processor):
            _add(provider, added)
        current = trace.get_current_span()
        if isinstance(current, Span) and current.is_recording() and current.resource is provider.resource:
            # It is this provider's: the first use of this package starts it in the middle of a request.
            processor.on_start(current)
    return processor


def _add(provider: Any, processor: SpanProcessor) -> None:
    parameters = signature(provider.add_span_processor).parameters
    # Phoenix's takes its own exporter away when a processor is added, unless told not to.
    keep = {"replace_default_processor": False} if "replace_default_processor" in parameters else {}
    provider.add_span_processor(processor, **keep)


@never_raises
def _give_way(provider: trace.TracerProvider) -> None:
    if _built is not None and provider is not _built and _takes_processors(provider):
        # The same processor: what is queued, open and yet to come goes one way.
        _join(provider, lambda: _joined[id(_built)][1])
        _built.successor = provider


def _takes_processors(provider: object) -> bool:
    if hasattr(provider, "add_span_processor"):
        return True
    warn_once(
        _logger,
        "foreign provider",
        "the global TracerProvider (%s) takes no span processors: only spans of this package reach"
        " PandaProbe; set an OpenTelemetry SDK TracerProvider before init() to have all of them",
        type(provider).__qualname__,
    )
    return False


def stamp_logs() -> None:
    """Adds the stamping of log records to the global LoggerProvider, when it is one of the SDK."""
    provider: Any = get_logger_provider()
    if hasattr(provider, "add_log_record_processor") and id(provider) not in _stamped:
        from ..session.log_stamping import SessionLogRecordProcessor

        _stamped[id(provider)] = provider
        provider.add_log_record_processor(SessionLogRecordProcessor())


_stamped: dict[int, object] = {}


# Which distribution has set the provider up.
OWN_RESOURCE = {TELEMETRY_DISTRO_NAME: "pandaprobe-otel", TELEMETRY_DISTRO_VERSION: __version__}


def _resource(settings: Settings) -> Resource:
    # `Resource.create` reads OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.
    resource = Resource.create()
    own: dict[str, AttributeValue] = {**OWN_RESOURCE}
    if settings.environment:
        own[DEPLOYMENT_ENVIRONMENT_NAME] = settings.environment
    if settings.release and SERVICE_VERSION not in resource.attributes:
        own[SERVICE_VERSION] = settings.release
    return resource.merge(Resource(own))
