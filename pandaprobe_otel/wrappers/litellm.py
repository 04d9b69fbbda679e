"""`wrap_litellm`: the calls of the litellm package become GenAI spans.

LiteLLM is a module, not a client; what is wrapped are its functions, which its `Router` calls too.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from inspect import iscoroutinefunction
from typing import Any
from urllib.parse import urlsplit

from ..attributes import PANDAPROBE_COST, SpanKind
from ..tracing.labels import Id, Labels
from ..tracing.values import to_json
from . import _anthropic_messages, _calls, _chat, _genai, _operations, _responses, _spans, _sse
from ._chat_messages import field, items
from ._genai.parts import EmbeddingInvocation, InferenceInvocation
from ._instrumentor import Instrumentor
from ._wrapping import Wrapping, unwrap, wrap
from .gemini import calls as gemini
from .gemini.json import as_models

# LiteLLM's names of providers that the conventions have another one for.
_PROVIDERS = {
    "anthropic_text": "anthropic",
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "cohere_chat": "cohere",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "text-completion-openai": "openai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
# Parameters without an attribute of their own.
_OTHERS = ("tool_choice", "parallel_tool_calls", "logprobs", "top_logprobs", "logit_bias", "service_tier")


def wrap_litellm(
    module: Any = None,
    *,
    session_id: Id | None = None,
    user_id: Id | None = None,
    tags: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Any:
    """Traces the calls of litellm, streams and errors included, with those of every `Router`.

        wrap_litellm()
        litellm.completion(model="gpt-5.4-nano", messages=[...])

    `completion`, `responses`, `text_completion`, `embedding`, images, speech, transcriptions, `moderation`,
    `rerank` and their async twins, `anthropic_messages` and those of `litellm.google_genai`. A function that
    was imported before (`from litellm import completion`) cannot be reached: wrap first, or call it as
    `litellm.completion`. What litellm calls inside, such as a wrapped OpenAI client, makes no second span.
    Spans and attributes follow OpenTelemetry's GenAI semantic conventions, with the messages on them unless
    `PANDAPROBE_CAPTURE_CONTENT` or `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` says otherwise.

    Args:
        module: The litellm module; may be left out. Wrapping it twice is the same as once; with other labels,
            these hold instead.
        session_id: The session of all its calls, stronger than a `session()` block around them.
        user_id: Likewise.
        tags: Tags of the spans of its calls.
        metadata: Names and any values, for the same spans.

    Returns:
        The module, which `unwrap` takes.

    Raises:
        TypeError: `module` is something else, or a label has the wrong type.
        ImportError: The `litellm` extra is not installed.
    """
    LiteLLMInstrumentor().check_installed()
    litellm = _litellm()
    if module is not None and module is not litellm:
        raise TypeError(
            f"wrap_litellm() takes the litellm module, not a {type(module).__name__}; write wrap_litellm(), "
            "which traces routers too"
        )
    labels = Labels(session_id=session_id, user_id=user_id, tags=tags, metadata=metadata)
    if LiteLLMInstrumentor().supports_installed():
        wrap(litellm, LiteLLMInstrumentor.scope, labels, partial(_fill, litellm))
    return litellm


class LiteLLMInstrumentor(Instrumentor):
    """Does what `wrap_litellm` does, which holds for the whole process."""

    name = "litellm"
    scope = "pandaprobe_otel.wrappers.litellm"
    versions = ("litellm >= 1.60, < 2",)

    def check_imports(self) -> None:
        _litellm()

    def fill(self, wrapping: Wrapping) -> None:
        def wrap_imported(module: Any) -> None:
            wrap(module, self.scope, Labels(), partial(_fill, module))
            wrapping.at_undo(partial(unwrap, module))

        # Importing it takes 7 s, which a process that does not use it is not to pay.
        wrapping.when_imported("litellm", wrap_imported)


def _litellm() -> Any:
    # Not by `import`, which type checkers take for this very file where litellm is not installed.
    return import_module("litellm")


def _fill(module: Any, wrapping: Wrapping) -> None:
    for name, shape in _SURFACE.items():
        if not callable(getattr(module, name, None)):
            # `responses` is not in the oldest.
            continue
        wrapping.method(module, name, _spans.traced(shape, wrapping.recorder, "wrap_litellm"))
        wrapping.method(module, f"a{name}", _spans.traced_async(shape, wrapping.recorder, "wrap_litellm"))
    for home, shapes in _FOREIGN.items():
        # Old versions lack some.
        with suppress(ModuleNotFoundError):
            _fill_foreign(import_module(home), shapes, wrapping)


def _fill_foreign(module: Any, shapes: Mapping[str, _spans.Shape], wrapping: Wrapping) -> None:
    for name, shape in shapes.items():
        if (function := getattr(module, name, None)) is not None:
            trace = _spans.traced_async if iscoroutinefunction(function) else _spans.traced
            wrapping.method(module, name, trace(shape, wrapping.recorder, "wrap_litellm"))


def _start(
    operation: str, handler: _genai.TelemetryHandler, _: Any, request: _calls.Kwargs
) -> InferenceInvocation:
    address, port = _server(request)
    provider, model = _provider(request), field(request, "model")
    return handler.inference(
        provider,
        request_model=model,
        operation_name=operation,
        server_address=address,
        server_port=port,
    )


def _start_embedding(handler: _genai.TelemetryHandler, _: Any, request: _calls.Kwargs) -> EmbeddingInvocation:
    address, port = _server(request)
    provider, model = _provider(request), field(request, "model")
    return handler.embedding(provider, request_model=model, server_address=address, server_port=port)


def _provider(request: _calls.Kwargs) -> str:
    """Who is asked, in the conventions' terms; what LiteLLM finds out itself it prints when it fails to."""
    model = str(field(request, "model"))
    prefix, divided, _ = model.partition("/")
    named = field(request, "custom_llm_provider") or (prefix if divided else None)
    provider = str(named or field(field(_litellm().model_cost, model), "litellm_provider") or "litellm")
    return _PROVIDERS.get(provider, provider)


def _server(request: _calls.Kwargs) -> tuple[str | None, int | None]:
    url = urlsplit(str(field(request, "api_base") or field(request, "base_url") or ""))
    return url.hostname, url.port


def _ask(invocation: InferenceInvocation, request: _calls.Kwargs) -> None:
    _chat.put_request(invocation, request)
    _spans.put_parameters(invocation, {name: field(request, name) for name in _OTHERS})


def _ask_for_text(invocation: InferenceInvocation, request: _calls.Kwargs) -> None:
    prompt = field(request, "prompt")
    messages = [{"role": "user", "content": text} for text in items(prompt) or [prompt]]
    _ask(invocation, {**request, "messages": messages})


def _answer(invocation: InferenceInvocation, answer: Any) -> None:
    _chat.put_answer(invocation, answer)
    _put_cost(invocation, field(getattr(answer, "_hidden_params", None), "response_cost"))


def _ask_for_response(invocation: InferenceInvocation, request: _calls.Kwargs) -> None:
    _responses.put_request(invocation, request)
    _spans.put_parameters(invocation, {name: field(request, name) for name in _OTHERS})


def _answer_with_response(invocation: InferenceInvocation, answer: Any) -> None:
    _responses.put_answer(invocation, answer)
    _put_cost(invocation, field(getattr(answer, "_hidden_params", None), "response_cost"))


def _ask_for_message(invocation: InferenceInvocation, request: _calls.Kwargs) -> None:
    _anthropic_messages.put_request(invocation, request)
    _spans.put_parameters(invocation, {name: field(request, name) for name in _OTHERS})


def _ask_for_content(invocation: InferenceInvocation, request: _calls.Kwargs) -> None:
    config = dict(field(request, "config") or field(request, "generationConfig") or {})
    # Beside it instead of in it, as Google's API has them.
    for name in ("tools", "systemInstruction", "system_instruction"):
        if (given := field(request, name)) is not None:
            config[name] = given
    gemini.ask(invocation, {"contents": as_models(field(request, "contents")), "config": as_models(config)})


def _answer_with_content(invocation: InferenceInvocation, answer: Any) -> None:
    gemini.answer(invocation, as_models(answer.model_dump() if hasattr(answer, "model_dump") else answer))
    _put_cost(invocation, field(getattr(answer, "_hidden_params", None), "response_cost"))


def _answer_with_embeddings(invocation: EmbeddingInvocation, answer: Any) -> None:
    _chat.put_embedding(invocation, answer)
    _put_cost(invocation, field(getattr(answer, "_hidden_params", None), "response_cost"))


def _put_cost(invocation: InferenceInvocation | EmbeddingInvocation, cost: Any) -> None:
    if cost is not None:
        invocation.attributes[PANDAPROBE_COST] = to_json({"total": cost})


class _Reader(_chat.ChatReader):
    """An answer in chunks, of which the one with the usage has the cost."""

    def tell(self, invocation: InferenceInvocation) -> None:
        super().tell(invocation)
        _put_cost(invocation, field(self.usage, "cost"))


class _ResponseReader(_responses.ResponseReader):
    def tell(self, invocation: InferenceInvocation) -> None:
        super().tell(invocation)
        _put_cost(invocation, field(field(self.answer, "usage"), "cost"))


class _ContentReader(gemini.Reader):
    """An answer of Gemini's in events, as the bytes that they were sent in."""

    def __init__(self, invocation: InferenceInvocation) -> None:
        super().__init__(invocation)
        self._events = _sse.Events()
        self._answers = False

    def read(self, chunk: Any) -> bool:
        for event in self._events.of(chunk):
            self._answers = super().read(as_models(event))
        return self._answers


def _operation(name: str, asked: tuple[str, ...], told: tuple[str, ...], **more: Any) -> _spans.Shape:
    def server(_: Any, request: _calls.Kwargs) -> tuple[str, str | None, int | None]:
        return _provider(request), *_server(request)

    return _operations.shape(_operations.Operation(name, asked, told, **more), server)


# Function -> how it reads, as does its async twin with an `a` in front.
_SURFACE = {
    "completion": _spans.Shape(partial(_start, "chat"), _ask, _answer, _Reader),
    "responses": _spans.Shape(
        partial(_start, "chat"), _ask_for_response, _answer_with_response, _ResponseReader
    ),
    "text_completion": _spans.Shape(partial(_start, "text_completion"), _ask_for_text, _answer, _Reader),
    "embedding": _spans.Shape(_start_embedding, _chat.put_embedding_request, _answer_with_embeddings),
    "image_generation": _operation(
        "generate_content", ("prompt",), ("data",), output_type="image", parameters=("n", "size", "quality")
    ),
    "speech": _operation(
        "generate_content", ("input",), (), output_type="speech", parameters=("voice", "response_format")
    ),
    "transcription": _operation(
        "generate_content", ("file", "prompt"), ("text",), output_type="text", parameters=("language",)
    ),
    "moderation": _operation("moderation", ("input",), ("results",), kind=SpanKind.OTHER),
    "rerank": _operation(
        "rerank", ("query", "documents"), ("results",), kind=SpanKind.RETRIEVER, parameters=("top_n",)
    ),
}
_MESSAGES = _spans.Shape(
    partial(_start, "chat"),
    _ask_for_message,
    _anthropic_messages.put_answer,
    _anthropic_messages.MessagesReader,
)
_CONTENT = _spans.Shape(
    partial(_start, "generate_content"), _ask_for_content, _answer_with_content, _ContentReader
)
# Those in the shape of a provider: module -> function -> how it reads.
_FOREIGN = {
    "litellm": {"anthropic_messages": _MESSAGES, "agenerate_content": _CONTENT},
    "litellm.anthropic_interface.messages": {"acreate": _MESSAGES},
    "litellm.google_genai": {
        f"{awaited}generate_content{stream}": _CONTENT for awaited in ("", "a") for stream in ("", "_stream")
    },
}
