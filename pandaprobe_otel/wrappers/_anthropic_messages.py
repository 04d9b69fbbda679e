"""Calls in the shape of Anthropic's Messages, which LiteLLM makes too, in that of chat completions.

They come as JSON: blocks become messages, events become chunks. What Anthropic's own tools did is left out.
"""

from typing import Any

from . import _chat, _sse
from ._chat_messages import content_parts, field, items
from ._genai.parts import InferenceInvocation

# Stop reason -> the conventions' word, as OpenTelemetry's instrumentation of Anthropic's SDK has them.
_FINISHED = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_call"}
_THOUGHT, _CALL = "thinking", "tool_use"


def put_request(invocation: InferenceInvocation, request: Any) -> None:
    """Writes the parameters, messages and tools of a request."""
    messages = [one for message in items(field(request, "messages")) for one in _messages(message)]
    tools = [_tool(tool) for tool in items(field(request, "tools"))]
    stop = field(request, "stop_sequences")
    _chat.put_request(invocation, {**request, "messages": messages, "tools": tools, "stop": stop})
    if invocation.should_capture_content:
        invocation.system_instruction = content_parts(field(request, "system"))


def put_answer(invocation: InferenceInvocation, answer: Any) -> None:
    """Writes an answer that came whole."""
    message = _message("assistant", items(field(answer, "content")))
    usage = field(answer, "usage")
    told = {
        "id": field(answer, "id"),
        "model": field(answer, "model"),
        "choices": [{"message": message, "finish_reason": _finish_reason(answer)}],
        "usage": _usage(usage),
        "service_tier": field(usage, "service_tier"),
    }
    _chat.put_answer(invocation, told)


class MessagesReader(_chat.ChatReader):
    """Reads an answer that comes in events, as the bytes that they were sent in."""

    def __init__(self, invocation: InferenceInvocation) -> None:
        super().__init__(invocation)
        self._events = _sse.Events()
        self._answers = False
        self._counted: dict[str, Any] = {}

    def read(self, chunk: Any) -> bool:
        """Takes a piece of the stream; whether the answer has begun with it, or before."""
        for event in self._events.of(chunk):
            super().read(self._chunk(event))
            self._answers = self._answers or field(event, "type") == "content_block_delta"
        return self._answers

    def _chunk(self, event: Any) -> dict[str, Any]:
        index = field(event, "index")
        match field(event, "type"):
            case "message_start":
                message = field(event, "message")
                named = {name: field(message, name) for name in ("id", "model")}
                return {**named, "usage": self._count(field(message, "usage"))}
            case "content_block_start" if field(block := field(event, "content_block"), "type") == _CALL:
                function = {"name": field(block, "name"), "arguments": ""}
                call = {"index": index, "id": field(block, "id"), "function": function}
                return _delta(tool_calls=[call])
            case "content_block_delta":
                delta = field(event, "delta")
                arguments = field(delta, "partial_json")
                calls = [{"index": index, "function": {"arguments": arguments}}] if arguments else []
                return _delta(
                    content=field(delta, "text"),
                    reasoning_content=field(delta, _THOUGHT),
                    tool_calls=calls,
                )
            case "message_delta":
                reason = _finish_reason(field(event, "delta"))
                return {**_delta(reason), "usage": self._count(field(event, "usage"))}
            case _:
                return {}

    def _count(self, usage: Any) -> dict[str, Any]:
        # The last event counts what the first did not.
        counts: dict[str, Any] = usage or {}
        self._counted |= {name: count for name, count in counts.items() if count is not None}
        return _usage(self._counted)


def _delta(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"delta": delta, "finish_reason": finish_reason}]}


def _messages(message: Any) -> list[dict[str, Any]]:
    """The results of tools are messages of their own."""
    role, content = field(message, "role"), field(message, "content")
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    results = [block for block in items(content) if field(block, "type") == "tool_result"]
    others = [block for block in items(content) if block not in results]
    told = [
        {"role": "tool", "tool_call_id": field(result, "tool_use_id"), "content": field(result, "content")}
        for result in results
    ]
    return told + ([_message(role, others)] if others else [])


def _message(role: Any, blocks: list[Any]) -> dict[str, Any]:
    calls = [_call(block) for block in blocks if field(block, "type") == _CALL]
    return {"role": role, "content": [_content(block) for block in blocks], "tool_calls": calls}


def _call(block: Any) -> dict[str, Any]:
    arguments: Any = field(block, "input") or {}
    return {"id": field(block, "id"), "function": {"name": field(block, "name"), "arguments": arguments}}


def _content(block: Any) -> Any:
    kind, source = field(block, "type"), field(block, "source")
    if kind not in ("image", "document") or source is None:
        return block
    data, url = field(source, "data"), field(source, "url")
    if field(source, "type") == "base64":
        url = f"data:{field(source, 'media_type')};base64,{data}"
    elif field(source, "type") == "text":
        return {"type": "text", "text": data}
    return {"type": f"{kind}_url", f"{kind}_url": url}


def _tool(tool: Any) -> Any:
    kind, schema = field(tool, "type"), field(tool, "input_schema")
    if schema is None and kind not in (None, "custom"):
        return tool
    function = {name: field(tool, name) for name in ("name", "description")}
    return {"type": "function", "function": {**function, "parameters": schema}}


def _finish_reason(answer: Any) -> str | None:
    reason = field(answer, "stop_reason")
    return None if reason is None else _FINISHED.get(reason, reason)


def _usage(usage: Any) -> dict[str, Any]:
    """Counts of tokens, the cached among the input, as chat completions have them."""
    read, written = (field(usage, f"cache_{kind}_input_tokens") for kind in ("read", "creation"))
    counted = [count for count in (field(usage, "input_tokens"), read, written) if count is not None]
    thought = field(field(usage, "output_tokens_details"), "thinking_tokens")
    return {
        "prompt_tokens": sum(counted) if counted else None,
        "completion_tokens": field(usage, "output_tokens"),
        "prompt_tokens_details": {"cached_tokens": read, "cache_creation_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }
