# pyright: reportMissingTypeStubs=false
"""Who makes GenAI spans: with content or without, and in the session that a client was wrapped with."""

import os
from copy import copy
from functools import cache
from typing import Any

from opentelemetry.trace import Span, Tracer, TracerProvider
from opentelemetry.util.genai.completion_hook import load_completion_hook
from opentelemetry.util.genai.environment_variables import OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT
from opentelemetry.util.genai.handler import TelemetryHandler
from opentelemetry.util.genai.stream import AbandonedStreamError
from opentelemetry.util.genai.types import ContentCapturingMode

from ... import runtime
from ..._version import __version__
from ...attributes import PANDAPROBE_SPAN_KIND, SpanKind
from ...tracing.labels import Labels

# The provider whose counts of input tokens leave out the cached ones.
_BEDROCK = "aws.bedrock"

__all__ = ["Recorder", "TelemetryHandler"]


class Recorder:
    """Makes the GenAI spans of one wrapped client, or of a whole process.

        with recorder.handler().inference("mistral_ai", request_model=model) as invocation:
            ...

    Args:
        scope: The name of the instrumentation scope.
        labels: Holds for every call.
        provider: What the spans say in place of the provider that an instrumentation names.
    """

    def __init__(self, scope: str, labels: Labels | None = None, provider: str | None = None) -> None:
        self.labels = labels or None
        self._provider = provider
        self._scope = scope
        self._handlers: dict[str, TelemetryHandler] = {}

    def of_provider(self, provider: str) -> "Recorder":
        """One that differs in the provider that its spans name."""
        return Recorder(self._scope, self.labels, provider)

    def handler(self) -> TelemetryHandler:
        """Starts spans, with message content or without, as it holds now."""
        content = _content()
        known = self._handlers.get(content)
        if known is None:
            known = copy(_handler(self._scope, content))
            known.labels, known.provider = self.labels, self._provider
            self._handlers[content] = known
        return known


def _content() -> str:
    """Where content goes, in OpenTelemetry's words.

    On the spans, because PandaProbe evaluates it, unless PandaProbe or OpenTelemetry is told otherwise.
    """
    if not runtime.captures_content():
        return ContentCapturingMode.NO_CONTENT.name
    given = os.environ.get(OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT, "").strip()
    return given or ContentCapturingMode.SPAN_ONLY.name


@cache
def _handler(scope: str, content: str) -> "_Handler":
    made = _Handler(
        tracer_provider=_CurrentTracerProvider(),
        completion_hook=load_completion_hook(),
        instrumentation_scope_name=scope,
        instrumentation_scope_version=__version__,
    )
    # The constructor takes no argument for these; it reads OpenTelemetry's variable.
    if content == ContentCapturingMode.SPAN_ONLY.name:
        made._capture_content = True  # pyright: ignore[reportPrivateUsage]
    if content in (ContentCapturingMode.SPAN_ONLY.name, ContentCapturingMode.NO_CONTENT.name):
        made._content_capturing_mode = ContentCapturingMode[content]  # pyright: ignore[reportPrivateUsage]
    return made


class _Handler(TelemetryHandler):
    """Starts each span in the session of its client, and puts the client's tags and metadata on it."""

    labels: Labels | None = None
    provider: str | None = None

    def inference(self, *args: Any, **kwargs: Any) -> Any:
        invocation = self._start(super().inference, args, kwargs)
        if kwargs.get("provider") == _BEDROCK:
            invocation.__class__ = _counting_cached(invocation.__class__)
        return invocation

    def embedding(self, *args: Any, **kwargs: Any) -> Any:
        return self._start(super().embedding, args, kwargs)

    def tool(self, *args: Any, **kwargs: Any) -> Any:
        return self._start(super().tool, args, kwargs)

    def fetch_response(self, *args: Any, **kwargs: Any) -> Any:
        invocation = self._start(super().fetch_response, args, kwargs)
        # The call of the model was another.
        invocation.attributes[PANDAPROBE_SPAN_KIND] = SpanKind.OTHER.value
        return invocation

    def retrieval(self, *args: Any, **kwargs: Any) -> Any:
        return self._start(super().retrieval, args, kwargs)

    def invoke_remote_agent(self, *args: Any, **kwargs: Any) -> Any:
        return self._start(super().invoke_remote_agent, args, kwargs)

    def _start(self, start: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.provider is not None:
            args, kwargs = args[1:], {**kwargs, "provider": self.provider}
        if self.labels is None:
            return start(*args, **kwargs)
        # A context instead of a block around the call, because a stream is read long after its call.
        invocation = start(*args, **{"context": self.labels.context(), **kwargs})
        self.labels.put_on(invocation.span)
        return invocation


@cache
def _counting_cached(base: Any) -> Any:
    class Counting(base):
        """Counts the cached among the input tokens, as the convention has it and AWS does not."""

        def _finish(self, error: Any = None) -> None:
            me: Any = self
            if me.input_tokens is not None:
                cached = (me.cache_read_input_tokens, me.cache_write_input_tokens)
                me.input_tokens += sum(filter(None, cached))
            base._finish(self, error)

        def fail(self, error: Any) -> None:
            # A body that nobody reads to its end is no failure.
            if isinstance(error, AbandonedStreamError):
                self._finish()
            else:
                base.fail(self, error)

    return Counting


class _CurrentTracerProvider(TracerProvider):
    """Asks for the provider in force as each span starts: a client may be wrapped before `init()`."""

    def get_tracer(self, *args: Any, **kwargs: Any) -> Tracer:
        return _CurrentTracer(args, kwargs)


class _CurrentTracer(Tracer):
    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._scope = (args, kwargs)
        self._known: tuple[TracerProvider, Tracer] | None = None

    def _tracer(self) -> Tracer:
        provider = runtime.tracer_provider()
        if self._known is None or self._known[0] is not provider:
            args, kwargs = self._scope
            self._known = (provider, provider.get_tracer(*args, **kwargs))
        return self._known[1]

    def start_span(self, *args: Any, **kwargs: Any) -> Span:
        return self._tracer().start_span(*args, **kwargs)

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        return self._tracer().start_as_current_span(*args, **kwargs)
