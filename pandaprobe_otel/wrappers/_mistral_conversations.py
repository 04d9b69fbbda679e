"""Conversations that Mistral keeps, in the shape of its chats: entries as messages, events as chunks."""

from typing import Any

from . import _chat
from ._chat_messages import field, items


def as_chat(request: Any) -> dict[str, Any]:
    """A request to start, continue or restart one."""
    inputs, settings = field(request, "inputs"), field(request, "completion_args")
    instructions = field(request, "instructions")
    messages = [_message(entry) for entry in items(inputs)]
    if isinstance(inputs, str):
        messages = [{"role": "user", "content": inputs}]
    if instructions:
        messages.insert(0, {"role": "system", "content": instructions})
    given = {name: field(settings, name) for name in (*_chat.PARAMETERS, "stop", "response_format")}
    return {**request, **given, "messages": [message for message in messages if message]}


def answer_as_chat(answer: Any) -> dict[str, Any]:
    """A whole answer; what Mistral's own tools did on the way is left out."""
    outputs = items(field(answer, "outputs"))
    content: list[Any] = []
    calls: list[Any] = []
    for entry in outputs:
        message = _message(entry)
        said = message.get("content")
        content += [said] if isinstance(said, str) else items(said)
        calls += items(message.get("tool_calls"))
    told = {"role": "assistant", "content": content, "tool_calls": calls}
    return {
        "id": field(answer, "conversation_id"),
        "model": next((model for entry in outputs if (model := field(entry, "model"))), None),
        "usage": field(answer, "usage"),
        "choices": [{"message": told, "finish_reason": "tool_calls" if calls else "stop"}],
    }


def event_as_chunk(event: Any) -> dict[str, Any]:
    """What an event brings of an answer."""
    match field(event, "type"):
        case "conversation.response.started":
            return {"id": field(event, "conversation_id")}
        case "conversation.response.done":
            return {"usage": field(event, "usage"), "choices": [{"delta": {}, "finish_reason": "stop"}]}
        case "message.output.delta":
            content = field(event, "content")
            delta = {"content": content if isinstance(content, str) else [content]}
            return {"model": field(event, "model"), "choices": [{"delta": delta}]}
        case "function.call.delta":
            return {"choices": [{"delta": {"tool_calls": [{"index": 0, **_call(event)}]}}]}
        case _:
            return {}


def _message(entry: Any) -> dict[str, Any]:
    match field(entry, "type"):
        case "function.result":
            id = field(entry, "tool_call_id")
            return {"role": "tool", "content": field(entry, "result"), "tool_call_id": id}
        case "function.call":
            return {"role": "assistant", "tool_calls": [_call(entry)]}
        case "message.input" | "message.output" | None:
            return {"role": field(entry, "role") or "user", "content": field(entry, "content")}
        case _:
            return {}


def _call(entry: Any) -> dict[str, Any]:
    function = {"name": field(entry, "name"), "arguments": field(entry, "arguments")}
    return {"id": field(entry, "tool_call_id"), "function": function}
