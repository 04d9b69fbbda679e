"""`wrap_anthropic`: the calls of one Anthropic client become GenAI spans.

The spans are made by OpenTelemetry's own instrumentation of the anthropic package, here put around the
methods of one client, or of the classes of the package. From version 2 on it makes spans by itself; they stay
away from a call that is traced here.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from wrapt import ObjectProxy

from .. import guard
from ..attributes import SpanKind
from ..tracing.labels import Id, Labels
from . import _calls, _genai, _operations, _spans, _stainless, _tools
from ._instrumentor import Instrumentor
from ._wrapping import Wrapping, wrap

if TYPE_CHECKING:
    import anthropic

    C = TypeVar("C", bound=anthropic.Anthropic | anthropic.AsyncAnthropic)

# Resource -> method -> patch function, as the official instrumentation pairs them. The patch functions
# for AsyncAnthropic have `async_` in front.
_MESSAGES = {
    "create": "messages_create",
    "parse": "messages_create",
    "stream": "messages_stream",
    "count_tokens": "count_tokens",
}
_SURFACE = {"messages": _MESSAGES, "beta.messages": {**_MESSAGES, "tool_runner": "tool_runner"}}
_CLASSES = {
    "messages": "Messages anthropic.resources.messages",
    "beta.messages": "Messages anthropic.resources.beta.messages",
}
# Where version 2 asks whether to make a span, and the scope of those that it makes.
_NATIVE, _NATIVE_SCOPE = "_tracer", "com.anthropic.sdk.python"


def wrap_anthropic(
    client: "C",
    *,
    session_id: Id | None = None,
    user_id: Id | None = None,
    tags: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> "C":
    """Traces the calls of one Anthropic client, streams and errors included; other clients stay as they are.

        client = wrap_anthropic(anthropic.Anthropic())

    Spans and attributes follow OpenTelemetry's GenAI semantic conventions, with the messages on them unless
    `PANDAPROBE_CAPTURE_CONTENT` or `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` says otherwise. Where
    others trace the client too, OpenTelemetry's instrumentation or the package itself, a call still makes one
    span. A client that was told how to make spans of its own (`Anthropic(open_telemetry={"traces":
    {"content_mode": "content"}})`, or with a provider or conversation id there) goes on making them, in the
    session and for the user named here.

    Args:
        client: An `anthropic.Anthropic`, `AsyncAnthropic`, or that of a platform, such as `AnthropicBedrock`.
            Wrapping it twice is the same as once; with other labels, these hold instead. Copies that it makes
            (`with_options`) are traced too, and have its labels.
        session_id: The session of all its calls, stronger than a `session()` block around them.
        user_id: Likewise.
        tags: Tags of the spans of its calls.
        metadata: Names and any values, for the same spans.

    Returns:
        The same client.

    Raises:
        TypeError: `client` is something else, or a label has the wrong type.
        ImportError: The `anthropic` extra is not installed.
    """
    AnthropicInstrumentor().check_installed()
    # The clients of platforms are no subclasses of Anthropic.
    from anthropic._base_client import AsyncAPIClient, SyncAPIClient

    given = cast(object, client)
    if not isinstance(given, (SyncAPIClient, AsyncAPIClient)):
        example = "anthropic.Anthropic()"
        raise _calls.not_a_client("wrap_anthropic", given, "anthropic.Anthropic or AsyncAnthropic", example)
    labels = Labels(session_id=session_id, user_id=user_id, tags=tags, metadata=metadata)
    if AnthropicInstrumentor().supports_installed():
        _wrap(client, isinstance(given, AsyncAPIClient), labels)
    return client


def _wrap(client: Any, asynchronous: bool, labels: Labels) -> None:
    def fill(wrapping: Wrapping) -> None:
        tracers = _tracers(wrapping)
        _stainless.wrap_client(
            client,
            _SURFACE,
            wrapping,
            (lambda patch: tracers(f"async_{patch}")) if asynchronous else tracers,
            lambda copy: _wrap(copy, asynchronous, labels),
        )

    wrap(client, AnthropicInstrumentor.scope, labels, fill)


class AnthropicInstrumentor(Instrumentor):
    """Traces every client of the process, as `wrap_anthropic` traces one."""

    name = "anthropic"
    scope = "pandaprobe_otel.wrappers.anthropic"
    versions = ("anthropic >= 0.51, < 3",)

    def check_imports(self) -> None:
        import anthropic  # noqa: F401  # pyright: ignore[reportUnusedImport]

        _genai.check_installed("anthropic")

    def fill(self, wrapping: Wrapping) -> None:
        import anthropic

        clients = (anthropic.Anthropic, anthropic.AsyncAnthropic)
        _stainless.wrap_classes(clients, _CLASSES, _SURFACE, wrapping, _tracers(wrapping))


def _tracers(wrapping: Wrapping) -> _stainless.Tracers:
    _hush_native_spans()

    @cache
    def tracer(patch: str) -> _calls.Traced | None:
        if patch.endswith("count_tokens"):
            # The official instrumentation has none.
            make = _spans.traced_async if patch.startswith("async_") else _spans.traced
            return _unless_native(make(_COUNT, wrapping.recorder, "wrap_anthropic"), wrapping.recorder.labels)
        if patch.endswith("tool_runner"):
            return _unless_native(_running_tools(wrapping.recorder), wrapping.recorder.labels)
        traced = _genai.official("anthropic", patch, wrapping.recorder, lambda _: _genai.Beginning(_begins))
        return None if traced is None else _unless_native(traced, wrapping.recorder.labels)

    return tracer


@cache
def _hush_native_spans() -> None:
    """Has the package make no span inside a call that is traced already; for good, as it says no more."""
    from anthropic._base_client import BaseClient

    native = vars(BaseClient).get(_NATIVE)
    if isinstance(native, property) and native.fget:
        ask = native.fget

        def tracer(client: Any) -> Any:
            return None if _genai.is_traced() else ask(client)

        setattr(BaseClient, _NATIVE, property(tracer))


def _unless_native(traced: _calls.Traced, labels: Labels | None) -> _calls.Traced:
    import anthropic

    # Values that stand for none, which the spans would have as they are.
    unset = (anthropic.NotGiven, getattr(anthropic, "Omit", anthropic.NotGiven))

    def call(wrapped: Callable[..., Any], instance: Any, args: _calls.Args, kwargs: _calls.Kwargs) -> Any:
        if not _has_native_spans(instance._client):
            given = {name: value for name, value in kwargs.items() if not isinstance(value, unset)}
            return traced(wrapped, instance, args, given)
        with labels.applied() if labels else nullcontext():
            return wrapped(*args, **kwargs)

    return call


@guard.never_raises
def _has_native_spans(client: Any) -> bool:
    """Whether somebody told the client how to make spans; that it makes them by default says nothing."""
    told = getattr(client, "open_telemetry", None)
    if not told or not told["traces"]["enabled"]:
        return False
    return told["traces"]["content_mode"] == "content" or not told.keys().isdisjoint(
        {"tracer_provider", "conversation_id"}
    )


def _running_tools(recorder: _genai.Recorder) -> _calls.Traced:
    """Traces the tools that a loop runs; its requests are made by methods that are traced themselves."""

    def call(wrapped: Callable[..., Any], _: Any, args: _calls.Args, kwargs: _calls.Kwargs) -> Any:
        if "tools" in kwargs:
            tools = list(kwargs["tools"])
            kwargs = {**kwargs, "tools": _traced_tools(tools, recorder) or tools}
        return wrapped(*args, **kwargs)

    return _calls.unobtrusive(call, "wrap_anthropic")


@guard.never_raises
def _traced_tools(tools: list[Any], recorder: _genai.Recorder) -> list[Any]:
    # Those without a `call` are run by Anthropic, or by nobody.
    return [_TracedTool(tool, recorder) if hasattr(tool, "call") else tool for tool in tools]


class _TracedTool(ObjectProxy):  # pyright: ignore[reportUntypedBaseClass, reportMissingTypeArgument]
    def __init__(self, given: Any, recorder: _genai.Recorder) -> None:
        super().__init__(given)  # pyright: ignore[reportUnknownMemberType]
        description = given.to_dict().get("description")
        tool = _tools.Tool(given.name, description, "a tool of wrap_anthropic", _NATIVE_SCOPE)
        self._self_call = _tools.traced(given.call, tool, recorder, lambda args, _: args[0])

    @property
    def call(self) -> Any:
        return self._self_call


def _server(resource: Any, _: _calls.Kwargs) -> tuple[str, str | None, int | None]:
    return "anthropic", *_stainless.server(resource)


_COUNT = _operations.shape(
    _operations.Operation(
        "count_tokens", ("system", "messages", "tools"), ("input_tokens",), kind=SpanKind.OTHER
    ),
    _server,
)


def _begins(event: Any) -> bool:
    return getattr(event, "type", None) == "content_block_delta"
