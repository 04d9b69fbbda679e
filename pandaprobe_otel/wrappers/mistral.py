"""`wrap_mistral`: the calls of one Mistral client become GenAI spans."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from operator import attrgetter
from typing import Any, TypeVar
from urllib.parse import urlsplit

from opentelemetry.trace import get_current_span, get_tracer_provider

from .. import guard, runtime
from ..attributes import GEN_AI_AGENT_ID, SpanKind
from ..tracing.labels import Id, Labels
from . import _calls, _chat, _genai, _operations, _request_id, _responses, _spans
from . import _mistral_conversations as conversations
from ._chat_messages import field
from ._genai.parts import EmbeddingInvocation, InferenceInvocation
from ._instrumentor import Instrumentor
from ._wrapping import Wrapping, wrap

C = TypeVar("C")

_PROVIDER = "mistral_ai"
# Where the clients for platforms are, up to version 1 and since -> what the conventions call the platforms.
_PLATFORMS = {
    "mistralai_azure": "azure.ai.inference",
    "mistralai_gcp": "gcp.vertex_ai",
    "mistralai.azure.client": "azure.ai.inference",
    "mistralai.gcp.client": "gcp.vertex_ai",
}
# What the SDK calls with each response.
_TOLD = "after_success"
# Parameters without an attribute of their own.
_OTHERS = (
    "parallel_tool_calls",
    "tool_choice",
    "prompt_mode",
    "safe_prompt",
    "min_tokens",
    "repetition_penalty",
    "service_tier",
    "prompt_cache_key",
)


def wrap_mistral(
    client: C,
    *,
    session_id: Id | None = None,
    user_id: Id | None = None,
    tags: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> C:
    """Traces the calls of one Mistral client, streams and errors included; other clients stay as they are.

        client = wrap_mistral(Mistral(api_key=...))

    `chat`, `agents`, `fim`, `responses` and `beta.conversations` with their streams, `embeddings`, `ocr`,
    `classifiers` and transcriptions, with their `_async` twins. Spans and attributes follow OpenTelemetry's
    GenAI semantic conventions, with the messages on them unless `PANDAPROBE_CAPTURE_CONTENT` or
    `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` says otherwise. Spans that the SDK would make itself
    for the same calls, where they would arrive beside these, are left out.

    Args:
        client: A `mistralai.Mistral`, from version 3 on `mistralai.client.Mistral`, or the SDK's client for
            Azure or Google Cloud. Wrapping it twice is the same as once; with other labels, these hold
            instead.
        session_id: The session of all its calls, stronger than a `session()` block around them.
        user_id: Likewise.
        tags: Tags of the spans of its calls.
        metadata: Names and any values, for the same spans.

    Returns:
        The same client.

    Raises:
        TypeError: `client` is something else, or a label has the wrong type.
        ImportError: The `mistral` extra is not installed.
    """
    MistralInstrumentor().check_installed()
    if not isinstance(client, _sdk("sdk").Mistral) and _platform(client) is None:
        raise _calls.not_a_client("wrap_mistral", client, "mistralai.Mistral", "Mistral(api_key=...)")
    labels = Labels(session_id=session_id, user_id=user_id, tags=tags, metadata=metadata)
    if MistralInstrumentor().supports_installed():
        wrap(client, MistralInstrumentor.scope, labels, partial(_fill, client))
    return client


class MistralInstrumentor(Instrumentor):
    """Traces every client of the process, as `wrap_mistral` traces one."""

    name = "mistral"
    scope = "pandaprobe_otel.wrappers.mistral"
    versions = ("mistralai >= 1.5, < 4",)

    def check_imports(self) -> None:
        _sdk("sdk")

    def fill(self, wrapping: Wrapping) -> None:
        for resource, (kind, shapes) in _SURFACE.items():
            module = resource.rpartition(".")[2]
            # Old versions lack some.
            with suppress(ModuleNotFoundError):
                _wrap_methods(getattr(_sdk(module), kind), shapes, wrapping, wrapping.recorder)
            for home, provider in _PLATFORMS.items():
                recorder = wrapping.recorder.of_provider(provider)
                wrapping.when_imported(
                    f"{home}.{module}", partial(_wrap_class, kind, shapes, wrapping, recorder)
                )
        for native in _native():
            wrapping.method(native, "before_request", _calls.unobtrusive(_quiet, "wrap_mistral"))
        for home in ("mistralai", "mistralai.client", *_PLATFORMS):
            wrapping.when_imported(f"{home}._hooks.sdkhooks", partial(_wrap_hooks, wrapping))


def _sdk(module: str) -> Any:
    """A module of the SDK; up to version 2 it was one level higher."""
    try:
        return import_module(f"mistralai.client.{module}")
    except ModuleNotFoundError:
        return import_module(f"mistralai.{module}")


def _platform(client: Any) -> str | None:
    """The platform that a client is for; its class is not imported only to ask."""
    homes = (kind.__module__.removesuffix(".sdk") for kind in type(client).__mro__)
    return next((_PLATFORMS[home] for home in homes if home in _PLATFORMS), None)


def _fill(client: Any, wrapping: Wrapping) -> None:
    platform = _platform(client)
    recorder = wrapping.recorder.of_provider(platform) if platform else wrapping.recorder
    for resource, (_, shapes) in _SURFACE.items():
        home, nested, _ = resource.partition(".")
        wrap_resource = partial(_wrap_resource, client, resource, shapes, wrapping, recorder)
        if not nested or home in vars(client):
            wrap_resource()
        elif platform is None:
            wrapping.on_first_use(client, home, wrap_resource)
    hooks = client.sdk_configuration._hooks
    for hook in hooks.before_request_hooks:
        if isinstance(hook, _native()):
            wrapping.method(hook, "before_request", _calls.unobtrusive(_quiet, "wrap_mistral"))
    wrapping.method(hooks, _TOLD, _calls.unobtrusive(_note_id, "wrap_mistral"))


@guard.never_raises
def _wrap_resource(
    client: Any,
    resource: str,
    shapes: Mapping[str, _spans.Shape],
    wrapping: Wrapping,
    recorder: _genai.Recorder,
) -> None:
    # Not every version has all, and those for platforms have few.
    with suppress(AttributeError):
        _wrap_methods(attrgetter(resource)(client), shapes, wrapping, recorder)


def _wrap_class(
    kind: str, shapes: Mapping[str, _spans.Shape], wrapping: Wrapping, recorder: _genai.Recorder, module: Any
) -> None:
    _wrap_methods(getattr(module, kind), shapes, wrapping, recorder)


def _wrap_methods(
    target: Any, shapes: Mapping[str, _spans.Shape], wrapping: Wrapping, recorder: _genai.Recorder
) -> None:
    for method, shape in shapes.items():
        for name, trace in ((method, _spans.traced), (f"{method}_async", _spans.traced_async)):
            if hasattr(target, name):
                wrapping.method(target, name, trace(shape, recorder, "wrap_mistral"))


def _native() -> tuple[type[Any], ...]:
    """What makes the SDK's own spans: by default up to version 1, where asked for later on."""
    try:
        return (_sdk("_hooks.tracing").TracingHook,)
    except ModuleNotFoundError:
        return ()


def _wrap_hooks(wrapping: Wrapping, module: Any) -> None:
    wrapping.method(module.SDKHooks, _TOLD, _calls.unobtrusive(_note_id, "wrap_mistral"))


def _note_id(wrapped: Any, _: Any, args: _calls.Args, kwargs: _calls.Kwargs) -> Any:
    """Notes the id of a request whose answer, once it is read, does not lead to the response any more."""
    response = wrapped(*args, **kwargs)
    if _genai.is_traced():
        _request_id.note(get_current_span(), response)
    return response


def _quiet(wrapped: Any, hook: Any, args: _calls.Args, kwargs: _calls.Kwargs) -> Any:
    """Has the SDK make no span for a call that has one here, unless it goes elsewhere."""
    provider = getattr(hook, "tracer_provider", None) or get_tracer_provider()
    if _genai.is_traced() and provider is runtime.tracer_provider():
        return kwargs["request"] if "request" in kwargs else args[1]
    return wrapped(*args, **kwargs)


def _start(
    operation: str, handler: _genai.TelemetryHandler, resource: Any, request: _calls.Kwargs
) -> InferenceInvocation:
    address, port = _server(resource, request)
    return handler.inference(
        _PROVIDER,
        request_model=field(request, "model"),
        operation_name=operation,
        server_address=address,
        server_port=port,
    )


def _start_embedding(
    handler: _genai.TelemetryHandler, resource: Any, request: _calls.Kwargs
) -> EmbeddingInvocation:
    address, port = _server(resource, request)
    model = field(request, "model")
    return handler.embedding(_PROVIDER, request_model=model, server_address=address, server_port=port)


def _server(resource: Any, request: _calls.Kwargs) -> tuple[str | None, int | None]:
    url = urlsplit(str(field(request, "server_url") or resource.sdk_configuration.get_server_details()[0]))
    return url.hostname, url.port


def _ask(invocation: InferenceInvocation, request: _calls.Kwargs) -> None:
    _chat.put_request(invocation, request)
    if (agent := field(request, "agent_id")) is not None:
        invocation.attributes[GEN_AI_AGENT_ID] = str(agent)
    _spans.put_parameters(invocation, {name: field(request, name) for name in _OTHERS})


def _ask_to_fill(invocation: InferenceInvocation, request: _calls.Kwargs) -> None:
    prompt, suffix = field(request, "prompt"), field(request, "suffix")
    messages = [{"role": "user", "content": text} for text in (prompt, suffix) if text]
    _ask(invocation, {**request, "messages": messages})


def _answer(invocation: InferenceInvocation, answer: Any) -> None:
    _chat.put_answer(invocation, answer)
    _chat.put_service_tier(invocation, field(field(answer, "usage"), "service_tier"))


def _ask_to_embed(invocation: EmbeddingInvocation, request: _calls.Kwargs) -> None:
    invocation.dimension_count = field(request, "output_dimension")
    if encoding := field(request, "encoding_format"):
        invocation.encoding_formats = [str(encoding)]


class _Reader(_chat.ChatReader):
    """An answer whose chunks come as `data` of events."""

    def read(self, chunk: Any) -> bool:
        return super().read(field(chunk, "data"))

    def tell(self, invocation: InferenceInvocation) -> None:
        super().tell(invocation)
        _chat.put_service_tier(invocation, field(self.usage, "service_tier"))


def _shapes(operation: str, ask: Any) -> dict[str, _spans.Shape]:
    start = partial(_start, operation)
    return {
        "complete": _spans.Shape(start, ask, _answer),
        "stream": _spans.Shape(start, ask, _answer, _Reader),
    }


class _ConversationReader(_Reader):
    def read(self, chunk: Any) -> bool:
        return super().read({"data": conversations.event_as_chunk(field(chunk, "data"))})


def _ask_in_conversation(invocation: InferenceInvocation, request: _calls.Kwargs) -> None:
    _ask(invocation, conversations.as_chat(request))


def _answer_in_conversation(invocation: InferenceInvocation, answer: Any) -> None:
    _answer(invocation, conversations.answer_as_chat(answer))


class _ResponseReader(_responses.ResponseReader):
    def read(self, chunk: Any) -> bool:
        return super().read(field(chunk, "data"))


def _operation(name: str, asked: tuple[str, ...], told: tuple[str, ...], **more: Any) -> _spans.Shape:
    def server(resource: Any, request: _calls.Kwargs) -> tuple[str, str | None, int | None]:
        return _PROVIDER, *_server(resource, request)

    return _operations.shape(_operations.Operation(name, asked, told, **more), server)


_MODERATION = _operation("moderation", ("inputs",), ("results",), kind=SpanKind.OTHER)
_CLASSIFICATION = _operation("classification", ("inputs", "input"), ("results",), kind=SpanKind.OTHER)
_TRANSCRIPTION = _operation(
    "generate_content",
    ("file", "file_url", "file_id"),
    ("text",),
    output_type="text",
    parameters=("language", "temperature", "timestamp_granularities"),
)
_CONVERSATION = _spans.Shape(
    partial(_start, "chat"), _ask_in_conversation, _answer_in_conversation, _ConversationReader
)
# Resource -> its class, and how each of its methods reads. `parse` goes through `complete`.
_SURFACE: dict[str, tuple[str, dict[str, _spans.Shape]]] = {
    "chat": ("Chat", _shapes("chat", _ask)),
    "agents": ("Agents", _shapes("chat", _ask)),
    "fim": ("Fim", _shapes("text_completion", _ask_to_fill)),
    "responses": (
        "Responses",
        {
            "create": _spans.Shape(
                partial(_start, "chat"), _responses.put_request, _responses.put_answer, _ResponseReader
            ),
            "count_input_tokens": _operation(
                "count_tokens", ("instructions", "input", "tools"), ("input_tokens",), kind=SpanKind.OTHER
            ),
        },
    ),
    "embeddings": (
        "Embeddings",
        {"create": _spans.Shape(_start_embedding, _ask_to_embed, _chat.put_embedding)},
    ),
    "ocr": (
        "Ocr",
        {"process": _operation("ocr", ("document",), ("pages", "usage_info"), kind=SpanKind.OTHER)},
    ),
    "classifiers": (
        "Classifiers",
        {
            "moderate": _MODERATION,
            "moderate_chat": _MODERATION,
            "classify": _CLASSIFICATION,
            "classify_chat": _CLASSIFICATION,
        },
    ),
    "audio.transcriptions": (
        "Transcriptions",
        {"complete": _TRANSCRIPTION, "stream": _TRANSCRIPTION},
    ),
    "beta.conversations": (
        "Conversations",
        {
            f"{method}{stream}": _CONVERSATION
            for method in ("start", "append", "restart")
            for stream in ("", "_stream")
        },
    ),
}
