"""Calls as OpenAI shaped them, which Mistral and LiteLLM make too: what goes on their spans."""

from typing import Any

from ..tracing.values import to_json
from . import _chat_messages as messages
from ._chat_messages import field, items
from ._genai.parts import (
    EmbeddingInvocation,
    InferenceInvocation,
    MessagePart,
    OutputMessage,
    ReasoningPart,
    TextPart,
)

# Request parameter -> attribute of an inference.
PARAMETERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "seed",
    "random_seed": "seed",
    "n": "request_choice_count",
    "reasoning_effort": "reasoning_level",
}
# Texts of a message.
_TEXTS = ("content", "reasoning_content", "refusal")


def put_request(invocation: InferenceInvocation, request: Any) -> None:
    """Writes the parameters, messages and tools of a request."""
    for name, attribute in PARAMETERS.items():
        if (value := field(request, name)) is not None:
            setattr(invocation, attribute, value)
    invocation.stop_sequences = messages.stop_sequences(field(request, "stop"))
    kind = field(field(request, "response_format"), "type")
    invocation.output_type = "json" if str(kind).startswith("json") else None
    if invocation.should_capture_content:
        invocation.input_messages = messages.input_messages(field(request, "messages"))
        invocation.tool_definitions = messages.tool_definitions(field(request, "tools")) or None


def put_answer(invocation: InferenceInvocation, answer: Any) -> None:
    """Writes an answer that came whole."""
    choices = field(answer, "choices")
    invocation.response_id = field(answer, "id")
    invocation.response_model_name = field(answer, "model")
    invocation.finish_reasons = messages.finish_reasons(choices)
    put_usage(invocation, field(answer, "usage"))
    put_service_tier(invocation, field(answer, "service_tier"))
    if invocation.should_capture_content:
        invocation.output_messages = messages.output_messages(choices)


def put_usage(invocation: InferenceInvocation, usage: Any) -> None:
    """Writes the tokens that a call took; those read from and written to a cache are part of the input."""
    asked, answered = field(usage, "prompt_tokens_details"), field(usage, "completion_tokens_details")
    invocation.input_tokens = field(usage, "prompt_tokens")
    invocation.output_tokens = field(usage, "completion_tokens")
    invocation.cache_read_input_tokens = field(asked, "cached_tokens")
    invocation.cache_write_input_tokens = field(asked, "cache_creation_tokens")
    invocation.thinking_tokens = field(answered, "reasoning_tokens")


def put_service_tier(invocation: InferenceInvocation, tier: Any) -> None:
    """Writes with which priority a call was served, under the name that OpenAI's has in the conventions."""
    if tier:
        invocation.attributes[f"{invocation.provider}.response.service_tier"] = str(tier)


def put_embedding_request(invocation: EmbeddingInvocation, request: Any) -> None:
    """Writes the parameters of a request for embeddings."""
    invocation.dimension_count = field(request, "dimensions")
    if encoding := field(request, "encoding_format"):
        invocation.encoding_formats = [str(encoding)]


def put_embedding(invocation: EmbeddingInvocation, answer: Any) -> None:
    """Writes what came with embeddings."""
    invocation.response_model_name = field(answer, "model")
    invocation.input_tokens = field(field(answer, "usage"), "prompt_tokens")


class ChatReader:
    """Reads an answer that comes in chunks, each with an id, a model, choices and at last the usage."""

    def __init__(self, invocation: InferenceInvocation) -> None:
        self.usage: Any = None
        self._id: Any = None
        self._model: Any = None
        self._tier: Any = None
        self._begun = False
        self._choices = StreamedChoices(invocation.should_capture_content)

    def read(self, chunk: Any) -> bool:
        """Takes a chunk; whether the answer has begun with it, or before."""
        self._id = self._id or field(chunk, "id")
        self._model = self._model or field(chunk, "model")
        self.usage = field(chunk, "usage") or self.usage
        self._tier = field(chunk, "service_tier") or self._tier
        self._begun = self._choices.add(field(chunk, "choices")) or self._begun
        return self._begun

    def tell(self, invocation: InferenceInvocation) -> None:
        """Writes what was read."""
        invocation.response_id = self._id
        invocation.response_model_name = self._model
        invocation.finish_reasons = self._choices.finish_reasons()
        invocation.output_messages = self._choices.messages()
        put_usage(invocation, self.usage)
        put_service_tier(invocation, self._tier)


class StreamedChoices:
    """The choices of an answer that comes in chunks, put together; holds no more than its output needs."""

    def __init__(self, keeps_content: bool) -> None:
        self._keeps_content = keeps_content
        self._choices: dict[int, _StreamedChoice] = {}

    def add(self, choices: Any) -> bool:
        """Takes the choices of one chunk; says whether they brought text, reasoning or a tool call."""
        brought = [self._choice(choice).add(choice) for choice in items(choices)]
        return any(brought)

    def messages(self) -> list[OutputMessage]:
        """The messages so far, one for each choice."""
        return [self._choices[index].message() for index in sorted(self._choices)]

    def finish_reasons(self) -> list[str]:
        """Why each choice ended."""
        return [reason for index in sorted(self._choices) if (reason := self._choices[index].finish_reason)]

    def _choice(self, choice: Any) -> "_StreamedChoice":
        index = field(choice, "index") or 0
        if index not in self._choices:
            self._choices[index] = _StreamedChoice(self._keeps_content)
        return self._choices[index]


class _StreamedChoice:
    def __init__(self, keeps_content: bool) -> None:
        self.finish_reason: str | None = None
        self._keeps_content = keeps_content
        self._role = "assistant"
        # Texts in the order in which they came: what each is, and its pieces.
        self._texts: list[tuple[type[TextPart] | type[ReasoningPart], list[str]]] = []
        self._others: list[MessagePart] = []
        self._calls: dict[Any, dict[str, str]] = {}

    def add(self, choice: Any) -> bool:
        self.finish_reason = field(choice, "finish_reason") or self.finish_reason
        delta = field(choice, "delta") or {"content": field(choice, "text")}
        self._role = field(delta, "role") or self._role
        calls = items(field(delta, "tool_calls"))
        parts = messages.message_parts({"role": self._role, **{name: field(delta, name) for name in _TEXTS}})
        if self._keeps_content:
            for call in calls:
                self._add_call(call)
            for part in parts:
                self._add_part(part)
        return bool(calls or parts)

    def message(self) -> OutputMessage:
        parts: list[MessagePart] = [kind("".join(pieces)) for kind, pieces in self._texts]
        calls = [
            messages.tool_call({"id": call.get("id"), "function": call}) for call in self._calls.values()
        ]
        return OutputMessage(
            role=self._role, parts=parts + self._others + calls, finish_reason=self.finish_reason
        )

    def _add_part(self, part: MessagePart) -> None:
        if not isinstance(part, (TextPart, ReasoningPart)):
            self._others.append(part)
        elif self._texts and self._texts[-1][0] is type(part):
            self._texts[-1][1].append(part.content)
        else:
            self._texts.append((type(part), [part.content]))

    def _add_call(self, call: Any) -> None:
        function, id = field(call, "function"), messages.call_id(call)
        key = len(self._calls) if (index := field(call, "index")) is None else index
        if id and self._calls.get(key, {}).get("id", id) != id:
            # Mistral's SDK fills in 0 where the server gave no index.
            key = id
        known = self._calls.setdefault(key, {"name": "", "arguments": ""})
        if id:
            known["id"] = id
        known["name"] = known["name"] or field(function, "name") or ""
        arguments = field(function, "arguments") or ""
        known["arguments"] += arguments if isinstance(arguments, str) else to_json(arguments)
