"""`wrap_openai`: the calls of one OpenAI client become GenAI spans.

The spans are made by OpenTelemetry's own instrumentation of the openai package, here put around the methods
of one client, or of the package's classes with PandaProbe's idea of what goes on a span.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from .. import guard
from ..attributes import SpanKind
from ..tracing.labels import Id, Labels
from . import (
    _calls,
    _chat,
    _connections,
    _genai,
    _openai_runner,
    _operations,
    _realtime,
    _responses,
    _responses_connection,
    _spans,
    _stainless,
)
from ._chat_messages import field, items
from ._instrumentor import Instrumentor
from ._wrapping import Wrapping, wrap

if TYPE_CHECKING:
    import openai

    C = TypeVar("C", bound=openai.OpenAI | openai.AsyncOpenAI)

# Resource -> method -> patch function, as the official instrumentation pairs them. The patch functions
# for AsyncOpenAI have `async_` in front.
_CHAT = {"create": "chat_completions_create_v_new", "parse": "chat_completions_create_v_new"}
_SURFACE = {
    "chat.completions": _CHAT,
    "beta.chat.completions": _CHAT,
    "completions": {"create": "text_completion"},
    # The official patch reads no raw response of these.
    "embeddings": {"create": "embedding"},
    "responses": {
        "create": "responses_create",
        "parse": "responses_create",
        "stream": "responses_stream",
        "retrieve": "responses_retrieve",
        "compact": "response",
        "connect": "responses_connection",
    },
    "realtime": {"connect": "realtime"},
    "beta.realtime": {"connect": "realtime"},
    # Its answers have types of their own, which the official instrumentation does not read.
    "beta.responses": {"create": "response", "compact": "response", "connect": "responses_connection"},
    "images": {"generate": "generate_image", "edit": "edit_image"},
    "audio.speech": {"create": "speech"},
    "audio.transcriptions": {"create": "transcription"},
    "audio.translations": {"create": "transcription"},
    "moderations": {"create": "moderation"},
    "decisions": {"create": "decision"},
}
_CLASSES = {
    "chat.completions": "Completions openai.resources.chat.completions",
    "completions": "Completions openai.resources.completions",
    "embeddings": "Embeddings openai.resources.embeddings",
    "responses": "Responses openai.resources.responses",
    "beta.responses": "Responses openai.resources.beta.responses.responses",
    "images": "Images openai.resources.images",
    "audio.speech": "Speech openai.resources.audio.speech",
    "audio.transcriptions": "Transcriptions openai.resources.audio.transcriptions",
    "audio.translations": "Translations openai.resources.audio.translations",
    "moderations": "Moderations openai.resources.moderations",
    "decisions": "Decisions openai.resources.decisions",
    "realtime": "Realtime openai.resources.realtime.realtime",
    "beta.realtime": "Realtime openai.resources.beta.realtime.realtime",
}
_IMAGE = ("n", "size", "quality", "background", "output_format", "style")
_PICTURES = ("data", "b64_json")
_AZURE, _BEDROCK, _VERTEX = _PLATFORMS = ("azure.ai.openai", "aws.bedrock", "gcp.vertex_ai")
# What `openai.providers` makes -> whose it is.
_PROVIDERS = {"bedrock": _BEDROCK, "vertex": _VERTEX}
# Parameters that the SDK takes as any iterable.
_ITERABLES = frozenset({"messages", "tools", "input"})
# How the SDK tells a call that its caller reads the body of the answer himself.
_RAW = "X-Stainless-Raw-Response"
# What of a chunk's delta is the answer; compatible APIs send reasoning as one of the last two.
_BEGINNINGS = ("content", "tool_calls", "refusal", "reasoning_content", "reasoning")


def wrap_openai(
    client: "C",
    *,
    session_id: Id | None = None,
    user_id: Id | None = None,
    tags: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> "C":
    """Traces the calls of one OpenAI client, streams and errors included; other clients stay as they are.

        client = wrap_openai(openai.OpenAI())

    Spans and attributes follow OpenTelemetry's GenAI semantic conventions, with the messages on them unless
    `PANDAPROBE_CAPTURE_CONTENT` or `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` says otherwise. Where
    OpenTelemetry's `OpenAIInstrumentor` is active too, a call still makes one span.

    Args:
        client: An `openai.OpenAI`, `AsyncOpenAI` or subclass, such as `AzureOpenAI`. Wrapping it twice is the
            same as once; with other labels, these hold instead. Copies that it makes (`with_options`) are
            traced too, and have its labels.
        session_id: The session of all its calls, stronger than a `session()` block around them.
        user_id: Likewise.
        tags: Tags of the spans of its calls.
        metadata: Names and any values, for the same spans.

    Returns:
        The same client.

    Raises:
        TypeError: `client` is something else, or a label has the wrong type.
        ImportError: The `openai` extra is not installed.
    """
    OpenAIInstrumentor().check_installed()
    import openai

    given = cast(object, client)
    if not isinstance(given, (openai.OpenAI, openai.AsyncOpenAI)):
        raise _calls.not_a_client("wrap_openai", given, "openai.OpenAI or AsyncOpenAI", "openai.OpenAI()")
    labels = Labels(session_id=session_id, user_id=user_id, tags=tags, metadata=metadata)
    if OpenAIInstrumentor().supports_installed():
        _wrap(client, labels)
    return client


def _wrap(client: Any, labels: Labels) -> None:
    import openai

    asynchronous = isinstance(client, openai.AsyncOpenAI)

    def fill(wrapping: Wrapping) -> None:
        tracers = _tracers(wrapping)
        _stainless.wrap_client(
            client,
            _SURFACE,
            wrapping,
            (lambda patch: tracers(f"async_{patch}")) if asynchronous else tracers,
            lambda copy: _wrap(copy, labels),
        )
        _openai_runner.trace_functions(client, wrapping)

    wrap(client, OpenAIInstrumentor.scope, labels, fill)


class OpenAIInstrumentor(Instrumentor):
    """Traces every client of the process, as `wrap_openai` traces one."""

    name = "openai"
    scope = "pandaprobe_otel.wrappers.openai"
    versions = ("openai >= 1.26, < 4",)

    def check_imports(self) -> None:
        import openai  # noqa: F401  # pyright: ignore[reportUnusedImport]

        _genai.check_installed("openai")

    def fill(self, wrapping: Wrapping) -> None:
        import openai

        clients = (openai.OpenAI, openai.AsyncOpenAI)
        _stainless.wrap_classes(clients, _CLASSES, _SURFACE, wrapping, _tracers(wrapping))
        for kind in clients:
            _openai_runner.trace_functions(kind, wrapping)


def _tracers(wrapping: Wrapping) -> _stainless.Tracers:
    of_platforms = {name: wrapping.recorder.of_provider(name) for name in _PLATFORMS}

    @cache
    def tracer(patch: str) -> _calls.Traced | None:
        if (kind := _CONNECTIONS.get(patch.removeprefix("async_"))) is not None:
            return _connections.connecting(partial(_watching, kind, wrapping.recorder), "wrap_openai")
        make = _spans.traced_async if patch.startswith("async_") else _spans.traced
        if (shape := _OWN.get(patch.removeprefix("async_"))) is not None:
            return make(shape, wrapping.recorder, "wrap_openai")
        answers = patch.endswith(("responses_create", "responses_stream"))
        reads = _responses.ResponseReader if answers else _beginning
        traced = _genai.official("openai", patch, wrapping.recorder, reads)
        if traced is None:
            return None
        found = {name: _genai.official("openai", patch, to, reads) for name, to in of_platforms.items()}
        unread = _UNREAD.get(patch.removeprefix("async_"))
        lazily = traced if unread is None else make(_OWN[unread], wrapping.recorder, "wrap_openai")
        return _reading_once(traced, found, lazily)

    return tracer


def _reading_once(
    traced: _calls.Traced, platforms: Mapping[str, _calls.Traced | None], lazily: _calls.Traced
) -> _calls.Traced:
    def call(wrapped: Callable[..., Any], instance: Any, args: _calls.Args, kwargs: _calls.Kwargs) -> Any:
        trace = platforms.get(_provider(instance) or "") or traced
        headers: Mapping[str, Any] = kwargs.get("extra_headers") or {}
        if not kwargs.get("stream") and headers.get(_RAW) == "stream":
            trace = lazily
        # Parameters that may be generators, as lists: the span reads them before the request does.
        kwargs = {
            name: list(cast("Iterator[Any]", value))
            if name in _ITERABLES and isinstance(value, Iterator)
            else value
            for name, value in kwargs.items()
        }
        return trace(wrapped, instance, args, kwargs)

    return call


@guard.never_raises
def _provider(resource: Any) -> str:
    import openai

    client = getattr(resource, "_client", None)
    if isinstance(client, (openai.AzureOpenAI, openai.AsyncAzureOpenAI)):
        return _AZURE
    # That of `BedrockOpenAI` too.
    named = getattr(getattr(client, "_provider_runtime", None), "name", None)
    return _PROVIDERS.get(str(named), "openai")


def _server(resource: Any, _: _calls.Kwargs) -> tuple[str, str | None, int | None]:
    return _provider(resource) or "openai", *_stainless.server(resource)


def _watching(
    kind: type[_connections.Watch],
    recorder: _genai.Recorder,
    resource: Any,
    _: _calls.Args,
    kwargs: _calls.Kwargs,
) -> Callable[[], _connections.Watch]:
    provider, address, port = _server(resource, kwargs)
    if (url := getattr(resource._client, "websocket_base_url", None)) is not None:
        parts = urlsplit(str(url))
        address, port = parts.hostname, parts.port
    # Left out of a call that is joined.
    model = kwargs.get("model")
    return partial(
        kind, recorder, (provider, address, port), "chat", model if isinstance(model, str) else None
    )


def _start(operation: str, handler: _genai.TelemetryHandler, resource: Any, request: _calls.Kwargs) -> Any:
    provider, address, port = _server(resource, request)
    return handler.inference(
        provider,
        request_model=request.get("model"),
        operation_name=operation,
        server_address=address,
        server_port=port,
    )


def _ask_text(invocation: Any, request: _calls.Kwargs) -> None:
    prompts = request.get("prompt")
    texts = cast("list[Any]", prompts) if isinstance(prompts, list) else [prompts]
    _chat.put_request(invocation, {**request, "messages": [{"role": "user", "content": t} for t in texts]})


def _start_embedding(handler: _genai.TelemetryHandler, resource: Any, request: _calls.Kwargs) -> Any:
    provider, address, port = _server(resource, request)
    model = request.get("model")
    return handler.embedding(provider, request_model=model, server_address=address, server_port=port)


def _answer_with_embeddings(invocation: Any, answer: Any) -> None:
    _chat.put_embedding(invocation, answer)
    vector = field(next(iter(items(field(answer, "data"))), None), "embedding")
    # Asked for as base64 it is a text.
    invocation.dimension_count = len(items(vector)) or invocation.dimension_count


def _own(name: str, asked: tuple[str, ...], told: tuple[str, ...], **more: Any) -> _spans.Shape:
    return _operations.shape(_operations.Operation(name, asked, told, **more), _server)


_CONNECTIONS: dict[str, type[_connections.Watch]] = {
    "realtime": _realtime.RealtimeWatch,
    "responses_connection": _responses_connection.ResponsesWatch,
}
# What the official instrumentation has no patch function for.
_OWN = {
    "chat": _spans.Shape(partial(_start, "chat"), _chat.put_request, _chat.put_answer),
    "text_completion": _spans.Shape(
        partial(_start, "text_completion"), _ask_text, _chat.put_answer, _chat.ChatReader
    ),
    "embedding": _spans.Shape(_start_embedding, _chat.put_embedding_request, _answer_with_embeddings),
    # `compact` has the model write the conversation shorter.
    "response": _spans.Shape(
        partial(_start, "chat"), _responses.put_request, _responses.put_answer, _responses.ResponseReader
    ),
    "generate_image": _own(
        "generate_content", ("prompt",), _PICTURES, output_type="image", parameters=_IMAGE
    ),
    "edit_image": _own(
        "generate_content",
        ("prompt", "image", "mask"),
        _PICTURES,
        output_type="image",
        parameters=_IMAGE,
    ),
    "speech": _own(
        "generate_content",
        ("input", "instructions"),
        (),
        output_type="speech",
        parameters=("voice", "response_format", "speed"),
    ),
    "transcription": _own(
        "generate_content",
        ("file", "prompt"),
        ("text",),
        output_type="text",
        parameters=("language", "response_format", "temperature"),
    ),
    "decision": _own("generate_content", ("input", "questions"), ("answers",), output_type="json"),
    "moderation": _own("moderation", ("input",), ("results",), kind=SpanKind.OTHER),
}


# Patch functions that read the body of an answer as it comes -> what waits until its caller does.
_UNREAD = {"chat_completions_create_v_new": "chat", "responses_create": "response"}


def _beginning(_: Any) -> _genai.Reader:
    return _genai.Beginning(_begins)


def _begins(chunk: Any) -> bool:
    for choice in getattr(chunk, "choices", None) or ():
        delta = choice.delta
        if any(getattr(delta, name, None) for name in _BEGINNINGS):
            return True
    return False
