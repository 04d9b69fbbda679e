"""How calls of google-genai read: requests, answers, and answers that come in chunks."""

from collections.abc import Mapping
from inspect import signature
from typing import Any
from urllib.parse import urlsplit

from ...attributes import GCP_BLOCK_REASON
from .. import _genai, _spans
from .._calls import Kwargs
from .._chat_messages import field, items
from .._genai.parts import (
    EmbeddingInvocation,
    InferenceInvocation,
    MessagePart,
    OutputMessage,
    ReasoningPart,
    TextPart,
)
from . import messages

# Parameter of a request -> attribute of an inference.
_PARAMETERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_output_tokens": "max_tokens",
    "candidate_count": "request_choice_count",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
}
# Parameters without an attribute of their own.
_OTHERS = ("response_modalities", "cached_content", "service_tier", "media_resolution")


def start(handler: _genai.TelemetryHandler, models: Any, request: Kwargs) -> InferenceInvocation:
    """The span of one request for content."""
    provider, address, port = server(models)
    return handler.inference(
        provider,
        request_model=field(request, "model"),
        operation_name="generate_content",
        server_address=address,
        server_port=port,
    )


def start_embedding(handler: _genai.TelemetryHandler, models: Any, request: Kwargs) -> EmbeddingInvocation:
    """The span of one request for embeddings."""
    provider, address, port = server(models)
    model = field(request, "model")
    return handler.embedding(provider, request_model=model, server_address=address, server_port=port)


def ask(invocation: InferenceInvocation, request: Kwargs, **parameters: Any) -> None:
    """Writes the parameters, messages and tools of a request, and parameters that stand elsewhere."""
    config = _config(field(request, "config"))
    for name, attribute in _PARAMETERS.items():
        setattr(invocation, attribute, field(config, name))
    top_k, thinking = field(config, "top_k"), field(config, "thinking_config")
    # The SDK has it as a float.
    invocation.top_k = None if top_k is None else int(top_k)
    invocation.stop_sequences = field(config, "stop_sequences")
    invocation.output_type = _output_type(config)
    level = messages.plain(field(thinking, "thinking_level"))
    invocation.reasoning_level = str(level).lower() if level else None
    others = {name: field(config, name) for name in _OTHERS}
    others["thinking_budget"] = field(thinking, "thinking_budget")
    _spans.put_parameters(invocation, {**others, **parameters})
    if invocation.should_capture_content:
        invocation.input_messages = messages.input_messages(contents_of(field(request, "contents")))
        invocation.system_instruction = messages.system_instruction(
            contents_of(field(config, "system_instruction"))
        )
        invocation.tool_definitions = messages.tool_definitions(field(config, "tools"), _declared) or None


def answer(invocation: InferenceInvocation, response: Any) -> None:
    """Writes an answer that came whole."""
    reader = Reader(invocation)
    reader.read(response)
    reader.tell(invocation)


def ask_to_embed(invocation: EmbeddingInvocation, request: Kwargs) -> None:
    """Writes the parameters of a request for embeddings."""
    invocation.dimension_count = field(
        _config_of_embedding(field(request, "config")), "output_dimensionality"
    )


def answer_with_embeddings(invocation: EmbeddingInvocation, response: Any) -> None:
    """Writes what came with embeddings: their tokens, which only Vertex AI and new versions count."""
    counted = field(field(response, "usage_metadata"), "prompt_token_count")
    if counted is None:
        each = [
            field(field(item, "statistics"), "token_count") for item in items(field(response, "embeddings"))
        ]
        found = [int(tokens) for tokens in each if tokens is not None]
        counted = sum(found) if found else None
    invocation.input_tokens = counted


class Reader:
    """Reads an answer, whole or in chunks."""

    def __init__(self, invocation: InferenceInvocation) -> None:
        self._keeps_content = invocation.should_capture_content
        self._begun = False
        self._last: dict[str, Any] = {}
        self._candidates: dict[int, Candidate] = {}

    def read(self, chunk: Any) -> bool:
        """Takes a chunk; whether the answer has begun with it, or before."""
        for name in ("response_id", "model_version", "usage_metadata", "prompt_feedback"):
            if (value := field(chunk, name)) is not None:
                self._last[name] = value
        for given in items(field(chunk, "candidates")):
            index = field(given, "index") or 0
            if index not in self._candidates:
                self._candidates[index] = Candidate(self._keeps_content)
            self._begun = self._candidates[index].add(messages.output_message(given)) or self._begun
        return self._begun

    def tell(self, invocation: InferenceInvocation) -> None:
        """Writes what was read."""
        candidates = [self._candidates[index] for index in sorted(self._candidates)]
        invocation.response_id = self._last.get("response_id")
        invocation.response_model_name = self._last.get("model_version")
        invocation.finish_reasons = [one.finish_reason for one in candidates if one.finish_reason]
        blocked = messages.plain(field(self._last.get("prompt_feedback"), "block_reason"))
        if blocked:
            invocation.attributes[GCP_BLOCK_REASON] = str(blocked)
            invocation.finish_reasons = invocation.finish_reasons or ["content_filter"]
        if self._keeps_content:
            invocation.output_messages = [candidate.message() for candidate in candidates]
        put_usage(invocation, self._last.get("usage_metadata"))


class Candidate:
    """One answer, put together from its chunks."""

    def __init__(self, keeps_content: bool) -> None:
        self.finish_reason: str | None = None
        self._keeps_content = keeps_content
        self._parts: list[MessagePart] = []
        # Pieces of the text that is last in the parts.
        self._pieces: list[str] = []

    def add(self, chunk: OutputMessage) -> bool:
        """Takes a chunk; whether it brings anything."""
        self.finish_reason = chunk.finish_reason or self.finish_reason
        # The last chunk often brings an empty text.
        parts = [part for part in chunk.parts if not isinstance(part, TextPart) or part.content]
        if self._keeps_content:
            for part in parts:
                self._add(part)
        return bool(parts)

    def message(self) -> OutputMessage:
        self._join()
        return OutputMessage(role="assistant", parts=self._parts, finish_reason=self.finish_reason)

    def _add(self, part: MessagePart) -> None:
        is_text = isinstance(part, (TextPart, ReasoningPart))
        if is_text and self._parts and type(self._parts[-1]) is type(part):
            self._pieces.append(part.content)
            return
        self._join()
        self._parts.append(part)

    def _join(self) -> None:
        if self._pieces and isinstance(last := self._parts[-1], (TextPart, ReasoningPart)):
            self._parts[-1] = type(last)("".join([last.content, *self._pieces]))
        self._pieces = []


def put_usage(invocation: InferenceInvocation, usage: Any) -> None:
    """Writes the tokens that a call took."""
    # Of the same kind in the conventions: what a tool's result took is input, what thinking took is output.
    invocation.input_tokens = _sum(usage, "prompt_token_count", "tool_use_prompt_token_count")
    invocation.output_tokens = _sum(usage, "candidates_token_count", "thoughts_token_count")
    invocation.thinking_tokens = field(usage, "thoughts_token_count")
    invocation.cache_read_input_tokens = field(usage, "cached_content_token_count")
    invocation.set_input_tokens(messages.modality_tokens(field(usage, "prompt_tokens_details")))
    invocation.set_output_tokens(messages.modality_tokens(field(usage, "candidates_tokens_details")))
    invocation.set_cache_read_input_tokens(messages.modality_tokens(field(usage, "cache_tokens_details")))


def _sum(usage: Any, *names: str) -> int | None:
    counts = [count for name in names if (count := field(usage, name)) is not None]
    return sum(counts) if counts else None


def server(models: Any, _: Any = None) -> tuple[str, str | None, int | None]:
    """The provider that is asked, its address and port."""
    client = models._api_client
    url = urlsplit(str(client._http_options.base_url or ""))
    return "gcp.vertex_ai" if client.vertexai else "gcp.gemini", url.hostname, url.port


def _output_type(config: Any) -> str | None:
    kind = field(config, "response_mime_type")
    return {"application/json": "json", "text/plain": "text"}.get(str(kind))


def _config(given: Any) -> Any:
    from google.genai import types

    return types.GenerateContentConfig.model_validate(given) if isinstance(given, Mapping) else given


def _config_of_embedding(given: Any) -> Any:
    from google.genai import types

    return types.EmbedContentConfig.model_validate(given) if isinstance(given, Mapping) else given


def contents_of(given: Any) -> Any:
    """Contents whose dicts are models, as the SDK makes them: names in either case, and bytes decoded."""
    if isinstance(given, list):
        return [contents_of(item) for item in items(given)]
    if not isinstance(given, Mapping):
        return given
    from google.genai import types

    kind = types.Content if "parts" in given else types.File if "uri" in given else types.Part
    return kind.model_validate(given)


def _declared(function: Any) -> Any:
    """What the SDK tells the model of a Python function."""
    from google.genai import types

    declare: Any = types.FunctionDeclaration.from_callable_with_api_option
    # The SDK warns of its own default.
    schema = {"use_json_schema": True} if "use_json_schema" in signature(declare).parameters else {}
    return declare(callable=function, **schema)
