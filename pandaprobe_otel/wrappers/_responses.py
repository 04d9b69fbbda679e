"""Calls in the shape of OpenAI's Responses, which LiteLLM makes too: what goes on their spans."""

from typing import Any

from . import _chat_messages as messages
from ._chat_messages import field, items
from ._genai.parts import (
    InferenceInvocation,
    InputMessage,
    MessagePart,
    OutputMessage,
    ReasoningPart,
    TextPart,
    ToolCallRequestPart,
    ToolCallResponsePart,
    object_to_any_value,
    tool_arguments_to_any_value,
)

# What a response that ended early says, in the conventions' words.
_INCOMPLETE = {"max_output_tokens": "length"}
_TEXTS = ("response.output_text.delta", "response.refusal.delta")
_STATUS = {"completed": "stop", "failed": "error", "cancelled": "error"}


def put_request(invocation: InferenceInvocation, request: Any) -> None:
    """Writes the parameters, items and tools of a request."""
    invocation.temperature = field(request, "temperature")
    invocation.top_p = field(request, "top_p")
    invocation.max_tokens = field(request, "max_output_tokens")
    invocation.reasoning_level = field(field(request, "reasoning"), "effort")
    kind = field(field(field(request, "text"), "format"), "type")
    invocation.output_type = "json" if str(kind).startswith("json") else None
    if invocation.should_capture_content:
        invocation.system_instruction = messages.content_parts(field(request, "instructions"))
        invocation.input_messages = _input_messages(field(request, "input"))
        invocation.tool_definitions = messages.tool_definitions(field(request, "tools")) or None


def put_answer(invocation: InferenceInvocation, answer: Any) -> None:
    """Writes an answer, or what is known of one that goes on."""
    invocation.response_id = field(answer, "id")
    invocation.response_model_name = field(answer, "model")
    reason = _finish_reason(answer)
    invocation.finish_reasons = [reason] if reason else []
    _put_usage(invocation, field(answer, "usage"))
    parts = [part for item in items(field(answer, "output")) for part in message(item).parts]
    if invocation.should_capture_content and parts:
        invocation.output_messages = [OutputMessage(role="assistant", parts=parts, finish_reason=reason)]


class ResponseReader:
    """Reads an answer that comes in events, some of which have the answer as it is by then."""

    def __init__(self, invocation: InferenceInvocation) -> None:
        self.answer: Any = None
        self._invocation = invocation
        self._begun = False
        self._keeps_content = invocation.should_capture_content
        self._texts: list[str] = []

    def read(self, chunk: Any) -> bool:
        """Takes an event; whether the answer has begun with it, or before."""
        kind: str = field(chunk, "type") or ""
        self.answer = field(chunk, "response") or self.answer
        self._begun = self._begun or kind.endswith(".delta")
        if kind in _TEXTS and self._keeps_content:
            self._texts.append(field(chunk, "delta") or "")
        if kind == "error":
            # The official instrumentation ends the span with it.
            self.tell(self._invocation)
        return self._begun

    def tell(self, invocation: InferenceInvocation) -> None:
        """Writes the whole answer, or the text of one that was broken off."""
        put_answer(invocation, self.answer)
        if self._texts and not invocation.output_messages:
            text = TextPart("".join(self._texts))
            invocation.output_messages = [OutputMessage(role="assistant", parts=[text])]


def _put_usage(invocation: InferenceInvocation, usage: Any) -> None:
    # LiteLLM puts the names of chat completions on those of a streamed answer as it counts their cost.
    given, made = (
        next((kind for kind in kinds if field(usage, f"{kind}_tokens") is not None), kinds[0])
        for kinds in (("input", "prompt"), ("output", "completion"))
    )
    invocation.input_tokens = field(usage, f"{given}_tokens")
    invocation.output_tokens = field(usage, f"{made}_tokens")
    cached = field(usage, f"{given}_tokens_details")
    invocation.cache_read_input_tokens = field(cached, "cached_tokens")
    invocation.cache_write_input_tokens = field(cached, "cache_write_tokens")
    invocation.thinking_tokens = field(field(usage, f"{made}_tokens_details"), "reasoning_tokens")


def _finish_reason(answer: Any) -> str | None:
    status = field(answer, "status")
    if status == "incomplete":
        reason = field(field(answer, "incomplete_details"), "reason") or status
        return _INCOMPLETE.get(reason, reason)
    calls = any(field(item, "type") == "function_call" for item in items(field(answer, "output")))
    return "tool_calls" if calls and status == "completed" else _STATUS.get(status)


def _input_messages(given: Any) -> list[InputMessage]:
    if isinstance(given, str):
        return [InputMessage(role="user", parts=[TextPart(given)])]
    found = [message(item) for item in items(given)]
    return [one for one in found if one.parts]


def message(item: Any) -> InputMessage:
    """One item of a request or an answer; those of tools that the provider runs have no parts."""
    parts: list[MessagePart] = []
    match field(item, "type"):
        case "function_call":
            arguments = tool_arguments_to_any_value(field(item, "arguments"))
            name, id = str(field(item, "name")), field(item, "call_id")
            parts.append(ToolCallRequestPart(arguments=arguments, name=name, id=id))
        case "function_call_output":
            response = object_to_any_value(field(item, "output"))
            parts.append(ToolCallResponsePart(response=response, id=field(item, "call_id")))
            return InputMessage(role="tool", parts=parts)
        case "reasoning":
            pieces = items(field(item, "summary")) + items(field(item, "content"))
            texts = [field(piece, "text") for piece in pieces]
            parts += [ReasoningPart(text) for text in texts if text]
        case _:
            parts += messages.content_parts(field(item, "content"))
    return InputMessage(role=field(item, "role") or "assistant", parts=parts)
