# pyright: reportMissingTypeStubs=false
"""OpenTelemetry's GenAI packages: the one module that touches names of theirs that are not documented.

`opentelemetry-util-genai` and the official instrumentations are betas. What is used of them beyond their
documentation is listed in `UNDOCUMENTED`, which a test resolves against the versions that are installed.
"""

import inspect
import logging
import os
from collections.abc import Callable
from functools import cache, update_wrapper
from importlib import import_module
from importlib.metadata import version
from types import new_class
from typing import Any, cast

from opentelemetry.trace import Span, Tracer, TracerProvider
from opentelemetry.util.genai.completion_hook import load_completion_hook
from opentelemetry.util.genai.environment_variables import OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT
from opentelemetry.util.genai.handler import TelemetryHandler
from opentelemetry.util.genai.invocation import InferenceInvocation
from opentelemetry.util.genai.stream import AsyncStreamWrapper, SyncStreamWrapper
from opentelemetry.util.genai.types import ContentCapturingMode

from .. import guard, runtime
from .._version import __version__
from ._calls import Args, Kwargs, Traced

_logger = logging.getLogger("pandaprobe_otel.wrappers")

_OPENAI = "opentelemetry.instrumentation.genai.openai"
_OPENAI_MODULES = (f"{_OPENAI}.patch", f"{_OPENAI}.patch_responses")

# Module -> names.
UNDOCUMENTED = {
    "opentelemetry.util.genai.handler": (
        "TelemetryHandler._content_capturing_mode",
        "TelemetryHandler._capture_content",
    ),
    "opentelemetry.util.genai.stream": (
        "SyncStreamWrapper._process_chunk",
        "AsyncStreamWrapper._process_chunk",
    ),
    _OPENAI_MODULES[0]: (
        "chat_completions_create_v_new",
        "async_chat_completions_create_v_new",
        "embeddings_create",
        "async_embeddings_create",
    ),
    _OPENAI_MODULES[1]: (
        "responses_create",
        "async_responses_create",
        "responses_stream",
        "async_responses_stream",
        "responses_retrieve",
        "async_responses_retrieve",
    ),
    f"{_OPENAI}._raw_response": ("RawResponseStreamProxy._wrap_parsed",),
}


def handler(scope: str) -> TelemetryHandler:
    """The maker of GenAI spans for one instrumentation scope.

    Message content goes on its spans, because PandaProbe evaluates it; what the user says in
    `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` holds over that, and `NO_CONTENT` turns it off.
    """
    return _handler(scope, os.environ.get(OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT, "").strip())


@cache
def _handler(scope: str, content: str) -> TelemetryHandler:
    made = TelemetryHandler(
        tracer_provider=_CurrentTracerProvider(),
        completion_hook=load_completion_hook(),
        instrumentation_scope_name=scope,
        instrumentation_scope_version=__version__,
    )
    return made if content else _with_content(made)


def _with_content(made: TelemetryHandler) -> TelemetryHandler:
    # Both are read from the environment in the constructor, which takes no argument for them.
    made._content_capturing_mode = ContentCapturingMode.SPAN_ONLY  # pyright: ignore[reportPrivateUsage]
    made._capture_content = True  # pyright: ignore[reportPrivateUsage]
    return made


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


def openai_patch(name: str) -> Callable[[TelemetryHandler], Traced] | None:
    """One of the official instrumentation's patch functions; None, with one warning, when the name is gone.

    Raises:
        ImportError: The `openai` extra is not installed.
    """
    for module in map(import_module, _OPENAI_MODULES):
        if hasattr(module, name):
            return _with_safe_streams(getattr(module, name))
    guard.warn_once(
        _logger,
        f"openai {name}",
        "opentelemetry-instrumentation-genai-openai %s has no %s, so some calls are not traced. "
        "Upgrade pandaprobe-otel, or install an older version of that package.",
        version("opentelemetry-instrumentation-genai-openai"),
        name,
    )
    return None


def beneath_official(method: Any) -> Any:
    """The method without the layer that `OpenAIInstrumentor` has put around it for the whole process.

    Two layers would make one span too, but with wrapt before 2.2 and Python 3.12 or newer the outer one fails
    on streams of the inner one.
    """
    while getattr(getattr(method, "_self_wrapper", None), "__module__", None) == _OPENAI:
        method = method.__wrapped__
    return method


def _with_safe_streams(patch: Callable[[TelemetryHandler], Traced]) -> Callable[[TelemetryHandler], Traced]:
    def patched(made: TelemetryHandler) -> Traced:
        traced = patch(made)

        async def call_async(wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
            answer = _Readable(wrapped, bool(kwargs.get("stream")))
            result = _safe_stream(await traced(answer, instance, args, kwargs))
            return result if answer.unread is None else answer.unread

        def call(wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
            return _safe_stream(traced(wrapped, instance, args, kwargs))

        return call_async if inspect.iscoroutinefunction(traced) else call

    return patched


class _Readable:
    """Makes a call and hands the tracing what it can read.

    The answer of an async `with_streaming_response` is parsed by a coroutine, which the official patch does
    not await: no output on the span, and a RuntimeWarning in the user's process.
    """

    def __init__(self, wrapped: Callable[..., Any], streams: bool) -> None:
        update_wrapper(self, wrapped, updated=())
        self._wrapped = wrapped
        self._streams = streams
        self.unread: Any = None

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = await self._wrapped(*args, **kwargs)
        if self._streams or not inspect.iscoroutinefunction(getattr(result, "parse", None)):
            return result
        self.unread = result
        return await result.parse()


def _safe_stream(result: Any) -> Any:
    """The same stream, whose reading survives a fault of the tracing; anything else as it is."""
    kind = cast("type[Any]", type(result))
    # Not isinstance: it asks a proxy for the class of what it wraps.
    if not {SyncStreamWrapper, AsyncStreamWrapper}.isdisjoint(kind.__mro__):
        safe = _safe_class(kind)(result.__wrapped__, result._self_invocation, result._self_capture_content)
        # Nobody reads the first one; without this its finalizer would report an abandoned stream.
        result._self_finalized = True
        return safe
    if hasattr(kind, "_wrap_parsed"):
        # `with_raw_response`: the stream is made when the caller parses the response.
        wrap: Callable[[Any], Any] = result._self_wrap_stream

        def wrap_safely(parsed: Any) -> Any:
            return _safe_stream(wrap(parsed))

        result._self_wrap_stream = wrap_safely
    return result


@cache
def _safe_class(base: type[Any]) -> type[Any]:
    return new_class(base.__name__, (_SafeHooks, base))


class _SafeHooks:
    """A stream wrapper's hooks, which run inside the user's loop: none raises, and the span always ends."""

    _self_invocation: InferenceInvocation

    @guard.never_raises
    def _process_chunk(self, chunk: Any) -> None:
        super()._process_chunk(chunk)  # pyright: ignore

    @guard.never_raises
    def _on_stream_end(self) -> None:
        try:
            super()._on_stream_end()  # pyright: ignore
        finally:
            self._self_invocation.stop()

    @guard.never_raises
    def _on_stream_error(self, error: BaseException) -> None:
        try:
            super()._on_stream_error(error)  # pyright: ignore
        finally:
            self._self_invocation.fail(error)
